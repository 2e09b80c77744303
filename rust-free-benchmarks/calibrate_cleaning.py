"""Where real corpora lie under every rule of the cleaner: the evidence behind its thresholds.

Prints, for each rule, percentiles of its value in each corpus (the statutes, news transcripts, scraped
news and web pages of ``../shared/data``), then what each preset keeps and which rule drops the rest.
``docs/explanation/cleaning-thresholds.md`` is written from this output.

    .venv/bin/python rust-free-benchmarks/calibrate_cleaning.py [--every 10] [--preset zh-web] [--markdown]
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from corpus import _SHARED

import corpuskit as ck
from corpuskit.clean import PRESETS, Cleaner
from corpuskit.clean.statistics import LINE_RULE_MIN_LINES, measure
from corpuskit.documents import DocumentBatch

PERCENTILES = (0.1, 1, 5, 25, 50, 75, 95, 99, 99.9)

CORPORA = {
    "laws": ["text/laws.jsonl.zst"],
    "broadcast": ["text/broadcast.jsonl.zst"],
    "news": ["text/news.jsonl.zst"],
    "web": ["html/gold/*.html", "html/pages/*.html"],
    "crawl": ["warc/warcfile.warc.gz"],
}

LINE_RULES = {
    "terminated_line_share",
    "short_line_share",
    "mean_line_characters",
    "bullet_line_share",
    "ellipsis_line_share",
    "list_share",
    "dated_line_share",
    "duplicate_lines",
    "stub_lines",
}
"""Rules that documents of fewer lines than `LINE_RULE_MIN_LINES` pass; they are left out here."""


def batches(pattern: str, every: int) -> Iterator[DocumentBatch]:
    """Every so-many-th document of a corpus."""
    position = 0
    for batch in ck.read(str(_SHARED / pattern)):
        rows = np.arange(-position % every, batch.num_rows, every)
        position += batch.num_rows
        if rows.size:
            yield batch.take(pa.array(rows))


MEASURED = ("quality", "repetition", "spam")
LENGTH_RULES = ("min_characters", "max_characters")

MIN_CHARACTERS = 50
"""Documents with fewer visible characters are dropped for that; they would blur the other rules."""


def values(cleaner: Cleaner, documents: list[DocumentBatch]) -> dict[str, np.ndarray]:
    """The values of every rule, whatever the other rules say."""
    found: dict[str, list[np.ndarray]] = {}
    for batch in documents:
        for run in cleaner.runs(batch, drop=False):
            if run.step not in MEASURED:
                continue
            statistics = measure(run.batch.column("text"))
            long = statistics.visible >= MIN_CHARACTERS
            for check in run.verdict.checks:
                if check.rule in LENGTH_RULES:
                    value = check.values
                elif check.rule in LINE_RULES:
                    value = check.values[long & (statistics.lines >= LINE_RULE_MIN_LINES)]
                else:
                    value = check.values[long]
                found.setdefault(check.rule, []).append(value)
    return {rule: np.concatenate(parts) for rule, parts in found.items()}


def print_percentiles(tables: dict[str, dict[str, np.ndarray]]) -> None:
    """All percentiles of every rule in every corpus."""
    for rule in next(iter(tables.values())):
        print(f"\n{rule:32}" + "".join(f"{f'p{p:g}':>10}" for p in PERCENTILES))
        for name, table in tables.items():
            if table[rule].size:
                numbers = np.percentile(table[rule], PERCENTILES)
                print(f"  {name:10} n={table[rule].size:<17}" + "".join(f"{v:10.4g}" for v in numbers))


def print_evidence(cleaner: Cleaner, tables: dict[str, dict[str, np.ndarray]]) -> None:
    """The tail of every rule on the side of its threshold: 1 % of the documents, and 0.1 %."""
    relations = {rule.rule.split("/")[1]: rule.relation for rule in cleaner.explain("").rules}
    names = [name for name in tables if name != "crawl"]
    print("| rule | " + " | ".join(names) + " |\n|---" + "|---" * len(names) + "|")
    for rule in next(iter(tables.values())):
        tail = (1, 0.1) if relations[rule] == "at least" else (99, 99.9)
        cells = []
        for name in names:
            values = tables[name][rule]
            few, fewest = np.percentile(values, tail) if values.size else (np.nan, np.nan)
            cells.append(f"{few:.3g} ({fewest:.3g})")
        print(f"| `{rule}` | " + " | ".join(cells) + " |")


def main() -> None:
    """Print percentiles and survival."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=10, help="take one in so many of the large corpora")
    parser.add_argument("--preset", default="zh-web", help="whose rules to print")
    parser.add_argument(
        "--markdown", action="store_true", help="print the table of evidence of the documentation"
    )
    arguments = parser.parse_args()
    corpora = {
        name: [
            batch
            for pattern in patterns
            for batch in batches(pattern, arguments.every if pattern.startswith("text/") else 1)
        ]
        for name, patterns in CORPORA.items()
    }
    print({name: sum(b.num_rows for b in documents) for name, documents in corpora.items()}, "documents")

    cleaner = Cleaner.preset(arguments.preset)
    tables = {name: values(cleaner, documents) for name, documents in corpora.items()}
    if arguments.markdown:
        print_evidence(cleaner, tables)
    else:
        print_percentiles(tables)
    for preset in PRESETS:
        print(f"\n{preset}")
        for name, documents in corpora.items():
            reasons: Counter[str] = Counter()
            total = kept = 0
            for batch in documents:
                result = Cleaner.preset(preset)(batch)
                total += batch.num_rows
                kept += result.kept.num_rows
                if result.dropped is not None:
                    reasons.update(result.dropped.column("reason").to_pylist())
            dropped = ", ".join(f"{reason.split('/')[1]} {n}" for reason, n in reasons.most_common())
            print(f"  {name:10} kept {kept} of {total} ({kept / max(total, 1):.1%}); {dropped}")


if __name__ == "__main__":
    main()
