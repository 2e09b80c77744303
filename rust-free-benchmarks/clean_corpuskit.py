"""WARC files to kept documents with corpuskit, as `corpuskit clean` does it; prints one JSON line.

Arguments: workers, output directory, files.
"""

from __future__ import annotations

import json
import re
import sys
import time

import corpuskit as ck
from corpuskit.clean import Cleaner
from corpuskit.ingest import IngestJob

TASK_BYTES = 8 << 20
"""A task per file of the crawl, so that two workers have something to share."""

HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")


def main() -> None:
    """Run the job, then count what it kept (not timed)."""
    workers, output, files = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    started = time.perf_counter()
    job = IngestJob(inputs=tuple(files), steps=(Cleaner.preset("zh-web"),), task_bytes=TASK_BYTES)
    result = ck.run(job, output, workers=workers)
    work_s = time.perf_counter() - started
    tally = result.tally
    kept = [part.path for part in result.outputs("kept")]
    han = (
        sum(len(HAN.findall(text)) for batch in ck.read(kept) for text in batch.column("text").to_pylist())
        if tally.kept
        else 0
    )
    print(
        json.dumps(
            {
                "work_s": work_s,
                "records": tally.documents_in,
                "kept": tally.kept,
                "han": han,
                "dropped": {**tally.dropped, **tally.quarantined},
            }
        )
    )


if __name__ == "__main__":
    main()
