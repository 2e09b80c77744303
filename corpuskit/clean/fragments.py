"""Mark-up left in text records: HTML fragments and Markdown links to plain text.

JSON Lines corpora carry what an editor or a scraper left in their text field, and a language model writes
what it read: after transcripts with a tag to every 47 characters it opens its sentences with
``<p><strong>``. Web pages go through `corpuskit.clean.extract`; here the record is text already, most of it
plain, and prose may speak *of* tags. So each document is first judged as a whole, by tags of HTML's own
names that close one another and by how much of the text they hold, more strictly where the text speaks of
mark-up; only then are its tags removed and its character references resolved.

The kernel of `corpuskit.kernels.html_fragments` sees documents that hold a ``<``; of the others nothing is
read but that they do not.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from html import unescape
from itertools import chain, pairwise
from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpuskit.clean.characters import utf8_buffers
from corpuskit.clean.markup import BLOCKS, INLINE, SKIPPED, SKIPPED_INLINE, VOID, hash_name, hash_table
from corpuskit.clean.steps import Check, Judged, Step, require_at_least, require_shares, texts
from corpuskit.clean.wrapping import string_array
from corpuskit.documents import DocumentBatch, replace_text

MAX_ROUNDS = 8
"""How often a text is looked at again: one that was escaped twice shows its tags only then."""

MAX_TAGS = 500_000
"""Documents with more tags are left as they are."""

TAGS_PER_WORD = 20
"""A text with more than one of `MARKUP_WORDS` to so many tags speaks of mark-up. Of 1,425 transcripts of
whole news programmes none does; the most is one to 42."""

MIN_HELD_SHARE = 0.9
"""How much of a text that speaks of mark-up must lie within elements. A tutorial's own prose does not lie
within the tags of its examples; an article that was written as HTML does."""

_LATIN_WORDS = "(?:^|[^.A-Za-z])(?:x?html|css|xml|javascript|jquery|php|jsp|markdown)"
MARKUP_WORDS = (
    "(?i)标签|標籤|代码|代碼|程式碼|源码|原始碼|网页|網頁|浏览器|瀏覽器|前端|元素|注释|註解|" + _LATIN_WORDS
)
"""What texts about mark-up say (RE2). An address that ends in ``.html`` or ``.shtml`` says nothing."""

COMMENT_WORDS = "(?i)源码|原始碼|注释|註解|" + _LATIN_WORDS
"""The same for a text whose only mark-up is comments; statutes, too, write of 网页 and 信用代码."""

_HIDDEN = "script style rt rp"
_OPTIONAL_END = "p li dt dd tr td th thead tbody tfoot option optgroup html head body"
_ROWS = "tr table tbody thead tfoot caption"

_CODE = re.compile(
    rb"^ {0,3}(?P<fence>`{3,8}+|~{3,8}+)[^\n`]*\n(?s:.*?)^ {0,3}(?P=fence)[`~]*[ \t]*$|`[^`\n]{1,600}`",
    re.MULTILINE,
)
_REFERENCE = re.compile(rb"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_LINK_WORDS = (b"arkdown", "语法".encode(), "語法".encode())  # of texts about Markdown
_ADDRESS = rb"https?://(?:[^\s()<>]|\([^\s()<>]*\))*"
_TITLE = rb"""(?:[ \t]+(?:"[^"\n]*"|'[^'\n]*'))?"""
_TARGET = re.compile(
    rb"\]\((?:(" + _ADDRESS + rb")|data:image/[^\s()<>]*|"
    rb"[^\s()<>]+\.(?i:png|jpe?g|gif|webp|svg|bmp)(?:\?[^\s()<>]*)?)" + _TITLE + rb"\)"
)


@dataclass(frozen=True)
class Markup(Step):
    """Turn what is left of HTML and Markdown in a text into plain text; drops nothing.

    A document is an HTML fragment if

    - it has at least `min_tags` tags that are well formed, of HTML's own names, and closed by or closing
      another (or in need of none: ``<br>``, an open ``<p>``); tags within backticks do not count,
    - these are `min_matched_share` of all its tags, those of unknown names included,
    - `min_covered_share` of its characters lie within elements or on lines with tags. Counted are
      characters beyond ASCII, in which a Chinese text says what it says, or all visible ones where they
      are less than a quarter. Where the text speaks of mark-up (`MARKUP_WORDS`, more than one to 20 tags),
      90 % must lie within elements.

    Of a fragment, tags of HTML's names (and the ``o:p`` of Word) go; blocks and ``<br>`` end lines, cells
    of a table row are separated by a tab; comments, declarations, the contents of script and style, and
    the readings of ruby go, everything else stays; character references become what they stand for. Of
    other documents only comments go, unless the text speaks of mark-up. What has more than 500,000 tags is
    left alone. Applied again, the step changes nothing, unless a text was escaped more than 8 times.

    It counts what it removes: `markup_tags` and `markup_links` are in the report and drop nothing.

    Attributes
    ----------
    html : bool
        Whether to look for HTML.
    markdown_links : bool
        Whether links ``[text](https://…)`` become their text, and pictures nothing. Only addresses that begin
        with http:// or https:// make a link (and file names of pictures a picture), so ``[1](2)`` stays.
        Texts that speak of Markdown keep them.
    min_tags, min_matched_share, min_covered_share
        What makes a fragment, as above: whole number of at least 1, shares.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    html: bool = True
    markdown_links: bool = True
    min_tags: int = 2
    min_matched_share: float = 0.8
    min_covered_share: float = 0.5

    def __post_init__(self) -> None:
        require_at_least(self, 1, "min_tags")
        require_shares(self, "min_matched_share", "min_covered_share")

    def judge(self, batch: DocumentBatch) -> Judged:
        stripped = strip_markup(texts(batch), self)
        never = np.zeros(batch.num_rows, bool)
        changed = stripped.tags.any() or stripped.links.any()
        return Judged(
            replace_text(batch, stripped.text) if changed else batch,
            [
                Check("markup_tags", stripped.tags.astype(np.float64), np.inf, never),
                Check("markup_links", stripped.links.astype(np.float64), np.inf, never),
            ],
        )


class Stripped(NamedTuple):
    """Texts without their mark-up.

    Attributes
    ----------
    text : pyarrow.Array
        large_string; the array that came in where nothing was removed.
    tags, links : numpy.ndarray
        int64[num_documents], what was removed: tags, comments and declarations; links and pictures.
    """

    text: pa.Array
    tags: np.ndarray
    links: np.ndarray


def strip_markup(text: pa.Array, config: Markup) -> Stripped:
    """`Markup` for a large_string array without nulls."""
    tags, links = np.zeros(len(text), np.int64), np.zeros(len(text), np.int64)
    rows = np.arange(len(text))
    for _ in range(MAX_ROUNDS):
        part = text if len(rows) == len(text) else text.take(pa.array(rows))
        found = np.zeros(len(rows), bool)
        for wanted, mark, strip, counts in (
            (config.html, b"<", _strip_html, tags),
            (config.markdown_links, b"](", _strip_links, links),
        ):
            if not wanted:
                continue
            chosen = _holding(part, mark)
            if not chosen.any():
                continue
            stripped, removed = strip(part if chosen.all() else part.filter(pa.array(chosen)), config)
            if removed.any():
                counts[rows[chosen]] += removed
                found[chosen] |= removed > 0
                part = stripped if chosen.all() else pc.replace_with_mask(part, pa.array(chosen), stripped)
        if not found.any():
            break
        if len(rows) == len(text):
            text = part
        else:
            mask = np.zeros(len(text), bool)
            mask[rows] = True
            text = pc.replace_with_mask(text, pa.array(mask), part)
        rows = rows[found]
    return Stripped(text, tags, links)


def _holding(text: pa.Array, *marks: bytes) -> np.ndarray:
    """Which texts hold one of the marks (bool); the first byte by memchr, ten times as fast as by Arrow."""
    data, offsets = utf8_buffers(text)
    first = int(offsets[0])
    whole = data[first : offsets[-1]].tobytes()
    held = np.zeros(len(text), bool)
    bounds = (offsets - first).tolist()
    for mark in marks:
        if mark[:1] not in whole:
            continue
        for row, (start, stop) in enumerate(pairwise(bounds)):
            start = whole.find(mark[:1], start, stop)
            held[row] |= start >= 0 and (len(mark) == 1 or whole.find(mark, start, stop) >= 0)
    return held


def _strip_html(text: pa.Array, config: Markup) -> tuple[pa.Array, np.ndarray]:
    """The texts without tags and comments, and how many of them each had."""
    from corpuskit.kernels import html_fragments as kernel

    data, offsets = utf8_buffers(text)
    openings = np.flatnonzero(data[offsets[0] : offsets[-1]] == ord("<")) + offsets[0]
    opening_bounds = np.searchsorted(openings, offsets)
    most = int(np.diff(opening_bounds).max())
    code, code_bounds = _code_spans(text, data, offsets)
    out = np.empty(offsets[-1] - offsets[0], np.uint8)
    out_offsets = np.empty(len(text) + 1, np.int64)
    counts = np.empty((len(text), 2), np.int64)
    verdicts = np.empty(len(text), np.int8)
    kernel.strip_documents(
        data,
        offsets,
        openings,
        opening_bounds,
        code,
        code_bounds,
        *_tables(),
        min(most, MAX_TAGS),
        config.min_tags,
        config.min_matched_share,
        config.min_covered_share,
        max(config.min_covered_share, MIN_HELD_SHARE),
        out,
        out_offsets,
        counts,
        verdicts,
    )
    stripped = string_array(out, out_offsets)
    accepted = verdicts == kernel.FRAGMENT
    for verdict, pattern, tags in (
        (kernel.LIKELY_FRAGMENT, MARKUP_WORDS, counts[:, kernel.MATCHED]),
        (kernel.COMMENTED, COMMENT_WORDS, np.zeros(len(text), np.int64)),
    ):
        rows = np.flatnonzero(verdicts == verdict)
        if len(rows):
            words = pc.count_substring_regex(stripped.take(pa.array(rows)), pattern)
            accepted[rows] = words.to_numpy() * TAGS_PER_WORD <= tags[rows]
    fragments = accepted & (verdicts != kernel.COMMENTED)
    result = stripped if accepted.all() else pc.if_else(pa.array(accepted), stripped, text)
    return _resolve(result, fragments), np.where(accepted, counts[:, kernel.TAGS], 0)


def _code_spans(text: pa.Array, data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Byte ranges of code in backticks and fences (int64[n, 2]), and where those of each text begin."""
    spans: list[tuple[int, int]] = []
    bounds = np.zeros(len(text) + 1, np.int64)
    for row in np.flatnonzero(_holding(text, b"`", b"~~~")).tolist():
        begin = int(offsets[row])
        found = _CODE.finditer(data[begin : offsets[row + 1]].tobytes())
        spans += ((begin + match.start(), begin + match.end()) for match in found)
        bounds[row + 1 :] = len(spans)
    return np.array(spans, np.int64).reshape(-1, 2), bounds


def _rewrite(text: pa.Array, chosen: np.ndarray, function: Callable[[bytes, int], bytes]) -> pa.Array:
    """`text` with `function` applied to the UTF-8 and the row of the chosen documents."""
    data, offsets = utf8_buffers(text)
    bounds = offsets.tolist()
    pieces = [data[start:stop].tobytes() for start, stop in pairwise(bounds)]
    for row in np.flatnonzero(chosen).tolist():
        pieces[row] = function(pieces[row], row)
    lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
    return string_array(
        np.frombuffer(b"".join(pieces), np.uint8), np.concatenate([[np.int64(0)], np.cumsum(lengths)])
    )


def _resolve(text: pa.Array, chosen: np.ndarray) -> pa.Array:
    """`text` with the character references of the chosen documents resolved."""
    holds = chosen & _holding(text, b"&") if chosen.any() else chosen
    if not holds.any():
        return text
    return _rewrite(text, holds, lambda document, _: _REFERENCE.sub(_character, document))


def _character(match: re.Match[bytes]) -> bytes:
    """What a reference stands for; itself where that is nothing or a control character."""
    reference = match[0].decode("ascii")
    characters = unescape(reference)
    if characters in ("", "\ufffd") or any(
        unicodedata.category(code) in ("Cc", "Cs") and not code.isspace() for code in characters
    ):
        return match[0]
    return characters.encode("utf-8")


def _strip_links(text: pa.Array, config: Markup) -> tuple[pa.Array, np.ndarray]:
    """The texts with links as their words and without pictures, and how many each had."""
    links = np.zeros(len(text), np.int64)

    def strip(document: bytes, row: int) -> bytes:
        cuts, found = _link_cuts(document)
        if sum(map(document.count, _LINK_WORDS)) * TAGS_PER_WORD > found:
            return document
        links[row] = found
        kept = [document[start:stop] for start, stop in pairwise([0, *chain(*cuts), len(document)])]
        return b"".join(kept[::2])

    stripped = _rewrite(text, np.ones(len(text), bool), strip)
    return stripped if links.any() else text, links


def _link_cuts(document: bytes) -> tuple[list[tuple[int, int]], int]:
    """Byte ranges of a document that are a link's brackets and address or a picture; how many of these."""
    cuts: list[tuple[int, int]] = []
    code: list[tuple[int, int]] | None = None
    found = behind = 0
    stop = 0
    while (start := document.find(b"](", stop)) >= 0:
        stop = start + 2
        match = _TARGET.match(document, start)
        if match is None:
            continue
        stop = match.end()
        opening = document.rfind(b"[", behind, start)
        behind = stop
        words = document[opening:start]
        if opening < 0 or b"]" in words or b"\n" in words:
            continue
        before = document[opening - 1 : opening] if opening else b""
        if before == b"\\" or (before != b"!" and match.start(1) < 0):
            continue
        if code is None:
            code = [span.span() for span in _CODE.finditer(document)] if _quotes_code(document) else []
        span = bisect_left(code, (stop, 0)) - 1
        if span >= 0 and code[span][1] > opening:
            continue
        cuts += [(opening - 1, stop)] if before == b"!" else [(opening, opening + 1), (start, stop)]
        found += 1
    return cuts, found


def _quotes_code(document: bytes) -> bool:
    return b"`" in document or b"~~~" in document


@cache
def _tables() -> tuple[np.ndarray, ...]:
    """The tag names as `html_fragments.strip_documents` takes them."""
    from corpuskit.kernels import html_tags as k

    kinds: dict[str, int] = {}
    for names, bits in (
        (f"{SKIPPED} {SKIPPED_INLINE} {INLINE} head script style title textarea iframe", 0),
        (BLOCKS, k.BLOCK),
        ("option optgroup", k.BLOCK),
        (VOID, k.VOID),
        (_OPTIONAL_END, k.OPTIONAL),
        (_HIDDEN, k.HIDDEN),
        (_ROWS, k.ROW),
        ("td th", k.CELL),
        ("br", k.BREAK),
        ("p", k.PARAGRAPH),
        ("script", k.SCRIPT),
        ("style", k.STYLE),
    ):
        for name in names.split():
            kinds[name] = kinds.get(name, 0) | bits
    keys, ids = hash_table({name: number for number, name in enumerate(kinds)})
    hashes = np.array([hash_name(name) for name in kinds] + [0], np.uint64)
    return keys, ids, hashes, np.array([*kinds.values(), 0], np.int64)
