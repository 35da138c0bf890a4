"""Where the demo listens and who may see it."""

import os
import stat

import pytest

from medcodi.demo.server import memory_folder, read_password, serving


def test_others_need_a_password(tmp_path):
    assert read_password("127.0.0.1", None) is None
    with pytest.raises(ValueError, match=r"0\.0\.0\.0 can be reached by others: give a password"):
        read_password("0.0.0.0", None)
    with (
        pytest.raises(ValueError, match="can be reached by others"),
        serving(None, host="192.168.0.2"),
    ):
        pass
    (tmp_path / "short").write_text("hunter2\n")
    with pytest.raises(ValueError, match="12 characters or more, got 7"):
        read_password("0.0.0.0", tmp_path / "short")
    (tmp_path / "good").write_text("correct horse battery\n")
    assert read_password("0.0.0.0", tmp_path / "good") == "correct horse battery"


def test_the_folder_is_private_and_gone_afterwards():
    with memory_folder() as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "x").write_text("upload")
        if os.path.ismount("/dev/shm"):
            assert folder.parent.as_posix() == "/dev/shm"
    assert not folder.exists()
