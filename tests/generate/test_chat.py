import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_models import END, TOKENIZER, lively_model, random_t5

from corpuskit.errors import ConfigError
from corpuskit.generate import Chat, Dialogue, Generator, Turn
from corpuskit.generate.chat import _Unescaped
from corpuskit.train.preparation import encode_pieces

CONTINUES = Generator(lively_model(context=120), TOKENIZER)
ANSWERS = Generator(random_t5(0), TOKENIZER)
LENGTH = len(TOKENIZER.encode("用户：甲\\n小元：乙\\n"))


def said(question, answer):
    return [Turn("user", question), Turn("assistant", answer)]


def test_an_encoder_decoder_reads_the_conversation_as_chatyuan_writes_it():
    chat = Chat(ANSWERS, turns=said("你好", "您好\n有什么事？"))
    ids = chat.prompt("一\t二", 10)
    assert ids[-1] == END
    assert TOKENIZER.decode(ids[:-1]) == "用户：你好\\n小元：您好\\n有什么事？\\n用户：一\\t二\\n小元："


def test_a_causal_model_reads_the_pieces_it_was_trained_on():
    encode = TOKENIZER.encode
    chat = Chat(CONTINUES, turns=said("a", "b"))
    expected = [
        *encode("用户：a\\n"), *encode("小元："), *encode("b"), END, *encode("\\n"),
        *encode("用户：ab\\n"), *encode("小元："),
    ]  # fmt: skip
    assert chat.prompt("ab", 10) == expected
    plain = Dialogue(user="Q: ", assistant="A: ", escape=False, end_turns=False)
    turns = [Turn("system", "S"), *said("a", "b")]
    text = TOKENIZER.decode(Chat(CONTINUES, plain, turns=turns).prompt("c", 10))
    assert text == "S\nQ: a\nA: b\nQ: c\nA: "


@pytest.mark.parametrize("context_length", range(LENGTH, 6 * LENGTH, 7))
def test_history_is_cut_at_whole_turns_and_no_earlier_than_needed(context_length):
    turns = said("甲", "乙") * 6
    chat = Chat(ANSWERS, context_length=context_length, turns=turns)
    text = TOKENIZER.decode(chat.prompt("丙", 10)[:-1])
    whole = "用户：甲\\n小元：乙\\n"
    kept = text.count(whole)
    assert text == whole * kept + "用户：丙\\n小元："
    longer = len(TOKENIZER.encode(whole * (kept + 1) + "用户：丙\\n小元：")) + 1
    assert kept == 6 or longer > context_length


def test_at_most_max_turns_are_read():
    chat = Chat(ANSWERS, turns=said("甲", "乙") * 6, max_turns=2)
    assert TOKENIZER.decode(chat.prompt("丙", 10)[:-1]).count("甲") == 2


@pytest.mark.parametrize("generator", [ANSWERS, CONTINUES])
def test_answers_join_the_conversation_and_stream_as_they_are_asked(generator):
    first = Chat(generator)
    answer = first.ask("甲", 12, temperature=0)
    assert first.turns == said("甲", answer)
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
        Dialogue(user="")


def test_escapes_are_read_back_also_when_they_come_in_two_pieces():
    unescaped = _Unescaped(True)
    pieces = [unescaped.push(piece) for piece in ("一\\", "n二\\t", "三\\", "四\\")]
    assert pieces == ["一", "\n二\t", "三", "\\四"]
    assert unescaped.finish() == "\\"
    assert _Unescaped(False).push("\\n") == "\\n"


def test_what_stands_before_the_first_question_is_never_cut():
    turns = [Turn("system", "你是谁"), *said("甲", "乙") * 6]
    for chat in (Chat(ANSWERS, turns=turns, max_turns=1), Chat(CONTINUES, turns=turns)):
        text = TOKENIZER.decode(chat.prompt("丙", 10))
        assert text.startswith("你是谁\\n用户：甲") and text.count("甲") < 6


words = st.text(
    st.characters(codec="utf-8", categories=["L", "P", "Zs"], include_characters="\n\t\\"), max_size=6
)
dialogues = st.builds(
    Dialogue, user=st.sampled_from(["用户：", "U\n"]), system=st.sampled_from(["", "系统："]),
    separator=st.sampled_from(["\n", "", "\n\n"]), escape=st.booleans(), end_turns=st.booleans(),
    turns=st.sampled_from(["whole", "each"]), max_history=st.sampled_from([None, 0, 3]),
)  # fmt: skip


@given(
    dialogues,
    st.booleans(),
    st.lists(st.tuples(words.filter(str.strip), words.filter(bool)), min_size=1, max_size=4),
)
def test_a_chat_prompt_is_the_beginning_of_the_training_text(dialogue, system, exchanges):
    """Token for token, after each question: `prepare` and `Chat` cannot differ."""
    turns = [Turn("system", "你是")] * system + [turn for pair in exchanges for turn in said(*pair)]
    documents = dialogue.documents(turns)
    batch = encode_pieces(["x"] * len(documents), documents, TOKENIZER)
    rows = [row.as_py() for row in batch.column("tokens")]
    masks = [row.as_py() for row in batch.column("loss_mask")]
    generator = Generator(lively_model(context=2000), TOKENIZER)
    for number, (question, answer) in enumerate(exchanges):
        before = turns[: system + 2 * number]
        ids = Chat(generator, dialogue, turns=before).prompt(question, 1)
        row, mask = (rows[0], masks[0]) if dialogue.turns == "whole" else (rows[number], masks[number])
        wanted = TOKENIZER.encode(dialogue.written(answer))
        assert row[: len(ids)] == ids and row[len(ids) : len(ids) + len(wanted)] == wanted
        assert mask[len(ids) - 1] == 0 and all(mask[len(ids) : len(ids) + len(wanted)])
