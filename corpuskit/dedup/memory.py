"""Peak memory of the tasks whose memory grows with the data, for engines that place tasks by memory.

An estimate is the default of `corpuskit.jobs.Task`, which a process with its kernels and one batch fits in,
and bytes a row for what grows. Plans know sizes and row counts of files, not their content: of rows
the worst case is taken (every document in a cluster, every window a span of its own), of texts the usual
ratio of text to file. The bytes a row are counted from what a task holds at its peak, then measured on a
million rows of that worst case (``tests/dedup/task_growth.py``) and taken a seventh or more above both. A row
of what the keep rule knows of a document (``documents``, ``hashes``) is 74 bytes: ordinal, characters and
quality 8 each, an id of 32 and a date of 10 characters with an offset of 4 each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from corpuskit.clean.line_memory import TEXT_BYTES_PER_STORED_BYTE, task_memory
from corpuskit.jobs import Output, Task

UNION_FIND_BYTES = 68
"""A document in a pair, at the peak of `corpuskit.dedup.clusters.components`: measured with 2 and 8 million
pairs (``rust-free-benchmarks/bench_unionfind.py``). Both ends of the pairs 8 bytes, sorted 8, distinct ones
8, parents 8, and both ends as positions with what looking them up needs. Beside the pairs."""

_CHARACTER_BYTES = 3
_DOCUMENT_ROW_BYTES = 110
"""74 bytes (above), and the compressed file beside it."""


def rows_of(outputs: Sequence[Output]) -> int:
    """Rows of all files."""
    return sum(output.rows for output in outputs)


def most_rows(outputs: Sequence[Output]) -> int:
    """Rows of the longest file; files that are read one after another need no more."""
    return max((output.rows for output in outputs), default=0)


def with_memory(tasks: Sequence[Task], memory_bytes: int) -> list[Task]:
    """The tasks of a phase, all with one estimate."""
    return [replace(task, memory_bytes=memory_bytes) for task in tasks]


def bucket_memory(new_rows: int, old_rows: int = 0) -> int:
    """Of a `candidates` task: the rows of one partition of the band hashes, those of the run and of an index.

    A row is 24 bytes, mapped, and 24 more where the files of the parts become one array. Sorting takes 8
    for the order, 8 for the hashes in order, 8 for the rows that share a hash; each of those has two edges
    at most, 16 bytes each, which are joined, sorted and made distinct. Measured: 213 with buckets of four;
    taken: 250. Of an index, a part at a time is looked through, and what shares a hash with the run is
    held: taken to be at most twice the run's own rows.
    """
    return task_memory(250 * (new_rows + min(old_rows, 2 * new_rows)))


def pair_memory(candidates: int, documents: int, part_documents: int) -> int:
    """Of a `pairs` task: every candidate pair, and the rows of the documents that are in one.

    A candidate is 16 bytes in its table, 16 joined, 8 of the order, 32 sorted and distinct, 16 as ends of
    nodes and 16 sorted, and 40 while characters are looked up: 144, taken as 200 for copies while sorting.
    A document in a pair, at most two a candidate, is 8 as a node and 74 as a row: 110 with its share of the
    buffers. One ``documents`` table is read at a time. Measured: 275 for each document where every one is
    in one pair; the formula says 320.

    Parameters
    ----------
    candidates : int
        Rows of all ``candidates`` files.
    documents, part_documents : int
        Of all ``documents`` tables, and of the longest.
    """
    return task_memory(
        200 * candidates + 110 * min(2 * candidates, documents) + _DOCUMENT_ROW_BYTES * part_documents
    )


def cluster_memory(pairs: int, documents: int, part_documents: int) -> int:
    """Of a `clusters` task: every pair, union-find, and the rows and decisions of the documents in one.

    A pair is 24 bytes in its table and 24 joined; looking edges up takes both orientations, 32 bytes with
    16 of values, 8 of the order and 32 as keys, and as much again sorted: 224, taken as 280. A document in
    a pair is `UNION_FIND_BYTES`, a row of 74 bytes up to four times (by ordinal, by cluster, with its group,
    in order) and a decision of 105 bytes: 480. One ``documents`` table is read at a time. Measured: 553 for
    each document where every one is in one pair; the formula says 730.
    """
    in_pairs = min(2 * pairs, documents)
    return task_memory(
        280 * pairs + (UNION_FIND_BYTES + 412) * in_pairs + _DOCUMENT_ROW_BYTES * part_documents
    )


def text_memory(part_bytes: int, needed: int) -> int:
    """Of a `texts` task: the texts of one part that pairs need, once, and what one chunk needs of them.

    Both at most the whole part. What is `needed` of the group of its part is 12 bytes a row, 8 with the
    number of the part, 12 of its own part, 8 in order and once more as places: 48. Measured: 57; taken: 65.
    """
    return task_memory(2 * TEXT_BYTES_PER_STORED_BYTE * part_bytes + 65 * needed)


def measure_memory(chunk_characters: int, texts_bytes: int, pairs: int) -> int:
    """Of a `verify` or `compare` task: the texts of one chunk, as read and as one array.

    At most `chunk_characters` of three bytes, or all texts that were handed out (compressed: `texts_bytes`);
    100 bytes a pair of the longest chunk. Shingles are held for one pair at a time.
    """
    text = min(_CHARACTER_BYTES * chunk_characters, TEXT_BYTES_PER_STORED_BYTE * texts_bytes)
    return task_memory(2 * text + 100 * pairs)


def removal_memory(removed: int, measured: int = 0) -> int:
    """Of an `apply` task: what was decided on the documents of its part, or of its group of parts.

    A decision is 105 bytes: two ordinals, two ids, cluster size, similarity. It is held as read, joined with
    those of the other files and sorted. Measured: 400; taken: 450. A measured pair is 24 bytes, and while
    decisions are looked up in it 132 (measured), taken as 160.

    Parameters
    ----------
    removed, measured : int
        At most: the documents of the group.
    """
    return task_memory(450 * removed + 160 * measured)


def hash_memory(rows: int, partitions: int) -> int:
    """Of a `decide` task of exact deduplication: the documents of one partition of the hashes.

    Hashes are uniform, so a partition has ``rows / partitions`` rows of 90 bytes (74 and the hash), mapped.
    All of them may be in a cluster: taken in the order of the hashes, with their clusters, in the order of
    the keep rule, as decisions of 105 bytes, and those in order. Measured: 528 where all stand in fours, 54
    where none has a copy; taken: 600.
    """
    return task_memory(600 * -(-rows // partitions))


def anchor_memory(part_bytes: int, min_characters: int) -> int:
    """Of an `anchors` task: the distinct anchors of one part.

    Of n characters, with anchors of w = n/2, one in (n - w + 2) / 2 begins an anchor. An anchor is 8 bytes
    by batch, joined, sorted, distinct with a count of 8, and a row of 13 before and after it is partitioned:
    80.
    """
    characters = TEXT_BYTES_PER_STORED_BYTE * part_bytes // _CHARACTER_BYTES
    width = max(1, min_characters // 2)
    return task_memory(80 * min(characters, 2 * characters // (min_characters - width + 2)))


def repeated_memory(rows: int, partitions: int) -> int:
    """Of a `repeated` task: one partition of the anchors.

    A row is 13 bytes, mapped, and joined; the order is 8, the sorted rows 13, those that are repeated 12,
    their order by part 8 and they in it 12: 79. Measured, all repeated: 84; taken: 100.
    """
    return task_memory(100 * -(-rows // partitions))


def window_memory(part_bytes: int, chunk_bytes: int, anchors: int, flush_rows: int) -> int:
    """Of a `windows` task: the anchors of its part, one chunk of text, and windows to be written.

    An anchor is 8 bytes, and 32 in a hash set that is at least a quarter full: 40. A character of a chunk is
    3 bytes as text, 20 to be searched, and 50 more where something is repeated, taken to be all of it. A
    window waiting is 28 bytes, and three times that while it is partitioned; a chunk has at most one a
    character.
    """
    text = min(chunk_bytes, TEXT_BYTES_PER_STORED_BYTE * part_bytes)
    characters = text // _CHARACTER_BYTES
    return task_memory(40 * anchors + 2 * text + 70 * characters + 84 * min(flush_rows, characters))


def first_memory(rows: int, partitions: int) -> int:
    """Of a `firsts` task: one partition of the windows.

    A row is 28 bytes, joined 28, the order 8, found pairs 16 and in order 16, and what is written 24: 120.
    """
    return task_memory(120 * -(-rows // partitions))


def span_memory(repeats: int) -> int:
    """Of a `spans` task: the repeated windows of its part, each taken to be a span of its own.

    A window is 24 bytes, sorted 24 and 8, as a span 40, and as a request 24, grouped, sorted and with its
    part. Measured: 282; taken: 350.

    Parameters
    ----------
    repeats : int
        At most the windows that the part has.
    """
    return task_memory(350 * repeats)


def source_memory(part_bytes: int, requests: int) -> int:
    """Of a `sources` task: what is asked of one part, with its text.

    A request is 32 bytes, and 250 as an id and a text in Python and in two tables. The texts together are
    taken to be at most the part, in Python, in the table and in order.
    """
    return task_memory(300 * requests + 3 * TEXT_BYTES_PER_STORED_BYTE * part_bytes)


def comparison_memory(spans: int, local: int, texts_bytes: int) -> int:
    """Of a `verify` task of spans: those of its part with their sources.

    A span is 40 bytes and a row of Python values up to 1,000, a source a key, an id and a text up to 500; a
    local span is 90 bytes, joined, sorted and led to its first source: 400. `texts_bytes` are those of all
    sources for the part, compressed.
    """
    return task_memory(1500 * spans + 400 * local + 2 * TEXT_BYTES_PER_STORED_BYTE * texts_bytes)


def cap_memory(spans: int) -> int:
    """Of the `cap` task: every span of the corpus, without its source's id.

    A span is 56 bytes as read, 56 joined, 8 of the order, and 7 arrays of 8 in order or by document, which
    are at most as many, with copies while sorting. Measured: 288; taken: 350.
    """
    return task_memory(350 * spans)


def cut_memory(spans: int, beyond: int) -> int:
    """Of an `apply` task of spans: those of its part, and the documents beyond the cap that it needs.

    A span is 95 bytes with its source's id, twice; an ordinal 8, twice.
    """
    return task_memory(200 * spans + 16 * beyond)


def evaluation_memory(evaluation_bytes: int) -> int:
    """Of the `index` task of decontamination: items as records, folded, and their n-grams.

    A character of an item is at most a byte of the files and begins at most one n-gram: 4 bytes folded, 24
    for hash, place, length and frequency, those of which are copied, 8 to 16 in a table of 4-byte slots, and
    12 a posting; with the record 120. The background passes batch by batch.
    """
    return task_memory(120 * evaluation_bytes)


def matching_memory(index_bytes: int) -> int:
    """Of an `apply` task of decontamination: the index, mapped, and its state, no larger."""
    return task_memory(2 * index_bytes)
