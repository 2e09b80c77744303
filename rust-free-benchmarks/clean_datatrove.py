"""WARC files to kept documents with datatrove; prints one JSON line.

Runs in an environment of its own (datatrove pins trafilatura below 1.12). The steps, their order and their
thresholds are those of FineWeb-2 for Chinese (huggingface/fineweb-2: `fineweb-2-pipeline.py`,
`configs/cmn_Hani.yml`), with what every filter drops written to a folder of its own. As there, the C4
filter is off: its line rules ask for a full stop in ASCII and for three words between spaces, and would
delete every Chinese line. ``--c4`` adds it with its line rules off. Left out are URL lists and language
identification, because their lists and models are downloads: less work for datatrove, not more.

Arguments: workers, output directory, folder of WARC files, optionally ``--c4``.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import time
from pathlib import Path

import trafilatura  # noqa: F401  (here, so that datatrove's sandbox, which gives a start one second, inherits it)
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.readers import WarcReader
from datatrove.pipeline.writers.jsonl import JsonlWriter
from loguru import logger

LANGUAGE = "cmn_Hani"
STOP_WORDS = list("的年在月是和日了於·為有被人中为他與後也而由")
TOP_N_GRAMS = ((2, 0.256), (3, 0.201), (4, 0.171))
DUPLICATE_N_GRAMS = ((5, 0.198), (6, 0.182), (7, 0.167), (8, 0.154), (9, 0.14), (10, 0.127))
HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")


def pipeline(crawl: str, output: Path, c4: bool) -> list:
    """FineWeb-2's steps from WARC to kept documents."""

    def removed(name: str) -> JsonlWriter:
        return JsonlWriter(str(output / "removed" / name))

    return [
        WarcReader(crawl, glob_pattern="*.warc.gz"),
        Trafilatura(favour_precision=True),
        GopherRepetitionFilter(
            language=LANGUAGE,
            dup_para_frac=0,
            dup_line_char_frac=0,
            dup_para_char_frac=0,
            dup_line_frac=0.287,
            top_n_grams=TOP_N_GRAMS,
            dup_n_grams=DUPLICATE_N_GRAMS,
            exclusion_writer=removed("gopher-repetition"),
        ),
        FineWebQualityFilter(
            language=LANGUAGE,
            short_line_thr=999,
            char_duplicates_ratio=0.1,
            line_punct_thr=0.106,
            new_line_ratio=0.178,
            exclusion_writer=removed("fineweb-quality"),
        ),
        GopherQualityFilter(
            language=LANGUAGE,
            max_avg_word_length=5,
            min_avg_word_length=1,
            stop_words=STOP_WORDS,
            max_non_alpha_words_ratio=0.735,
            min_stop_words=2,
            exclusion_writer=removed("gopher-quality"),
        ),
        *([_c4(removed("c4"))] if c4 else []),
        JsonlWriter(str(output / "kept")),
    ]


def _c4(writer: JsonlWriter) -> C4QualityFilter:
    return C4QualityFilter(
        language=LANGUAGE,
        filter_no_terminal_punct=False,
        min_num_sentences=-1,
        min_words_per_line=-1,
        exclusion_writer=writer,
    )


def main() -> None:
    """Run the pipeline, then read its statistics and count what it kept (not timed)."""
    workers, output, crawl = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    logger.remove()
    started = time.perf_counter()
    executor = LocalPipelineExecutor(
        pipeline(crawl, output, "--c4" in sys.argv),
        tasks=len(list(Path(crawl).glob("*.warc.gz"))),
        workers=workers,
        logging_dir=str(output / "logs"),
    )
    executor.run()
    work_s = time.perf_counter() - started

    steps = json.loads((output / "logs" / "stats.json").read_text(encoding="utf-8"))
    read = _count(steps[0], "documents")
    dropped = {}
    for step in steps[1:-1]:
        name = (
            step["name"].split()[-1] if "Trafilatura" in step["name"] else " ".join(step["name"].split()[-2:])
        )
        for key in step["stats"]:
            if key in ("timeout", "broken_process", "clean_error") or key.startswith("dropped_"):
                dropped[f"{name}: {key.removeprefix('dropped_')}"] = _count(step, key)
        unnamed = _count(step, "dropped") - sum(
            _count(step, k) for k in step["stats"] if k.startswith("dropped_")
        )
        if unnamed:
            dropped[f"{name}: no text"] = unnamed
    kept = han = 0
    for path in (output / "kept").glob("*.gz"):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                kept += 1
                han += len(HAN.findall(json.loads(line)["text"]))
    print(json.dumps({"work_s": work_s, "records": read, "kept": kept, "han": han, "dropped": dropped}))


def _count(step: dict, key: str) -> int:
    value = step["stats"].get(key, 0)
    return int(value["total"] if isinstance(value, dict) else value)


if __name__ == "__main__":
    main()
