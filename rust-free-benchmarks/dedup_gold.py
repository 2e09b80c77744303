"""A gold set for near-duplicates in Chinese, built from real text with known edits.

Documents carry a label (documents of one label are versions of one work) and how they were made:

* *base*: statutes, scraped news and items of news broadcasts, thinned so that no two are alike;
* *edit*: a share of the characters inserted, deleted or replaced; *reorder*: sentences moved;
* *repost*: another head and foot around the text;
* *version*: statutes of one title at several dates. Amended ones count as one work where they share at
  least half of their shingles; the rest are rewritten and count as works of their own;
* *template*: see `dedup_templates`; no two are one work.

`ShingleSets` knows the exact sets, without hashing and without any code of the package: an n-gram is the
rank of a pair of shorter ones. `similar_pairs` finds every pair above a threshold by prefix filtering
(Chaudhuri, Ganti, Kaushik 2006; Bayardo, Ma, Srikant 2007), which is exact.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from corpus import available, records, texts
from dedup_templates import fill, templates

EDIT_RATES = (0.005, 0.01, 0.02, 0.05, 0.1)
REORDER_SHARES = (0.05, 0.2, 0.5)
VERSION_SIMILARITY = 0.5
BASE_SIMILARITY = 0.3

_HEADS = (
    "来源：本站综合整理 作者：佚名 字号：大 中 小 打印本页 收藏本文\n",
    "您当前的位置：首页 > 资讯 > 正文 发布时间：2021-03-15 09:26 浏览次数：1284\n",
    "【导读】小编为大家带来以下内容，希望对您有所帮助，更多精彩请持续关注我们的频道。\n",
    "转自微信公众号，点击上方蓝字关注我们，每天为您推送最新消息。\n",
)
_FEET = (
    "\n责任编辑：小林 审核：老陈 声明：转载此文是出于传递更多信息之目的，若有来源标注错误或侵犯了"
    "您的合法权益，请与本网联系，我们将及时更正、删除，谢谢。",
    "\n上一篇：没有了 下一篇：没有了 相关阅读 热门推荐 网友评论 发表评论 返回顶部 关于我们 联系我们 "
    "网站地图 版权所有",
    "\n喜欢本文的朋友请点赞、在看、分享三连，长按识别二维码加入读者交流群，与十万读者一起讨论。",
    "\n扫一扫在手机打开当前页。分享到：微信 微博 空间。主办单位：信息中心 网站标识码 备案序号",
)
_SPACE = ("Zs", "Zl", "Zp", "Cc", "Cf")


@dataclass(frozen=True)
class Gold:
    """Documents with labels.

    Attributes
    ----------
    texts, kinds : list of str
    labels : int64 array
        Equal for documents that are versions of one work.
    origins : int64 array
        The document that each was made from, or itself.
    """

    texts: list[str]
    kinds: list[str]
    labels: np.ndarray
    origins: np.ndarray


class Collector:
    """Gathers documents as a set is built."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str, int, int]] = []
        self._labels = 0

    def add(self, text: str, kind: str, of: int | None = None, *, new_label: bool = False) -> int:
        """Add a document, of the label of document `of` unless it is new; returns its number."""
        number = len(self._rows)
        if of is None or new_label:
            label, self._labels = self._labels, self._labels + 1
        else:
            label = self._rows[of][2]
        self._rows.append((text, kind, label, number if of is None else of))
        return number

    def gold(self) -> Gold:
        """What was gathered."""
        text, kinds, labels, origins = zip(*self._rows)
        return Gold(list(text), list(kinds), np.array(labels), np.array(origins))


def build(num_bases: int = 1200, num_templates: int = 40, seed: int = 1) -> Gold:
    """The gold set: `num_bases` texts, their copies, versions of statutes, and templates."""
    rng = random.Random(seed)
    bases = _thinned(_bases(num_bases, rng))
    collector = Collector()
    for text in bases:
        number = collector.add(text, "base")
        kind = rng.randrange(5)
        if kind < 2:
            for rate in rng.sample(EDIT_RATES, rng.randrange(1, 4)):
                collector.add(edited(text, round(rate * len(text)), rng), f"edit {rate:.1%}", number)
        elif kind == 2:
            share = rng.choice(REORDER_SHARES)
            collector.add(reordered(text, share, rng), f"reorder {share:.0%}", number)
        elif kind == 3:
            for _ in range(rng.randrange(1, 3)):
                collector.add(rng.choice(_HEADS) + text + rng.choice(_FEET), "repost", number)
    _add_versions(collector)
    bodies = [text for text in bases if len(text) > 200]
    for name in templates():
        for _ in range(num_templates):
            body = rng.choice(bodies)
            start = rng.randrange(max(1, len(body) - 700))
            # A body is edited, so that it is no part of the text it was taken from.
            fresh = edited(body[start : start + 700], 150, rng)
            collector.add(fill(name, rng, fresh), f"template {name}")
    return collector.gold()


