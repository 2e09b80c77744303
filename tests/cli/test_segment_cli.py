"""`corpuskit segment`: cut (with and without its name), score, train, discover; what goes wrong is said."""

from __future__ import annotations

import json
import random

import pyarrow as pa
import pytest
from pyarrow import ipc
from typer.testing import CliRunner

from corpuskit.cli.segment import segment
from corpuskit.errors import ConfigError, InputError


def run(*arguments: object, stdin: str | bytes | None = None) -> str:
    result = CliRunner().invoke(segment, list(map(str, arguments)), input=stdin, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "in.txt"
    path.write_text("我想去北京大学图书馆看书。\n春天的时候\n", encoding="utf-8")
    return path


CUT = "我 想 去 北京大学图书馆 看书 。\n春天 的 时候\n"


def test_a_file_is_cut_with_and_without_the_command(text):
    assert run(text) == run("cut", text) == run("--hmm", text) == CUT


def test_standard_input_is_read(text):
    assert run("-", stdin=text.read_bytes()) == CUT


def test_a_file_named_like_a_command_is_reached_by_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "score").write_text("春天的时候", encoding="utf-8")
    assert run("./score") == run("cut", "score") == "春天 的 时候"


def test_the_name_of_the_output_says_its_format(text, tmp_path):
    run(text, "-o", tmp_path / "o.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [" ".join(row["words"]) for row in rows] == CUT.splitlines()
    run(text, "-o", tmp_path / "o.arrow", "--offsets")
    table = ipc.open_file(tmp_path / "o.arrow").read_all()
    assert table["word_ends"].to_pylist()[1] == [2, 3, 5]
    assert table["word_ends"].type == pa.list_(pa.int32())


def test_options_reach_the_segmenter(text, tmp_path):
    assert "北京/大学/图书/书馆" in run(text, "--mode", "search", "--separator", "/")
    words = tmp_path / "user.txt"
    words.write_text("去北京大学 99999999\n", encoding="utf-8")
    assert "去北京大学 图书馆" in run(text, "--user-dictionary", words)
    main = tmp_path / "main.txt"
    main.write_text("北京 5\n春天的时候 5\n", encoding="utf-8")
    assert run(text, "--dictionary", main, "--no-hmm").splitlines()[1] == "春天的时候"


def test_a_score_is_a_table_or_json(tmp_path):
    gold, out = tmp_path / "gold", tmp_path / "out"
    gold.write_text("北京 的 春天 来了\n", encoding="utf-8")
    out.write_text("北京 的春天 来了\n", encoding="utf-8")
    train = tmp_path / "train"
    train.write_text("北京 的\n来了\n", encoding="utf-8")
    printed = run("score", gold, out, "--vocabulary", train).splitlines()
    assert printed[0].split() == ["precision", "0.6667", "2", "of", "3", "words"]
    assert [line.split()[0] for line in printed] == ["precision", "recall", "F1", "OOV", "OOV", "IV"]
    scores = json.loads(run("score", gold, out, "--json"))
    assert (scores["recall"], scores["oov_rate"]) == (0.5, None)
    assert json.loads(run("score", gold, "-", "--json", stdin=gold.read_bytes()))["f1"] == 1.0


@pytest.fixture(scope="module")
def gold(tmp_path_factory):
    """A segmented text in which words keep their shape, so that few lines teach a model."""
    choose = random.Random(0)
    nouns, verbs = ["春天", "山水", "图书馆", "老师", "学生", "城市"], ["喜欢", "看见", "离开", "保护"]
    lines = [
        " ".join([choose.choice(nouns), choose.choice(verbs), "了", choose.choice(nouns), "。"])
        for _ in range(200)
    ]
    path = tmp_path_factory.mktemp("gold") / "gold.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_model_is_trained_used_and_scored(gold, tmp_path):
    model, raw = tmp_path / "m.model", tmp_path / "raw.txt"
    printed = run("train", gold, "--development", gold, "-o", model, "--epochs", 2, "--dictionary", "none")
    assert "model             1.0000   1.0000   1.0000" in printed and "jieba" in printed
    raw.write_text(gold.read_text(encoding="utf-8").replace(" ", ""), encoding="utf-8")
    out = tmp_path / "out.txt"
    run(raw, "--model", model, "-o", out)
    assert out.read_bytes() == gold.read_bytes()
    words = tmp_path / "user.txt"
    words.write_text("春天喜欢\n", encoding="utf-8")
    assert "春天喜欢" in run(raw, "--model", model, "--user-dictionary", words).split()
    with pytest.raises(ConfigError, match="mode"):
        run(raw, "--model", model, "--mode", "full")
    with pytest.raises(ConfigError, match="--model"):
        run(raw, "--model", model, "--no-hmm")


def test_new_words_become_a_dictionary_that_is_used(tmp_path):
    choose = random.Random(0)
    nouns = ["春天", "山水", "图书馆", "老师", "学生", "城市", "河流", "音乐", "苔鲸", "苔鲸"]
    verbs = ["喜欢", "看见", "离开", "保护", "研究", "记得", "寻找", "等待", "赞美"]
    rows = [
        {"text": choose.choice(nouns) + choose.choice(verbs) + choose.choice(nouns) + choose.choice("。！，")}
        for _ in range(1500)
    ]
    corpus, words, scores = tmp_path / "a.jsonl", tmp_path / "words.txt", tmp_path / "scores.tsv"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{}\n", encoding="utf-8")
    printed = run("discover", corpus, "-o", words, "--scores", scores, "--min-score", 5)
    assert "苔鲸" in printed and words.read_text(encoding="utf-8").startswith("苔鲸 ")
    header, first, *_ = scores.read_text(encoding="utf-8").splitlines()
    assert header.split("\t")[:3] == ["word", "count", "cohesion"] and first.startswith("苔鲸\t")
    assert "苔鲸" in run("-", "--user-dictionary", words, stdin="老师看见苔鲸。".encode()).split()
    for name in ("s.jsonl", "s.parquet", "s.arrow"):
        run("discover", corpus, "-o", words, "--scores", tmp_path / name, "--min-score", 5)
        assert (tmp_path / name).stat().st_size
    with pytest.raises(InputError, match="no format"):
        run("discover", corpus, "-o", words, "--scores", tmp_path / "s.doc")


@pytest.mark.parametrize(
    ("arguments", "error", "what"),
    [
        (["nothing.txt"], InputError, "no such file"),
        (["scoer", "a", "b"], InputError, "may be score"),
        (["{text}", "-o", "{text}"], InputError, "one of the inputs"),
        (["{text}", "--offsets"], ConfigError, "not offsets"),
        (["{text}", "--user-dictionary", "nothing"], InputError, "cannot be read"),
        (["{text}", "--model", "{text}"], Exception, "model"),
        (["{text}", "--format", "doc"], ConfigError, "format"),
        (["score", "{text}", "nothing"], InputError, "nothing"),
        (["discover", "{text}", "-o", "w", "--max-length", "1"], ConfigError, "max_length"),
        (["train", "nothing", "-o", "{text}.model"], InputError, "nothing"),
    ],
)
def test_what_goes_wrong_is_said(text, arguments, error, what):
    with pytest.raises(error, match=what):
        run(*[str(a).format(text=text) for a in arguments])


def test_a_dictionary_with_a_bad_line_is_named_with_the_line(text, tmp_path):
    words = tmp_path / "user.txt"
    words.write_text("春天\n山水\t5\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"user\.txt:2"):
        run(text, "--user-dictionary", words)


GOLD = "我 在 北京 大学\n春天 的 时候\n我 想 去 北京\n" * 60


@pytest.fixture
def plain_gold(tmp_path):
    path = tmp_path / "gold.txt"
    path.write_text(GOLD, encoding="utf-8")
    return path


def tagged(words):
    tags = (("S",) if len(word) == 1 else ("B", *"M" * (len(word) - 2), "E") for word in words)
    return "".join(f"{c} {t}\n" for word, its in zip(words, tags) for c, t in zip(word, its)) + "\n"


def test_training_reads_tags_for_the_development_text_too(plain_gold, tmp_path):
    bmes = tmp_path / "gold.bmes"
    bmes.write_text("".join(tagged(line.split()) for line in GOLD.splitlines()), encoding="utf-8")
    tables = [
        run("train", path, "--development", path, "--format", form, "-o", tmp_path / "m", "--epochs", 1)
        for path, form in ((plain_gold, "words"), (bmes, "bmes"))
    ]
    assert tables[0] == tables[1]


def test_training_text_from_standard_input_is_read_once(plain_gold, tmp_path):
    more = ("--development", plain_gold, "-o", tmp_path / "m", "--epochs", 1)
    assert run("train", "-", *more, stdin=plain_gold.read_bytes()) == run("train", plain_gold, *more)


def test_text_without_words_is_noticed(text, tmp_path, capsys):
    text.write_text("我想去北京\n春天的时候\n" * 40, encoding="utf-8")
    result = CliRunner().invoke(segment, ["train", str(text), "-o", str(tmp_path / "m"), "--epochs", "1"])
    assert "hold a single word" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("train", "gold.txt", "-o", "gold.txt"), "also an input"),
        (("discover", "in.txt", "-o", "in.txt"), "also an input"),
        (("cut", "in.txt", "--user-dictionary", "user.txt", "-o", "user.txt"), "also an input"),
        (("discover", "in.txt", "-o", "x.tsv", "--scores", "x.tsv"), "also another output"),
        (("discover", "in.txt", "-o", "new.txt", "--scores", "x.xyz"), "tells no format"),
        (("cut", "in.txt", "-o", "x.parquet"), "is not written"),
        (("cut", "in.txt", "in.txt"), "named twice"),
        (("cut", "in.txt", "--separator", "\udcff"), "not UTF-8"),
        (("score", "-", "-"), "only once"),
        (("train", "gold.txt", "-o", "/dev/null"), "device"),
        (("cut", "rows.jsonl", "--text-column", "nope", "-o", "old.txt"), "none of 1 records"),
    ],
)
def test_what_would_lose_something_is_refused_before_the_work(
    plain_gold, text, tmp_path, monkeypatch, arguments, what
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user.txt").write_text("云原生\n", encoding="utf-8")
    (tmp_path / "old.txt").write_text("kept", encoding="utf-8")
    (tmp_path / "rows.jsonl").write_text('{"text": "春天"}\n', encoding="utf-8")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises((ConfigError, InputError), match=what):
        run(*arguments)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_columns_of_the_document_survive_and_json_stays_json(tmp_path):
    from pyarrow import parquet

    table = pa.table({"text": ["春天"], "words": ["mine"], "f": [float("nan")], "b": [b"\xff\x00"]})
    parquet.write_table(table, tmp_path / "n.parquet")

    def refuse(constant):
        raise AssertionError(constant)

    row = json.loads(run(tmp_path / "n.parquet", "--to", "jsonl"), parse_constant=refuse)
    assert row["original_words"] == "mine" and row["words"] == ["春天"]
    assert row["f"] is None and row["b"] == "/wA="
