import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_data import BYTES, TOKENIZER

from corpuskit import shards
from corpuskit.errors import ArtifactError, ConfigError, InputError
from corpuskit.train.formats import Dialogue, Piece, Turn, Unusable, split_dialogue
from corpuskit.train.preparation import encode_pieces, prepare
from corpuskit.vocab.bytelevel import ByteLevelBPE
from corpuskit.vocab.tokenizer import Tokenizer

END = 257
SPECIAL = Tokenizer(ByteLevelBPE((*BYTES, None, None), (), {"<|startoftext|>": 256, "<|endoftext|>": 257}))
TURNS = [{"from": "human", "value": "你好\n吗"}, {"from": "gpt", "value": "好\t的"},
         {"from": "human", "value": "再见"}, {"from": "gpt", "value": "走好"}]  # fmt: skip


def lines(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def texts(directory, tokenizer=TOKENIZER):
    """(whole text, learned text) of every document, special tokens as <n>."""

    def shown(ids):
        found = b"".join(tokenizer.vocabulary.tokens[i] or f"<{i}>".encode() for i in ids)
        return found.decode()

    result = []
    for document in shards.open(directory):
        mask = document.columns["loss_mask"].astype(bool)
        result.append((shown(document.tokens), shown(document.tokens[mask])))
    return result


def test_pclue(tmp_path):
    rows = [
        {"input": "这是关于哪方面的新闻？\n答案：", "target": "体育", "answer_choices": ["体育"],
         "type": "classify"},
        {"input": "问题", "target": "", "type": "mrc"},
        {"input": "无目标", "type": "nli"},
    ]  # fmt: skip
    made = prepare(lines(tmp_path / "p.jsonl", rows), tmp_path / "out", TOKENIZER, "pclue")
    assert texts(made.directory) == [("这是关于哪方面的新闻？\n答案：体育<257>", "体育<257>")]
    assert (made.records, made.documents, made.learned_tokens) == (3, 1, 7)
    assert made.unusable == {"empty target": 1, "no text target": 1}
    assert made.tokens == shards.open(made.directory).num_tokens


def test_a_conversation_is_one_document_in_which_every_answer_is_learned(tmp_path):
    made = prepare(
        lines(tmp_path / "s.jsonl", [{"conversations": TURNS}]), tmp_path / "out", TOKENIZER, "sharegpt"
    )
    assert texts(made.directory) == [
        (
            "用户：你好\\n吗\\n小元：好\\t的<257>\\n用户：再见\\n小元：走好<257>",
            "好\\t的<257>走好<257>",
        )
    ]


def test_or_one_document_an_answer_with_the_turns_before_it(tmp_path):
    path = lines(tmp_path / "s.jsonl", [{"conversations": TURNS}])
    dialogue = Dialogue(turns="each", escape=False)
    made = prepare(path, tmp_path / "out", TOKENIZER, "sharegpt", dialogue=dialogue)
    assert texts(made.directory) == [
        ("用户：你好\n吗\n小元：好\t的<257>", "好\t的<257>"),
        ("用户：你好\n吗\n小元：好\t的\n用户：再见\n小元：走好<257>", "走好<257>"),
    ]
    short = Dialogue(turns="each", max_history=0)
    made = prepare(path, tmp_path / "short", TOKENIZER, "sharegpt", dialogue=short)
    assert [whole for whole, _ in texts(made.directory)][1] == "用户：再见\\n小元：走好<257>"


def test_messages_with_a_system_turn(tmp_path):
    rows = [{"messages": [{"role": "system", "content": "你是助手。"}, {"role": "user", "content": "问"},
                          {"role": "assistant", "content": "答"}]}]  # fmt: skip
    made = prepare(lines(tmp_path / "m.jsonl", rows), tmp_path / "out", TOKENIZER, "messages")
    assert texts(made.directory) == [("你是助手。\\n用户：问\\n小元：答<257>", "答<257>")]


def test_conversations_that_cannot_be_used_are_counted(tmp_path):
    rows = [
        {"conversations": [{"from": "gpt", "value": "先说"}]},
        {"conversations": [{"from": "human", "value": "没人答"}]},
        {"conversations": [{"from": "parrot", "value": "?"}]},
        {"conversations": "text"},
        {"conversations": TURNS[:2]},
    ]
    made = prepare(lines(tmp_path / "s.jsonl", rows), tmp_path / "out", TOKENIZER, "sharegpt")
    assert made.documents == 1
    assert made.unusable == {
        "answer without question": 1, "no answer": 1, "unknown speaker": 1, "no list conversations": 1,
    }  # fmt: skip


def test_written_dialogues_are_read_back(tmp_path):
    rows = [{"text": "用户：今天\\n天气\\n小元：很好\\n用户：谢谢\\n小元：不客气"}]
    made = prepare(lines(tmp_path / "d.jsonl", rows), tmp_path / "out", TOKENIZER, "chatyuan")
    assert texts(made.directory)[0][1] == "很好<257>不客气<257>"
    with pytest.raises(Unusable):
        split_dialogue("天气")


plain = st.text(st.characters(codec="utf-8", exclude_characters="\\\r"), max_size=12)


@given(st.lists(st.tuples(plain, plain), min_size=1, max_size=4))
def test_a_dialogue_written_and_split_is_the_same(pairs):
    turns = [Turn(who, text) for pair in pairs for who, text in zip(("user", "assistant"), pair)]
    if any(line.startswith(("用户：", "小元：")) for turn in turns for line in turn.text.split("\n")[1:]):
        return
    dialogue = Dialogue()
    text = dialogue.prompt(turns[:-1]) + turns[-1].text.replace("\n", "\\n").replace("\t", "\\t")
    assert split_dialogue(text) == turns


def test_a_csv_with_quotes_commas_and_newlines(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes('text\r\n"一,二"\r\n"他说""好""\n走了"\r\n\r\n三\r\n'.encode())
    made = prepare(path, tmp_path / "out", SPECIAL, "csv")
    assert [whole for whole, _ in texts(made.directory, SPECIAL)] == [
        "<256>一,二<257>", '<256>他说"好"\n走了<257>', "<256>三<257>",
    ]  # fmt: skip
    made = prepare(path, tmp_path / "plain", TOKENIZER, "csv")  # a vocabulary without the token has its text
    assert texts(made.directory)[2][0] == "<|startoftext|>三<257>"


@pytest.mark.parametrize(
    ("content", "message"),
    [("a,b\n", "2 columns"), ('"open\n', "no CSV"), ('"a"b\n', "no CSV")],
)
def test_a_csv_that_is_none_says_where(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        prepare(path, tmp_path / "out", TOKENIZER, "csv")
    assert "line 1" in caught.value.where


def test_lines_of_text_and_of_parallel_files(tmp_path):
    (tmp_path / "a.txt").write_text("一\n二\n\n三\n", encoding="utf-8")
    made = prepare(tmp_path / "a.txt", tmp_path / "text", TOKENIZER, "text")
    assert texts(made.directory) == [(f"{c}<257>", f"{c}<257>") for c in "一二三"]
    assert made.unusable == {"empty text": 1}
    (tmp_path / "data_text").write_text("抽取：甲在乙\n抽取：丙\n", encoding="utf-8")
    (tmp_path / "data_target").write_text("甲|乙\n丙\n", encoding="utf-8")
    for number, source in enumerate((tmp_path, tmp_path / "data_text")):
        made = prepare(source, tmp_path / f"uie{number}", TOKENIZER, "data_text")
        assert texts(made.directory)[0] == ("抽取：甲在乙甲|乙<257>", "甲|乙<257>")
    (tmp_path / "data_target").write_text("甲|乙\n", encoding="utf-8")
    with pytest.raises(InputError, match="has only 1 lines"):
        prepare(tmp_path, tmp_path / "short", TOKENIZER, "data_text")
    (tmp_path / "data_target").write_text("甲\n乙\n丙\n", encoding="utf-8")
    with pytest.raises(InputError, match="more than the 2 lines"):
        prepare(tmp_path, tmp_path / "long", TOKENIZER, "data_text")


def test_the_first_token_of_a_target_is_marked_even_where_it_could_merge_with_the_prompt():
    batch = encode_pieces(["a" * 32], [[Piece("a", False), Piece("b", True)]], TOKENIZER)
    assert batch.column("tokens").to_pylist() == [[97, 98]]  # not the token "ab"
    assert batch.column("loss_mask").to_pylist() == [[0, 1]]


def test_an_empty_prompt_becomes_an_end_of_text_so_that_the_target_has_something_before_it():
    batch = encode_pieces(["a" * 32], [[Piece("", False), Piece("b", True)]], TOKENIZER)
    assert batch.column("tokens").to_pylist() == [[END, 98]]
    assert batch.column("loss_mask").to_pylist() == [[0, 1]]


pieces = st.lists(
    st.lists(st.builds(Piece, st.text(max_size=6), st.booleans(), st.just(False)), min_size=1, max_size=4),
    min_size=1, max_size=5,
)  # fmt: skip


@given(pieces)
def test_pieces_are_encoded_apart_and_joined(documents):
    batch = encode_pieces([f"{i:032x}" for i in range(len(documents))], documents, TOKENIZER)
    for row, document in enumerate(documents):
        ids, mask = [], []
        for piece in document:
            own = TOKENIZER.encode(piece.text)
            if piece.learned and not ids and not document[0].learned:
                ids, mask = [END], [0]
            ids, mask = ids + own, mask + [int(piece.learned)] * len(own)
        if not ids and not document[0].learned:
            ids, mask = [END], [0]
        assert batch.column("tokens")[row].as_py() == ids
        assert batch.column("loss_mask")[row].as_py() == mask


def test_bad_files_are_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        prepare(tmp_path / "missing.jsonl", tmp_path / "a", TOKENIZER, "pclue")
    (tmp_path / "bad.jsonl").write_text('{"input": "a", "target": "b"}\n{"input": \n')
    with pytest.raises(InputError, match="not JSON") as caught:
        prepare(tmp_path / "bad.jsonl", tmp_path / "b", TOKENIZER, "pclue")
    assert caught.value.where == f"{tmp_path / 'bad.jsonl'}:2"
    (tmp_path / "gbk.jsonl").write_bytes('{"input": "中", "target": "文"}\n'.encode("gbk"))
    with pytest.raises(InputError, match="UTF-8"):
        prepare(tmp_path / "gbk.jsonl", tmp_path / "c", TOKENIZER, "pclue")
    with pytest.raises(InputError, match=r"none of 1 records.*no text input: 1"):
        prepare(lines(tmp_path / "x.jsonl", [{"a": 1}]), tmp_path / "d", TOKENIZER, "pclue")
    with pytest.raises(ConfigError, match="sharegpt"):
        prepare(tmp_path / "x.jsonl", tmp_path / "e", TOKENIZER, "alpaca")
    with pytest.raises(ConfigError, match="whole or each"):
        Dialogue(turns="some")


@pytest.mark.parametrize(
    ("name", "format", "documents"),
    [("pclue_train_1k.jsonl", "pclue", 1000), ("pclue_test_500.jsonl", "pclue", 500),
     ("sharegpt_zh_1k.jsonl", "sharegpt", 999)],
)  # fmt: skip
def test_real_prompts(shared_data, tmp_path, name, format, documents):
    made = prepare(shared_data / "prompts" / name, tmp_path / "out", TOKENIZER, format, limit=None)
    assert made.documents == documents
    dataset = shards.open(made.directory)
    for document in (dataset[0], dataset[documents - 1]):
        mask = document.columns["loss_mask"].astype(bool)
        assert mask[-1] and not mask[0] and document.tokens[-1] == END
        first = int(np.argmax(mask))
        assert TOKENIZER.decode(document.tokens[first:].tolist())


def test_a_published_array_is_read_and_half_an_emoji_stops_nothing(tmp_path):
    path = tmp_path / "chats.json"
    turns = [{"from": "human", "value": "你好\ud83d"}, {"from": "gpt", "value": "好"}]
    path.write_text(json.dumps([{"conversations": turns}, {"conversations": turns}]))
    made = prepare(path, tmp_path / "out", TOKENIZER, "sharegpt")
    assert made.documents == 2 and "\ufffd" in texts(made.directory)[0][0]


def test_a_dataset_that_fails_leaves_nothing_in_the_way(tmp_path):
    good = {"input": "问", "target": "答"}
    path = lines(tmp_path / "p.jsonl", [good] * 1500)
    path.write_text(path.read_text(encoding="utf-8") + "{\n", encoding="utf-8")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "note.txt").write_text("mine")
    for place in ("new", "kept"):
        with pytest.raises(InputError, match="not JSON"):
            prepare(path, tmp_path / place, TOKENIZER, "pclue")
    assert not (tmp_path / "new").exists()
    assert [file.name for file in (tmp_path / "kept").iterdir()] == ["note.txt"]
    made = prepare(path, tmp_path / "new", TOKENIZER, "pclue", limit=1500)
    with pytest.raises(ArtifactError, match="already holds"):
        prepare(path, tmp_path / "new", TOKENIZER, "pclue")
    assert len(shards.open(made.directory)) == 1500
