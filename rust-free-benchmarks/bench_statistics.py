"""All statistics of the cleaner (characters, lines, terms, links, n-grams) and its rules, on one core.

Beside them stands the least that a pipeline in Python does for the n-gram rules alone: count the 2- to
10-grams of each document with `collections.Counter`. Times are of the processor, not of the clock: all
contenders run in one thread.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable

import pyarrow as pa
from corpus import texts
from harness import machine_line

from corpuskit.clean import Cleaner
from corpuskit.clean.statistics import measure
from corpuskit.documents import document_batch

BATCH_DOCUMENTS = 500
ROUNDS = 5


def seconds(run: Callable[[], object]) -> float:
    """Median processor time of a run, after one that is not counted."""
    run()
    found = []
    for _ in range(ROUNDS):
        started = time.process_time()
        run()
        found.append(time.process_time() - started)
    return statistics.median(found)


def main() -> None:
    """Scraped news, statutes and news transcripts."""
    print(machine_line())
    rules = Cleaner.preset("none", quality=True, repetition=True, spam=True)
    for name in ("news", "laws", "broadcast"):
        documents = texts(name, 6_000_000)
        array = pa.array(documents, pa.large_string())
        batch = document_batch([str(i) for i in range(len(documents))], array)
        starts = range(0, len(documents), BATCH_DOCUMENTS)
        few = documents[: max(1, len(documents) // 40)]

        def measuring(array: pa.Array = array, starts: range = starts) -> None:
            for start in starts:
                measure(array.slice(start, BATCH_DOCUMENTS))

        def judging(batch: pa.RecordBatch = batch, starts: range = starts) -> None:
            for start in starts:
                rules(batch.slice(start, BATCH_DOCUMENTS))

        def counting(few: list[str] = few) -> None:
            for text in few:
                visible = "".join(text.split())
                for size in range(2, 11):
                    Counter(visible[i : i + size] for i in range(len(visible) - size + 1))

        megabytes = sum(len(text.encode()) for text in documents) / 1e6
        few_megabytes = sum(len(text.encode()) for text in few) / 1e6
        rule_seconds = seconds(judging)
        print(
            f"{name:10} {megabytes:6.1f} MB: statistics {megabytes / seconds(measuring):6.1f} MB/s, "
            f"with rules {megabytes / rule_seconds:6.1f} MB/s "
            f"({1000 * rule_seconds / len(documents):.3f} ms a document); "
            f"Counter {few_megabytes / seconds(counting):5.2f} MB/s"
        )


if __name__ == "__main__":
    main()
