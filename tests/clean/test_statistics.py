"""The statistics kernels against the same statistics made with Python strings."""

import math
import re
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.clean.characters import (
    BULLETS,
    CLOSING,
    DATE_JOINTS,
    FULL_STOPS,
    FUNCTION_CHARACTERS,
    KEYWORD_SEPARATORS,
    READ_MORE_TAIL,
    SENTENCE_MARKS,
    TERMINAL,
    CharacterClass,
    tables,
)
from corpuskit.clean.statistics import (
    LIST_LINE_CHARACTERS,
    NOTICE_LINE_CHARACTERS,
    SHORT_LINE_CHARACTERS,
    SOUP_TOKEN_CHARACTERS,
    SOUP_TOKENS,
    UNIQUE_WINDOW_CHARACTERS,
    measure,
)
from corpuskit.clean.terms import LINK_MARKS, NOTICES, READ_MORE, term_matcher
from corpuskit.kernels import charstats as k
from corpuskit.kernels import ngramstats
from corpuskit.kernels import terms as categories

SPAM = ("加微信", "加微信领奖", "VIP", "av", "包邮")
MATCHER = term_matcher(SPAM)
LISTS = {
    categories.LINK: LINK_MARKS,
    categories.STUB: READ_MORE,
    categories.NOTICE: NOTICES,
    categories.SPAM: SPAM,
    categories.LISTED: (),
}

PIECES = st.sampled_from(
    [
        *"中国说們的了是の한aＡé1１，。！？…；”』.·-/、｜【】 \u3000\n\n\r\t\u200b€😀\U00020000Я\x00年•*",
        "展开全文", "查看更多", "更多", "more", ">>", "»", "...", "。。", "http://a.b/c", "www.x.com",
        "a@b.cn", ".com", "xwww.", "VIP", "vip9", "av", "加微信领奖", "加微信", "包邮", "Lorem Ipsum",
        "请启用JavaScript", "2024-01-05", "3月4日", "12/", "2024-", "1999年", "新房|租房|装修|家具|家电|二手",
        "今天天气很好，我们去公园。\n", "第一章 总则\n", "哈哈哈哈", "abab", "</p>", "。</p>\n", "<br>",
        "<", ">",
    ]
)  # fmt: skip
TEXT = st.lists(PIECES, max_size=60).map("".join) | st.text(max_size=30)


DATE = re.compile(
    rf"(?<!\d)(?:19|20)\d\d[{DATE_JOINTS}]\d|(?<!\d)\d\d?月\d|\d[{DATE_JOINTS}]\d\d?[{DATE_JOINTS}]\d",
    re.ASCII,
)
"""A year and what follows, month and day, or three numbers."""

TERMINATED = re.compile(
    rf"[{re.escape(TERMINAL)}](?:[{re.escape(CLOSING)}]|<[\x00-\x3d\x3f-\x7f]*>)*(?:<[\x00-\x3d\x3f-\x7f]*)?$"
)
"""A terminal mark, then closing marks and mark-up."""


def visible_of(text: str) -> str:
    return "".join(text.split())


def class_of(character: str) -> int:
    return int(tables().classes[ord(character)])


def is_word(character: str) -> bool:
    return character.isascii() and character.isalnum()


def matches(text: str, terms) -> list[tuple[int, int]]:
    """Longest term first, from left to right, without overlap, not inside a longer ASCII word."""
    folded = "".join(c.lower() if c.isascii() else c for c in text)
    found, position = [], 0
    while position < len(text):
        ends = [
            position + len(term)
            for term in {"".join(c.lower() if c.isascii() else c for c in t) for t in terms}
            if folded.startswith(term, position)
            and not (position and is_word(text[position - 1]) and is_word(text[position]))
            and not (
                is_word(term[-1]) and is_word(text[position + len(term) : position + len(term) + 1] or " ")
            )
        ]
        if ends:
            found.append((position, max(ends)))
            position = max(ends)
        else:
            position += 1
    return found


