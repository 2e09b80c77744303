"""jieba's segmentation over UTF-8 bytes, a reimplementation of the published behaviour of jieba 0.42.1.

A row is decoded into ranks a stretch at a time, cut into words (`corpuskit.kernels.word_lattice`,
`corpuskit.kernels.hidden_markov`), and the words' ends are written in the unit that is asked for. Only runs
of U+4E00 to U+9FD5, ASCII letters and digits, and ``+#&._%-`` are cut; any other character is a word, and so
is ``\\r\\n``.

A stretch ends where a block ends, so time is linear and memory bounded by the longest block: some 12 bytes
for each of its characters, a third more than its text where it is Chinese, beside 100 KB for the rest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.hidden_markov import cut_runs, find_runs, find_single
from corpuskit.kernels.ranked_trie import (
    LAST_ALPHANUMERIC,
    LONGEST,
    ONE,
    THREE,
    TWO,
    ZERO,
    find,
    hash_shift,
    is_word,
    lookup,
)
from corpuskit.kernels.word_lattice import PIECE, find_steps, new_long_words, new_scratch

BYTES, CHARACTERS = 0, 1

_FOUR = np.uint64(4)
_MARGIN = (
    4  # beyond the last character: its neighbours to the right, read without a look whether they are there
)


class _Text(NamedTuple):
    """One stretch: what is known of each character. `bounds` and `single` are for the places between them."""

    steps: np.ndarray
    ranks: np.ndarray
    widths: np.ndarray
    flags: np.ndarray
    bounds: np.ndarray
    single: np.ndarray
    states: np.ndarray


@kernel
def _new_text(capacity):
    """All arrays in one allocation, which is a third of what a short text costs."""
    room = (np.int64(capacity) + _MARGIN + 63) // 64 * 64
    block = np.empty(11 * room, np.uint8)
    return _Text(
        block[: 4 * room].view(np.uint32),
        block[4 * room : 6 * room].view(np.uint16),
        block[6 * room : 7 * room],
        block[7 * room : 8 * room],
        block[8 * room : 9 * room],
        block[9 * room : 10 * room],
        block[10 * room : 11 * room],
    )


@kernel
def _decode_ranks(data, at, end, table, unit, ranks, widths, n, limit):
    """Append characters until there are `limit` or the row ends.

    Returns the next byte, the number of characters, and whether all were UTF-8; else the byte is that of the
    malformed one.
    """
    low, continuation = np.uint64(0x3F), np.uint64(0x80)
    in_bytes = unit == BYTES
    three_bytes = np.uint8(3 if in_bytes else 1)
    while at < end and n < limit:
        lead = np.uint64(data[at])
        if np.uint64(0xE0) <= lead < np.uint64(0xF0) and at + TWO < end:
            second, third = np.uint64(data[at + ONE]), np.uint64(data[at + TWO])
            code = (lead & np.uint64(0x0F)) << np.uint64(12) | (second & low) << np.uint64(6) | third & low
            rank = table[code]
            # One branch, never taken: short-circuiting would branch at each punctuation mark.
            wrong = ((second & ~low) != continuation) | ((third & ~low) != continuation)
            wrong |= (code < np.uint64(0x800)) | (code & np.uint64(0xF800) == np.uint64(0xD800))
            if wrong:
                return at, n, False
            ranks[n] = rank
            widths[n] = three_bytes
            at += THREE
        elif lead < np.uint64(0x80):
            ranks[n] = table[lead]
            widths[n] = 1
            at += ONE
            if lead == np.uint64(13) and at < end and data[at] == 10:
                widths[n] = 2
                at += ONE
        elif np.uint64(0xC2) <= lead < np.uint64(0xE0) and at + ONE < end:
            if (np.uint64(data[at + ONE]) & ~low) != continuation:
                return at, n, False
            ranks[n] = 0
            widths[n] = 2 if in_bytes else 1
            at += TWO
        elif np.uint64(0xF0) <= lead < np.uint64(0xF5) and at + THREE < end:
            second, third = np.uint64(data[at + ONE]), np.uint64(data[at + TWO])
            fourth = np.uint64(data[at + THREE])
            plane = (lead & np.uint64(0x07)) << np.uint64(2) | (second & low) >> np.uint64(4)
            if (second & ~low) != continuation or not ONE <= plane <= np.uint64(16):
                return at, n, False
            if (third & ~low) != continuation or (fourth & ~low) != continuation:
                return at, n, False
            ranks[n] = 0
            widths[n] = 4 if in_bytes else 1
            at += _FOUR
        else:
            return at, n, False
        n += ONE
    return at, n, True


@kernel
def _set_bounds(steps, n, bounds):
    """Set `bounds` where the words of the best path begin, and at the end."""
    bounds[: n + ONE] = 0
    bounds[0] = 1
    k = ZERO
    while k < n:
        k += np.uint64(steps[k])
        bounds[k] = 1


@kernel
def _join_alphanumeric(ranks, n, single, bounds):
    """Without the model, jieba joins letters and digits that are words of their own."""
    first, second, word, following, between = ranks, ranks[1:], single[1:], single[2:], bounds[1:]
    for k in range(n):
        joined = np.uint8(first[k] <= LAST_ALPHANUMERIC) & np.uint8(second[k] <= LAST_ALPHANUMERIC)
        between[k] &= np.uint8(1) ^ (joined & word[k] & following[k])


@kernel
def _write_ends(widths, bounds, n, position, out, n_out):
    """Append the ends of words to `out`; return the position after the text and how many ends there are."""
    ends = bounds[1:]
    for k in range(n):
        position += np.int64(widths[k])
        out[n_out] = position
        n_out += np.uint64(ends[k])
    return position, n_out


@kernel
def cut(
    data, offsets, table, pairs, slots, nodes, header, log_total, model, use_model, unit, out, rows
):  # fmt: skip
    """Word ends of every row of a UTF-8 array.

    Parameters
    ----------
    data : uint8 array
        The bytes of all rows.
    offsets : int64 array, shape (rows + 1,)
        Row `r` is ``data[offsets[r]:offsets[r + 1]]``.
    table, pairs, slots, nodes, header
        The dictionary, see `corpuskit.kernels.ranked_trie`.
    log_total : float
        Logarithm of the sum of all frequencies.
    model : float64 array
        The hidden Markov model, see `corpuskit.kernels.hidden_markov.cut_runs`.
    use_model : bool
        Whether runs of one-character words go to the model.
    unit : int
        `BYTES` or `CHARACTERS` from the start of the row.
    out : int32 array
        Receives the ends; longer than there are characters in the rows.
    rows : int64 array, shape (rows + 1,)
        Receives the bounds of each row's ends in `out`.

    Returns
    -------
    n, row, byte : int
        The number of ends written; and, if malformed UTF-8 was found, its row and byte in the row
        (else -1, -1).
    """
    shift = hash_shift(slots)
    longest = np.uint64(header[LONGEST])
    size = np.uint64(PIECE)
    text = _new_text(size)
    scratch = new_scratch(header[LONGEST])
    words = new_long_words(PIECE + 2 * header[LONGEST])
    runs = np.empty((4, PIECE + 1), np.uint32)
    n_out = ZERO
    rows[0] = 0
    for row in range(offsets.size - 1):
        at, end = np.uint64(offsets[row]), np.uint64(offsets[row + 1])
        position = 0
        n = ZERO  # characters decoded
        limit = np.uint64(PIECE)
        while at < end:
            scanned = n
            if limit > size:
                larger = _new_text(limit)
                larger.ranks[:n] = text.ranks[:n]
                larger.widths[:n] = text.widths[:n]
                text, size = larger, limit
            at, n, valid = _decode_ranks(data, at, end, table, unit, text.ranks, text.widths, n, limit)
            if not valid:
                return np.int64(n_out), row, np.int64(at) - offsets[row]
            whole = n  # characters of whole blocks
            if at < end:
                while whole > scanned and text.ranks[whole - ONE] != 0:
                    whole -= ONE
                if whole == scanned:
                    limit = TWO * limit
                    continue
            text.ranks[n] = 0
            text.ranks[n + ONE] = 0
            text.ranks[n + TWO] = 0
            words = find_steps(
                pairs, slots, shift, nodes, log_total, longest,
                text.ranks, whole, scratch, words, text.flags, text.steps,
            )  # fmt: skip
            _set_bounds(text.steps, whole, text.bounds)
            find_single(text.ranks, whole, text.bounds, text.single)
            if not use_model:
                _join_alphanumeric(text.ranks, whole, text.single, text.bounds)
            else:
                begin = ZERO
                while begin < whole:
                    count = find_runs(text.single, begin, min(begin + np.uint64(PIECE), whole), runs[3])
                    cut_runs(
                        slots, nodes, header, model, text.ranks, text.flags, text.single,
                        runs[3], count, runs[:3], text.states, text.bounds,
                    )  # fmt: skip
                    begin += np.uint64(PIECE)
            position, n_out = _write_ends(text.widths, text.bounds, whole, position, out, n_out)
            n -= whole
            for k in range(n):
                text.ranks[k] = text.ranks[whole + k]
                text.widths[k] = text.widths[whole + k]
            limit = np.uint64(PIECE)
        rows[row + 1] = n_out
    return np.int64(n_out), -1, -1


@kernel
def count_characters(data):
    """Code points in UTF-8, counting malformed bytes generously."""
    n = 0
    for byte in data:
        n += (byte & 0xC0) != 0x80
    return n


@kernel
def word_offsets(offsets, rows, ends, out):
    """Absolute byte offsets of all words, for rows that partition ``offsets[0]…offsets[-1]``.

    `out` is int64 with one more place than there are words.
    """
    out[0] = offsets[0]
    for row in range(offsets.size - 1):
        begin = offsets[row]
        ours = ends[rows[row] : rows[row + 1]]
        absolute = out[rows[row] + 1 :]
        for i in range(ours.size):
            absolute[i] = begin + ours[i]


@kernel
def search_spans(slots, nodes, ranks, ends, out):
    """jieba's search mode: the two- and three-character words inside each word, then the word.

    Parameters
    ----------
    slots, nodes
        The trie.
    ranks : uint16 array
        The text.
    ends : int32 array
        Word ends in characters.
    out : int32 array, shape (at least 3 * characters, 2)
        Receives (start, end) of each piece.

    Returns
    -------
    int
        The number of pieces.
    """
    n = 0
    begin = 0
    for end in ends:
        for width in range(2, 4):
            if end - begin > width:
                for i in range(begin, end - width + 1):
                    if is_word(nodes, lookup(slots, ranks, i, i + width)):
                        out[n, 0] = i
                        out[n, 1] = i + width
                        n += 1
        out[n, 0] = begin
        out[n, 1] = end
        n += 1
        begin = end
    return n


@kernel
def all_words(slots, nodes, ranks, counts, ends):
    """Every dictionary word of a block: `get_DAG`.

    Parameters
    ----------
    slots, nodes
        The trie.
    ranks : uint16 array
        The block.
    counts : int32 array, shape (characters,)
        Receives the number of words that start at each position (at least 1).
    ends : int32 array
        Receives the ends of those words, position by position, shorter words first. It is filled
        only as far as it reaches.

    Returns
    -------
    int
        The places needed in `ends`; call again with a longer array if that is more than it has.
    """
    shift = hash_shift(slots)
    n = 0
    for k in range(ranks.size):
        before = n
        node = np.uint64(ranks[k])
        end = k + 1
        while True:
            if is_word(nodes, node):
                if n < ends.size:
                    ends[n] = end
                n += 1
            if end == ranks.size:
                break
            node = find(slots, shift, node, np.uint64(ranks[end]))
            if node == ZERO:
                break
            end += 1
        if n == before:
            if n < ends.size:
                ends[n] = k + 1
            n += 1
        counts[k] = n - before
    return n
