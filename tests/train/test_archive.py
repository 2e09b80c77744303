import io
import json
import tarfile

import fsspec
import pytest

from corpuskit.errors import ArtifactError, ConfigError, InputError
from corpuskit.train.archive import export_run, import_run

FILES = {
    "config.json": b"{}", "metrics.jsonl": b"", "model.safetensors": bytes(range(256)) * 50,
    "checkpoints/step-00000002/state.json": b'{"step": 2}',
}  # fmt: skip


@pytest.fixture
def run(tmp_path):
    left_out = {"tokens/dataset.json": b"{}", ".step.partial/x": b"", "checkpoints/.step-3.partial/y": b""}
    for name, content in {**FILES, **left_out}.items():
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_bytes(content)
    return tmp_path / "run"


def content(directory):
    return {f.relative_to(directory).as_posix(): f.read_bytes() for f in directory.rglob("*") if f.is_file()}


@pytest.mark.parametrize("place", ["file", "memory"])
def test_an_imported_run_is_the_exported_one_without_its_tokens(run, tmp_path, place):
    destination = tmp_path / "kept" / "run.tar" if place == "file" else "memory://kept/here/run.tar"
    assert export_run(run, destination) == str(destination)
    assert import_run(destination, tmp_path / "again") == tmp_path / "again"
    assert content(tmp_path / "again") == FILES
    export_run(run, destination, checkpoints=False)
    import_run(destination, tmp_path / "again", overwrite=True)
    assert content(tmp_path / "again") == {k: v for k, v in FILES.items() if "checkpoints" not in k}


def test_an_archive_depends_on_nothing_but_the_files(run, tmp_path):
    export_run(run, tmp_path / "a.tar")
    (run / "config.json").touch()
    export_run(run, tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_a_damaged_or_cut_archive_writes_nothing(run, tmp_path):
    export_run(run, tmp_path / "run.tar")
    whole = (tmp_path / "run.tar").read_bytes()
    place = whole.index(bytes(range(256))) + 1000
    (tmp_path / "damaged.tar").write_bytes(whole[:place] + b"\x00\x00" + whole[place + 2 :])
    with pytest.raises(ArtifactError, match=r"model\.safetensors is damaged"):
        import_run(tmp_path / "damaged.tar", tmp_path / "again")
    for size in (0, 100, 512, place, place + 11000):
        (tmp_path / "cut.tar").write_bytes(whole[:size])
        with pytest.raises(ArtifactError):
            import_run(tmp_path / "cut.tar", tmp_path / "again")
    assert not (tmp_path / "again").exists() and not list(tmp_path.glob(".again*"))


def tar(path, members):
    with tarfile.open(path, "w") as archive:
        for name, value in members:
            member = tarfile.TarInfo(name)
            if value is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            else:
                member.size = len(value)
            archive.addfile(member, io.BytesIO(value or b""))
    return path


def listing(*names):
    empty = "99aa06d3014798d86001c324468d497f"  # XXH3-128 of nothing
    files = {name: {"bytes": 0, "xxh3_128": empty} for name in names}
    return ("corpuskit-run.json", json.dumps({"format": 1, "files": files}).encode())


@pytest.mark.parametrize(
    ("members", "what"),
    [
        ([listing("../x"), ("../x", b"")], "is called '../x'"),
        ([listing("/x"), ("/x", b"")], "is called '/x'"),
        ([listing("a/../../x"), ("a/../../x", b"")], "is called"),
        ([listing("x"), ("x", None)], "unexpected member 'x'"),
        ([listing("x"), ("y", b"")], "unexpected member 'y'"),
        ([listing("x"), ("x", b""), ("x", b"")], "unexpected member 'x'"),
        ([listing("x", "y"), ("x", b"")], "1 files are missing, y"),
        ([("x", b"")], "not an archive of a run"),
        ([("corpuskit-run.json", b'{"format": 2, "files": {}}')], "format 2 is not 1"),
        ([("corpuskit-run.json", b"{")], "list of files is damaged"),
        ([("corpuskit-run.json", b'{"format": 1, "files": {"x": {}}}')], "list of files is damaged"),
    ],
)
def test_an_archive_that_is_none_of_ours_is_refused(tmp_path, members, what):
    with pytest.raises(ArtifactError, match=what):
        import_run(tar(tmp_path / "made.tar", members), tmp_path / "out" / "again")
    assert not (tmp_path / "x").exists() and not list((tmp_path / "out").glob("*"))


def test_what_is_missing_or_in_the_way_is_said(run, tmp_path):
    with pytest.raises(InputError, match="no run here"):
        export_run(tmp_path / "none", tmp_path / "run.tar")
    with pytest.raises(InputError, match="cannot be read"):
        import_run(tmp_path / "none.tar", tmp_path / "again")
    with pytest.raises(InputError, match="no protocol"):
        export_run(run, "nowhere://x/run.tar")
    export_run(run, tmp_path / "run.tar")
    with pytest.raises(ConfigError, match="exists already"):
        import_run(tmp_path / "run.tar", run)
    (tmp_path / "bad.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(ArtifactError):
        import_run(tmp_path / "bad.tar", run, overwrite=True)
    assert content(run)["config.json"] == b"{}", "a bad archive deletes nothing"


def test_a_store_that_refuses_is_an_error_with_the_address(run, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError("Forbidden")

    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "put_file", refuse)
    with pytest.raises(InputError, match="cannot be written: Forbidden") as caught:
        export_run(run, "memory://kept/run.tar")
    assert caught.value.where == "memory://kept/run.tar"
