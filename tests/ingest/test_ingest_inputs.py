from __future__ import annotations

import os
import warnings

import pytest

from corpuskit.errors import ConfigError, InputError
from corpuskit.ingest import InputFile, ReadOptions, expand_inputs, plan_slices


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n")


def relative(inputs):
    return [file.relative_path for file in inputs]


def test_directories_are_searched_and_unknown_files_are_named(tmp_path):
    touch(tmp_path, "b.jsonl", "a/c.txt", "a/deep/d.html", ".hidden/x.txt", "a/.y.txt", "z.pdf", "e.txt.part")
    inputs = expand_inputs([tmp_path])
    assert relative(inputs) == ["a/deep/d.html", "b.jsonl", "a/c.txt"]
    assert inputs.ignored == (str(tmp_path / "z.pdf"),)
    assert inputs.root == str(tmp_path)
    with pytest.warns(UserWarning, match=r"z\.pdf"):
        inputs.warn_ignored()


def test_patterns_find_files_and_set_the_root(tmp_path):
    touch(tmp_path, "crawl/1/a.warc.gz", "crawl/2/b.warc.gz", "crawl/2/c.txt", "other.warc.gz")
    inputs = expand_inputs([str(tmp_path / "crawl" / "**" / "*.warc.gz")])
    assert relative(inputs) == ["1/a.warc.gz", "2/b.warc.gz"]
    assert relative(expand_inputs([str(tmp_path / "crawl/2/*.warc.gz")])) == ["b.warc.gz"]


def test_arguments_in_any_order_and_twice_give_the_same_files(tmp_path):
    touch(tmp_path, "x/a.txt", "y/b.txt")
    first = expand_inputs([tmp_path / "x", tmp_path / "y", tmp_path / "x/a.txt"])
    second = expand_inputs([tmp_path / "y" / "*.txt", tmp_path / "x" / ".." / "x"])
    assert first == second and relative(first) == ["x/a.txt", "y/b.txt"]


def test_a_file_named_like_a_pattern_is_that_file(tmp_path):
    touch(tmp_path, "a[1].txt")
    assert relative(expand_inputs([tmp_path / "a[1].txt"])) == ["a[1].txt"]


def test_a_given_root_is_used_and_checked(tmp_path):
    touch(tmp_path, "x/a.txt")
    assert relative(expand_inputs([tmp_path / "x"], root=str(tmp_path))) == ["x/a.txt"]
    with pytest.raises(InputError, match="outside the root"):
        expand_inputs([tmp_path / "x"], root=str(tmp_path / "other"))


def test_links_to_directories_are_followed_without_going_round(tmp_path):
    touch(tmp_path, "disk/a.txt", "root/b.txt")
    (tmp_path / "root/link").symlink_to(tmp_path / "disk")
    (tmp_path / "root/loop").symlink_to(tmp_path / "root")
    assert relative(expand_inputs([tmp_path / "root"])) == ["b.txt", "link/a.txt"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.jsonl", "no such file"),
        ("*.jsonl", "matches nothing"),
        ("doc.pdf", "no known format"),
        ("empty", "no input files"),
        ("zero.txt", "are empty"),
        ("broken.txt", "broken link"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_hint(tmp_path, name, message):
    touch(tmp_path, "doc.pdf")
    (tmp_path / "empty").mkdir()
    (tmp_path / "zero.txt").touch()
    (tmp_path / "broken.txt").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=message) as caught:
        expand_inputs([tmp_path / name])
    assert caught.value.where and caught.value.hint


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch):
    touch(tmp_path, "a.txt")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="no permission"):
        expand_inputs([tmp_path])


def test_no_paths_at_all_are_refused():
    with pytest.raises(InputError, match="no input files"):
        expand_inputs([])


def test_a_given_format_takes_every_name(tmp_path):
    touch(tmp_path, "part-0001")
    (file,) = expand_inputs([tmp_path], format="jsonl")
    assert file == InputFile(str(tmp_path / "part-0001"), "part-0001", "jsonl", 3)


def test_large_line_files_are_cut_and_small_files_share_a_task(tmp_path):
    (tmp_path / "big.jsonl").write_bytes(b"{}\n" * 1000)
    (tmp_path / "big.txt").write_bytes(b"a\n" * 1000)
    for index in range(20):
        (tmp_path / f"small{index:02}.html").write_bytes(b"x" * 100)
    files = expand_inputs([tmp_path]).files
    groups = plan_slices(files, 1000)
    by_path = {}
    for piece in (piece for group in groups for piece in group):
        by_path.setdefault(piece.relative_path, []).append((piece.start, piece.stop))
    assert by_path["big.jsonl"] == [(0, 1000), (1000, 2000), (2000, 3000)]
    assert by_path["big.txt"] == [(0, None)]
    assert [len(group) for group in groups[:2]] == [10, 10]
    lines = plan_slices(files, 1000, ReadOptions(text_unit="line"))
    assert len(lines) == len(groups) + 1


@pytest.mark.parametrize(
    "bad",
    [{"format": "doc"}, {"text_unit": "word"}, {"batch_rows": 0}, {"max_error_rate": 2}, {"text_column": ""}],
)
def test_impossible_options_are_refused_by_name(bad):
    with pytest.raises(ConfigError) as caught:
        ReadOptions(**bad)
    assert caught.value.where == next(iter(bad))


def test_nothing_is_said_when_nothing_is_ignored(tmp_path):
    touch(tmp_path, "a.txt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expand_inputs([tmp_path]).warn_ignored()