def reference_counts(text: str) -> dict[int, int]:
    found = {category: matches(text, terms) for category, terms in LISTS.items()}
    counts = dict.fromkeys(range(k.NUM_COUNTS), 0)
    seen, start = set(), 0
    for line in text.split("\n"):
        stop = start + len(line)
        visible = visible_of(line)
        if visible:
            counts[k.LINES] += 1
            counts[k.SHORT_LINES] += len(visible) < SHORT_LINE_CHARACTERS
            counts[k.TERMINATED_LINES] += TERMINATED.search(visible) is not None
            counts[k.BULLET_LINES] += visible[0] in BULLETS
            counts[k.ELLIPSIS_LINES] += re.search(r"(…[.。]*|[.。]{3,})$", visible) is not None
            counts[k.STUB_LINES] += any(
                start <= begin
                and end <= stop
                and all(c in READ_MORE_TAIL or c.isspace() for c in text[end:stop])
                for begin, end in found[categories.STUB]
            )
            notices = [begin for begin, _ in found[categories.NOTICE] if start <= begin < stop]
            if notices and len(visible) < NOTICE_LINE_CHARACTERS:
                counts[k.NOTICE_CHARACTERS] += len(visible)
            if not set(visible) & set(FULL_STOPS):
                if len(visible) < LIST_LINE_CHARACTERS:
                    counts[k.LIST_LINES] += 1
                    counts[k.LIST_CHARACTERS] += len(visible)
                    digits = "".join(
                        c if c.isascii() or class_of(c) != CharacterClass.DIGIT else "7" for c in visible
                    )
                    counts[k.DATED_LINES] += DATE.search(digits) is not None
                tokens = [t for t in re.split(rf"[{re.escape(KEYWORD_SEPARATORS)}\s]+", line) if t]
                words = sum(map(len, tokens))
                functions = sum(c in FUNCTION_CHARACTERS for c in line)
                han = sum(class_of(c) == CharacterClass.HAN for token in tokens for c in token)
                if (
                    len(tokens) >= SOUP_TOKENS
                    and words <= SOUP_TOKEN_CHARACTERS * len(tokens)
                    and not TERMINATED.search(visible)
                    and k.SOUP_FUNCTION_INTERVAL * functions < words
                    and 2 * han >= words
                ):
                    counts[k.SOUP_CHARACTERS] += len(visible)
            if visible in seen:
                counts[k.DUPLICATE_LINES] += 1
                counts[k.DUPLICATE_LINE_CHARACTERS] += len(visible)
            seen.add(visible)
        start = stop + 1
    for token in re.finditer(r"[\x21-\x7e]+", text):
        mail = token.end() if (at := text.find("@", *token.span())) < 0 else at
        if any(token.start() <= begin < mail for begin, _ in found[categories.LINK]):
            counts[k.LINKS] += 1
            counts[k.LINK_CHARACTERS] += len(token[0])
    visible = visible_of(text)
    window = visible[:UNIQUE_WINDOW_CHARACTERS]
    counts[k.NEWLINES] = text.count("\n")
    counts[k.SENTENCES] = sum(map(text.count, SENTENCE_MARKS))
    counts[k.BRACKETS] = text.count("【") + text.count("】")
    counts[k.FUNCTIONS] = sum(c in FUNCTION_CHARACTERS for c in text)
    counts[k.DISTINCT_FUNCTIONS] = len(set(text) & set(FUNCTION_CHARACTERS))
    counts[k.WINDOW_CHARACTERS] = len(window)
    counts[k.WINDOW_DISTINCT] = len(set(window))
    counts[k.DISTINCT] = len(set(visible))
    counts[k.DISTINCT_SPAM] = len({text[a:b].lower() for a, b in found[categories.SPAM]})
    return counts


def reference_covers(text: str, block: int = ngramstats.BLOCK_CHARACTERS) -> list[int]:
    visible = visible_of(text)
    covers = [0] * 9
    for first in range(0, len(visible), block):
        part = visible[first : first + block]
        for size in range(2, 11):
            grams = [part[i : i + size] for i in range(len(part) - size + 1)]
            if size <= 4:
                repeated = [gram for gram, count in Counter(grams).items() if count > 1]
                cover = max(
                    (
                        len({j for i, g in enumerate(grams) if g == gram for j in range(i, i + size)})
                        for gram in repeated
                    ),
                    default=0,
                )
            else:
                seen, covered = set(), set()
                for i, gram in enumerate(grams):
                    if gram in seen:
                        covered |= set(range(i, i + size))
                    seen.add(gram)
                cover = len(covered)
            covers[size - 2] += cover
    return covers