def edited(text: str, edits: int, rng: random.Random) -> str:
    """`text` after so many insertions, deletions or replacements of one character, drawn from itself."""
    characters = list(text)
    for _ in range(edits):
        place = rng.randrange(len(characters))
        kind = rng.randrange(3)
        if kind == 0:
            characters[place] = rng.choice(text)
        elif kind == 1:
            characters.insert(place, rng.choice(text))
        elif len(characters) > 1:
            del characters[place]
    return "".join(characters)


def reordered(text: str, share: float, rng: random.Random) -> str:
    """`text` with that share of its sentences moved elsewhere."""
    sentences = re.findall(r"[^。！？；\n]*[。！？；\n]|[^。！？；\n]+", text)
    for _ in range(max(1, round(share * len(sentences)))):
        moved = sentences.pop(rng.randrange(len(sentences)))
        sentences.insert(rng.randrange(len(sentences) + 1), moved)
    return "".join(sentences)


def _bases(count: int, rng: random.Random) -> list[str]:
    """Texts of 50 to 5,000 characters, from each corpus a third."""
    if not available():
        demo = dict.fromkeys(texts("demo", 1_000_000))
        return [piece for text in demo for piece in _pieces(text, 400)][:count]
    found: list[str] = []
    for name in ("news", "laws", "broadcast"):
        whole = [r["text"] for r in records(name) if name != "laws" or _title(r["id"]) is None]
        pieces = [p for text in rng.sample(whole, min(len(whole), 2 * count)) for p in _pieces(text, 2500)]
        found += rng.sample(pieces, min(len(pieces), count // 3 + 1))
    return found[:count]


def _pieces(text: str, characters: int) -> Iterator[str]:
    """Runs of whole lines of at least 50 and about `characters` characters at most."""
    held = ""
    for line in text.splitlines(keepends=True):
        if held and len(held) + len(line) > characters:
            yield held
            held = ""
        held += line
        if len(held) > 2 * characters:
            held = held[: 2 * characters]
    if len(held) >= 50:
        yield held


def _thinned(found: list[str]) -> list[str]:
    """Without the texts that resemble an earlier one."""
    left, right, _ = ShingleSets(found, 5).similar_pairs(BASE_SIMILARITY)
    alike = set(np.maximum(left, right).tolist())
    return [text for number, text in enumerate(found) if number not in alike]


def _title(identifier: str) -> str | None:
    """The title of a statute whose id names a date: ``…/title(2020-05-14)``."""
    match = re.fullmatch(r"(.*?)\(\d{4}-\d\d-\d\d\)", identifier.rsplit("/", 1)[-1])
    return match[1] if match else None


def _add_versions(collector: Collector) -> None:
    """The statutes that occur at several dates: 93 titles, 189 files."""
    if not available():
        return
    titles: dict[str, list[str]] = {}
    for record in records("laws"):
        title = _title(record["id"])
        if title is not None:
            titles.setdefault(title, []).append(record["text"])
    for several in (versions for versions in titles.values() if len(versions) > 1):
        sets = ShingleSets(several, 5)
        numbers: list[int] = []
        for this, text in enumerate(several):
            known = [
                other
                for other in range(this)
                if sets.jaccard(np.array([other]), np.array([this]))[0] >= VERSION_SIMILARITY
            ]
            of = numbers[known[0]] if known else (numbers[0] if numbers else None)
            numbers.append(collector.add(text, "version", of, new_label=not known))


class ShingleSets:
    """The exact sets of character n-grams of texts, as sorted integers.

    White space and invisible characters do not count; a text with fewer than n others is one shingle.

    Attributes
    ----------
    ids : int64 array
        The shingles of all texts, one text after the other, each sorted and once.
    offsets : int64 array
        Where each text's begin; one more than texts.
    """

    def __init__(self, documents: Sequence[str], n: int) -> None:
        counted = [_counted(text) for text in documents]
        lengths = np.array([len(text) for text in counted], np.int64)
        codes = np.frombuffer("".join(counted).encode("utf-32-le", "surrogatepass"), np.uint32)
        ends = np.cumsum(lengths)
        grams = _grams(_rank(codes.astype(np.int64)), n)
        owner = np.repeat(np.arange(len(counted)), lengths)[: len(grams)]
        inside = np.arange(len(grams)) + n <= ends[owner] if len(grams) else np.zeros(0, bool)
        short = [number for number, text in enumerate(counted) if 0 < len(text) < n]
        first_free = int(grams.max()) + 1 if len(grams) else 0
        names = {text: first_free + i for i, text in enumerate(sorted({counted[s] for s in short}))}
        owners = np.concatenate((owner[inside], np.array(short, np.int64)))
        values = np.concatenate((grams[inside], np.array([names[counted[s]] for s in short], np.int64)))
        self._num_ids = first_free + len(names) + 1
        keys = np.unique(owners * self._num_ids + values)
        self.ids = keys % self._num_ids
        self.offsets = np.searchsorted(keys // self._num_ids, np.arange(len(counted) + 1))

    @cached_property
    def sizes(self) -> np.ndarray:
        """Distinct shingles of each text."""
        return np.diff(self.offsets)

    def jaccard(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Exact Jaccard similarity of pairs of texts (0 for two without shingles)."""
        out = np.zeros(len(left))
        work = np.cumsum(self.sizes[left] + self.sizes[right])
        for chunk in np.split(np.arange(len(left)), np.flatnonzero(np.diff(work // 10_000_000)) + 1):
            if len(chunk):
                out[chunk] = self._jaccard(left[chunk], right[chunk])
        return out

    def _jaccard(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        pair = np.arange(len(left))
        keys = np.concatenate([self._keys(pair, left), self._keys(pair, right)])
        keys.sort()
        common = np.bincount(keys[1:][keys[1:] == keys[:-1]] // self._num_ids, minlength=len(left))
        union = self.sizes[left] + self.sizes[right] - common
        return common / np.maximum(union, 1)

    def _keys(self, pair: np.ndarray, text: np.ndarray) -> np.ndarray:
        sizes = self.sizes[text]
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return (
            np.repeat(pair, sizes) * self._num_ids + self.ids[np.repeat(self.offsets[text], sizes) + within]
        )

    def similar_pairs(self, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Every pair of texts of at least that similarity: left < right, and the similarity.

        Two sets of similarity t or more share one of the ``|x| - ceil(t |x|) + 1`` rarest shingles of
        each, so only texts that meet there are compared.
        """
        owner = np.repeat(np.arange(len(self.sizes)), self.sizes)
        rarity = np.bincount(self.ids, minlength=self._num_ids)[self.ids]
        order = np.lexsort((self.ids, rarity, owner))
        place = np.arange(len(order)) - self.offsets[owner[order]]
        needed = np.ceil(threshold * self.sizes - 1e-9)
        prefix = order[place <= (self.sizes - needed)[owner[order]]]
        prefix = prefix[np.lexsort((owner[prefix], self.ids[prefix]))]
        ids, texts_of = self.ids[prefix], owner[prefix]
        found: list[np.ndarray] = [np.empty(0, np.int64)]
        shift = 1
        while True:
            same = np.flatnonzero(ids[shift:] == ids[:-shift]) if shift < len(ids) else np.empty(0, np.int64)
            if not len(same):
                break
            found.append(np.unique(texts_of[same] * len(self.sizes) + texts_of[same + shift]))
            shift += 1
        left, right = np.divmod(np.unique(np.concatenate(found)), len(self.sizes))
        small = np.minimum(self.sizes[left], self.sizes[right])
        large = np.maximum(self.sizes[left], self.sizes[right])
        possible = small >= threshold * large
        left, right = left[possible], right[possible]
        similarity = self.jaccard(left, right)
        good = similarity >= threshold
        return left[good], right[good], similarity[good]


def _counted(text: str) -> str:
    return "".join(c for c in text if unicodedata.ucd_3_2_0.category(c) not in _SPACE)


def _rank(values: np.ndarray) -> np.ndarray:
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _grams(codes: np.ndarray, n: int) -> np.ndarray:
    """The rank of the n-gram that begins at each place, exactly: a pair of ranks is ranked again."""
    if n == 1 or len(codes) < n:
        return codes if n == 1 else codes[:0]
    half = _grams(codes, n // 2)
    both = _joined(half, half, n // 2)
    return _joined(both, codes, n - 1) if n % 2 else both


def _joined(left: np.ndarray, right: np.ndarray, distance: int) -> np.ndarray:
    length = min(len(left), len(right) - distance)
    return _rank(left[:length] * (int(right.max()) + 1) + right[distance : distance + length])


def components(count: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Connected components of a graph of pairs, as the smallest document of each."""
    parent = list(range(count))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for a, b in zip(left.tolist(), right.tolist()):
        one, other = root(a), root(b)
        parent[max(one, other)] = min(one, other)
    return np.array([root(node) for node in range(count)])


@dataclass(frozen=True)
class Score:
    """Removed documents, counted against a gold partition (MUC, Vilain et al. 1995).

    Of a cluster that joins g works, all but g documents are rightly removed, and g - 1 wrongly; a work of
    m documents asks for m - 1 removals. So a document counts once, whichever of a cluster is kept.
    """

    right: int
    wrong: int
    wanted: int

    @property
    def precision(self) -> float:
        """Of the removed documents, the share that are copies of one that stays."""
        removed = self.right + self.wrong
        return self.right / removed if removed else 1.0

    @property
    def recall(self) -> float:
        """Of the documents to be removed, the share that were."""
        return self.right / self.wanted if self.wanted else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def score(found: np.ndarray, gold: np.ndarray) -> Score:
    """Compare two partitions of the documents, each given as a label per document."""
    count = len(found)
    joint = len(np.unique(np.column_stack((found, gold)), axis=0))
    return Score(count - joint, joint - len(np.unique(found)), count - len(np.unique(gold)))
