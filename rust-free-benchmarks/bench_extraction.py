"""Main text of web pages, from raw bytes: ours beside the extractors in use, one core.

Every contender gets the bytes of a page and finds the charset by itself, as a crawl demands. The plain
extraction of resiliparse is the floor: all visible text, nothing judged. Peers run with their defaults,
except that jusText, whose rules count stop words and English lengths, runs without a stop list and with
lengths of 30 and 60 characters: the best of eight settings tried on all pages with gold text (with its own
lengths of 70 and 200 it scores 0.66 on the first kind below).

Times are processor time, and contenders run in turn. Quality is F1 over character 4-grams, white space
removed, mean over pages: on the pages that came with gold text, and on those marked for the tests. It is
given twice, since some peers lose pages to the charset alone: from the raw bytes, and from the text as
`corpuskit.clean.decode` gives it.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from crawl import DATA, web_pages
from harness import Contender, compare, version

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "clean"))

from extraction_marks import f1, gold_pages, marked_pages

from corpuskit.clean import decode, extract

Extractor = Callable[[bytes | str], str]

ROUNDS = 3


def ours(page: bytes | str) -> str:
    """As pages are read from a WARC file, without the sandbox around them."""
    return extract(page if isinstance(page, str) else decode(page).text).text


def forgiving(extractor: Extractor) -> Extractor:
    """No text where a peer raises: a crawl goes on."""

    def run(page: bytes | str) -> str:
        try:
            return extractor(page)
        except Exception:
            return ""

    return run


def resiliparse(main_content: bool) -> Extractor:
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import detect_encoding
    from resiliparse.parse.html import HTMLTree

    def run(page: bytes | str) -> str:
        if isinstance(page, str):
            tree = HTMLTree.parse(page)
        else:
            tree = HTMLTree.parse_from_bytes(page, detect_encoding(page))
        return extract_plain_text(tree, main_content=main_content)

    return run


def trafilatura(precision: bool) -> Extractor:
    from trafilatura import extract as extract_page

    return forgiving(lambda page: extract_page(page, favor_precision=precision) or "")


def readability() -> Extractor:
    from lxml.html import fromstring
    from readability import Document

    def run(page: bytes | str) -> str:
        summary = Document(page).summary()
        return fromstring(summary).text_content() if summary else ""

    return forgiving(run)


def justext() -> Extractor:
    from justext import justext as classify

    settings = {"length_low": 30, "length_high": 60, "stopwords_low": 0, "stopwords_high": 0}

    def run(page: bytes | str) -> str:
        return "\n".join(
            part.text for part in classify(page, frozenset(), **settings) if not part.is_boilerplate
        )

    return forgiving(run)


def main() -> None:
    """Speed on all pages, then quality on those with gold text."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    extractors = {
        "corpuskit": ours,
        f"{version('resiliparse')} plain": resiliparse(main_content=False),
        f"{version('resiliparse')} main_content": resiliparse(main_content=True),
        version("trafilatura"): trafilatura(precision=False),
        f"{version('trafilatura')} favor_precision": trafilatura(precision=True),
        version("readability-lxml"): readability(),
        version("justext"): justext(),
    }
    pages = [page.body for page in web_pages()]
    megabytes = sum(map(len, pages)) / 1e6

    def seconds(name: str, extractor: Extractor) -> float:
        started = time.process_time()
        texts = [extractor(page) for page in pages]
        taken = time.process_time() - started
        if sum(1 for text in texts if text.strip()) < len(pages) / 2:
            raise ValueError(f"{name} found no text on most pages")
        return taken

    result = compare(
        "Main text from raw bytes, one core",
        [
            Contender(name, seconds=lambda name=name, extractor=extractor: seconds(name, extractor))
            for name, extractor in extractors.items()
        ],
        len(pages),
        "pages",
        rounds=ROUNDS,
    )
    speed = {row["name"]: row for row in result["rows"]}

    sets = {}
    if (DATA / "html").is_dir():
        sets = {"gold": list(gold_pages(DATA)), "marked": list(marked_pages(DATA))}
    print(
        f"\n{len(pages)} pages, {megabytes:.1f} MB; F1 on "
        + ", ".join(f"{n} ({len(p)})" for n, p in sets.items())
    )
    rows = []
    for name, extractor in extractors.items():
        row = {
            "name": name,
            "pages_per_s": speed[name]["throughput"],
            "mb_per_s": speed[name]["throughput"] * megabytes / len(pages),
            "ratio": speed[name]["ratio"],
        }
        for label, gold in sets.items():
            row[f"f1_{label}"] = statistics.mean(f1(extractor(raw), text) for _, raw, text in gold)
            row[f"f1_{label}_decoded"] = statistics.mean(
                f1(extractor(decode(raw).text), text) for _, raw, text in gold
            )
        rows.append(row)
        quality = "  ".join(
            f"{label} {row[f'f1_{label}']:.3f} (decoded {row[f'f1_{label}_decoded']:.3f})" for label in sets
        )
        print(f"  {name:<34} {row['mb_per_s']:>6.2f} MB/s  x{row['ratio']:<6.2f} {quality}")
    print(
        json.dumps(
            {"benchmark": "extraction", "machine": result["machine"], "pages": len(pages), "rows": rows}
        )
    )


if __name__ == "__main__":
    main()
