"""What continued BPE promises about the base, as properties."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit import vocab
from corpuskit.errors import ArtifactError, ConfigError, InputError
from corpuskit.vocab.bytelevel import O200K_PATTERN, ByteLevelBPE
from corpuskit.vocab.extension import character_structure

MIXED = st.one_of(
    st.text(max_size=40),
    st.text("我们的朋友正在学习自然语言处理，。！？ＡＢＣ２３　 abc's 12\n<|endoftext|>", max_size=60),
).map(lambda text: text.encode("utf-8", "ignore").decode())


def boundaries(tokenizer, text):
    ends, position = {0}, 0
    for token_id in tokenizer.encode(text):
        position += len(tokenizer.vocabulary.tokens[token_id])
        ends.add(position)
    return ends


def test_old_ids_bytes_and_special_tokens_are_unchanged(gpt2, extended):
    assert extended.vocab_size == 50257 + 200
    assert extended.vocabulary.tokens[:50257] == gpt2.vocabulary.tokens
    assert extended.vocabulary.merges[:50000] == gpt2.vocabulary.merges
    assert extended.special_tokens == gpt2.special_tokens == {"<|endoftext|>": 50256}
    assert extended.provenance["base_fingerprint"] == gpt2.fingerprint


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(max_codepoint=127), max_size=80))
def test_ascii_text_encodes_identically(gpt2, extended, text):
    assert extended.encode(text) == gpt2.encode(text)


@settings(max_examples=200, deadline=None)
@given(text=MIXED)
def test_every_new_boundary_is_an_old_one(gpt2, extended, text):
    assert boundaries(extended, text) <= boundaries(gpt2, text)


@settings(max_examples=200, deadline=None)
@given(text=MIXED)
def test_any_text_survives(extended, text):
    assert extended.decode(extended.encode(text)) == text


def test_every_new_token_is_new_reachable_and_made_of_whole_characters(extended):
    tokens = extended.vocabulary.tokens
    assert len(extended.vocabulary.ids) == len(tokens) - 1
    assert extended.vocabulary.unreachable() == []
    for token_id in range(50257, extended.vocab_size):
        token = tokens[token_id]
        assert min(token) >= 0x80
        try:
            assert extended.encode(token.decode()) == [token_id]
        except UnicodeDecodeError as error:  # the prefix of one character
            assert error.start == 0 and error.reason == "unexpected end of data"


def test_chinese_punctuation_and_full_width_forms_take_part(extended):
    made = {t.decode("utf-8", "ignore") for t in extended.vocabulary.tokens[50257:]}
    assert {"，", "我们"} <= made
    assert any(c in token for token in made for c in "ＡＢＣ２３")


def test_order_of_documents_does_not_change_a_byte(small, chinese):
    shuffled = list(chinese)
    random.Random(2).shuffle(shuffled)
    assert vocab.extend(small, shuffled, 90).files() == vocab.extend(small, chinese, 90).files()


def test_fewer_pairs_than_asked_for_says_how_many(small):
    with pytest.raises(ConfigError, match=r"only (\d+) new tokens") as caught:
        vocab.extend(small, ["广场" * 30 + "。"], 1000)
    count = int(str(caught.value).split("only ")[1].split()[0])
    assert vocab.extend(small, ["广场" * 30 + "。"], count).vocab_size == 300 + count


@pytest.mark.parametrize(
    ("texts", "message"), [(["only English here"], "ASCII"), ([], "no text"), ([""], "no text")]
)
def test_a_corpus_without_chinese_is_an_input_error(small, texts, message):
    with pytest.raises(InputError, match=message):
        vocab.extend(small, texts, 10)


def test_other_bases_are_refused(small, chinese, tmp_path):
    pieces = vocab.train(chinese, algorithm="sentencepiece-bpe", vocab_size=400)
    with pytest.raises(ConfigError, match="base"):
        vocab.extend(pieces, chinese, 10)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ArtifactError):
        vocab.extend(tmp_path, chinese, 10)
    with pytest.raises(ConfigError, match="num_new_tokens"):
        vocab.extend(small, chinese, 0)


def test_an_extension_can_be_extended(small, chinese):
    twice = vocab.extend(vocab.extend(small, chinese, 60), chinese, 30)
    once = vocab.extend(small, chinese, 90)
    assert twice.vocabulary == once.vocabulary


def test_extending_our_own_vocabulary_is_going_on_training(small, chinese):
    longer = vocab.extend(small, chinese, 40)
    assert longer.vocabulary.unreachable() == []
    assert longer.exportable_formats == ("tokenizer.json", "tiktoken")
    assert longer.special_tokens == {"<|endoftext|>": 299}


def test_tokens_that_the_pattern_cuts_when_alone_are_not_made():
    # o200k's pattern takes 我Ａｂ whole, but cuts 我|Ａ where nothing follows.
    base = vocab.Tokenizer(ByteLevelBPE(tuple(bytes([b]) for b in range(256)), (), {}, O200K_PATTERN))
    texts = [f"我Ａ{letter}" for letter in "ａｂｃｄｅｆｇｈ"] * 5
    extended = vocab.extend(base, texts, 12)
    for token in extended.vocabulary.tokens[256:]:
        if character_structure(token)[2] == 0:
            assert extended.encode(token.decode()) == [extended.vocabulary.ids[token]]


def test_character_structure():
    assert character_structure("我".encode()) == (0, 1, 0)
    assert character_structure("我想".encode()[:4]) == (0, 1, 2)
    assert character_structure("😀".encode()[:1]) == (0, 0, 3)
    assert character_structure("我想".encode()[1:]) == (2, 1, 0)
    assert character_structure(b"\x80") == (1, 0, 0)
    for token in (None, b"a", "我a".encode(), "我想".encode()[1:5], b"\xff", b"\xc3\xc3", b"\x80" * 4):
        assert character_structure(token) is None
