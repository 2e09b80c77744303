"""Removing what is left of HTML in text records, beside parsers that remove every tag, on one core.

The peers take each text for HTML, so they are given only transcripts, which are; what they find must be what
we find, white space aside, before anything is timed. Then what the step adds to the whole of ``zh-web``.
Times are of the processor, the shortest of the rounds, contenders in turn.
"""

from __future__ import annotations

import html
import time
from collections.abc import Callable
from html.parser import HTMLParser

import lxml.html
import pyarrow as pa
from corpus import texts
from harness import machine_line

from corpuskit.clean import Cleaner, Markup
from corpuskit.clean.fragments import strip_markup
from corpuskit.documents import document_batch

ROUNDS = 7


class Text(HTMLParser):
    """The text of a fragment."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def with_html_parser(text: str) -> str:
    """The standard library's."""
    parser = Text()
    parser.feed(text)
    parser.close()
    return "".join(parser.parts)


def with_lxml(text: str) -> str:
    """lxml's."""
    return lxml.html.fragment_fromstring(text, create_parent="div").text_content()


def shortest(*runs: Callable[[], object]) -> list[float]:
    """Processor seconds of each run, the shortest of the rounds, run in turn."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(ROUNDS):
        for found, run in zip(times, runs, strict=True):
            started = time.process_time()
            run()
            found.append(time.process_time() - started)
    return [min(found) for found in times]


def visible(text: str) -> str:
    """Without white space."""
    return "".join(text.split())


def main() -> None:
    """Transcripts, scraped news and statutes."""
    print(machine_line())
    only_html = Markup(markdown_links=False)
    documents = [text for text in texts("broadcast", 6_000_000) if "<" in text]
    array = pa.array(documents, pa.large_string())
    size = sum(len(text.encode()) for text in documents) / 1e6
    ours = strip_markup(array, only_html).text.to_pylist()
    for peer in (with_html_parser, with_lxml):
        if [visible(peer(text)) for text in documents] != [visible(html.unescape(text)) for text in ours]:
            raise SystemExit(f"{peer.__name__} finds another text")
    found = shortest(
        lambda: strip_markup(array, only_html),
        lambda: [with_lxml(text) for text in documents],
        lambda: [with_html_parser(text) for text in documents],
    )
    for name, seconds in zip(("corpuskit", "lxml", "html.parser"), found, strict=True):
        print(f"{name:12} {size / seconds:7.1f} MB/s  {seconds / found[0]:6.2f}×")

    without, full = Cleaner.preset("zh-web", markup=False), Cleaner.preset("zh-web")
    for corpus in ("broadcast", "news", "laws"):
        documents = texts(corpus, 6_000_000)
        batch = document_batch([str(i) for i in range(len(documents))], documents)
        size = sum(len(text.encode()) for text in documents) / 1e6
        step, before, after = shortest(
            lambda b=batch: Markup()(b), lambda b=batch: without(b), lambda b=batch: full(b)
        )
        print(
            f"{corpus:10} step {size / step:6.0f} MB/s, zh-web {size / before:5.1f} MB/s without it, "
            f"{size / after:5.1f} with it ({after / before:.2f} of the time)"
        )


if __name__ == "__main__":
    main()
