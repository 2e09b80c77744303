"""The main text of a Chinese web page, by the density of prose over its lines and blocks.

English extractors count words, commas and paragraphs; a Chinese page has no spaces, often no ``<p>``,
and much of its navigation is short lines of links. So a page is cut into lines (`corpuskit.clean.markup`:
one pass of a kernel over the bytes), each line is judged by its characters outside links and its Chinese
punctuation, and the element with the largest balance of prose over links is the content
(`corpuskit.clean.main_text`). Nothing here parses a tree, runs native code or depends on the clock:
budgets of bytes, tags and depth say what is refused.
"""

from __future__ import annotations

from typing import NamedTuple

from corpuskit.clean.main_text import main_text, visible_text
from corpuskit.clean.markup import cut_into_lines
from corpuskit.clean.metadata import read_metadata
from corpuskit.clean.pinyin import remove_pinyin
from corpuskit.errors import InputError

MAX_PAGE_BYTES = 10_000_000
MAX_PAGE_NODES = 200_000

MIN_CHARACTERS = 60
"""Below this the main text is doubted, and taken again without regard to class names; failing that all
visible text outside links. About two Chinese sentences."""


class PageOverBudget(InputError):
    """A page exceeds a budget and was not read (further); `reason`, `value`, `threshold` say which."""

    def __init__(self, reason: str, value: float, threshold: float) -> None:
        super().__init__(
            f"{reason} is {value:.0f}, more than {threshold:.0f}", hint="the page is quarantined"
        )
        self.reason = reason
        self.value = value
        self.threshold = threshold

    def __reduce__(self):
        return PageOverBudget, (self.reason, self.value, self.threshold)


class Page(NamedTuple):
    """What was found on a page.

    Attributes
    ----------
    text : str
        The main text, one paragraph a line; cells of a table row are separated by a tab; empty where the
        page has none.
    title : str or None
        From the page's metadata, without the site's name.
    date : str or None
        Date of publication, ``YYYY-MM-DD``.
    author : str or None
        Where the page's metadata or a byline states one.
    method : str
        ``density``, ``density without hints``, ``density of hidden text`` or ``all``: which way gave the
        text.
    """

    text: str
    title: str | None
    date: str | None
    author: str | None
    method: str


def extract(html: str, *, max_bytes: int = MAX_PAGE_BYTES, max_nodes: int = MAX_PAGE_NODES) -> Page:
    """Main text, title, date and author of a page.

    Parameters
    ----------
    html : str
        The decoded page (see `corpuskit.clean.decode`).
    max_bytes : int
        Pages larger than this in UTF-8 are refused.
    max_nodes : int
        Pages with more tags than this are refused.

    Raises
    ------
    PageOverBudget
        With the budget that was exceeded.
    """
    data = html.encode("utf-8", "replace")
    if len(data) > max_bytes:
        raise PageOverBudget("clean/page_bytes", len(data), max_bytes)
    page = cut_into_lines(data, max_nodes=max_nodes)
    if page.nodes > max_nodes:
        raise PageOverBudget("clean/page_nodes", page.nodes, max_nodes)
    metadata = read_metadata(page)
    text, method = main_text(page, metadata.title), "density"
    if len(text) < MIN_CHARACTERS:
        # A class name misled, or a script shows the text later; failing that, whatever is visible.
        shown = cut_into_lines(data, max_nodes=max_nodes, show_hidden=True)
        for other, name in (
            (main_text(page, metadata.title, use_hints=False), "density without hints"),
            (main_text(shown, metadata.title), "density of hidden text"),
            (visible_text(page), "all"),
        ):
            if len(text) < MIN_CHARACTERS and len(other) > 2 * len(text):
                text, method = other, name
    return Page(remove_pinyin(text), metadata.title, metadata.date, metadata.author, method)
