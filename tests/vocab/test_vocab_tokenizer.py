"""The tokenizer object and its artifact, against tiktoken, tokenizers and transformers."""

import json
import os
import pickle
import subprocess
import sys

import pyarrow as pa
import pytest
import tiktoken
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tiktoken.load import load_tiktoken_bpe

from corpuskit import vocab
from corpuskit.errors import ArtifactError, ConfigError, InputError, UnsupportedExport

TEXTS = [
    "我想",
    "",
    "Hello,  world's 12345\n\n\t",
    "，。！？《》",
    "龍😀 zebra 中国",
    "a<|endoftext|>b",
    "　　全角　",
]


@pytest.fixture(scope="module")
def oracle(gpt2):
    """tiktoken's encoder over ranks that our exporter wrote, with the pattern it wrote."""

    def build(tokenizer, directory):
        path = tokenizer.export("tiktoken", directory / "out.tiktoken")
        side = json.loads(path.with_name("out.tiktoken.json").read_text(encoding="utf-8"))
        ranks = load_tiktoken_bpe(str(path))
        return tiktoken.Encoding("out", mergeable_ranks=ranks, **side)

    return build


def test_gpt2_gives_tiktokens_ids(gpt2, oracle, tmp_path, chinese):
    encoding = oracle(gpt2, tmp_path)
    assert encoding.n_vocab == gpt2.vocab_size == 50257
    for text in [*TEXTS, *chinese[:50]]:
        assert gpt2.encode(text) == encoding.encode_ordinary(text)
        assert gpt2.encode(text, allow_special=True) == encoding.encode(text, allowed_special="all")


@settings(max_examples=100, deadline=None)
@given(text=st.text())
def test_decoding_an_encoding_gives_the_text(gpt2, extended, text):
    text = text.encode("utf-8", "ignore").decode()
    assert gpt2.decode(gpt2.encode(text)) == text
    assert extended.decode(extended.encode(text)) == text


def test_text_that_looks_special_stays_text_unless_asked(gpt2):
    text = "前<|endoftext|>后"
    assert gpt2.end_of_text_id == 50256 not in gpt2.encode(text)
    assert gpt2.encode(text, allow_special=True).count(50256) == 1
    assert gpt2.decode(gpt2.encode(text, allow_special=True)) == text
    assert 50256 not in gpt2.encode_batch(pa.array([text])).values.to_pylist()


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_encode_batch_equals_encode(gpt2, extended, kind):
    for tokenizer, dtype in ((gpt2, pa.uint16()), (extended, pa.uint16())):
        array = tokenizer.encode_batch(pa.array(["x", *TEXTS], kind).slice(1))
        assert array.type == pa.large_list(dtype)
        assert array.to_pylist() == [tokenizer.encode(text) for text in TEXTS]


def test_encode_batch_refuses_what_is_not_text(gpt2):
    with pytest.raises(InputError, match="int64"):
        gpt2.encode_batch(pa.array([1]))
    with pytest.raises(InputError, match="null"):
        gpt2.encode_batch(pa.array(["a", None]))
    assert len(gpt2.encode_batch(pa.array([], pa.string()))) == 0
    assert gpt2.encode_batch(pa.chunked_array([["a"], ["b"]])).to_pylist() == [[64], [65]]


def test_lone_surrogates_and_foreign_ids_are_refused(gpt2):
    with pytest.raises(InputError, match="surrogate"):
        gpt2.encode("a\ud800")
    with pytest.raises(InputError, match="50257"):
        gpt2.decode([50257])


def test_the_artifact_round_trips_and_pickles(extended, tmp_path):
    loaded = vocab.load(extended.save(tmp_path / "zh"))
    assert loaded.files() == extended.files()
    for other in (loaded, pickle.loads(pickle.dumps(extended))):
        assert other.fingerprint == extended.fingerprint
        assert other.provenance == extended.provenance
        assert [other.encode(t) for t in TEXTS] == [extended.encode(t) for t in TEXTS]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["zh"]
    extended.save(tmp_path / "zh")  # replaces an older artifact


def test_saving_never_replaces_something_else(extended, tmp_path):
    (tmp_path / "precious.txt").write_text("x")
    with pytest.raises(ConfigError, match="not a tokenizer"):
        extended.save(tmp_path)


def test_a_changed_or_newer_artifact_is_refused(extended, gpt2, tmp_path):
    extended.save(tmp_path / "a")
    gpt2.save(tmp_path / "b")
    (tmp_path / "a" / "tokenizer.json").write_bytes((tmp_path / "b" / "tokenizer.json").read_bytes())
    with pytest.raises(ArtifactError, match="fingerprint"):
        vocab.load(tmp_path / "a")
    metadata = json.loads((tmp_path / "b" / "corpuskit.json").read_text(encoding="utf-8"))
    (tmp_path / "b" / "corpuskit.json").write_text(json.dumps({**metadata, "format_version": 99}))
    with pytest.raises(ArtifactError, match="99"):
        vocab.load(tmp_path / "b")
    with pytest.raises(ArtifactError, match=r"corpuskit\.json"):
        vocab.Tokenizer.load(tmp_path)


