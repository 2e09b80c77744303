"""What `corpuskit.clean.Markup` does to one text, written to be read: the oracle of its tests."""

import re
import unicodedata
from collections.abc import Iterator
from html import unescape
from typing import NamedTuple

import numpy as np

from corpuskit.clean import fragments
from corpuskit.clean.markup import BLOCKS, INLINE, SKIPPED, SKIPPED_INLINE, VOID

WHITE_SPACE = " \t\n\v\f\r\u00a0\u3000"
SPACE = r"[ \t\n\v\f\r]"
ATTRIBUTES = (
    rf"""(?:(?:{SPACE}|/)*+[A-Za-z_:@][^ \t\n\v\f\r"'<>/=]*+"""
    rf"""(?:{SPACE}*+={SPACE}*+(?:"[^"<]*+"|'[^'<]*+'|[^ \t\n\v\f\r"'<>`]++))?+)*+(?:{SPACE}|/)*+"""
)
TAG = re.compile(
    rf"<(?:(!--)|![A-Za-z\[][^<>]*+>|\?[^<>]*+>"
    rf"|(/?)([A-Za-z][A-Za-z0-9:.-]*+)(?={SPACE}|[/>]){ATTRIBUTES}>)"
)
HIDDEN = {"script", "style", "rt", "rp"}
RAW = {"script", "style"}
CELLS = {"td", "th"}
ROWS = {"tr", "table", "tbody", "thead", "tfoot", "caption"}
BLOCK_NAMES = {*BLOCKS.split(), "option", "optgroup"} - CELLS
VOID_NAMES = set(VOID.split())
_NAMES = "p li dt dd tr td th thead tbody tfoot option optgroup html head body"
OPTIONAL_END = {*_NAMES.split()}
KNOWN = {
    *f"{BLOCKS} {VOID} {SKIPPED} {SKIPPED_INLINE} {INLINE} head title textarea iframe script style".split()
}
CODE = re.compile(
    r"^ {0,3}(?P<fence>`{3,8}+|~{3,8}+)[^\n`]*\n(?s:.*?)^ {0,3}(?P=fence)[`~]*[ \t]*$|`[^`\n]{1,200}`",
    re.MULTILINE,
)
REFERENCE = re.compile("&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
ADDRESS = r"https?://(?:[^\s()<>]|\([^\s()<>]*\))*"
PICTURE = r"data:image/[^\s()<>]*|[^\s()<>]+\.(?i:png|jpe?g|gif|webp|svg|bmp)(?:\?[^\s()<>]*)?"
TITLE = r"""(?:[ \t]+(?:"[^"\n]*"|'[^'\n]*'))?"""
LINK = re.compile(
    rf"!\[[^\[\]\n]*\]\((?:{ADDRESS}|{PICTURE}){TITLE}\)"
    rf"|(?<![\\!])\[(?P<text>[^\[\]\n]*)\]\({ADDRESS}{TITLE}\)",
    re.ASCII,
)
OFFICE = ("o:", "v:", "w:", "st1:")


class Tag(NamedTuple):
    """One tag, comment or declaration.

    Attributes
    ----------
    start, stop : int
        Where it stands, in characters. A comment with its text, script and style with theirs.
    name : str
        In small letters; empty for a comment or declaration.
    is_end : bool
    """

    start: int
    stop: int
    name: str
    is_end: bool


class Judgement(NamedTuple):
    """Whether a text is an HTML fragment, and by what; see `corpuskit.clean.Markup`."""

    tags: list[Tag]
    partners: list[int]
    unknown: int
    covered_share: float
    held_share: float
    is_fragment: bool


def plain_text(text: str, config: fragments.Markup) -> tuple[str, int, int]:
    """The text without its mark-up; how many tags and comments, and how many links, were removed."""
    tags = links = 0
    for _ in range(fragments.MAX_ROUNDS):
        before = text
        if config.html:
            text, found = _without_tags(text, config)
            tags += found
        if config.markdown_links:
            text, found = _without_links(text)
            links += found
        if text == before:
            break
    return text, tags, links


def judge(text: str, config: fragments.Markup) -> Judgement:
    tags, unknown = _read_tags(text)
    partners = _match(tags)
    matched = sum(partner >= 0 for partner in partners)
    total = sum(tag.name != "" for tag in tags) + unknown
    judgement = Judgement(tags, partners, unknown, 0.0, 0.0, False)
    if not tags or matched < config.min_tags or matched < config.min_matched_share * total:
        return judgement
    covered, held = _shares(text, tags, partners)
    words = len(re.findall(fragments.MARKUP_WORDS, _strip(text, tags, partners)))
    speaks_of_markup = words * fragments.TAGS_PER_WORD > matched
    sure = held >= max(fragments.MIN_HELD_SHARE, config.min_covered_share)
    enough = sure or (not speaks_of_markup and covered >= config.min_covered_share)
    return judgement._replace(covered_share=covered, held_share=held, is_fragment=enough)


def _without_tags(text: str, config: fragments.Markup) -> tuple[str, int]:
    found = judge(text, config)
    if found.is_fragment:
        return _resolve(_strip(text, found.tags, found.partners)), len(found.tags)
    comments = [tag for tag in found.tags if text.startswith("<!--", tag.start)]
    kept, position = [], 0
    for comment in comments:
        kept.append(text[position : comment.start])
        position = comment.stop
    stripped = "".join(kept) + text[position:]
    if re.search(fragments.COMMENT_WORDS, stripped):
        return text, 0
    return stripped, len(comments)


def _read_tags(text: str) -> tuple[list[Tag], int]:
    """The tags of known names, comments and declarations; and how many tags have other names."""
    code = [span.span() for span in CODE.finditer(text)]
    tags: list[Tag] = []
    unknown = 0
    unclosed: set[str] = set()  # looked for once each, or time were quadratic
    position = 0
    while (start := text.find("<", position)) >= 0:
        behind = next((stop for first, stop in code if first <= start < stop), None)
        match = TAG.match(text, start) if behind is None else None
        if match is None:
            position = behind or start + 1
            continue
        stop = match.end()
        comment, slash, name = match.group(1, 2, 3)
        if comment:
            end = -1 if comment in unclosed else text.find("-->", start + 2)
            if end >= 0:
                stop = end + 3
                tags.append(Tag(start, stop, "", False))
            else:
                unclosed.add(comment)
        elif name is None:
            tags.append(Tag(start, stop, "", False))
        else:
            name = name.lower()
            name = "o:" if name.startswith(OFFICE) else name
            if name in KNOWN or name == "o:":
                tags.append(Tag(start, stop, name, slash == "/"))
                if name in RAW and not slash and name not in unclosed:
                    end = _raw_end(text, stop, name)
                    if end < 0:
                        unclosed.add(name)
                    else:
                        stop = end
            else:
                unknown += 1
        position = stop
    return tags, unknown


def _raw_end(text: str, position: int, name: str) -> int:
    match = re.compile(rf"</{name}(?![a-z0-9])", re.IGNORECASE | re.ASCII).search(text, position)
    return match.start() if match else -1


def _match(tags: list[Tag]) -> list[int]:
    """The partner of every tag; by name alone, for authors close elements in any order."""
    partners = [-1] * len(tags)
    opened: dict[str, list[int]] = {}
    for index, (_, _, name, is_end) in enumerate(tags):
        if not name:
            continue
        if name in VOID_NAMES:
            partners[index] = index
        elif is_end:
            waiting = opened.get(name)
            if waiting:
                partner = waiting.pop()
                partners[partner], partners[index] = index, partner
            elif name == "p":
                partners[index] = index  # browsers make an empty paragraph of it
        else:
            waiting = opened.setdefault(name, [])
            if name == "p" and waiting:
                waiting.clear()  # a paragraph ends where the next begins
            waiting.append(index)
            if name in OPTIONAL_END:
                partners[index] = index
    return partners


def _shares(text: str, tags: list[Tag], partners: list[int]) -> tuple[float, float]:
    """Which share of the characters stands on lines with tags or within elements, and within elements.

    Counted are characters beyond ASCII, as what a Chinese text says stands in them and code and addresses
    do not; where they are less than a quarter, all visible ones. Tags count for nothing.
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    visible, wide = codes > 32, codes > 0x7F
    starts = np.array([tag.start for tag in tags])
    stops = np.array([tag.stop for tag in tags])
    outside = np.ones(len(codes) + 1, bool)
    edges = np.zeros(len(codes) + 1, np.int32)
    np.add.at(edges, starts, 1)
    np.add.at(edges, stops, -1)
    outside = np.cumsum(edges)[:-1] == 0
    counted = visible & outside
    if 4 * np.count_nonzero(wide & outside) >= np.count_nonzero(counted):
        counted = wide & outside
    total = np.count_nonzero(counted)
    if not total:
        return 1.0, 1.0  # nothing but tags
    partner = np.array(partners)
    here = np.arange(len(tags))
    edges[:] = 0
    first = partner > here
    np.add.at(edges, stops[first], 1)
    np.add.at(edges, starts[partner[first]], -1)
    held = np.cumsum(edges)[:-1] > 0
    newlines = np.flatnonzero(codes == 10)
    bounds = np.concatenate([[0], newlines + 1, [len(codes)]])
    matched = partner >= 0
    lines = np.unique(np.searchsorted(newlines, np.concatenate([starts[matched], stops[matched]])))
    edges[:] = 0
    np.add.at(edges, bounds[lines], 1)
    np.add.at(edges, bounds[lines + 1], -1)
    covered = held | (np.cumsum(edges)[:-1] > 0)
    return float(np.count_nonzero(counted & covered) / total), float(np.count_nonzero(counted & held) / total)


def _strip(text: str, tags: list[Tag], partners: list[int]) -> str:
    """The text without tags: elements that stand as blocks end lines, cells a tab, others nothing.

    Between two visible characters there are as many line ends as tags ask for or the text has, whichever
    is more: ``<br>`` and the newline behind it are one.
    """
    out: list[str] = []
    gap = ""  # white space since the last visible character
    breaks = tabs = cells = 0
    for piece, tag in _pieces(text, tags, partners):
        body = piece.strip(WHITE_SPACE)
        if body:
            if tabs:
                out.append("\t" * tabs if out else "")
            elif breaks:
                newlines = gap.count("\n") + piece[: len(piece) - len(piece.lstrip(WHITE_SPACE))].count("\n")
                out.append("\n" * max(breaks, newlines) if out else "")
            else:
                out.append(gap + piece[: len(piece) - len(piece.lstrip(WHITE_SPACE))])
            out.append(body)
            gap = piece[len(piece.rstrip(WHITE_SPACE)) :]
            breaks = tabs = 0
        else:
            gap += piece
        if tag is None:
            continue
        name = tag.name
        if name in CELLS:
            if not tag.is_end:
                cells += 1
                if cells > 1:
                    tabs += 1
        elif name in ROWS:
            breaks, tabs, cells = max(breaks, 1), 0, 0
        elif name == "br":
            breaks += not tabs
        elif name in BLOCK_NAMES:
            breaks = max(breaks, not tabs)
    if not breaks and not tabs:
        out.append(gap)
    return "".join(out)


def _pieces(text: str, tags: list[Tag], partners: list[int]) -> Iterator[tuple[str, Tag | None]]:
    """What stands before each tag, hidden elements left out; and behind the last."""
    hidden_until = -1
    position = 0
    for index, tag in enumerate(tags):
        piece = "" if index <= hidden_until else text[position : tag.start]
        yield piece, tag
        position = tag.stop
        if tag.name in HIDDEN:
            hidden_until = max(hidden_until, partners[index])
    yield text[position:], None


def _resolve(text: str) -> str:
    return REFERENCE.sub(_character, text)


def _character(match: re.Match[str]) -> str:
    characters = unescape(match[0])
    control = any(unicodedata.category(code) == "Cc" and not code.isspace() for code in characters)
    return match[0] if control or characters in ("", "\ufffd") else characters


def _without_links(text: str) -> tuple[str, int]:
    code = [span.span() for span in CODE.finditer(text)]
    links = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal links
        if any(first < match.end() and match.start() < stop for first, stop in code):
            return match[0]
        links += 1
        return match["text"] or ""

    stripped = LINK.sub(replace, text)
    words = sum(text.count(word) for word in ("arkdown", "语法", "語法"))
    return (text, 0) if words * fragments.TAGS_PER_WORD > links else (stripped, links)
