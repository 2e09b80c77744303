"""The kernel's promise: a line without a flag has nothing that the flag's rules would find."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.clean.characters import utf8_buffers
from corpuskit.clean.pii import kernel_tables
from corpuskit.clean.pii_rules import INVISIBLE, RULES, find, folded
from corpuskit.kernels.pii import candidate_lines
from corpuskit.kernels.pii_flags import ACCOUNT, ADDRESS, EMAIL, IGNORABLE, NUMBER, PLATE, SECRET

PIECES = st.sampled_from([
    "13812345678", "010-62771234", "(0571) 8888 8888", "+86", "a@b.cn", "微信", "QQ", "加V",
    "vx:", "wxid_a1b2c3d4", "abc12345", "8.8.4.4", "IP", "2400:3200::1", "京A12345",
    "京 A·1234警", "?token=abcdefgh", "http://a.cn/", "电话", "://u:p@", "护照E12345678",
    "110101 19900307 6624", "\n", "，", "\u3000", "\xa0", "\u200b", "－", "１２３", "ＱＱ：",
    "weixin", "WeChat ", "扣扣", "、", "é", "\U00020000", "\U0010ffff", "\r", "号",
])  # fmt: skip
DOCUMENTS = st.lists(st.lists(PIECES | st.text(max_size=4), max_size=9).map("".join), min_size=1, max_size=4)


def flagged(documents: list[str]) -> dict[tuple[int, str], int]:
    data, offsets = utf8_buffers(pa.array(documents, pa.large_string()))
    room = len(documents) + int((data == 10).sum())
    places, flags = np.empty((3, room), np.int64), np.empty(room, np.uint8)
    found = candidate_lines(data, offsets, *kernel_tables(), *places, flags)
    lines = {}
    for document, start, stop, flag in zip(*places[:, :found].tolist(), flags[:found].tolist()):
        lines[document, data[start:stop].tobytes().decode()] = flag
    return lines


@given(DOCUMENTS)
def test_no_match_is_left_out(documents):
    flags = flagged(documents)
    for number, document in enumerate(documents):
        for line in document.split("\n"):
            flag = flags.get((number, line), 0)
            for _, _, kind in find(folded(line)[0]):
                assert flag & (RULES[kind][0] | IGNORABLE), (kind, line)


@pytest.mark.parametrize(
    "text,flag",
    [
        ("号码1234567", NUMBER),
        ("号码123-45(6) 7", NUMBER),
        ("号码１２３４５６７", NUMBER),
        ("日期2024/11/25", 0),
        ("数字123456、1234", 0),
        ("数字123456a1", 0),
        ("某＠某", EMAIL | SECRET),
        ("a=b", SECRET),
        ("1.2.3.4", ADDRESS),
        ("1.2.3", 0),
        ("a::b", ADDRESS),
        ("12:30:45", 0),
        ("京A", PLATE),
        ("京 A", PLATE),
        ("东A", 0),
        ("京，，A", 0),
        ("微信号是abcde", ACCOUNT),
        ("微信号是abcd", 0),
        ("vxabcde", ACCOUNT),
        ("只有abcde", 0),
        ("零宽\u200b字符", IGNORABLE),
        ("山路弯弯，“溪水”潺潺…", 0),
        ("", 0),
    ],
)
def test_flags_of_well_known_lines(text, flag):
    assert flagged([text]).get((0, text), 0) == flag


def test_lines_are_those_between_newlines():
    documents = ["甲1234567\n乙\n\n丙a@b", "1234567\n", "\n1234567"]
    assert list(flagged(documents)) == [(0, "甲1234567"), (0, "丙a@b"), (1, "1234567"), (2, "1234567")]


def test_every_invisible_character_is_flagged():
    codes = [*range(0xD800), *range(0xE000, 0x10000), *range(0xE0000, 0xE0200), 0xF0000, 0xFFFFF, 0x10FFFF]
    lines = [f"甲{chr(code)}乙" for code in codes if code != 10]
    flags = flagged(lines)
    for number, line in enumerate(lines):
        if INVISIBLE.search(line):
            assert flags.get((number, line), 0) & IGNORABLE, hex(ord(line[1]))
