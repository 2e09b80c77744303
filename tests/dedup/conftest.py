"""A small corpus with known families of near-duplicates."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest
from dedup_helpers import edited, random_text

from corpuskit.documents import document_batch


@pytest.fixture
def corpus() -> list[pa.RecordBatch]:
    """40 originals of 300 characters; half of them with one to three edited copies."""
    rng = random.Random(7)
    texts, ids = [], []
    for original in range(40):
        text = random_text(rng, 300)
        texts.append(text)
        ids.append(f"{original:03d}-0")
        for copy in range(rng.randrange(1, 4) if original % 2 else 0):
            texts.append(edited(rng, text, rng.randrange(0, 6)))
            ids.append(f"{original:03d}-{copy + 1}")
    order = list(range(len(texts)))
    rng.shuffle(order)
    chunks = [order[i : i + 15] for i in range(0, len(order), 15)]
    return [
        document_batch([ids[i] for i in c], [texts[i] for i in c], {"url": [f"u{i}" for i in c]})
        for c in chunks
    ]
