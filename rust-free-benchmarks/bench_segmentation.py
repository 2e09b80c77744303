"""Word segmentation: ours beside jieba, the same words, one core.

Ours goes from an Arrow array to an Arrow array of words; jieba from Python strings to lists.
"""

from __future__ import annotations

import logging

import jieba
import pyarrow as pa
from corpus import texts
from harness import Contender, compare, version

from corpuskit.segment import Segmenter


def main() -> None:
    """News, with and without the hidden Markov model."""
    jieba.setLogLevel(logging.ERROR)
    documents = texts("news", 600_000)
    array = pa.array(documents, pa.large_string())
    segmenter = Segmenter()
    expected = {hmm: [jieba.lcut(text, HMM=hmm) for text in documents] for hmm in (True, False)}
    for hmm in (True, False):

        def check(name: str, value: object, hmm: bool = hmm) -> None:
            words = value.to_pylist() if isinstance(value, pa.Array) else value
            if words != expected[hmm]:
                raise ValueError(f"{name} did not give jieba's words")

        compare(
            f"Segmentation, {'with' if hmm else 'without'} HMM",
            [
                Contender("corpuskit", lambda hmm=hmm: segmenter.words_batch(array, hmm=hmm)),
                Contender(
                    version("jieba"), lambda hmm=hmm: [jieba.lcut(text, HMM=hmm) for text in documents]
                ),
            ],
            sum(len(text.encode()) for text in documents) / 1e6,
            "MB",
            rounds=3,
            check=check,
        )


if __name__ == "__main__":
    main()
