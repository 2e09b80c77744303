"""Evaluation items found in documents, by their character n-grams.

Documents stream through `scan` character by character: fold, roll a hash over the last n folded
characters, look it up in the table of `corpuskit.kernels.ngram_index`. What is carried along is the last 64
characters and, for each item met in the document, one open region; so memory does not grow with a document.
A hash that is found is compared character by character with the item before it counts.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.hashing import BASE, finish
from corpuskit.kernels.ngram_index import LEFT_OUT, mix, rotate
from corpuskit.kernels.spans import with_room
from corpuskit.kernels.utf8 import next_code_point

# The state of a unit (an item, or one long passage of it) in a document, by column.
DOCUMENT, LAST, START, STOP, COUNT, NEXT, RUN, LONGEST, REGION = range(9)
BEST_START, BEST_STOP, BEST_COUNT, BEST_RUN = range(9, 13)
STATE_COLUMNS = 13

_RING = 64
_ONE = np.uint64(1)
_SIX = np.uint64(6)
_LOW = np.uint64(63)
_HALF = np.uint64(32)


@kernel
def _close(row, totals, needed, min_share, long_run, unit):
    """End the open region of a unit; remember it where it is the best of the document so far."""
    good = row[LONGEST] >= long_run or (
        row[COUNT] >= min_share * totals[unit] and row[LONGEST] >= needed[unit]
    )
    if good and (
        row[BEST_COUNT] < row[COUNT] or (row[BEST_COUNT] == row[COUNT] and row[BEST_RUN] < row[LONGEST])
    ):
        row[BEST_START] = row[START]
        row[BEST_STOP] = row[STOP]
        row[BEST_COUNT] = row[COUNT]
        row[BEST_RUN] = row[LONGEST]


@kernel
def _lookup(value, width, count, ring, slots, bits, hashes, lengths, places, codes):
    """The n-gram that the last `width` characters are, compared by character, or -1."""
    if bits[(value >> _SIX) & np.uint64(bits.size - 1)] >> (value & _LOW) & _ONE == np.uint64(0):
        return np.int64(-1)
    mask = np.uint64(slots.size - 1)
    slot = (value >> _HALF) & mask
    while slots[slot] >= 0:
        gram = slots[slot]
        if hashes[gram] == value and lengths[gram] == width:
            same = True
            for i in range(width):
                if codes[places[gram] + i] != ring[(count - width + i) % _RING]:
                    same = False
                    break
            if same:
                return np.int64(gram)
        slot = (slot + _ONE) & mask
    return np.int64(-1)


@kernel
def scan(
    data,
    offsets,
    fold,
    n,
    short_lengths,
    slots,
    bits,
    hashes,
    places,
    lengths,
    weights,
    posting_offsets,
    posting_units,
    posting_places,
    codes,
    totals,
    needed,
    min_share,
    long_run,
    max_gap,
    state,
    marks,
    counters,
    seen,
):
    """Find the units (items, or their long passages) that overlap each document.

    Parameters
    ----------
    data, offsets : uint8[:], int64[:]
        The documents.
    fold : uint32[0x110000]
    n : int64
    short_lengths : int64[:]
        Lengths below n of items that are found whole, standing alone.
    slots, bits, hashes, places, lengths, weights, posting_offsets, posting_units, posting_places, codes
        The index; `weights` (int64[:]) says how much each n-gram counts.
    totals : int64[units]
        Sum of the weights of each unit's chosen n-grams.
    needed : int64[units]
        Consecutive common characters that a region of the unit must have beside its share.
    min_share : float64
    long_run : int64
        Consecutive common characters that suffice without the share.
    max_gap : int64
        N-grams of a unit that begin at most this many folded characters apart are one region.
    state, marks, counters : int64[units, STATE_COLUMNS], int64[postings], int64[2]
        Zeros at first; carried from one call to the next.
    seen : uint8[:]
        If not empty, every n-gram found is marked here and nothing else is done.

    Returns
    -------
    int64[:, 6]
        Document, unit, start and stop in characters of the document, weight of the n-grams found and longest
        common run (folded characters) of the best region of each overlapping unit.
    """
    result = np.empty((16, 6), np.int64)
    found = 0
    touched = np.empty(totals.size, np.int32)
    ring = np.empty(_RING, np.int32)
    ring_mixed = np.empty(_RING, np.uint64)
    ring_char = np.empty(_RING, np.int64)
    ring_alone = np.empty(_RING, np.bool_)
    turn_step = np.uint64(11)
    turn_out = np.uint64(11 * n % 64)
    length_mix = np.uint64(n) * BASE
    for document in range(offsets.size - 1):
        counters[0] += 1
        stamp = counters[0]
        num_touched = 0
        position, stop = offsets[document], offsets[document + 1]
        character = 0
        count = 0
        rolled = np.uint64(0)
        alone = True
        while True:
            ended = position >= stop
            folded = LEFT_OUT
            if not ended:
                code, position = next_code_point(data, position, stop)
                if code < fold.size:
                    folded = fold[code]
            num_tries = 0
            if folded == LEFT_OUT:
                if not alone:
                    num_tries = short_lengths.size  # a word, clause or line ends here
                alone = True
            else:
                place = count % _RING
                mixed = mix(folded)
                rolled = rotate(rolled, turn_step) ^ mixed
                if count >= n:
                    rolled ^= rotate(ring_mixed[(count - n) % _RING], turn_out)
                ring[place] = folded
                ring_mixed[place] = mixed
                ring_char[place] = character
                ring_alone[place] = alone
                alone = False
                count += 1
                if count >= n:
                    num_tries = 1
            for attempt in range(num_tries):
                if folded != LEFT_OUT:
                    width = n
                    value = finish(rolled ^ length_mix)
                else:
                    width = short_lengths[attempt]
                    if count < width or not ring_alone[(count - width) % _RING]:
                        continue
                    total = np.uint64(0)
                    for i in range(width):
                        total = rotate(total, turn_step) ^ ring_mixed[(count - width + i) % _RING]
                    value = finish(total ^ np.uint64(width) * BASE)
                gram = _lookup(value, width, count, ring, slots, bits, hashes, lengths, places, codes)
                if gram < 0:
                    continue
                if seen.size:
                    seen[gram] = 1
                    continue
                begin = count - width
                for posting in range(posting_offsets[gram], posting_offsets[gram + 1]):
                    unit = posting_units[posting]
                    row = state[unit]
                    if row[DOCUMENT] != stamp:
                        row[DOCUMENT] = stamp
                        row[BEST_COUNT] = 0
                        row[BEST_RUN] = 0
                        row[REGION] = 0
                        touched[num_touched] = unit
                        num_touched += 1
                    if row[REGION] == 0 or begin - row[LAST] > max_gap:
                        if row[REGION]:
                            _close(row, totals, needed, min_share, long_run, unit)
                        counters[1] += 1
                        row[REGION] = counters[1]
                        row[START] = ring_char[begin % _RING]
                        row[COUNT] = 0
                        row[LONGEST] = 0
                        row[LAST] = -2
                    if marks[posting] != row[REGION]:
                        marks[posting] = row[REGION]
                        row[COUNT] += weights[gram]
                    if begin == row[LAST] + 1 and codes[row[NEXT]] == ring[(count - 1) % _RING]:
                        row[RUN] += 1
                        row[NEXT] += 1
                    else:
                        row[RUN] = width
                        row[NEXT] = posting_places[posting] + width
                    row[LONGEST] = max(row[LONGEST], row[RUN])
                    row[LAST] = begin
                    row[STOP] = ring_char[(count - 1) % _RING] + 1
            if ended:
                break
            character += 1
        for i in range(num_touched):
            unit = touched[i]
            row = state[unit]
            _close(row, totals, needed, min_share, long_run, unit)
            if row[BEST_COUNT]:
                if found == len(result):
                    result = with_room(result)
                result[found, 0] = document
                result[found, 1] = unit
                result[found, 2] = row[BEST_START]
                result[found, 3] = row[BEST_STOP]
                result[found, 4] = row[BEST_COUNT]
                result[found, 5] = row[BEST_RUN]
                found += 1
    return result[:found]
