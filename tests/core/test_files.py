import errno
import os
import shutil

import pytest

from corpuskit import files
from corpuskit.errors import InputError, ResourceError


def test_a_block_that_fails_leaves_the_old_file(tmp_path):
    target = tmp_path / "a.json"
    files.write_text(target, "old")
    with pytest.raises(RuntimeError), files.atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_is_a_clear_error_and_publishes_nothing(tmp_path):
    with pytest.raises(ResourceError, match="no space left"), files.atomic_path(tmp_path / "a") as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "there" / "a")
    files.write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "a").read_text() == "new"
    assert [p.name for p in (tmp_path / "there").iterdir()] == ["a"]


def test_a_pipe_a_device_and_a_stream_are_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, "/dev/null", "/dev/stdout", "/dev/fd/1"):
        with pytest.raises(InputError, match="device or a pipe"):
            files.write_text(path, "new")
    assert pipe.is_fifo()


def test_a_target_that_cannot_be_written_is_refused_beforehand(tmp_path):
    (tmp_path / "file").write_text("")
    for target in (tmp_path, tmp_path / "file" / "report.html"):
        with pytest.raises(InputError, match="cannot be written"):
            files.require_writable(target)
    files.require_writable(tmp_path / "new" / "report.html")


def test_leftovers_of_a_kill_are_recognised_and_removed(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ".a.arrow.123.tmp").write_text("x")
    (tmp_path / "keep.tmp").write_text("x")
    assert files.is_temporary(tmp_path / "sub" / ".a.arrow.123.tmp")
    assert files.remove_temporaries(tmp_path) == 1
    assert (tmp_path / "keep.tmp").exists()


def test_too_small_a_disk_is_refused_before_starting(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 90, 10))
    with pytest.raises(ResourceError, match="GB of disk"):
        files.require_free_space(tmp_path / "not" / "yet", 11)
    files.require_free_space(tmp_path, 10)


def test_json_is_the_same_bytes_for_any_key_order(tmp_path):
    files.write_json(tmp_path / "a", {"b": 1, "a": "中"})
    files.write_json(tmp_path / "b", {"a": "中", "b": 1})
    assert files.checksum(tmp_path / "a") == files.checksum(tmp_path / "b")
    assert "中" in (tmp_path / "a").read_text(encoding="utf-8")
