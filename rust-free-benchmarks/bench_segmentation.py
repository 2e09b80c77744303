"""Word segmentation: ours beside jieba and rjieba, the same words, one core.

Ours goes from an Arrow array to an Arrow array of words, or of word ends; the peers from Python strings to
lists of words. jieba's words are the truth for ours. rjieba with the model differs from jieba on some lines
(it keeps ``a.b`` and ``6-1`` whole), so its words need only add up to the text.

Arguments are corpora (`news broadcast` by default).
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jieba
import pyarrow as pa
import rjieba
from corpus import texts
from harness import Contender, compare, version

from corpuskit.segment import Segmenter

SENTENCE = "小明硕士毕业于中国科学院计算所，后在日本京都大学深造，工信处女干事每月经过下属科"
CALLS = 2_000


def main() -> None:
    """Each corpus with the model and without, boundaries only, then single calls and the dictionary."""
    jieba.setLogLevel(logging.ERROR)
    segmenter = Segmenter()
    for name in sys.argv[1:] or ("news", "broadcast"):
        boundaries(segmenter, name, texts(name, 3_000_000))  # no jieba in it, so there is time for more
        documents = texts(name, 600_000)
        for hmm in (True, False):
            words(segmenter, name, documents, hmm)
    single_calls(segmenter)
    dictionary()


def words(segmenter: Segmenter, name: str, documents: list[str], hmm: bool) -> None:
    """Text to words."""
    array = pa.array(documents, pa.large_string())
    expected = [jieba.lcut(text, HMM=hmm) for text in documents]

    def check(contender: str, value: object) -> None:
        if isinstance(value, pa.Array):
            if value.to_pylist() != expected:
                raise ValueError(f"{contender} did not give jieba's words")
        elif ["".join(words) for words in value] != documents:  # type: ignore[attr-defined]
            raise ValueError(f"{contender} lost text")

    compare(
        f"Segmentation of {name}, {'with' if hmm else 'without'} HMM",
        [
            Contender("corpuskit", lambda: segmenter.words_batch(array, hmm=hmm)),
            Contender(version("rjieba"), lambda: [rjieba.cut(text, hmm) for text in documents]),
            Contender(version("jieba"), lambda: [jieba.lcut(text, HMM=hmm) for text in documents]),
        ],
        _megabytes(documents),
        "MB",
        rounds=3,
        check=check,
    )


def boundaries(segmenter: Segmenter, name: str, documents: list[str]) -> None:
    """Text to word ends in bytes; rjieba has only words."""
    array = pa.array(documents, pa.large_string())
    compare(
        f"Word boundaries of {name}, with HMM",
        [
            Contender("corpuskit", lambda: segmenter.cut_batch(array)),
            Contender(version("rjieba"), lambda: [rjieba.cut(text) for text in documents]),
        ],
        _megabytes(documents),
        "MB",
        rounds=9,
    )


def single_calls(segmenter: Segmenter) -> None:
    """A Python call for a sentence of 40 characters."""
    expected = jieba.lcut(SENTENCE)

    def check(contender: str, value: object) -> None:
        if value != expected:
            raise ValueError(f"{contender} did not give jieba's words")

    def repeat(cut):
        for _ in range(CALLS):
            result = cut(SENTENCE)
        return result

    compare(
        f"One call of cut for {len(SENTENCE)} characters",
        [
            Contender("corpuskit", lambda: repeat(segmenter.cut)),
            Contender(version("rjieba"), lambda: repeat(rjieba.cut)),
            Contender(version("jieba"), lambda: repeat(jieba.lcut)),
        ],
        CALLS / 1e3,
        "thousand calls",
        check=check,
    )


def dictionary() -> None:
    """The dictionary built from jieba's file, and loaded from the cache; kernels are compiled before."""
    code = """
import time
begin = time.perf_counter()
from corpuskit.segment import Segmenter
imported = time.perf_counter()
Segmenter()
print(imported - begin, time.perf_counter() - imported)
"""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"XDG_CACHE_HOME": cache}
        folder = Path(cache) / "corpuskit" / "segment"

        def seconds() -> list[float]:
            output = subprocess.run(
                [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
            ).stdout
            return [float(field) for field in output.split()]

        seconds()
        for path in folder.iterdir():
            path.unlink()
        begin = time.perf_counter()
        _, built = seconds()
        _, loaded = min(seconds() for _ in range(5))
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        print(f"\nDictionary: built in {built:.2f} s, then loaded in {loaded:.3f} s ({size:.0f} MB on disk)")
        print(f"(in {time.perf_counter() - begin:.0f} s of six processes, without their imports)")


def _megabytes(documents: list[str]) -> float:
    return sum(len(text.encode()) for text in documents) / 1e6


if __name__ == "__main__":
    main()
