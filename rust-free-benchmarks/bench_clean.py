"""WARC to kept documents: ours beside datatrove configured as FineWeb-2 is for Chinese.

Both read the same gzipped WARC files and write what they keep and what they drop, each in a process of its
own: first with one worker pinned to one core, then with two. They run in turn, as many rounds as asked
for. Times are those of the whole process, imports included; on a machine with other work the ratio of
processor time is the one to trust. Both run once on a small crawl before, so that nothing is compiled or
downloaded in a timed run.

The two do not keep the same documents, and are not meant to: `clean_datatrove.py` says what its filters
are, and the reasons are printed beside each other.

Memory is shown to be bounded by running ours again on four times the input.

    python rust-free-benchmarks/bench_clean.py [--warc FILE …] [--times N] [--rounds N] [--c4]
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from crawl import build, count_records, repeated
from harness import HERE, machine_line, own_environment, save
from measured import Measured, run_measured

DATATROVE = (
    "datatrove[io,processing]==0.10.1",
    "spacy==3.8.18",
    "jieba==0.42.1",
    "lxml_html_clean==0.4.6",
)
"""datatrove cuts Chinese words with spaCy over jieba, and its trafilatura needs lxml's cleaner."""

OURS, THEIRS = "corpuskit", "datatrove 0.10.1"
TIMES = 4
WARM_UP_RECORDS = 30


def main() -> None:
    """One worker, two workers, then memory on `TIMES` the input."""
    arguments = _arguments()
    python = own_environment("datatrove", DATATROVE)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0, 1]
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        parts = [path.resolve() for path in arguments.warc] or build()
        crawl = place / "crawl"
        files = repeated(parts, arguments.times, crawl)
        records, size = count_records(files)
        print(f"\nWARC to kept documents\n{machine_line()}")
        print(f"{len(files)} files, {records:,} responses, {size / 1e6:.1f} MB decompressed")

        def ours(workers: int, inputs: Sequence[Path]) -> Measured:
            command = [
                sys.executable,
                str(HERE / "clean_corpuskit.py"),
                str(workers),
                str(place / "out"),
                *map(str, inputs),
            ]
            return _run(command, cores[-workers:], place / "out")

        def theirs(workers: int, folder: Path) -> Measured:
            command = [
                str(python),
                str(HERE / "clean_datatrove.py"),
                str(workers),
                str(place / "out"),
                str(folder),
            ]
            return _run(command + ["--c4"] * arguments.c4, cores[-workers:], place / "out")

        small = _warm_up(files[0], place / "small")
        ours(1, [small])
        theirs(1, small.parent)
        rows = []
        for workers in (1, 2):
            if workers > min(len(cores), len(files)):
                print(f"  {workers} workers need as many cores and files: left out")
                continue
            runs: dict[str, list[Measured]] = {OURS: [], THEIRS: []}
            for _ in range(arguments.rounds):
                runs[OURS].append(ours(workers, files))
                runs[THEIRS].append(theirs(workers, crawl))
            rows += _report(runs, workers, records)
        _print_kept(rows)
        larger = ours(1, repeated(files, TIMES, place / "larger"))
        before = next(row for row in rows if row["name"] == OURS)["peak_rss_mb"]
        after = larger.peak_rss_bytes / 1e6
        print(
            f"\n{OURS}, one worker, peak resident memory: {before:.0f} MB;"
            f" on {TIMES} times the input {after:.0f} MB"
        )

    result = {
        "title": "WARC to kept documents",
        "machine": machine_line(),
        "records": records,
        "megabytes": size / 1e6,
        "rows": rows,
        "memory": {"times": TIMES, "peak_rss_mb": before, "peak_rss_mb_larger": after},
    }
    save(result)
    print(json.dumps({"benchmark": "clean", **result}, ensure_ascii=False))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--warc", type=Path, nargs="+", default=[], help="other WARC files (gzip)")
    parser.add_argument(
        "--times",
        type=int,
        default=1,
        help="read the crawl N times over (of copies datatrove keeps less: trafilatura leaves off repeats)",
    )
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--c4", action="store_true", help="datatrove's C4 filter too, without its line rules")
    # `run.py` passes the names of benchmarks, which are none of these.
    return parser.parse_args(sys.argv[1:] if Path(sys.argv[0]).name == Path(__file__).name else [])


def _run(command: Sequence[str], cores: Sequence[int], output: Path) -> Measured:
    shutil.rmtree(output, ignore_errors=True)
    return run_measured(command, cores)


def _warm_up(source: Path, directory: Path) -> Path:
    """The first records of a WARC file as a crawl of its own."""
    from fastwarc.warc import ArchiveIterator

    directory.mkdir()
    path = directory / "small.warc.gz"
    with source.open("rb") as file, path.open("wb") as small:
        for record in islice(ArchiveIterator(file, parse_http=False), WARM_UP_RECORDS):
            plain = io.BytesIO()
            record.write(plain)
            small.write(gzip.compress(plain.getvalue()))
    return path


def _report(runs: dict[str, list[Measured]], workers: int, records: int) -> list[dict]:
    rows = []
    print(f"\n{workers} worker{'s' if workers > 1 else ''}")
    for name, measured in runs.items():
        row = {
            "name": name,
            "workers": workers,
            "wall_s": statistics.median(run.wall_s for run in measured),
            "cpu_s": statistics.median(run.cpu_s for run in measured),
            "peak_rss_mb": max(run.peak_rss_bytes for run in measured) / 1e6,
            "peak_pss_mb": max(run.peak_pss_bytes for run in measured) / 1e6,
            "wall_ratio": statistics.median(
                run.wall_s / first.wall_s for run, first in zip(measured, runs[OURS], strict=True)
            ),
            "cpu_ratio": statistics.median(
                run.cpu_s / first.cpu_s for run, first in zip(measured, runs[OURS], strict=True)
            ),
            **{key: measured[0].result[key] for key in ("kept", "han", "dropped")},
        }
        row["pages_per_s"] = records / row["wall_s"]
        row["pages_per_cpu_s"] = records / row["cpu_s"]
        ratio = (
            ""
            if name == OURS
            else f"  ours is {row['wall_ratio']:.1f}x, by processor time {row['cpu_ratio']:.1f}x"
        )
        print(
            f"  {name:<17} {row['pages_per_s']:>7.1f} pages/s  {row['wall_s']:>6.1f} s wall"
            f"  {row['cpu_s']:>6.1f} s processor  {row['peak_rss_mb']:>5.0f} MB resident"
            f" ({row['peak_pss_mb']:.0f} proportional){ratio}"
        )
        rows.append(row)
    return rows


def _print_kept(rows: list[dict]) -> None:
    print("\nKept, and the five commonest reasons for dropping")
    for row in rows:
        if row["workers"] > 1:
            continue
        print(f"  {row['name']}: {row['kept']:,} documents, {row['han']:,} Han characters")
        for reason, count in sorted(row["dropped"].items(), key=lambda item: -item[1])[:5]:
            print(f"    {count:>6,}  {reason}")


if __name__ == "__main__":
    main()
