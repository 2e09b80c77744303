import pytest
from small_models import END, TOKENIZER, lively_model, random_t5

from corpuskit.errors import ConfigError
from corpuskit.generate import Chat, ChatFormat, Generator, Turn
from corpuskit.generate.chat import _Unescaped

CONTINUES = Generator(lively_model(context=120), TOKENIZER)
ANSWERS = Generator(random_t5(0), TOKENIZER)
LENGTH = len(TOKENIZER.encode("用户：甲\\n小元：乙\\n"))


def test_an_encoder_decoder_reads_the_conversation_as_chatyuan_writes_it():
    chat = Chat(ANSWERS, turns=[Turn("你好", "您好\n有什么事？")])
    ids = chat.prompt("一\t二", 10)
    assert ids[-1] == END
    assert TOKENIZER.decode(ids[:-1]) == "用户：你好\\n小元：您好\\n有什么事？\\n用户：一\\t二\\n小元："


def test_a_causal_model_reads_the_pieces_it_was_trained_on():
    encode = TOKENIZER.encode
    chat = Chat(CONTINUES, turns=[Turn("a", "b")])
    expected = [
        *encode("用户：a\\n"), *encode("小元："), *encode("b"), END, *encode("\\n"),
        *encode("用户：ab\\n"), *encode("小元："),
    ]  # fmt: skip
    assert chat.prompt("ab", 10) == expected
    plain = ChatFormat(user="Q: ", assistant="A: ", system="S\n", escape=False, end_turns=False)
    text = TOKENIZER.decode(Chat(CONTINUES, plain, turns=[Turn("a", "b")]).prompt("c", 10))
    assert text == "S\nQ: a\nA: b\nQ: c\nA: "


@pytest.mark.parametrize("context_length", range(LENGTH, 6 * LENGTH, 7))
def test_history_is_cut_at_whole_turns_and_no_earlier_than_needed(context_length):
    turns = [Turn("甲", "乙")] * 6
    chat = Chat(ANSWERS, context_length=context_length, turns=turns)
    text = TOKENIZER.decode(chat.prompt("丙", 10)[:-1])
    whole = "用户：甲\\n小元：乙\\n"
    kept = text.count(whole)
    assert text == whole * kept + "用户：丙\\n小元："
    longer = len(TOKENIZER.encode(whole * (kept + 1) + "用户：丙\\n小元：")) + 1
    assert kept == 6 or longer > context_length


def test_at_most_max_turns_are_read():
    chat = Chat(ANSWERS, turns=[Turn("甲", "乙")] * 6, max_turns=2)
    assert TOKENIZER.decode(chat.prompt("丙", 10)[:-1]).count("甲") == 2


@pytest.mark.parametrize("generator", [ANSWERS, CONTINUES])
def test_answers_join_the_conversation_and_stream_as_they_are_asked(generator):
    first = Chat(generator)
    answer = first.ask("甲", 12, temperature=0)
    assert first.turns == [Turn("甲", answer)]
    second = Chat(generator)
    assert "".join(second.stream("甲", 12, temperature=0)) == answer
    assert second.turns == first.turns
    assert first.prompt("乙", 4) != Chat(generator).prompt("乙", 4)


def test_a_broken_off_answer_is_forgotten():
    chat = Chat(CONTINUES)
    pieces = chat.stream("甲", 20, temperature=0)
    next(pieces)
    pieces.close()
    assert chat.turns == []


def test_questions_that_cannot_be_answered_are_refused():
    with pytest.raises(ConfigError, match=r"question.*nothing to answer"):
        Chat(CONTINUES).ask(" \n")
    with pytest.raises(ConfigError, match=r"question.*do not fit a context of 120"):
        Chat(CONTINUES).ask("长" * 40, 10)
    with pytest.raises(ConfigError, match="context_length"):
        Chat(CONTINUES, context_length=1000)
    with pytest.raises(ConfigError, match="user"):
        ChatFormat(user="")


def test_escapes_are_read_back_also_when_they_come_in_two_pieces():
    unescaped = _Unescaped(True)
    pieces = [unescaped.push(piece) for piece in ("一\\", "n二\\t", "三\\", "四\\")]
    assert pieces == ["一", "\n二\t", "三", "\\四"]
    assert unescaped.finish() == "\\"
    assert _Unescaped(False).push("\\n") == "\\n"
