"""Documents for the deduplication benchmarks, made from real text with known edits.

Document number d is a pure function of d: five runs of 200 characters from random places of the corpora.
So a million documents need no memory, a copy can be made of any of them at any time, and unrelated documents
share runs as documents of a crawl do. One document in five is an edited copy of an earlier one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from corpus import available, texts
from pyarrow import ipc

from corpuskit.dedup import jaccard

CHARACTERS = 1000
RUNS = 5
COPY_EVERY = 5
PART_DOCUMENTS = 50_000
BATCH_DOCUMENTS = 2_500

_EDITS = np.array([0, 1, 3, 6, 10, 15, 20, 24])
_MOST_EDITS = int(_EDITS.max())
_FRAMES = np.array([0, 0, 0, 20, 60])
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class KnownPairs:
    """Copies and what they were made from.

    Attributes
    ----------
    copy, source : int64 arrays
        Document numbers.
    similarity : float64 array
        Exact Jaccard similarity of their 5-character shingles.
    """

    copy: np.ndarray
    source: np.ndarray
    similarity: np.ndarray


@cache
def pool() -> np.ndarray:
    """The characters of all corpora one after the other (uint16; the few beyond the BMP left out);
    the demo's articles where there are none."""
    if available():
        whole = "".join(text for name in ("laws", "news", "broadcast") for text in texts(name, 40_000_000))
    else:
        whole = "".join(dict.fromkeys(texts("demo", 1_000_000)))
    codes = np.frombuffer(whole.encode("utf-32-le", "replace"), np.uint32)
    return codes[codes < 65536].astype(np.uint16)


def random_words(*keys: np.ndarray | int) -> np.ndarray:
    """A random uint64 for each combination of keys (SplitMix64's finaliser, Steele et al. 2014)."""
    value = np.uint64(0)
    with np.errstate(over="ignore"):
        for key in keys:
            value = np.asarray(value + np.asarray(key).astype(np.uint64) * _GOLDEN + _GOLDEN)
            value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            value = value ^ (value >> np.uint64(31))
    return value


def originals(numbers: np.ndarray) -> np.ndarray:
    """The characters of documents by number, if they were no copies: uint16[documents, CHARACTERS]."""
    length = CHARACTERS // RUNS
    places = random_words(numbers[:, None], np.arange(RUNS)[None, :]) % np.uint64(len(pool()) - length)
    columns = places.astype(np.int64)[:, :, None] + np.arange(length)
    return pool()[columns].reshape(len(numbers), CHARACTERS)


def sources(numbers: np.ndarray) -> np.ndarray:
    """What each document is a copy of: the number of an earlier original, or its own."""
    earlier = (random_words(numbers, 101) % np.maximum(numbers, 1).astype(np.uint64)).astype(np.int64)
    earlier -= earlier % COPY_EVERY == COPY_EVERY - 1
    return np.where(numbers % COPY_EVERY == COPY_EVERY - 1, earlier, numbers)


