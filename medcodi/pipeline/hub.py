"""Pipelines by name: a folder here, a model that comes with the package, or one of the Hugging Face
hub."""

import re
import tempfile
from pathlib import Path
from typing import Any

from medcodi.pipeline.index import INDEX, IncompleteFolderError
from medcodi.pipeline.shipped import choices, shipped_folder

HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
FILES = ["*.json", "*.safetensors", "README.md"]  # nothing else is fetched: no code, no pickles


def local_folder(name: str | Path, **download: Any) -> Path:
    """The folder of a pipeline: one here, else a shipped one; a name such as "owner/model" that is
    neither is fetched from the hub.

    `download` goes to `huggingface_hub.snapshot_download`: revision, token, cache_dir,
    local_files_only. Raises IncompleteFolderError with what is missing where, and ValueError.
    """
    if not isinstance(name, (str, Path)):
        raise ValueError(f"expected a folder or a name on the hub, got {type(name).__name__}")
    folder = Path(name)
    if folder.exists() or folder.is_symlink():
        return folder
    shipped = shipped_folder(str(name))
    if shipped is not None:
        return shipped
    if not HUB_NAME.fullmatch(str(name)):
        raise IncompleteFolderError(
            f"{folder} is no medcodi pipeline: {INDEX} is missing, there is no such folder. "
            f"{choices()}. Train one (`medcodi quickstart --from-scratch`) or pass the folder that "
            "save_pretrained wrote"
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(name), allow_patterns=FILES, **download))
    except Exception as error:  # offline, no such model, no access: each has a class of its own
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise IncompleteFolderError(
            f"{name} is no medcodi pipeline: {INDEX} is missing. There is no folder "
            f"{folder.absolute()}, and the hub gave no model of that name ({said}). Train one "
            "(`medcodi quickstart`) or pass the folder that save_pretrained wrote"
        ) from error


def upload(pipe: Any, name: str, private: bool | None, token: str | None, message: str) -> str:
    """Write `pipe` to a temporary folder and upload it with its model card. Returns the address of
    the commit. ValueError where the hub refuses or cannot be reached."""
    from huggingface_hub import HfApi

    if not HUB_NAME.fullmatch(name):
        raise ValueError(f"a name on the hub must read OWNER/MODEL, got {name!r}")
    with tempfile.TemporaryDirectory() as folder:
        pipe.save_pretrained(folder)
        api = HfApi(token=token)
        try:
            created = api.create_repo(name, private=private, exist_ok=True).repo_id
            info = api.upload_folder(repo_id=created, folder_path=folder, commit_message=message)
        except Exception as error:
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(f"{name} was not pushed to the hub: {said}") from error
    return info.commit_url
