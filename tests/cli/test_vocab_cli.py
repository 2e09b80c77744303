"""`corpuskit vocab encode` reads any tokenizer and shows its pieces; errors name the options."""

import json

import pytest
from typer.testing import CliRunner

from corpuskit import vocab
from corpuskit.cli.app import app
from corpuskit.errors import ConfigError, CorpuskitError, InputError
from corpuskit.vocab.comparison_report import shown_token

TEXTS = ["我们在图书馆看书，后来又去了书店。", "他说这本书很好看，值得再读一遍。" * 3]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("vocab")
    tokenizer = vocab.train(TEXTS * 3, vocab_size=290)
    tokenizer.save(root / "saved")
    tokenizer.export("tokenizer.json", root / "tokenizer.json")
    tokenizer.export("tiktoken", root / "gpt2.tiktoken")
    pieces = vocab.train(TEXTS * 30, vocab_size=330, algorithm="sentencepiece-bpe", required_characters="")
    pieces.export("spiece.model", root / "spiece.model")
    rows = [json.dumps({"text": text}, ensure_ascii=False) for text in TEXTS * 3]
    (root / "texts.jsonl").write_text("\n".join(rows) + "\n", "utf-8")
    (root / "words.txt").write_text("图书馆\nGPU卡\n", "utf-8")
    return root


def run(*arguments):
    return CliRunner().invoke(app, ["vocab", *map(str, arguments)], catch_exceptions=False)


@pytest.mark.parametrize("name", ["saved", "tokenizer.json", "gpt2.tiktoken", "spiece.model"])
def test_any_tokenizer_shows_its_pieces_and_ids(place, name):
    text = "我们 去图书馆龘"
    result = run("encode", place / name, text)
    pieces, ids, counts = result.stdout.splitlines()
    assert len(pieces.split(" ")) == len(ids.split(" "))
    tokenizer = vocab.load(place / name)
    assert ids == " ".join(map(str, tokenizer.encode(text)))
    assert (
        counts == f"{len(tokenizer.encode(text))} tokens, {len(text.encode())} bytes, {len(text)} characters"
    )
    shown = b"".join(
        bytes.fromhex(piece[1:-1]) if piece.startswith("<") else piece.replace("␣", " ").encode()
        for piece in pieces.split(" ")
    )
    assert shown.decode() == text


def test_text_that_looks_like_a_special_token_is_shown_as_the_text_it_is(place):
    pieces, ids, _ = run("encode", place / "saved", "<|endoftext|>").stdout.splitlines()
    assert pieces.replace(" ", "") == "<|endoftext|>" and len(ids.split()) > 1


def test_a_token_is_shown_as_text_or_as_bytes():
    shown = [shown_token(token) for token in (b"a\n \t", "我　".encode(), "我".encode()[:2], None)]
    assert shown == ["a⏎␣⇥", "我□", "<E688>", "<unknown>"]


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (["train", "texts.jsonl", "-o", "out", "--size", "100000"], "--size"),
        (["train", "texts.jsonl", "-o", "out", "--pattern", "("], "--pattern"),
        (["train", "texts.jsonl", "-o", "out", *["--special-token", "a"] * 2], "--special-token"),
        (["extend", "texts.jsonl", "-o", "out", "--base", "saved"], "--num-new-tokens"),
        (["add-words", "words.txt", "-o", "out", "--base", "saved"], "words.txt"),
    ],
)  # fmt: skip
def test_errors_name_the_option(place, arguments, where, monkeypatch):
    monkeypatch.chdir(place)
    with pytest.raises(ConfigError) as caught:
        run(*arguments)
    assert caught.value.where == where
    assert not (place / "out").exists()


def test_errors_about_no_option_keep_their_place(place):
    with pytest.raises(CorpuskitError) as caught:
        run("encode", place / "nowhere", "我")
    assert caught.value.where == str(place / "nowhere")


def test_an_argument_that_is_no_text_is_refused(place):
    with pytest.raises(InputError, match="UTF-8"):
        run("encode", place / "saved", "\udcff")
