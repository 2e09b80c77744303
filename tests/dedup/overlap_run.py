"""The program that the kill test kills: decontaminates and removes repeated passages below a directory."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from corpuskit.dedup.contamination import Decontaminator
from corpuskit.dedup.substrings import SubstringDeduplicator
from corpuskit.engine import hold, run
from corpuskit.jobs import Slice


def main(inputs: Path, output: Path, workers: int) -> None:
    slices = [Slice(str(path), relative_path=path.name) for path in sorted(inputs.glob("*.arrow"))]
    job = Decontaminator().job(slices, str(inputs / "eval"), part_bytes=20_000)
    print("ready", flush=True)
    with hold(output):
        kept = run(job, output, workers=workers).outputs("kept")
        config = replace(SubstringDeduplicator(), chunk_bytes=20_000, partition_rows=2000)
        documents = [part.as_slice() for part in kept]
        run(config.job(documents, part_bytes=20_000), output, workers=workers)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
