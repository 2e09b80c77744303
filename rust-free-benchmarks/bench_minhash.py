"""MinHash signatures from text: ours beside datasketch and rensa, one core.

Every contender starts from the same Python strings in memory (ours from the Arrow array a reader
would hand it) and makes 5-character shingles itself, 112 slots, one thread.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from corpus import cut, texts
from datasketch import MinHash
from harness import Contender, compare, version
from rensa import RMinHash

from corpuskit.dedup import MinHashDeduplicator

NGRAM, SLOTS, SEED = 5, 112, 1


def shingles(text: str) -> set[str]:
    """Overlapping characters, white space left out, as ours does it in the kernel."""
    text = "".join(text.split())
    return {text[i : i + NGRAM] for i in range(max(1, len(text) - NGRAM + 1))}


def main() -> None:
    """Documents of 1,000 and of 100 characters."""
    for characters, total in ((1000, 400_000), (100, 200_000)):
        documents = cut(texts("laws", total + 200_000), characters)[: total // characters]
        array = pa.array(documents, pa.large_string())
        deduplicator = MinHashDeduplicator(ngram=NGRAM, bands=14, rows=8)

        def ours(array: pa.Array = array, deduplicator=deduplicator) -> np.ndarray:
            return deduplicator.signatures(array)

        def datasketch(documents: list[str] = documents) -> list:
            made = []
            for text in documents:
                minhash = MinHash(num_perm=SLOTS, seed=SEED)
                minhash.update_batch([s.encode() for s in shingles(text)])
                made.append(minhash)
            return made

        def rensa(documents: list[str] = documents) -> list:
            made = []
            for text in documents:
                minhash = RMinHash(num_perm=SLOTS, seed=SEED)
                minhash.update(list(shingles(text)))
                made.append(minhash.digest())
            return made

        def check(name: str, value: object, expected: int = len(documents)) -> None:
            if len(value) != expected:  # type: ignore[arg-type]
                raise ValueError(f"{name} made {len(value)} signatures of {expected}")  # type: ignore[arg-type]

        compare(
            f"MinHash signatures, {characters}-character documents",
            [
                Contender("corpuskit", ours),
                Contender(version("rensa"), rensa),
                Contender(version("datasketch"), datasketch),
            ],
            sum(map(len, documents)) / 1e6,
            "Mchar",
            check=check,
        )


if __name__ == "__main__":
    main()
