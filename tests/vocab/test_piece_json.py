"""`tokenizer.json` of SentencePiece models: the ids of the sentencepiece library, elsewhere."""

import io
import random

import pytest
import sentencepiece
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit import vocab
from corpuskit.vocab import piece_json
from corpuskit.vocab.model_proto import PieceType, read_model, with_pieces
from corpuskit.vocab.pieces import SentencePieceModel

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
    for text in ("我<|endoftext|>", "<unk>我") if tokenizer.kind == "sentencepiece-bpe" else ():
        assert theirs(text, split_special_tokens=True)["input_ids"] == tokenizer.encode(text)
    assert vocab.Tokenizer.load(tmp_path / "t").fingerprint == tokenizer.fingerprint


# Fields of a model file: 3 is the normaliser, and in it 3 a space before each text, 4 removing white space.
DUMMY_PREFIX, REMOVE_SPACES = (bytes([3 << 3 | 2, 2, field << 3, 1]) for field in (3, 4))

SPACES = st.lists(
    st.sampled_from([" ", "  ", "\n", "a", "ab", "b", "我们", "的", "，", "ab1", "\t", "龘", " x", "é"]),
    max_size=25,
).map("".join)


def llama_like(**changes) -> bytes:
    """A BPE model like LLaMA's: byte fallback, pieces of many spaces and of overlapping letters."""
    lines = ["ab  aab\tbab    我们的aa   bbaaa x1  ", "        我们  在ababab\n    北京 "] * 30
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, model_type="bpe", vocab_size=310,
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True, hard_vocab_limit=False, minloglevel=2, num_threads=1, **changes,
    )  # fmt: skip
    return model.getvalue()


@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("symbols", [[], ["我们", "ab1"], ["\u2581x", "  ", "\n"]])
def test_models_of_llamas_kind_and_their_extensions_keep_their_ids(prefix, symbols, chinese):
    base = vocab.Tokenizer(
        SentencePieceModel.from_bytes(llama_like(add_dummy_prefix=prefix, user_defined_symbols=symbols))
    )
    both = []
    for tokenizer in (base, vocab.extend(base, chinese, 60)):
        converted = tokenizers.Tokenizer.from_str(piece_json.to_json(tokenizer.vocabulary.model))
        assert converted.get_vocab_size() == tokenizer.vocab_size
        both.append((tokenizer.vocabulary.processor, converted))

    @settings(max_examples=80, deadline=None)
    @given(text=SPACES | st.sampled_from(chinese))
    def check(text):
        for library, converted in both:
            ids = library.encode(text)
            assert converted.encode(text, add_special_tokens=False).ids == ids
            assert converted.decode(ids) == library.decode(ids)

    check()


def test_an_extended_llama_loads_as_any_tokenizer_of_transformers(
    shared_data, chinese, tmp_path, monkeypatch
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    transformers = pytest.importorskip("transformers")
    base = vocab.load(shared_data / "tokenizers" / "llama" / "tokenizer.model")
    extended = vocab.extend(base, chinese, 100)
    theirs = transformers.AutoTokenizer.from_pretrained(str(extended.save(tmp_path / "llama-zh")))
    chooser = random.Random(3)
    texts = [*chinese, "def f(x):\n    return  x\n\n\n        # 注释   两  格\t\n" * 3]
    texts += [" " * n + "a" + "\n" * n + "=" * n + "   " * n for n in range(40)]
    texts += [
        "".join(chooser.choice([" ", "  ", "\n", "a", "我", "-", "。"]) for _ in range(30))
        for _ in range(200)
    ]
    for text in texts:
        ids = extended.vocabulary.processor.encode(text)
        assert theirs(text)["input_ids"] == ids == extended.encode(text)
        assert theirs.decode(ids) == extended.decode(ids)
    special = "你好</s> 再见<s>"
    assert theirs(special)["input_ids"] == extended.encode(special, allow_special=True)
    for text in (special, "<unk>我", "a<0x41>"):
        assert theirs(text, split_special_tokens=True)["input_ids"] == extended.encode(text)


def test_a_model_whose_ids_would_change_is_not_converted(tokenizer, chinese):
    model = tokenizer.vocabulary.model
    assert piece_json.to_json(model + REMOVE_SPACES) is None
    assert piece_json.to_json(model + DUMMY_PREFIX) is not None
    described = read_model(llama_like())
    pair = [piece for piece in described.pieces if piece.type == PieceType.NORMAL and len(piece.text) > 1][:1]
    tied = with_pieces(llama_like(), [("我的", pair[0].score)])  # as where models were merged
    assert piece_json.to_json(tied) is None
    assert "tokenizer.json" not in vocab.Tokenizer(SentencePieceModel.from_bytes(tied)).files()
