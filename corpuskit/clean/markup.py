"""What the tags, classes and character references of a page mean, and the page cut into lines by it.

The tables are built once a process (some 10 ms) for the kernels `html_syntax` and `html_lines`.
"""

from __future__ import annotations

import html.entities
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

MAX_OPEN_ELEMENTS = 512
"""Elements deeper than this are read as if they had no tags, as browsers do from 512 on."""

UNLIKELY, COMMENTS, GUTTER = 1, 2, 4
"""Hint bits: navigation and adverts; readers' comments; line numbers of code."""

_HINT_WORDS = {
    UNLIKELY: (
        "nav navbar navigation menu menus submenu foot footer footers side sidebar sider aside crumb crumbs "
        "breadcrumb breadcrumbs copyright share sharing bshare bdshare related relate relates recommend "
        "recommends recommendation recommended pager pagination pages toolbar advert adverts advertisement "
        "ad ads adv gg guanggao login banner popup hotlist ranklist rank ranking tag tags toplist friendlink "
        "friendlinks links qrcode ewm erweima topbar bottombar cookie subscribe sitemap mulu"
    ),
    COMMENTS: "comment comments commentlist reply replies pinglun liuyan guestbook disqus",
    GUTTER: "gutter lineno linenos linenumber linenumbers",
}  # fmt: skip
_TAG_HINTS = {"nav": UNLIKELY, "footer": UNLIKELY, "aside": UNLIKELY, "menu": UNLIKELY}

BLOCKS = (
    "html body div p section article main header footer nav aside ul ol li dl dt dd table tbody thead tfoot "
    "tr td th h1 h2 h3 h4 h5 h6 blockquote pre figure figcaption form fieldset address center details "
    "summary caption hr menu dir listing title"
)  # fmt: skip
SKIPPED = "noscript template object svg math canvas select button audio video map applet"
SKIPPED_INLINE = "rt rp option optgroup"
INLINE = (
    "a abbr acronym b bdi bdo big blink cite code data del dfn em font i ins kbd label legend mark marquee "
    "meter nobr output picture progress q rb rtc ruby s samp small span strike strong sub sup time tt u var"
)  # fmt: skip
_RAW = "script style textarea iframe xmp noembed noframes title plaintext"
VOID = "br img hr input meta link area base col embed param source track wbr keygen frame"
_MARKED = "meta time script title"


class Names(NamedTuple):
    """Numbers of the tags that callers ask for; see `tables`."""

    numbers: dict[str, int]
    names: tuple[str, ...]


@dataclass(frozen=True)
class PageLines:
    """A page as lines.

    Attributes
    ----------
    data : bytes
        The page as UTF-8.
    text : bytes
        UTF-8 of all lines; a line is a range of it.
    lines : numpy.ndarray
        int32[num_lines, LINE_COLUMNS]: columns as in `corpuskit.kernels.html_lines`.
    blocks : numpy.ndarray
        int32[num_blocks, 3]: parent, tag and hint bits of each block element; a child's row is behind its
        parent's. Row 0 is the page.
    marks : list of (str, int, int)
        Tag name and byte range in `data` of the elements that may hold metadata.
    depth : int
        Elements open at once.
    nodes : int
        Tags read.
    """

    data: bytes
    text: bytes
    lines: np.ndarray
    blocks: np.ndarray
    marks: list[tuple[str, int, int]]
    depth: int
    nodes: int


def cut_into_lines(
    data: bytes, *, max_nodes: int, show_hidden: bool = False, max_marks: int = 512
) -> PageLines:
    """Read a page.

    Parameters
    ----------
    data : bytes
        UTF-8.
    max_nodes : int
        Reading stops at more tags; `PageLines.nodes` is then above it.
    show_hidden : bool
        Whether to read what ``display: none`` or ``hidden`` hides until a script shows it.
    max_marks : int
        How many metadata elements are remembered.
    """
    from corpuskit.kernels import html_layout as layout
    from corpuskit.kernels import html_lines as kernel

    view = np.frombuffer(data, np.uint8)
    tags, newlines, references = kernel.count_bounds(view)
    out = np.empty(view.size + 8, np.uint8)
    rows = tags + newlines + references + 2
    lines = np.empty((rows, layout.LINE_COLUMNS), np.int32)
    blocks = np.empty((tags + 1, layout.BLOCK_COLUMNS), np.int32)
    marks = np.empty((max_marks, 3), np.int64)
    stack = np.empty((MAX_OPEN_ELEMENTS, layout.STACK_COLUMNS), np.int64)
    state = np.zeros(layout.STATE_SIZE, np.int64)
    kernel.scan(view, *tables().arrays, out, lines, blocks, marks, stack, state, max_nodes, show_hidden)
    found = marks[: state[layout.NUM_MARKS]].tolist()
    names = tables().names
    return PageLines(
        data,
        out[: state[layout.OUT_BYTES]].tobytes(),
        lines[: state[layout.NUM_LINES]],
        blocks[: state[layout.NUM_BLOCKS]],
        [(names[tag], start, stop) for tag, start, stop in found],
        int(state[layout.DEEPEST]),
        int(state[layout.NODES]),
    )


