"""Decontamination and repeated passages: speed on real text, and memory of the whole job.

Decontamination beside the plain way: fold each text in Python and look every 13-gram up in a set. The
search for repeated passages has no peer that installs without a compiler (suffix arrays over the whole
corpus in memory); its job runs in a process of its own and is measured with all its tasks.

    .venv/bin/python rust-free-benchmarks/run.py bench_overlap
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
from corpus import cut, texts
from harness import Contender, compare, machine_line, save
from measured import run_measured

from corpuskit.dedup.contamination import Decontaminator
from corpuskit.dedup.evaluation import EvaluationItem
from corpuskit.dedup.folding import LEFT_OUT, fold_table
from corpuskit.documents import document_batch

JOB = """
import json, sys
from corpuskit.dedup.substrings import SubstringDeduplicator
from corpuskit.engine import run
from corpuskit.ingest import IngestJob

if __name__ == "__main__":
    read = run(IngestJob(inputs=(sys.argv[1],)), sys.argv[2], workers=int(sys.argv[3]))
    documents = [part.as_slice() for part in read.outputs("kept")]
    result = run(SubstringDeduplicator().job(documents), sys.argv[2], workers=int(sys.argv[3]))
    counts = [entry.outcome.metrics.get("counts", {}) for entry in result.entries["apply"]]
    print(json.dumps({"characters": sum(c.get("characters removed", 0) for c in counts)}))
"""


def decontamination() -> None:
    """500 items of 100 characters against laws."""
    documents = texts("laws", 3_000_000)
    items = [EvaluationItem("items", str(i), (text,)) for i, text in enumerate(cut(texts("news"), 100)[:500])]
    index = Decontaminator().index(items)
    batch = document_batch([str(i) for i in range(len(documents))], pa.array(documents, pa.large_string()))
    table = fold_table()
    translation = {
        code: None if new == LEFT_OUT else int(new) for code, new in enumerate(table[:65536].tolist())
    }
    known = set()
    for item in items:
        folded = item.passages[0].translate(translation)
        known |= {folded[i : i + 13] for i in range(len(folded) - 12)}

    def plain() -> int:
        found = 0
        for text in documents:
            folded = text.translate(translation)
            found += any(folded[i : i + 13] in known for i in range(len(folded) - 12))
        return found

    size = sum(len(text.encode()) for text in documents) / 1e6
    contenders = [Contender("corpuskit", lambda: index.find(batch)), Contender("a set of n-grams", plain)]
    compare("Decontamination, 500 items", contenders, size, "MB", rounds=3)


def substrings() -> None:
    """The whole job on laws, news and broadcast, one worker."""
    documents = [text for name in ("laws", "news", "broadcast") for text in texts(name, 10**9)]
    size = sum(len(text.encode()) for text in documents) / 1e6
    rows = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        with (root / "in.jsonl").open("w", encoding="utf-8") as file:
            for text in documents:
                file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
        (root / "job.py").write_text(JOB, encoding="utf-8")
        print(f"\nRepeated passages, the whole job\n{machine_line()}; {size:,.1f} MB")
        for workers in (1, 1, 2):  # the first compiles the kernels
            shutil.rmtree(root / "out", ignore_errors=True)
            command = [sys.executable, str(root / "job.py"), str(root / "in.jsonl"), str(root / "out")]
            done = run_measured([*command, str(workers)], range(workers))
            row = {
                "workers": workers,
                "mb_per_cpu_s": size / done.cpu_s,
                "wall_s": done.wall_s,
                "peak_rss_bytes": done.peak_rss_bytes,
                "characters_removed": done.result["characters"],
            }
            rows.append(row)
            print(
                f"  {workers} workers: {row['mb_per_cpu_s']:.1f} MB a second of processor time, "
                f"{done.wall_s:.1f} s, {done.peak_rss_bytes / 1e9:.2f} GB, "
                f"{row['characters_removed']:,} characters removed"
            )
    save({"title": "Repeated passages", "machine": machine_line(), "rows": rows})


def main() -> None:
    """Both."""
    decontamination()
    substrings()


if __name__ == "__main__":
    main()
