"""The ledger: what is finished stays finished, whatever a kill leaves of the last line."""

import json

import pytest

from medcodi.generation.manifest import MANIFEST, Ledger, read_manifest

HEADER = {"created": "2026-01-31", "seed": 1, "format": "png"}


def entry(folder, i):
    (folder / f"{i}.txt").write_text("whole")
    return {"id": f"s{i}", "files": {"report": {"path": f"{i}.txt", "sha256": "-"}}}


def write(folder, count, **kwargs):
    ledger = Ledger(folder, dict(HEADER), **kwargs)
    if not ledger.is_open:
        ledger.open()
    for i in range(count):
        ledger.append(entry(folder, i))
    ledger.close()
    return ledger.path


def test_cut_off_at_every_byte(tmp_path):
    content = write(tmp_path, 3).read_bytes()
    ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]
    assert len(ends) == 4
    for length in range(len(content) + 1):
        (tmp_path / "progress_0_of_1.jsonl").write_bytes(content[:length])
        ledger = Ledger(tmp_path, dict(HEADER))
        assert len(ledger.done) == max(0, sum(end <= length for end in ends) - 1)
        for i in range(3):
            if f"s{i}" not in ledger.done:
                ledger.append(entry(tmp_path, i))
        ledger.close()
        assert (tmp_path / "progress_0_of_1.jsonl").read_bytes() == content


def test_a_study_whose_files_are_gone_is_not_done(tmp_path):
    write(tmp_path, 3)
    (tmp_path / "1.txt").unlink()
    ledger = Ledger(tmp_path, dict(HEADER))
    assert set(ledger.done) == {"s0", "s2"}
    ledger.close()


def test_the_day_of_the_start_is_kept(tmp_path):
    write(tmp_path, 1)
    later = HEADER | {"created": "2026-02-28"}
    Ledger(tmp_path, later).close()
    assert later["created"] == "2026-01-31"


def test_another_run(tmp_path):
    write(tmp_path, 1)
    with pytest.raises(
        ValueError,
        match=r"already holds a progress_0_of_1.jsonl of another run \(seed: 1 there, 2 here\)",
    ):
        Ledger(tmp_path, HEADER | {"seed": 2})
    with pytest.raises(
        ValueError, match=r"holds progress_0_of_1.jsonl: continue with the same number of shards"
    ):
        Ledger(tmp_path, dict(HEADER), (1, 2))


def test_two_processes_at_once(tmp_path):
    first = Ledger(tmp_path, dict(HEADER))
    first.open()
    with pytest.raises(ValueError, match="another process is writing to"):
        Ledger(tmp_path, dict(HEADER))
    first.close()
    Ledger(tmp_path, dict(HEADER)).close()


def test_a_damaged_line_is_an_error(tmp_path):
    path = write(tmp_path, 2)
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], b'{"id": "s', lines[2], b""]))
    with pytest.raises(ValueError, match=r"progress_0_of_1.jsonl is damaged"):
        Ledger(tmp_path, dict(HEADER))


def test_finish_drops_the_ledger_also_after_a_kill_between(tmp_path):
    path = write(tmp_path, 1, shard=(1, 2))
    content = path.read_bytes()
    ledger = Ledger(tmp_path, dict(HEADER), (1, 2))
    ledger.finish(HEADER | {"samples": []})
    assert {p.name for p in tmp_path.iterdir()} == {MANIFEST, "0.txt"}
    path.write_bytes(content)
    assert read_manifest(tmp_path, dict(HEADER)) == json.loads((tmp_path / MANIFEST).read_text())
    assert not path.exists()
