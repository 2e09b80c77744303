"""The trained segmenter beside jieba: F1, recall of unknown words and speed on held-out text.

People's Daily is divided into blocks of 100 lines, of which a tenth, drawn by seed, is held out; nothing was
tuned on it. The second set is Universal Dependencies GSDSimp, another standard, where 500 sentences are all
there is to train on. Unknown words are those outside the training part. jieba has a standard of its own: its
F1 says how far its words are from the corpus's, not how good they are.

Speed is one core, Arrow text to Arrow words for ours, strings to lists for jieba.

    python rust-free-benchmarks/bench_segmenter_quality.py [SEED …]
"""

from __future__ import annotations

import io
import logging
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jieba
import numpy as np
import pyarrow as pa
import zstandard
from corpus import _SHARED
from harness import Contender, compare, machine_line, save

from corpuskit.segment.perceptron import PerceptronSegmenter
from corpuskit.segment.perceptron_training import EpochReport, train_segmenter
from corpuskit.segment.scoring import score_segmentation

BLOCK_LINES = 100
Lines = list[list[str]]


def peoples_daily() -> Lines:
    """The segmented lines of January 1998."""
    with (_SHARED / "seg" / "peoples-daily-1998-01.txt.zst").open("rb") as raw:
        text = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), encoding="utf-8")
        return [words for line in text if (words := line.split())]


def universal_dependencies(part: str) -> Lines:
    """The words of each sentence of GSDSimp's `part`; white space within a word is left out."""
    lines: Lines = [[]]
    path: Path = _SHARED / "seg" / f"zh_gsdsimp-ud-{part}.conllu"
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = line.split("\t")
        if not line:
            lines.append([])
        elif fields[0].isdigit():
            lines[-1].append("".join(fields[1].split()))
    return [line for line in lines if line]


def held_out(lines: Lines, seed: int) -> tuple[Lines, Lines]:
    """Training lines, and a tenth of the blocks."""
    blocks = -(-len(lines) // BLOCK_LINES)
    chosen = set(np.random.default_rng(seed).permutation(blocks)[: blocks // 10].tolist())
    return (
        [line for i, line in enumerate(lines) if i // BLOCK_LINES not in chosen],
        [line for i, line in enumerate(lines) if i // BLOCK_LINES in chosen],
    )


def trained(training: Lines, **options: object) -> PerceptronSegmenter:
    """A model of the training lines, telling what it took."""

    def tell(report: EpochReport) -> None:
        f1 = "" if report.f1 is None else f", development F1 {report.f1:.4f}"
        print(f"    epoch {report.epoch}, {report.loss:.4f} nats a character{f1}", flush=True)

    begin = time.process_time()
    segmenter = train_segmenter(training, progress=tell, **options)  # type: ignore[arg-type]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"    {time.process_time() - begin:.0f} s of processor time, model of "
        f"{len(segmenter.model.to_bytes()) / 1e6:.1f} MB; peak memory of the process so far {peak:.0f} MiB"
    )
    return segmenter


def measure(title: str, training: Lines, test: Lines) -> PerceptronSegmenter:
    """Score all on one test text; the model with jieba's dictionary."""
    print(f"\n{title}: {len(training):,} lines to train, {len(test):,} to test")
    vocabulary = {word for line in training for word in line}
    ours = trained(training)
    closed = trained(training, dictionary=None)
    cutters: list[tuple[str, Callable[[str], list[str]]]] = [
        ("corpuskit, jieba's dictionary as a feature", ours.cut),
        ("corpuskit, nothing but the training text", closed.cut),
        ("jieba", lambda text: jieba.lcut(text)),
        ("jieba, no HMM", lambda text: jieba.lcut(text, HMM=False)),
    ]
    rows = []
    print(f"  {'':<44}       P       R      F1  OOV recall")
    for name, cut in cutters:
        score = score_segmentation(test, [cut("".join(line)) for line in test], vocabulary)
        rows.append({"name": name, **score.to_dict()})
        figures = (score.precision, score.recall, score.f1, score.oov_recall or 0.0)
        print(f"  {name:<44}  " + "  ".join(f"{figure:.4f}" for figure in figures))
    print(f"  {score.oov_rate or 0:.4f} of the test words are unknown", flush=True)
    save({"title": f"Segmenter quality, {title}", "machine": machine_line(), "rows": rows})
    return ours


def _processor_seconds(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def main() -> None:
    """Both sets; then speed."""
    jieba.setLogLevel(logging.ERROR)
    jieba.initialize()
    print(machine_line())
    lines = peoples_daily()
    for seed in [int(argument) for argument in sys.argv[1:]] or [1998]:
        training, test = held_out(lines, seed)
        ours = measure(f"People's Daily, seed {seed}", training, test)
    texts = ["".join(line) for line in test]
    array = pa.array(texts, pa.large_string())
    expected = [ours.cut(text) for text in texts]

    def check(name: str, value: object) -> None:
        if isinstance(value, pa.Array) and value.to_pylist() != expected:
            raise ValueError(f"{name}: the column's words are not those of single strings")

    best = min(_processor_seconds(lambda: ours.words_batch(array)) for _ in range(9))
    size = sum(len(text.encode()) for text in texts) / 1e6
    print(f"\n{size / best:.1f} MB a second of processor time (best of 9)")
    compare(
        "Trained segmenter, held-out People's Daily",
        [
            Contender("corpuskit, trained", lambda: ours.words_batch(array)),
            Contender("jieba", lambda: [jieba.lcut(text) for text in texts]),
            Contender("jieba, no HMM", lambda: [jieba.lcut(text, HMM=False) for text in texts]),
        ],
        size,
        "MB",
        check=check,
    )
    measure("GSDSimp, dev to test", universal_dependencies("dev"), universal_dependencies("test"))


if __name__ == "__main__":
    main()