def test_provenance_does_not_enter_the_fingerprint(gpt2):
    other = vocab.Tokenizer(gpt2.vocabulary, {"anything": 1})
    assert other.fingerprint == gpt2.fingerprint


def test_transformers_reads_the_artifact_with_the_same_ids(extended, tmp_path, chinese, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    transformers = pytest.importorskip("transformers")
    trained = vocab.train(chinese, vocab_size=500)
    for name, tokenizer in (("extended", extended), ("trained", trained)):
        theirs = transformers.AutoTokenizer.from_pretrained(str(tokenizer.save(tmp_path / name)))
        assert len(theirs) == tokenizer.vocab_size
        assert theirs.eos_token_id == tokenizer.end_of_text_id
        for text in [*TEXTS, *chinese[:30]]:
            ids = tokenizer.encode(text, allow_special=True)
            assert theirs(text, add_special_tokens=True)["input_ids"] == ids
            assert theirs(text, split_special_tokens=True)["input_ids"] == tokenizer.encode(text)
            assert theirs.decode(ids) == text


def test_exports_give_the_same_ids(extended, oracle, tmp_path, chinese):
    assert extended.exportable_formats == ("tokenizer.json", "gpt2", "tiktoken")
    theirs = tokenizers.Tokenizer.from_file(str(extended.export("tokenizer.json", tmp_path / "t.json")))
    encoding = oracle(extended, tmp_path)
    again = [
        vocab.load(extended.export("gpt2", tmp_path / "files")),
        vocab.load(tmp_path / "out.tiktoken"),
        vocab.load(tmp_path / "t.json"),
    ]
    assert [t.special_tokens for t in again] == [extended.special_tokens] * 3
    for text in [*TEXTS, *chinese[:100]]:
        ids = extended.encode(text)
        assert encoding.encode_ordinary(text) == ids
        assert theirs.encode(text).ids == extended.encode(text, allow_special=True)
        assert [tokenizer.encode(text) for tokenizer in again] == [ids] * 3


@pytest.fixture(scope="module")
def by_rank(extended):
    return tiktoken.Encoding(
        "x",
        pat_str=extended.vocabulary.pattern,
        mergeable_ranks=extended.vocabulary.ids,
        special_tokens=extended.special_tokens,
    )


@settings(max_examples=100, deadline=None)
@given(text=st.text("我们的天安门广场，。！ＡＢＣ abc's 12\n　", max_size=40))
def test_ranks_and_merges_agree_on_mixed_text(extended, by_rank, text):
    assert by_rank.encode_ordinary(text) == extended.encode(text)


def test_an_export_that_would_change_ids_is_refused(gpt2, small, tmp_path):
    assert small.exportable_formats == ("tokenizer.json", "tiktoken")
    for tokenizer, format in ((small, "gpt2"), (gpt2, "spiece.model"), (gpt2, "parquet")):
        with pytest.raises(UnsupportedExport, match=format):
            tokenizer.export(format, tmp_path / "x")


def test_importing_the_room_loads_neither_torch_nor_transformers_nor_numba():
    code = (
        "import sys, corpuskit.vocab;"
        "print([m for m in ('torch', 'transformers', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("place", ["file/sub", "/proc/none/t"])
def test_a_place_that_cannot_be_written_is_named(gpt2, tmp_path, place):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match=r"cannot be|can be made"):
        gpt2.save(tmp_path / place)


@pytest.mark.parametrize(
    "content",
    ["[1]", '{"model": {"type": "BPE", "vocab": [1], "merges": 5}}',
     '{"model": {"vocab": {"a": 0}, "merges": ["a a"]}, "pre_tokenizer": 7, "added_tokens": {"a": 1}}'],
)  # fmt: skip
def test_a_tokenizer_json_of_another_shape_is_named(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
    with pytest.raises(ArtifactError):
        vocab.load(tmp_path / "tokenizer.json")


def test_a_description_without_special_tokens_is_named(tmp_path, chinese):
    vocab.train(chinese, algorithm="sentencepiece-bpe", vocab_size=400, required_characters="").save(
        tmp_path / "t"
    )
    path = tmp_path / "t" / "corpuskit.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    del stored["special_tokens"]
    path.write_text(json.dumps(stored), encoding="utf-8")
    with pytest.raises(ArtifactError, match="special_tokens"):
        vocab.Tokenizer.load(tmp_path / "t")


def test_user_symbols_with_spaces_are_refused(chinese):
    with pytest.raises(ConfigError, match="holds a space"):
        vocab.train(chinese, algorithm="sentencepiece-bpe", vocab_size=400, user_defined_symbols=("a b",))
