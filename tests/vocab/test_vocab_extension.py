"""What continued BPE promises about the base, as properties."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit import vocab
from corpuskit.errors import ArtifactError, ConfigError, InputError
from corpuskit.vocab.bytelevel import O200K_PATTERN, ByteLevelBPE
from corpuskit.vocab.continuation import character_structure

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


@pytest.fixture(
    scope="module",
    params=["gpt2", "trained", "ranks", pytest.param("cl100k_base.tiktoken", marks=pytest.mark.slow)],
)
def pair(request, chinese, tmp_path_factory) -> tuple[vocab.Tokenizer, vocab.Tokenizer]:
    """A base and its extension: GPT-2, one of ours, one read from tiktoken's ranks, and cl100k itself."""
    if request.param == "gpt2":
        return request.getfixturevalue("gpt2"), request.getfixturevalue("extended")
    if request.param == "cl100k_base.tiktoken":
        base = vocab.load(request.getfixturevalue("shared_data") / "tokenizers" / request.param)
    else:
        base = request.getfixturevalue("small")
        if request.param == "ranks":
            path = base.export("tiktoken", tmp_path_factory.mktemp("ranks") / "base.tiktoken")
            base = vocab.load(path)
    return base, vocab.extend(base, chinese, 90)


def test_old_ids_bytes_and_special_tokens_are_unchanged(gpt2, extended):
    assert extended.vocab_size == 50257 + 200
    assert extended.vocabulary.tokens[:50257] == gpt2.vocabulary.tokens
    assert extended.vocabulary.merges[:50000] == gpt2.vocabulary.merges
    assert extended.special_tokens == gpt2.special_tokens == {"<|endoftext|>": 50256}
    assert extended.provenance["base_fingerprint"] == gpt2.fingerprint


@settings(max_examples=100)
@given(text=st.text(st.characters(max_codepoint=127), max_size=80))
def test_ascii_text_encodes_identically(pair, text):
    base, longer = pair
    assert longer.encode(text) == base.encode(text)


@settings(max_examples=100)
@given(text=MIXED)
def test_every_new_boundary_is_an_old_one_and_any_text_survives(pair, text):
    base, longer = pair
    assert boundaries(longer, text) <= boundaries(base, text)
    assert longer.decode(longer.encode(text)) == text


@settings(max_examples=100)
@given(data=st.data())
def test_any_ids_decode_to_the_bytes_of_their_tokens(pair, data):
    _, longer = pair
    ids = data.draw(st.lists(st.integers(0, longer.vocab_size - 1), max_size=12))
    names = {token_id: name.encode() for name, token_id in longer.special_tokens.items()}
    joined = b"".join(longer.vocabulary.tokens[i] or names[i] for i in ids)
    assert longer.decode(ids) == joined.decode("utf-8", "replace")


def test_every_new_token_is_new_reachable_and_made_of_whole_characters(pair):
    base, longer = pair
    size, tokens = base.vocab_size, longer.vocabulary.tokens
    assert tokens[:size] == base.vocabulary.tokens
    assert len(longer.vocabulary.ids) == len(tokens) - len(longer.special_tokens)
    assert longer.vocabulary.unreachable(size) == []
    for token_id in range(size, longer.vocab_size):
        token = tokens[token_id]
        assert min(token) >= 0x80
        try:
            assert longer.encode(token.decode()) == [token_id]
        except UnicodeDecodeError as error:  # the prefix of one character
            assert error.start == 0 and error.reason == "unexpected end of data"


def test_both_encoders_lead_to_the_same_tokens(small, gpt2, chinese, monkeypatch):
    odd = ["I've 12３\u3000\u3000中　é我é\n\n", "", "don't\t中文。\r\n  龍😀" * 9]
    for base in (small, gpt2):
        by_kernel = vocab.extend(base, chinese[:60] + odd, 60)
        with monkeypatch.context() as patched:
            patched.setattr("corpuskit.vocab.extension.Encoder.of", lambda vocabulary: None)
            assert vocab.extend(base, chinese[:60] + odd, 60).vocabulary == by_kernel.vocabulary


def test_lone_surrogates_are_refused(extended):
    with pytest.raises(InputError, match="surrogate"):
        extended.encode("我\ud800")


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
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ArtifactError, match="no tokenizer"):
        vocab.extend(tmp_path, chinese, 10)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ArtifactError, match="no merges to go on from"):
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
    # o200k's pattern takes ªＡｂ whole, but cuts ª|Ａ where nothing follows.
    base = vocab.Tokenizer(ByteLevelBPE(tuple(bytes([b]) for b in range(256)), (), {}, O200K_PATTERN))
    texts = [f"ªＡ{letter}" for letter in "ａｂｃｄｅｆｇｈ"] * 5
    extended = vocab.extend(base, texts, 12)
    assert "ªＡ".encode() not in extended.vocabulary.ids
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


def test_a_text_that_is_no_unicode_is_named_in_a_message_that_can_be_printed(small):
    with pytest.raises(InputError, match=r"document 我\\ud800们+…, character 1") as caught:
        vocab.extend(small, ["我\ud800" + "们" * 500], 5)
    assert len(str(caught.value).encode()) < 400


def test_a_corpus_in_which_nothing_repeats_asks_for_more_text(small):
    with pytest.raises(ConfigError, match="only 0 new tokens") as caught:
        vocab.extend(small, ["龘靐"], 5)
    assert caught.value.hint == "give more text"