def assert_equals_the_reference(documents):
    statistics = measure(pa.array(documents, pa.large_string()), MATCHER)
    for row, text in enumerate(documents):
        classes = np.bincount([class_of(c) for c in text], minlength=16)
        assert statistics.classes[row].tolist() == classes.tolist()
        assert dict(enumerate(statistics.counts[row].tolist())) == reference_counts(text)
        hits = [len(matches(text, LISTS[category])) for category in range(categories.NUM_CATEGORIES)]
        assert statistics.terms[row].tolist() == hits
        assert statistics.covers[row].tolist() == reference_covers(text)
        shares = [count / len(visible_of(text)) for count in Counter(visible_of(text)).values()]
        assert statistics.entropy[row] == pytest.approx(-sum(p * math.log2(p) for p in shares), abs=1e-9)


@given(st.lists(TEXT, max_size=5))
def test_all_statistics_equal_the_reference(documents):
    assert_equals_the_reference(documents)


@given(st.lists(st.text("甲乙丙\n ", max_size=80) | st.text("哈ha1", max_size=60), min_size=1, max_size=3))
def test_all_statistics_of_repetitive_text_equal_the_reference(documents):
    assert_equals_the_reference(documents)


def test_statistics_of_prose_equal_the_reference(prose):
    assert_equals_the_reference([prose, prose + "\n" + prose, prose[::-1] * 3, "", " \n\u3000"])


def test_a_text_is_counted_the_same_beside_others_and_in_a_slice(prose):
    whole = pa.array(["甲" * 50, prose, "", prose * 2, "乙"])
    alone = measure(pa.array([prose]))
    for array, row in ((whole, 1), (whole.slice(1, 2), 0), (whole.cast(pa.large_string()).slice(1, 1), 0)):
        among = measure(array)
        assert among.counts[row].tolist() == alone.counts[0].tolist()
        assert among.covers[row].tolist() == alone.covers[0].tolist()
        assert among.entropy[row] == alone.entropy[0]


def test_blocks_of_a_long_document_are_counted_apart():
    block = 20
    text = "天地玄黄宇宙洪荒日月盈昃" * 6 + "寒来暑往" * 4
    data = np.frombuffer(text.encode(), np.uint8)
    covers = np.zeros((1, 9), np.int64)
    ngramstats.ngram_covers(
        data,
        np.array([0, data.size]),
        tables().properties,
        k.CLASS_MASK,
        k.SPACE,
        block,
        np.zeros(128, np.uint8),
        np.zeros(256, np.uint64),
        covers,
    )
    assert covers[0].tolist() == reference_covers(text, block)


def test_filtering_statistics_is_measuring_the_filtered_documents(prose):
    documents = np.array([prose, "短", prose[:80], ""])
    kept = np.array([True, False, True, False])
    filtered = measure(pa.array(documents)).filter(kept)
    measured = measure(pa.array(documents[kept]))
    assert filtered.counts.tolist() == measured.counts.tolist()
    assert filtered.ngram_share(5).tolist() == measured.ngram_share(5).tolist()
    assert filtered.unique_share.tolist() == measured.unique_share.tolist()


def test_more_lines_than_are_remembered_stay_bounded(monkeypatch):
    lines = 70_000  # the set of lines grows several times on the way
    text = "\n".join(map(str, range(lines))) + "\n" + "\n".join(map(str, range(100)))
    statistics = measure(pa.array([text, "1\n1"]))
    assert statistics.counts[:, k.DUPLICATE_LINES].tolist() == [100, 1]


@pytest.mark.slow
def test_a_document_of_100_megabytes_is_measured_in_bounded_memory():
    import resource

    characters = "".join(map(chr, range(0x4E00, 0x8E00)))
    text = "".join(characters[i % 997 :: 7 + i % 13] + "。\n" for i in range(15_000))[:33_000_000]
    array = pa.array([text], pa.large_string())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    measure(array)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KiB; tables, not text
