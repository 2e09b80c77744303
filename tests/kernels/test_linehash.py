"""The line kernels agree with plain Python."""

import unicodedata

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.clean.lines import line_hash, lines_of, without_lines

LINES = st.sampled_from(
    ["", " ", "分享到朋友圈", "分享 到朋友圈", "ＡＢ１", "AB1", "}", "第二章", "他说：", "\u3000"]
)
TEXT = st.lists(LINES | st.text("甲乙a１1 \u3000。\u200b\U00020000é\r", max_size=8), max_size=12).map(
    "\n".join
)
TEXTS = st.lists(TEXT, min_size=1, max_size=5)


def visible(line: str) -> str:
    """The reference of what is hashed: no white space, no invisible characters, fullwidth as ASCII."""
    kept = (c for c in line if unicodedata.ucd_3_2_0.category(c) not in ("Zs", "Zl", "Zp", "Cc", "Cf"))
    return "".join(chr(ord(c) - 0xFEE0) if "\uff01" <= c <= "\uff5e" else c for c in kept)


@given(TEXTS, st.booleans())
def test_lines_and_hashes_equal_the_reference(documents, fold_digits):
    array = pa.array(["前\n面", *documents], pa.string()).slice(1)
    lines = lines_of(array, fold_digits)
    expected = []
    for number, document in enumerate(documents):
        for line in document.split("\n"):
            seen = visible(line)
            if fold_digits:
                seen = "".join("0" if c in "0123456789" else c for c in seen)
            if seen:
                han = sum("\u3400" <= c < "\ua000" for c in seen)
                expected.append((number, line_hash(line, fold_digits), len(seen), han, ord(seen[-1])))
    found = zip(lines.documents, lines.hashes, lines.characters, lines.han, lines.last)
    assert [tuple(map(int, line)) for line in found] == expected


@given(TEXTS, st.randoms(use_true_random=False))
def test_removing_lines_leaves_the_others_in_order(documents, random):
    array = pa.array(["前\n面", *documents], pa.large_string()).slice(1)
    lines = lines_of(array)
    removed = np.array([random.random() < 0.4 for _ in lines.documents], bool)
    results = without_lines(array, lines, removed).to_pylist()
    place = 0
    for number, (document, result) in enumerate(zip(documents, results)):
        kept = []
        for line in document.split("\n"):
            if visible(line):
                if not removed[place]:
                    kept.append(line)
                place += 1
        assert [line for line in result.split("\n") if visible(line)] == kept
        if not removed[lines.documents == number].any():
            assert result == document
