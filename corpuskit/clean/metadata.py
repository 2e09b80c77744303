"""Title, date and author of a page, from what the page says about itself."""

from __future__ import annotations

import html
import re
from typing import NamedTuple

from corpuskit.clean.markup import PageLines

_TITLE_NAMES = ("og:title", "articletitle", "twitter:title")
_DATE_NAMES = (
    "article:published_time",
    "og:release_date",
    "pubdate",
    "publishdate",
    "datepublished",
    "weibo: article:create_at",
    "bytedance:published_time",
    "og:published_time",
    "article.published",
)
_AUTHOR_NAMES = ("author", "article:author", "og:article:author", "byline", "twitter:creator")
_DATE = re.compile(
    r"(?<!\d)((?:19|20)\d\d)[^\S\n]?[-年/.][^\S\n]?(\d{1,2})[^\S\n]?[-月/.][^\S\n]?(\d{1,2})(?!\d)"
)
_LINKED_DATE = re.compile(r'"(?:datePublished|pubDate)"\s*:\s*"([^"]{8,40})"')
_LINKED_AUTHOR = re.compile(r'"author"\s*:\s*(?:\[\s*)?(?:\{[^{}]{0,200}?"name"\s*:\s*)?"([^"{}]{2,40})"')
_BYLINE_AUTHOR = re.compile(
    "(?m)(?:^|[\\s|｜])(?:作者|文|撰文|记者)\\s?[：:/／]\\s?"
    "([\u4e00-\u9fff·]{2,12}|[A-Za-z][\\w .]{1,30}?)(?=$|[\\s|｜，,；;（(])"
)
_ATTRIBUTE = re.compile(r"([\w:.-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s>\"']+))")
_SITE_SEPARATOR = re.compile(r"\s*[_|｜]\s*|\s+[-–—]+\s+|--+|——+(?=[^—]{1,12}$)|-(?=[^-]{1,12}$)")
_MAX_DATE_LINE_CHARACTERS = 120
_MAX_LINES = 200
_MAX_MARK_BYTES = 20_000


class Metadata(NamedTuple):
    """`title` without the site's name; `date` as ``YYYY-MM-DD``; None where unknown."""

    title: str | None
    date: str | None
    author: str | None


def read_metadata(page: PageLines) -> Metadata:
    """Read the meta elements, ``<title>``, ``<time>`` and linked data of a page, and its bylines.

    What the page's own metadata states comes first; failing that the first date in a short line.
    """
    names: dict[str, str] = {}
    title = ""
    dates: list[str] = []
    authors: list[str] = []
    for tag, start, stop in page.marks:
        source = page.data[start : min(stop, start + _MAX_MARK_BYTES)].decode("utf-8", "replace")
        if tag == "meta":
            attributes = _attributes(source)
            name = attributes.get("property") or attributes.get("name") or attributes.get("itemprop")
            content = attributes.get("content", "").strip()
            if name and content:
                names.setdefault(name.strip().lower(), content)
        elif tag == "title" and not title:
            title = html.unescape(source.partition(">")[2])
        elif tag == "time":
            dates.append(_attributes(source).get("datetime", ""))
        elif tag == "script" and "ld+json" in source[:200]:
            dates += _LINKED_DATE.findall(source)
            authors += _LINKED_AUTHOR.findall(source)
    stated = next((names[name] for name in _TITLE_NAMES if name in names), None)
    title = " ".join((stated or _without_site(title)).split())
    dates = [names[name] for name in _DATE_NAMES if name in names] + dates
    authors = [names[name] for name in _AUTHOR_NAMES if name in names] + authors
    date = next(filter(None, map(_as_date, dates)), None)
    author = next(filter(None, map(_as_author, authors)), None)
    if date is None or author is None:
        short = _short_lines(page)
        date = date or _date_in_text(short)
        author = author or _author_in_text(short)
    return Metadata(title or None, date, author)


def _date_in_text(text: str) -> str | None:
    """The first date in short lines: bylines are short, dates inside prose mean something else."""
    return next(filter(None, map(_checked, _DATE.finditer(text))), None)


def _author_in_text(text: str) -> str | None:
    match = _BYLINE_AUTHOR.search(text)
    return match.group(1).strip() if match else None


def _short_lines(page: PageLines) -> str:
    """The first lines of the page, those that are short."""
    return "\n".join(
        page.text[start:stop].decode()
        for start, stop, characters, *_ in page.lines[:_MAX_LINES].tolist()
        if characters <= _MAX_DATE_LINE_CHARACTERS
    )


def _attributes(source: str) -> dict[str, str]:
    """The attributes of one tag, names in lower case."""
    return {
        name.lower(): html.unescape(double or single or bare)
        for name, double, single, bare in _ATTRIBUTE.findall(source)
    }


def _as_date(text: str) -> str | None:
    match = _DATE.search(text)
    return None if match is None else _checked(match)


def _checked(match: re.Match[str]) -> str | None:
    year, month, day = map(int, match.groups())
    return f"{year:04}-{month:02}-{day:02}" if 1 <= month <= 12 and 1 <= day <= 31 else None


def _as_author(text: str) -> str | None:
    """A person's name; addresses, and sites that name themselves by a URL, are none."""
    text = " ".join(text.split())
    return text if 2 <= len(text) <= 40 and "/" not in text and "@" not in text else None


def _without_site(title: str) -> str:
    """The first part of ``headline_channel_site``, unless it is too short to be a headline."""
    head = _SITE_SEPARATOR.split(title.strip(), maxsplit=1)[0].strip()
    return head if len(head) >= 4 else title.strip()
