"""`tokenizer.json` of SentencePiece models: the ids of the sentencepiece library, elsewhere."""

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit import vocab
from corpuskit.vocab import piece_json
from corpuskit.vocab.model_proto import without_dummy_prefix

KINDS = ("sentencepiece-unigram", "sentencepiece-bpe")
ALPHABET = "我们的北京大学一是在 ab12\n\t，。\U00020000é▁（）  "


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request, chinese):
    return vocab.train(
        chinese,
        algorithm=request.param,
        vocab_size=450,
        required_characters="",
        user_defined_symbols=("ab1",),
    )


@pytest.fixture(scope="module")
def converted(tokenizer):
    return tokenizers.Tokenizer.from_str(piece_json.to_json(tokenizer.vocabulary.model))


@settings(max_examples=200, deadline=None)
@given(text=st.one_of(st.text(ALPHABET, max_size=80), st.text(max_size=30)))
def test_ids_equal_the_librarys(tokenizer, converted, text):
    text = text.encode("utf-8", "ignore").decode()
    ids = tokenizer.encode(text)
    assert converted.encode(text, add_special_tokens=False).ids == ids
    assert converted.decode(ids) == tokenizer.decode(ids)


def test_documents_get_the_same_ids(tokenizer, converted, chinese):
    for text in chinese:
        assert converted.encode(text, add_special_tokens=False).ids == tokenizer.encode(text)


def test_transformers_loads_what_is_saved(tokenizer, tmp_path, chinese, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(str(tokenizer.save(tmp_path / "t")))
    assert len(theirs) == tokenizer.vocab_size
    assert theirs.eos_token_id == tokenizer.end_of_text_id
    for text in chinese[:20]:
        assert theirs(text)["input_ids"] == tokenizer.encode(text)
    assert theirs("我<|endoftext|>")["input_ids"][-1] == tokenizer.end_of_text_id
    assert vocab.Tokenizer.load(tmp_path / "t").fingerprint == tokenizer.fingerprint


def test_a_model_that_changes_the_text_is_not_converted(tokenizer):
    model = tokenizer.vocabulary.model
    # Field 3 of the model, the normaliser, and in it field 3: put a space before each text.
    assert piece_json.to_json(model + bytes([3 << 3 | 2, 2, 3 << 3, 1])) is None
    assert piece_json.to_json(without_dummy_prefix(model + bytes([3 << 3 | 2, 2, 3 << 3, 1]))) is not None
