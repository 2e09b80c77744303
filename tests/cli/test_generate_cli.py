import io
import json
import shutil
import sys

import pytest
import torch

from corpuskit import cli
from corpuskit.generate import Chat, Generator
from corpuskit.models import ModelConfig, create, save
from corpuskit.vocab.bytelevel import ByteLevelBPE
from corpuskit.vocab.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    directory = tmp_path_factory.mktemp("model")
    letters = (*(bytes([i]) for i in range(256)), b"ab", None)
    tokenizer = Tokenizer(ByteLevelBPE(letters, ((97, 98),), {"<|endoftext|>": 257}))
    made = create(
        ModelConfig(layers=1, width=16, heads=2, context_length=64), 258, seed=0, end_of_text_id=257
    )
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() > 1:
                parameter.mul_(10)
    save(made, directory, tokenizer)
    return directory


def run(monkeypatch, *arguments, stdin="") -> int:
    monkeypatch.setattr(sys, "argv", ["corpuskit", "generate", *map(str, arguments)])
    monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code or 0


def test_prompts_are_continued_in_their_order(monkeypatch, capsys, model):
    assert (
        run(monkeypatch, model, "--prompt", "ab", "--prompt", "c", "--max-new-tokens", 8, "--nsamples", 2)
        == 0
    )
    expected = Generator.load(model, "cpu").generate(["ab", "c"], 8, num_samples=2)
    assert capsys.readouterr().out == "".join(text + "\n" for text in expected)


def test_prompts_of_records_may_hold_newlines(monkeypatch, capsys, model, tmp_path):
    records = tmp_path / "tasks.jsonl"
    records.write_text('{"input": "a\\nb", "target": "c"}\n{"input": "c"}\n', encoding="utf-8")
    options = ("--max-new-tokens", 4, "--temperature", 0)
    assert run(monkeypatch, model, "--prompts-file", records, "-o", tmp_path / "o.jsonl", *options) == 0
    lines = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["prompt"] for line in lines] == ["a\nb", "c"]
    assert [line["text"] for line in lines] == Generator.load(model, "cpu").generate(
        ["a\nb", "c"], 4, temperature=0
    )
    records.write_text('{"target": "c"}\n', encoding="utf-8")
    capsys.readouterr()
    assert run(monkeypatch, model, "--prompts-file", records, *options) == 2
    assert "no text under input" in capsys.readouterr().err


def test_prompts_come_from_a_file_or_a_pipe_and_texts_go_to_a_file(monkeypatch, capsys, model, tmp_path):
    (tmp_path / "prompts.txt").write_text("\ufeffab\n\nc\n", encoding="utf-8")
    options = ("--max-new-tokens", 8, "--temperature", 0, "--stop", "z")
    assert (
        run(monkeypatch, model, "--prompts-file", tmp_path / "prompts.txt", "-o", tmp_path / "o", *options)
        == 0
    )
    lines = [json.loads(line) for line in (tmp_path / "o").read_text(encoding="utf-8").splitlines()]
    assert [line["prompt"] for line in lines] == ["ab", "c"]
    capsys.readouterr()
    assert run(monkeypatch, model, *options, stdin="ab\nc\n") == 0
    assert capsys.readouterr().out == "".join(line["text"] + "\n" for line in lines)


def test_an_empty_pipe_starts_a_new_document(monkeypatch, capsys, model):
    assert run(monkeypatch, model, "--max-new-tokens", 8, "--beams", 2) == 0
    assert capsys.readouterr().out == Generator.load(model, "cpu").generate("", 8, beams=2) + "\n"


def test_a_chat_answers_the_questions_of_a_pipe(monkeypatch, capsys, model):
    options = ("--chat", "--max-new-tokens", 8, "--temperature", 0, "--user", "U:", "--assistant", "A:")
    assert run(monkeypatch, model, *options, stdin="a\n\nb\n") == 0
    from corpuskit.generate import Dialogue

    chat = Chat(Generator.load(model, "cpu"), Dialogue(user="U:", assistant="A:"))
    assert capsys.readouterr().out == "".join(chat.ask(q, 8, temperature=0) + "\n" for q in "ab")


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (("--prompt", "x" * 100), "prompt"),
        (("--chat", "--prompt", "a"), "--chat"),
        (("--prompt", "a", "--stop", ""), "--stop"),
        (("--prompt", "a", "--beams", "2", "--top-k", "3"), "--top-k"),
        (("--prompt", "a", "--top-p", "0"), "--top-p"),
        (("--prompt", "a", "--repetition-penalty", "0"), "--repetition-penalty"),
        (("--prompt", "a", "--beams", "2", "--nsamples", "3"), "--nsamples"),
        (("--prompt", "a", "--beams", "2", "--max-new-tokens", "99"), "--max-new-tokens"),
        (("--chat", "--user", ""), "--user"),
        (("--prompt", "\udcff\udcfe"), "--prompt"),
        (("--bogus",), "corpuskit generate"),
    ],
)
def test_what_is_impossible_is_three_lines(monkeypatch, capsys, model, arguments, where):
    assert run(monkeypatch, model, *arguments) == cli.USER_ERROR
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error: ")
    assert lines[1] == f"  where: {where}"


