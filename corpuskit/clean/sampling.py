"""A bounded sample of a stream of documents that does not depend on the stream's order.

Every text has a rank, a seeded hash of its characters without white space, and the sample is the
documents of lowest rank (bottom-k sampling; Cohen & Kaplan 2007). So copies of a text take one
place, the order of files and batches changes nothing, memory is bounded by the sample, and two
samples of one seed contain the same documents where both streams do: a text given as good and as
raw is found even when each sample is a thousandth of its stream.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from typing import NamedTuple

import pyarrow as pa
import xxhash

from corpuskit.clean.steps import texts
from corpuskit.documents import DocumentBatch


class Sample(NamedTuple):
    """Documents of lowest rank.

    Attributes
    ----------
    ranks : list of int
        64 bits, ascending: the rank of each document.
    texts : list of str
        As long as `ranks`; the sampled window of each document, without white space.
    seen : int
        Documents in the stream, copies included.
    """

    ranks: list[int]
    texts: list[str]
    seen: int


def text_rank(text: str, seed: int) -> int:
    """XXH3-64 of a text without white space, so that copies that differ in layout share it."""
    return xxhash.xxh3_64_intdigest(text.encode(), seed)


def window(text: str, rank: int, characters: int) -> str:
    """At most `characters` of `text` in a row, from a place that the document's rank decides.

    Openings are the least typical part of a document (titles, dates, bylines), so the window may
    begin anywhere.
    """
    room = len(text) - characters
    return text if room <= 0 else text[(start := rank % (room + 1)) : start + characters]


def sample_documents(
    batches: Iterable[DocumentBatch],
    *,
    window_characters: int,
    max_documents: int | None = None,
    min_characters: int = 1,
    max_characters: int | None = None,
    seed: int = 0,
) -> Sample:
    """The documents of lowest rank.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        Read once.
    window_characters : int
        What is kept of each document at most.
    max_documents : int, optional
        Size of the sample; the documents of highest rank go first.
    min_characters : int
        Documents with fewer characters (without white space) are passed over.
    max_characters : int, optional
        Of all windows together; likewise.
    seed : int
    """
    heap: list[tuple[int, str]] = []  # negated ranks: the highest rank on top
    held: set[int] = set()
    limit = 1 << 64  # once a rank had no place, no higher one gets one: hence the order is irrelevant
    most = math.inf if max_documents is None else max_documents
    room = math.inf if max_characters is None else max_characters
    characters = seen = 0
    for batch in batches:
        for value in texts(batch):
            seen += 1
            visible = "".join(value.as_py().split())
            rank = text_rank(visible, seed)
            if rank >= limit or rank in held or len(visible) < min_characters:
                continue
            piece = window(visible, rank, window_characters)
            heapq.heappush(heap, (-rank, piece))
            held.add(rank)
            characters += len(piece)
            while len(heap) > most or characters > room:
                last, dropped = heapq.heappop(heap)
                limit = -last
                held.discard(limit)
                characters -= len(dropped)
    chosen = sorted((-rank, piece) for rank, piece in heap)
    return Sample([rank for rank, _ in chosen], [piece for _, piece in chosen], seen)


def as_array(pieces: list[str]) -> pa.Array:
    """Texts as the kernels take them."""
    return pa.array(pieces, pa.large_string())
