"""datatrove's MinHash with its defaults for Chinese (5 words, 14 bands of 8); runs in its own environment.

Arguments: what to do, and a file with one JSON string a line.

* ``clusters``: prints a JSON list with a cluster number for each text (null: no duplicate).
* ``words``: prints ``ready``, then for each line it reads makes all signatures and prints the seconds.
* ``characters``: the same with datatrove's hash and arithmetic on shingles of 5 characters instead of
  jieba's words, which is all of its signature stage that has to do with MinHash.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.utils.logging import logger

NGRAM = 5


def main() -> None:
    """See the module."""
    logger.remove()
    command, path = sys.argv[1:3]
    texts = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    if command == "clusters":
        with tempfile.TemporaryDirectory() as directory:
            print(json.dumps(clusters(texts, directory)))
        return
    step = MinhashDedupSignature(tempfile.mkdtemp(), MinhashConfig(), "zh")
    shingles = step.get_shingles if command == "words" else lambda text: characters(step, text)
    shingles(texts[0])
    print("ready", flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        for text in texts:
            found = shingles(text)
            if found.size:  # as its `run` does
                step.get_signature(found)
        print(time.perf_counter() - started, flush=True)


def characters(step: MinhashDedupSignature, text: str) -> np.ndarray:
    """Shingles of 5 characters with datatrove's hash function, as `get_shingles` returns them."""
    text = "".join(text.split())
    grams = [text[i : i + NGRAM] for i in range(max(1, len(text) - NGRAM + 1))]
    return np.fromiter((step._hash_func(gram) for gram in grams), np.uint64).reshape((-1, 1))


def clusters(texts: list[str], directory: str) -> list[int | None]:
    """Signatures, buckets and clusters, one after the other in this process."""
    config = MinhashConfig()
    folders = [str(Path(directory) / name) for name in ("signatures", "buckets", "clusters")]
    documents = (Document(text=text, id=str(i)) for i, text in enumerate(texts))
    with open(os.devnull, "w") as quiet, contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        MinhashDedupSignature(folders[0], config, "zh").run(documents, 0, 1)
        for band in range(config.num_buckets):
            MinhashDedupBuckets(folders[0], folders[1], config=config).run(None, band, config.num_buckets)
        MinhashDedupCluster(folders[1], folders[2], config, save_cluster_id=True).run(None, 0, 1)
    found: list[int | None] = [None] * len(texts)
    for path in Path(folders[2]).glob("*.clusters"):
        for document, cluster in struct.iter_unpack("<II", path.read_bytes()):
            found[document] = cluster
    return found


if __name__ == "__main__":
    main()