def test_impossible_options_are_found_before_the_model_is_loaded(monkeypatch, capsys, tmp_path):
    assert run(monkeypatch, tmp_path / "none", "--prompt", "a", "--top-p", "0") == cli.USER_ERROR
    assert "where: --top-p" in capsys.readouterr().err
    (tmp_path / "empty.txt").write_text("\n \n")
    assert run(monkeypatch, tmp_path / "none", "--prompts-file", tmp_path / "empty.txt") == cli.USER_ERROR
    assert f"where: {tmp_path / 'empty.txt'}" in capsys.readouterr().err


def test_bytes_of_another_encoding_in_the_pipe_are_named(monkeypatch, capsys, model):
    for options in ((), ("--chat",)):
        assert run(monkeypatch, model, *options, stdin="\udcc4\udce3\n") == cli.USER_ERROR
        lines = capsys.readouterr().err.splitlines()
        assert lines[:2] == ["error: not UTF-8", "  where: standard input"] and "iconv" in lines[2]


def test_prompts_are_not_overwritten_by_their_texts(monkeypatch, capsys, model, tmp_path):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"input": "a"}\n', encoding="utf-8")
    assert run(monkeypatch, model, "--prompts-file", prompts, "-o", prompts) == cli.USER_ERROR
    assert "the output is also an input" in capsys.readouterr().err
    assert prompts.read_text(encoding="utf-8") == '{"input": "a"}\n'


def test_texts_are_written_as_they_come(monkeypatch, capsys, model, tmp_path):
    monkeypatch.setattr("corpuskit.cli.generate._INTERVAL_S", 0.0)
    options = ("--max-new-tokens", 4, "--nsamples", 2, "--batch-size", 2)
    prompts = [option for letter in "abc" for option in ("--prompt", letter)]
    assert run(monkeypatch, model, *prompts, *options, "-o", tmp_path / "texts.jsonl") == 0
    told = capsys.readouterr()
    assert told.err == "2 of 6 texts\n4 of 6 texts\n6 of 6 texts\n"
    assert told.out == f"{tmp_path / 'texts.jsonl'}: 6 texts\n"
    lines = [json.loads(line) for line in (tmp_path / "texts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["prompt"] for line in lines] == list("aabbcc")
    assert [line["text"] for line in lines] == Generator.load(model, "cpu").generate(
        list("abc"), 4, num_samples=2
    )


def test_a_question_that_is_too_long_does_not_end_a_talk_on_a_terminal(monkeypatch, capsys, model):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    questions = iter(["x" * 100, "a"])
    monkeypatch.setattr(sys, "argv", ["corpuskit", "generate", str(model), "--chat", "--max-new-tokens", "4",
                                      "--user", "U:", "--assistant", "A:"])  # fmt: skip
    monkeypatch.setattr(sys, "stdin", Terminal())

    def asked(shown):
        try:
            return next(questions)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", asked)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert not caught.value.code
    told = capsys.readouterr()
    assert "do not fit a context of 64" in told.err and told.out.endswith("\n\n")


def test_a_directory_without_a_model_is_refused(monkeypatch, capsys, tmp_path):
    assert run(monkeypatch, tmp_path, "--prompt", "a") == cli.USER_ERROR
    assert "config.json is missing" in capsys.readouterr().err


def test_outputs_and_devices_are_checked_before_the_work(monkeypatch, capsys, model, tmp_path):
    (tmp_path / "file").write_text("")
    for output in ("/proc/none", tmp_path / "file" / "below", tmp_path):
        assert run(monkeypatch, model, "--prompt", "a", "-o", output) == cli.USER_ERROR
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].startswith("error: the file cannot be written") and len(lines) == 3
    assert run(monkeypatch, model, "--prompt", "a", "--device", "abacus") == cli.USER_ERROR
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "  where: --device" and len(lines) == 3


def test_a_tokenizer_larger_than_the_model_is_named_with_the_directory(monkeypatch, capsys, model, tmp_path):
    shutil.copytree(model, tmp_path / "model")
    pairs = [(i, 65) for i in range(100, 250)]
    tokens = (*(bytes([i]) for i in range(256)), None, *map(bytes, pairs))
    large = Tokenizer(ByteLevelBPE(tokens, tuple(pairs), {"<|endoftext|>": 256}))
    for name, content in large.files().items():
        (tmp_path / "model" / name).write_bytes(content)
    assert run(monkeypatch, tmp_path / "model", "--prompt", "a") == cli.USER_ERROR
    lines = capsys.readouterr().err.splitlines()
    assert "407 tokens" in lines[0] and lines[1] == f"  where: {tmp_path / 'model'}" and len(lines) == 3