class Tables(NamedTuple):
    """What `html_lines.scan` takes behind the data, in its order; and the tag names by number."""

    arrays: tuple[np.ndarray, ...]
    names: tuple[str, ...]

    def number(self, tag: str) -> int:
        """The number of a tag."""
        return self.names.index(tag)


@cache
def tables() -> Tables:
    """The kernels' tables."""
    kinds = _kinds()
    names = tuple(sorted(kinds))
    tag_hints = np.array([_TAG_HINTS.get(name, 0) for name in names], np.int64)
    hints = {word: bit for bit, words in _HINT_WORDS.items() for word in words.split()}
    references = {
        name: ord(value) for name, value in html.entities.html5.items() if len(value) == 1
    }  # the 93 references to two characters are mathematical signs
    windows = np.array([ord(bytes([code]).decode("cp1252", "replace")) for code in range(128, 160)], np.int32)
    arrays = (
        *hash_table({name: number for number, name in enumerate(names)}),
        np.array([hash_name(name) for name in names], np.uint64),
        np.array([kinds[name] for name in names], np.int64),
        tag_hints,
        np.array([hash_name(name) for name in ("class", "id", "style", "href", "hidden")], np.uint64),
        *hash_table(hints),
        *hash_table(references),
        windows,
    )
    return Tables(arrays, names)


def _kinds() -> dict[str, int]:
    """The kind bits of every tag that means something to the scan."""
    from corpuskit.kernels import html_layout as k

    kinds: dict[str, int] = {}

    def add(names: str, bits: int) -> None:
        for name in names.split():
            kinds[name] = kinds.get(name, 0) | bits

    add(BLOCKS, k.BLOCK)
    add(SKIPPED, k.SKIP)
    add(SKIPPED_INLINE, k.SKIP | k.INLINE)
    add("ruby", k.INLINE)
    add(_RAW, k.RAW)
    add(VOID, k.VOID)
    add(_MARKED, k.MARK)
    add("title textarea iframe xmp noembed noframes", k.LENIENT)
    add("br", k.BREAK)
    add("a", k.LINK)
    add("p", k.PARAGRAPH)
    add("h1 h2 h3 h4 h5 h6", k.HEADING)
    add("pre listing", k.PRE)
    add("li", k.ITEM)
    add("ul ol menu dir dl", k.LIST)
    add("dt dd", k.TERM)
    add("tr", k.ROW | k.TABULAR)
    add("td th", k.CELL | k.SCOPE | k.TABULAR)
    add("caption", k.SCOPE | k.TABULAR)
    add("table", k.TABLE | k.SCOPE | k.TABULAR)
    add("tbody thead tfoot", k.TABULAR)
    return kinds


def hash_name(name: str) -> int:
    """FNV-1a, 64 bits, as `html_syntax.name_hash` of a name without capitals."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def hash_table(values: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """An open-addressing table, at most half full."""
    from corpuskit.kernels.html_syntax import fill_table

    size = 1 << (2 * len(values)).bit_length()
    table_keys, table_values = np.zeros(size, np.uint64), np.zeros(size, np.int32)
    keys = np.array([hash_name(name) for name in values], np.uint64)
    fill_table(keys, np.array(list(values.values()), np.int32), table_keys, table_values)
    return table_keys, table_values


def tag_is(page: PageLines, block: int, name: str) -> bool:
    """Whether a block is an element of that name."""
    tag: Any = page.blocks[block, 1]
    return tag >= 0 and tables().names[tag] == name
