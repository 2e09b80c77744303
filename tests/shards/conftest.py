from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from shard_fakes import ByteTokenizer

from corpuskit import shards


@pytest.fixture
def numbered(tmp_path):
    """A dataset of 1,000 tokens 0…999 in documents of uneven length and shards of at most 150."""
    rng = np.random.default_rng(1)
    borders = np.concatenate([[0], np.sort(rng.choice(np.arange(1, 1000), 39, replace=False)), [1000]])
    lists = [np.arange(a, b) for a, b in itertools.pairwise(borders)]
    tokenizer = ByteTokenizer(vocab_size=1000, fingerprint="numbers")
    directory = tmp_path / "numbered"
    with shards.Writer(directory, tokenizer=tokenizer, shard_tokens=150, end_of_document="none") as writer:
        ids = pa.array([f"n{i}" for i in range(len(lists))])
        writer.write_tokens(pa.RecordBatch.from_pydict({"id": ids, "tokens": pa.array(lists)}))
    return directory
