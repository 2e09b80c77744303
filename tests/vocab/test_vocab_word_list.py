"""A token for every word of a list, and what that costs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpuskit import vocab
from corpuskit.errors import ConfigError, InputError
from corpuskit.vocab.bytelevel import GPT2_PATTERN, ByteLevelBPE
from corpuskit.vocab.cost import ENGLISH_LINES, ExtensionCost, extension_cost
from corpuskit.vocab.model_proto import read_model
from corpuskit.vocab.word_list import add_words, read_words

WORDS = ["我们", "图书馆", "中华人民共和国", "自然语言处理", "上海", "海上", "ＡＢＣ公司", "龘", "😀", "，"]


@pytest.fixture(scope="module")
def base() -> vocab.Tokenizer:
    """GPT-2's pattern over 256 bytes and a few English merges."""
    return vocab.train(list(ENGLISH_LINES), vocab_size=300, pattern=GPT2_PATTERN, require_chinese=False)


@pytest.fixture(scope="module")
def listed(base) -> vocab.Tokenizer:
    return add_words(base, WORDS)


@pytest.fixture(scope="module")
def pieces(chinese) -> vocab.Tokenizer:
    return vocab.train([*chinese[:20], *ENGLISH_LINES * 5], algorithm="sentencepiece-bpe", vocab_size=500)


def test_every_word_is_one_token_and_its_cost_is_recorded(base, listed):
    for word in WORDS:
        assert len(listed.encode(word)) == 1
    facts = listed.provenance["word_list"]
    assert facts["words"] == facts["made"] == len(WORDS)
    assert facts["known"] == 0 and facts["skipped"] == {}
    assert listed.vocab_size == base.vocab_size + facts["made"] + facts["parts"]
    assert listed.vocabulary.unreachable() == []


def test_words_become_pieces_of_a_sentencepiece_model(pieces):
    listed = add_words(pieces, WORDS)
    for word in WORDS:
        assert len(listed.encode(word)) == 1
    facts = listed.provenance["word_list"]
    assert facts["made"] + facts["known"] == len(WORDS)
    old, new = read_model(pieces.vocabulary.model).pieces, read_model(listed.vocabulary.model).pieces
    assert new[: len(old)] == old
    assert len(new) == len(old) + facts["made"] + facts["parts"]


@given(text=st.text(max_size=40) | st.text("我们上海海上的图书馆，ＡＢＣ公司 a'b1", max_size=30))
def test_the_promises_of_extending_hold(base, listed, text):
    text = text.encode("utf-8", "ignore").decode()
    old, new = (
        [tokenizer.vocabulary.tokens[i] for i in tokenizer.encode(text)] for tokenizer in (base, listed)
    )
    assert b"".join(new) == b"".join(old) == text.encode()
    assert borders(new) <= borders(old)
    if text.isascii():
        assert new == old


def borders(tokens: list[bytes]) -> set[int]:
    ends, position = set(), 0
    for token in tokens:
        position += len(token)
        ends.add(position)
    return ends


def test_order_and_repetition_of_the_list_do_not_matter(base, listed):
    assert add_words(base, [*reversed(WORDS), *WORDS]).files() == listed.files()


def test_words_that_are_tokens_already_cost_nothing(listed):
    again = add_words(listed, [*WORDS, "北京"])
    assert again.provenance["word_list"]["known"] == len(WORDS)
    with pytest.raises(InputError, match="10 are tokens already"):
        add_words(listed, WORDS)


def test_where_words_overlap_the_more_frequent_wins(base):
    for counts, cut in (({"上海": 9, "海上": 2}, "上海|上"), ({"上海": 2, "海上": 9}, "上|海上")):
        tokenizer = add_words(base, counts | {"上": 1, "海": 1})
        assert "|".join(tokenizer.decode([i]) for i in tokenizer.encode("上海上")) == cut


@pytest.mark.parametrize(
    ("word", "reason"),
    [("T恤", "ASCII"), ("the", "ASCII"), ("自然 语言", "ASCII"), ("你好，世界", "pattern")],
)
def test_words_that_cannot_be_tokens_are_refused_or_left_out_by_name(base, word, reason):
    with pytest.raises(ConfigError, match=rf"{word}.*{reason}"):
        add_words(base, ["我们", word])
    skipped = add_words(base, ["我们", word], problems="skip").provenance["word_list"]["skipped"]
    assert list(skipped) == [word] and reason in skipped[word]
    with pytest.raises(InputError, match="none of 1 words"):
        add_words(base, [word], problems="skip")


def test_an_old_token_across_characters_keeps_a_word_from_being_made():
    torn = "我们".encode()[2:4]
    tokens = (*(bytes([byte]) for byte in range(256)), torn)
    old = vocab.Tokenizer(ByteLevelBPE(tokens, ((torn[0], torn[1]),), {}, GPT2_PATTERN))
    with pytest.raises(ConfigError, match="inside a character"):
        add_words(old, ["我们"])


@pytest.mark.parametrize("words", [[], ["我们", ""], ["\ud800"], [3]])
def test_lists_that_are_no_lists_of_words_are_input_errors(base, words):
    with pytest.raises(InputError):
        add_words(base, words)


def test_impossible_settings_are_refused(base, chinese):
    for arguments, field in (
        ({"words": "我们"}, "not a list"),
        ({"words": {"我们": 0}}, "count"),
        ({"words": ["我们"], "problems": "ignore"}, "problems"),
    ):
        with pytest.raises(ConfigError, match=field):
            add_words(base, **arguments)
    unigram = vocab.train(chinese, algorithm="sentencepiece-unigram", vocab_size=400)
    with pytest.raises(ConfigError, match="unigram"):
        add_words(unigram, ["我们"])


def test_word_files_hold_words_and_counts(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("\ufeff我们\t5\n\n图书馆\n 我们 \n", encoding="utf-8")
    assert read_words(path) == {"我们": 6, "图书馆": 1}
    path.write_text("我们\tmany\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"words\.txt, line 1"):
        read_words(path)
    path.write_bytes("我们".encode("gbk"))
    with pytest.raises(InputError, match="unreadable"):
        read_words(path)


def test_the_cost_of_an_extension_is_counted_on_a_text(base, listed):
    text = "我们在上海的图书馆。"
    cost = extension_cost(base, listed, [text, "", text])
    new = listed.encode(text)
    assert cost == ExtensionCost(
        num_new_tokens=listed.vocab_size - base.vocab_size,
        text_bytes=2 * len(text.encode()),
        tokens_before=2 * len(base.encode(text)),
        tokens_after=2 * len(new),
        unused=listed.vocab_size - base.vocab_size - len({i for i in new if i >= base.vocab_size}),
        ascii_lines=len(ENGLISH_LINES),
        changed_lines=0,
    )
    assert "x fewer tokens" in str(cost) and "cut differently: 0 of" in str(cost)
    with pytest.raises(InputError, match="no text"):
        extension_cost(base, listed, [])


def test_odd_counts_and_spaces_in_a_list(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("图书馆 \t50\n", encoding="utf-8")
    assert read_words(path) == {"图书馆": 50}
    path.write_text("图书馆\t" + "9" * 5000 + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="is no count"):
        read_words(path)
