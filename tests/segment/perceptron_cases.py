"""A small segmented text, and the trained segmenter in plain Python: obviously right, slow."""

from __future__ import annotations

from hypothesis import strategies as st

from corpuskit.kernels import perceptron as kernels
from corpuskit.segment.perceptron_model import SegmenterModel, folded

_PLACES = ["北京", "上海", "长江", "南方", "山东省"]
_PEOPLE = ["老师", "工程师", "张 三", "她", "我们"]
_THINGS = ["语言 模型", "数据", "中文 分词", "Ｔ恤", "iPhone", "图书馆"]
_FRAMES = [
    "{who} 在 {where} 研究 {what} 。",
    "{who} 说 ， {what} 很 重要 ！",
    "２０１２年 ， {who} 来到 {where} 。",
    "{where} 的 {what} 一共 有 12 个 ； 花 了 3.5 元 。",
    "{who} 看看 {what} ， 笑 了 。",
    "三月 二十五日 ， {where} 下 了 雨 。",
]
GOLD = [
    frame.format(who=_PEOPLE[(i + k) % 5], where=_PLACES[(2 * i + k) % 5], what=_THINGS[(i + k) % 6]).split()
    for i, frame in enumerate(_FRAMES)
    for k in range(8)
]
DICTIONARY = ["分词", "语言模型", "研究生", "图书", "重要性", "看看", "ＡＢＣ"]

alphabet = sorted(set("".join("".join(line) for line in GOLD))) + list(
    "𠮷😀龘あ０９ＺaZ09.,%\t\r\n\x00\u3000 \u0301〇一生性图书研究"
)
texts = st.one_of(
    st.text(st.sampled_from(alphabet), max_size=60),
    st.lists(st.sampled_from([*map("".join, GOLD), *DICTIONARY, "\r\n", " "]), max_size=5).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)


def reference_cut(model: SegmenterModel, text: str, user_words: tuple[str, ...] = ()) -> list[str]:
    """Words of `text`, without any window."""
    words: list[str] = []
    sequence = ""
    i = 0
    while i <= len(text):
        if i < len(text) and not text[i].isspace():
            sequence += text[i]
            i += 1
            continue
        words += _cut_sequence(model, sequence, user_words)
        sequence = ""
        if i < len(text):
            width = 2 if text[i : i + 2] == "\r\n" else 1
            words.append(text[i : i + width])
            i += width - 1
        i += 1
    return words


def _cut_sequence(model: SegmenterModel, text: str, user_words: tuple[str, ...]) -> list[str]:
    if not text:
        return []
    scores = _scores(model, text, user_words)
    best = {"B": (scores[0][0], "B"), "S": (scores[0][3], "S")}
    tags = "BMES"
    for i in range(1, len(text)):
        new = {}
        for tag, befores in {"B": "ES", "M": "BM", "E": "BM", "S": "ES"}.items():
            ways = [
                (best[before][0] + int(model.transitions[tags.index(before), tags.index(tag)]), before)
                for before in befores
                if before in best
            ]
            if ways:
                score, before = max(ways, key=lambda way: way[0])  # the first of equal ones
                new[tag] = (score + scores[i][tags.index(tag)], best[before][1] + tag)
        best = new
    path = max((best[tag] for tag in "ES" if tag in best), key=lambda way: way[0])[1]
    words, begin = [], 0
    for i, tag in enumerate(path, 1):
        if tag in "ES":
            words.append(text[begin:i])
            begin = i
    return words


