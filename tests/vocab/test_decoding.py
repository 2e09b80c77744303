"""Decoding as ids arrive, and where tokens lie in the text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpuskit import vocab
from corpuskit.errors import ConfigError, InputError
from corpuskit.vocab.bytelevel import ByteLevelBPE

TEXT = "我们a龍😀 ｚ，é \u0301"


@pytest.fixture(scope="module")
def pieces(chinese):
    return vocab.train(chinese, algorithm="sentencepiece-bpe", vocab_size=600)


@pytest.fixture(params=["gpt2", "small", "pieces"])
def tokenizer(request):
    return request.getfixturevalue(request.param)


def test_pieces_of_a_stream_are_the_text_and_never_half_a_character(tokenizer):
    ids = tokenizer.encode(TEXT + "<|endoftext|>" + TEXT, allow_special=True)
    decoder = tokenizer.stream_decoder()
    for _ in range(2):  # after the end it is as new
        shown = [decoder.push(token_id) for token_id in ids]
        assert not any("\ufffd" in text for text in shown)
        assert "".join(shown) + decoder.finish() == tokenizer.decode(ids)
    assert "".join(decoder.decode(ids)) == tokenizer.decode(ids)
    assert all(decoder.decode(ids))


def test_a_stream_that_ends_inside_a_character_shows_it_at_the_end(gpt2, pieces):
    for tokenizer in (gpt2, pieces):
        ids = tokenizer.encode("好龘")[:-1]
        decoder = tokenizer.stream_decoder()
        shown = "".join(decoder.push(token_id) for token_id in ids)
        assert shown == "好"
        assert "\ufffd" in decoder.finish()


@given(ids=st.lists(st.integers(0, 299), max_size=30))
def test_streaming_any_ids_gives_what_decoding_at_once_gives(small, ids):
    assert "".join(small.stream_decoder().decode(ids)) == small.decode(ids)


@given(text=st.text(max_size=30))
def test_streaming_any_text_gives_the_text(gpt2, pieces, text):
    text = text.encode("utf-8", "ignore").decode()
    for tokenizer in (gpt2, pieces):
        ids = tokenizer.encode(text)
        assert "".join(tokenizer.stream_decoder().decode(ids)) == tokenizer.decode(ids)


def test_foreign_ids_are_refused(tokenizer):
    decoder = tokenizer.stream_decoder()
    for token_id in (-1, tokenizer.vocab_size):
        with pytest.raises(InputError, match=str(token_id)):
            decoder.push(token_id)
        with pytest.raises(InputError, match=str(token_id)):
            tokenizer.decode([token_id])


def test_spans_hold_the_tokens_text(tokenizer):
    text = "前<|endoftext|>" + TEXT
    ids, spans = tokenizer.encode_spans(text, allow_special=True)
    assert ids == tokenizer.encode(text, allow_special=True)
    assert spans.shape == (len(ids), 2) and spans.dtype == np.int64
    covered = {i for begin, end in spans for i in range(begin, end)}
    assert covered == set(range(len(text)))
    for token_id, (begin, end) in zip(ids, spans.tolist()):
        alone = tokenizer.decode([token_id])
        if "\ufffd" in alone:
            assert end > begin
        else:
            assert text[begin:end] == alone
    assert (text[1:14]) == "<|endoftext|>" and [1, 14] in spans.tolist()


@given(text=st.text(max_size=30))
def test_spans_in_bytes_are_the_tokens_bytes(gpt2, text):
    text = text.encode("utf-8", "ignore").decode()
    ids, spans = gpt2.encode_spans(text, unit="bytes")
    data = text.encode()
    assert [data[a:b] for a, b in spans.tolist()] == [gpt2.vocabulary.tokens[i] for i in ids]
    _, characters = gpt2.encode_spans(text)
    for (a, b), (first, last) in zip(spans.tolist(), characters.tolist()):
        inside = text[first:last].encode()
        assert data[a:b] in inside and len(inside) - (b - a) <= 6


@given(text=st.text("我们龍😀ab é", max_size=20))
def test_spans_are_those_of_tokenizers(gpt2, text):
    theirs = gpt2._backend.encode(text, add_special_tokens=False)
    ids, spans = gpt2.encode_spans(text)
    assert ids == theirs.ids
    # ByteLevel's post-processing (trim_offsets) leaves a token's space out; ours is not asked for.
    assert [tuple(span) for span in spans.tolist()] == theirs.offsets


def test_spans_where_text_is_normalised_first_are_those_of_the_original():
    tokens = tuple(bytes([b]) for b in range(256))
    tokenizer = vocab.Tokenizer(ByteLevelBPE(tokens, (), normaliser="nfc"))
    ids, spans = tokenizer.encode_spans("e\u0301x")
    assert ids == [0xC3, 0xA9, 0x78] and spans[-1].tolist() == [2, 3]
    with pytest.raises(ConfigError, match="unit"):
        tokenizer.encode_spans("x", unit="bytes")


def test_spans_of_nothing(tokenizer):
    ids, spans = tokenizer.encode_spans("")
    assert ids == [] and spans.shape == (0, 2)
    with pytest.raises(InputError, match="surrogate"):
        tokenizer.encode_spans("a\ud800")