def documents(numbers: np.ndarray) -> tuple[pa.Array, pa.Array]:
    """The texts of documents by number, and the texts of what they are copies of (large_string)."""
    before = originals(sources(numbers))
    after = before.copy()
    counts = np.ones(before.shape, np.int8)
    rows = np.flatnonzero(numbers % COPY_EVERY == COPY_EVERY - 1)
    chosen = random_words(numbers[rows], 102)
    edits = _EDITS[(chosen % np.uint64(len(_EDITS))).astype(np.int64)]
    frames = _FRAMES[((chosen >> np.uint64(16)) % np.uint64(len(_FRAMES))).astype(np.int64)]
    turned = (chosen >> np.uint64(32)) % np.uint64(8) == 0

    for frame in np.unique(frames[frames > 0]):  # another head and foot
        here = rows[frames == frame]
        other = originals(numbers[here])
        after[here, :frame] = other[:, :frame]
        after[here, CHARACTERS - frame :] = other[:, CHARACTERS - frame :]
    for row, word in zip(rows[turned], chosen[turned]):  # its parts in another order
        after[row] = np.roll(after[row], int(word >> np.uint64(40)) % CHARACTERS)

    drawn = random_words(numbers[rows][:, None], 103, np.arange(_MOST_EDITS)[None, :])
    place = (drawn % np.uint64(CHARACTERS)).astype(np.int64)
    kind = (drawn >> np.uint64(32)) % np.uint64(3)
    active = np.arange(_MOST_EDITS) < edits[:, None]
    row = np.broadcast_to(rows[:, None], place.shape)
    for which, count in ((1, 0), (2, 2)):  # one character deleted; one doubled
        hit = active & (kind == which)
        counts[row[hit], place[hit]] = count
    hit = active & (kind == 0)
    fresh = pool()[(drawn[hit] >> np.uint64(8)) % np.uint64(len(pool()))]
    after[row[hit], place[hit]] = fresh

    lengths = counts.sum(axis=1, dtype=np.int64)
    return to_arrow(np.repeat(after.ravel(), counts.ravel()), lengths), to_arrow(
        before.ravel(), np.full(len(numbers), CHARACTERS)
    )


def to_arrow(codes: np.ndarray, lengths: np.ndarray) -> pa.Array:
    """Characters (uint16) of texts one after the other, as a large_string array."""
    data = codes.tobytes().decode("utf-16-le").encode()
    width = 1 + (codes > 0x7F).astype(np.int64) + (codes > 0x7FF)
    ends = np.concatenate(([0], np.cumsum(width)))[np.concatenate(([0], np.cumsum(lengths)))]
    return pa.LargeStringArray.from_buffers(
        len(lengths), pa.py_buffer(ends.astype(np.int64).tobytes()), pa.py_buffer(data)
    )


def identifier(number: int) -> str:
    """The id of a document: 32 hexadecimal digits, as long as corpuskit's own."""
    return f"{number:032x}"


def write_parts(directory: Path, count: int) -> tuple[list[Path], KnownPairs]:
    """Document parts with the first `count` documents, and the pairs among them; kept for other sizes."""
    directory.mkdir(parents=True, exist_ok=True)
    paths, pairs = [], []
    for first in range(0, count, PART_DOCUMENTS):
        stop = min(first + PART_DOCUMENTS, count)
        path = directory / f"documents-{first:08d}-{stop:08d}.arrow"
        known = path.with_suffix(".npz")
        if not known.exists():
            pairs_here = _write_part(path, first, stop)
            np.savez(known, **pairs_here.__dict__)
        paths.append(path)
        with np.load(known) as stored:
            pairs.append(KnownPairs(**stored))
    fields = ("copy", "source", "similarity")
    return paths, KnownPairs(*(np.concatenate([getattr(p, name) for p in pairs]) for name in fields))


def _write_part(path: Path, first: int, stop: int) -> KnownPairs:
    options = ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1))
    schema = pa.schema([pa.field("id", pa.string(), False), pa.field("text", pa.large_string(), False)])
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    with pa.OSFile(str(path), "wb") as sink, ipc.new_file(sink, schema, options=options) as writer:
        for numbers in _ranges(first, stop):
            text, before = documents(numbers)
            ids = pa.array([identifier(number) for number in numbers.tolist()])
            writer.write_batch(pa.RecordBatch.from_arrays([ids, text], schema=schema))
            rows = np.flatnonzero(numbers % COPY_EVERY == COPY_EVERY - 1)
            both = pa.concat_arrays([text, before])
            similarity = jaccard(both, rows, rows + len(numbers))
            found.append((numbers[rows], sources(numbers)[rows], similarity))
    return KnownPairs(*(np.concatenate(columns) for columns in zip(*found)))


def _ranges(first: int, stop: int) -> Iterator[np.ndarray]:
    for start in range(first, stop, BATCH_DOCUMENTS):
        yield np.arange(start, min(start + BATCH_DOCUMENTS, stop))
