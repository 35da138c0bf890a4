"""Where the demo listens, who may see it, and where its files are.

On loopback nobody else reaches it. Another address needs a password. Gradio passes uploads and
pictures through files: they lie in a folder of a memory file system that only this user can read,
and are gone when the server stops.
"""

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medcodi.demo.studio import Studio

LOOPBACK = ("127.0.0.1", "::1", "localhost")
MEMORY = Path("/dev/shm")
USER, LEAST_PASSWORD, MAX_UPLOAD = "medcodi", 12, "32mb"
logger = logging.getLogger(__name__)


def read_password(host: str, file: Path | None) -> str | None:
    """The first line of `file`. ValueError for a short one, and for none where others can reach
    the page."""
    if file is None:
        if host not in LOOPBACK:
            raise ValueError(
                f"{host} can be reached by others: give a password (--password-file FILE), or "
                "listen on 127.0.0.1"
            )
        return None
    password = (file.read_text(encoding="utf-8").splitlines() or [""])[0].strip()
    if len(password) < LEAST_PASSWORD:
        raise ValueError(
            f"{file}: a password has {LEAST_PASSWORD} characters or more, got {len(password)}"
        )
    return password


@contextlib.contextmanager
def memory_folder() -> Iterator[Path]:
    """A private folder in memory; on disk, with a warning, where the system has no memory file
    system."""
    in_memory = MEMORY.is_dir() and os.access(MEMORY, os.W_OK)
    if not in_memory:
        logger.warning("no %s: uploads pass through a temporary folder on disk", MEMORY)
    folder = Path(tempfile.mkdtemp(prefix="medcodi_", dir=MEMORY if in_memory else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def serving(
    studio: Studio,
    host: str = "127.0.0.1",
    port: int = 7860,
    password: str | None = None,
) -> Iterator[str]:
    """Serve the page until the block ends; gives its address. `port` 0: any that is free.

    Raises ValueError for an address that others reach without a password, OSError for a port that
    is taken, RuntimeError without Gradio.
    """
    if host not in LOOPBACK and not password:
        read_password(host, None)
    with memory_folder() as folder:
        settings = {
            "GRADIO_TEMP_DIR": str(folder),
            "GRADIO_ANALYTICS_ENABLED": "False",
            "GRADIO_RUN_HISTORY": "False",
            "GRADIO_SHARE": "False",
            "HF_HUB_OFFLINE": "1",
        }
        os.environ.update(settings)  # before Gradio is imported, which reads them then
        try:
            from medcodi.demo.page import FONTS, STYLE, build
        except ImportError as error:
            raise RuntimeError("the demo needs gradio: pip install 'medcodi[demo]'") from error
        page = build(studio, folder)
        launch: dict[str, Any] = {
            "server_name": host,
            "server_port": port or None,
            "auth": (USER, password) if password else None,
            "share": False,
            "prevent_thread_lock": True,
            "quiet": True,
            "show_error": True,
            "footer_links": [],
            "run_history": False,
            "enable_monitoring": False,
            "ssr_mode": False,
            "mcp_server": False,
            "max_file_size": MAX_UPLOAD,
            "theme": FONTS,
            "css": STYLE,
        }
        _, address, _ = page.launch(**launch)
        try:
            yield address
        finally:
            page.close(verbose=False)
