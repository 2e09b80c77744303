"""Title and date of publication of a page, from what the page says about itself."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

_TITLE_NAMES = ("og:title", "articletitle", "twitter:title")
_DATE_NAMES = (
    "article:published_time",
    "og:release_date",
    "pubdate",
    "publishdate",
    "datepublished",
    "weibo: article:create_at",
    "bytedance:published_time",
)
_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)\s?[-年/.]\s?(\d{1,2})\s?[-月/.]\s?(\d{1,2})(?!\d)")
_LINKED_DATA = re.compile(r'"(?:datePublished|pubDate)"\s*:\s*"([^"]{8,40})"')
_SITE_SEPARATOR = re.compile(r"\s*[_|｜]\s*|\s+[-–—]+\s+|--+|——+(?=[^—]{1,12}$)|-(?=[^-]{1,12}$)")
_MAX_DATE_LINE_CHARACTERS = 120


class Metadata(NamedTuple):
    """`title` without the site's name; `date` as ``YYYY-MM-DD``; None where unknown."""

    title: str | None
    date: str | None


def read_metadata(tree: Any) -> Metadata:
    """Read the meta elements, ``<title>``, ``<time>`` and linked data of a parsed page."""
    names: dict[str, str] = {}
    document = tree.document
    for meta in document.get_elements_by_tag_name("meta"):
        name = meta.getattr("property") or meta.getattr("name") or meta.getattr("itemprop")
        content = meta.getattr("content")
        if name and content and content.strip():
            names.setdefault(name.strip().lower(), content.strip())
    title = next((names[name] for name in _TITLE_NAMES if name in names), None)
    title = " ".join((title or _without_site(tree.title or "")).split()) or None
    candidates = [names[name] for name in _DATE_NAMES if name in names]
    candidates += [
        time.getattr("datetime") or time.text for time in document.get_elements_by_tag_name("time")[:5]
    ]
    for script in document.get_elements_by_tag_name("script"):
        if script.getattr("type") == "application/ld+json":
            candidates += _LINKED_DATA.findall(script.text)
    return Metadata(title, next(filter(None, map(_as_date, candidates)), None))


def date_in_text(lines: Iterable[str]) -> str | None:
    """The first date in a short line: bylines are short, dates inside prose mean something else."""
    short = (line for line in lines if len(line) <= _MAX_DATE_LINE_CHARACTERS)
    return next(filter(None, map(_as_date, short)), None)


def _as_date(text: str) -> str | None:
    match = _DATE.search(text)
    if match is None:
        return None
    year, month, day = map(int, match.groups())
    return f"{year:04}-{month:02}-{day:02}" if 1 <= month <= 12 and 1 <= day <= 31 else None


def _without_site(title: str) -> str:
    """The first part of ``headline_channel_site``, unless it is too short to be a headline."""
    head = _SITE_SEPARATOR.split(title.strip(), maxsplit=1)[0].strip()
    return head if len(head) >= 4 else title.strip()