def _scores(model: SegmenterModel, text: str, user_words: tuple[str, ...]) -> list[list[int]]:
    codes = [0, 0, *map(ord, folded(text)), 0, 0]
    kinds = [0 if c == 0 and not 2 <= i < len(text) + 2 else _class(model, c) for i, c in enumerate(codes)]
    ids = [
        0 if not 2 <= i < len(text) + 2 else _identity(model, codes, kinds, i) for i, c in enumerate(codes)
    ]
    inner = codes[2:-2]
    lookups = [
        {int(key): row for row, key in enumerate(keys)}
        for keys in (model.bigram_keys, model.skip_keys, model.trigram_keys)
    ]
    vocabulary, known = set(), set()
    for word, source in zip(model.words.split("\n"), model.word_sources):
        if source & 1:
            vocabulary.add(word)
        if source & 2:
            known.add(word)
    spans = [_spans(inner, words) for words in (vocabulary, known)]
    scores = []
    for k in range(len(text)):
        i = k + 2
        rows = [model.unigrams[ids[i - 2 + role], role] for role in range(5)]
        for role, begin in enumerate((i - 2, i - 1, i, i + 1)):
            if (row := lookups[0].get(ids[begin] << 16 | ids[begin + 1])) is not None:
                rows.append(model.bigrams[row, role])
        if (row := lookups[1].get(ids[i - 1] << 16 | ids[i + 1])) is not None:
            rows.append(model.skips[row, 0])
        for role, begin in enumerate((i - 2, i - 1, i)):
            key = ids[begin] << 32 | ids[begin + 1] << 16 | ids[begin + 2]
            if (row := lookups[2].get(key)) is not None:
                rows.append(model.trigrams[row, role])
        window = 0
        for kind in kinds[i - 2 : i + 3]:
            window = window * 8 + kind
        rows.append(model.windows[window])
        rows.append(model.repeats[sum((codes[i] == codes[i + d]) << n for n, d in enumerate((-1, -2, 1, 2)))])
        for which, (starting, ending, across) in enumerate(spans):
            rows.append(model.triples[which, (starting[k] * 7 + ending[k]) * 7 + across[k]])
            rows.append(model.junctions[which, (ending[k - 1] if k else 0) * 7 + starting[k], 0])
            rows.append(
                model.junctions[which, ending[k] * 7 + (starting[k + 1] if k + 1 < len(text) else 0), 1]
            )
        scores.append([sum(int(row[tag]) for row in rows) for tag in range(4)])
    favoured = set()
    for word in user_words:
        for begin in range(len(text) - len(word) + 1):
            end = begin + len(word)
            if folded(text[begin:end]) == folded(word) and not any(
                0 < edge < len(text) and kinds[edge + 1] == kinds[edge + 2] and kinds[edge + 1] in (2, 3)
                for edge in (begin, end)
            ):
                tags = [3] if len(word) == 1 else [0, *[1] * (len(word) - 2), 2]
                favoured |= {(begin + n, tag) for n, tag in enumerate(tags)}
    for k, tag in favoured:
        scores[k][tag] += kernels.USER_BONUS
    return scores


def _class(model: SegmenterModel, code: int) -> int:
    if code < 65536:
        return int(model.classes[code])
    return kernels.HAN if 0x20000 <= code < 0x40000 else kernels.OTHER


def _identity(model: SegmenterModel, codes: list[int], kinds: list[int], i: int) -> int:
    if kinds[i] != kernels.DIGIT:
        return int(model.character_ids[codes[i]]) if codes[i] < 65536 else kinds[i]
    begin, end = i, i
    while kinds[begin - 1] == kernels.DIGIT:
        begin -= 1
    while kinds[end] == kernels.DIGIT:
        end += 1
    return kernels.RUNS + min(end - begin, 5) - 1


def _spans(codes: list[int], words: set[str]) -> tuple[list[int], list[int], list[int]]:
    """Lengths, up to 6, of the longest word that starts at, ends at and goes across each character."""
    text = "".join(map(chr, codes))
    starting, ending, across = ([0] * len(codes) for _ in range(3))
    for begin in range(len(text)):
        for end in range(begin + 1, min(len(text), begin + kernels.LONGEST) + 1):
            if text[begin:end] in words:
                length = min(end - begin, 6)
                starting[begin] = max(starting[begin], length)
                ending[end - 1] = max(ending[end - 1], length)
                for k in range(begin + 1, end - 1):
                    across[k] = max(across[k], length)
    return starting, ending, across
