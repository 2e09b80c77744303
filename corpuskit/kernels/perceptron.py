"""Features, scores and the best path of the trained segmenter, straight from UTF-8.

A character's score for each of the tags B, M, E, S is a sum of table rows: one row for each n-gram of the
window. An n-gram of characters is looked up once, where it begins; its row holds the four int8 scores it
gives to *every* character of its window (a bigram: to four), so a character costs three hash look-ups
instead of eight. Four scores are read as one uint32, spread to four 16-bit lanes of a uint64 and added
lane by lane; weights are stored with 128 added, so that no lane borrows from the next, and since all four
tags get the same 128, the best path does not change.

What is not in the tables costs nothing to tell: an empty slot is a row of zero weights.

Text between white space is one sequence. It is worked off in windows of `WINDOW` characters: of a window
that does not end the sequence, the words within the last `MARGIN` characters are cut again in the next one,
with `CONTEXT` characters before them in sight. So time is linear and scratch memory constant.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.trie import WEIGHT, find, may_have_child
from corpuskit.kernels.utf8 import checked_code_point

WINDOW = 4096
MARGIN = 256
CONTEXT = 16
LONGEST = 12  # characters of the longest word of a vocabulary or dictionary that becomes a feature

# Classes of characters.
BOUNDARY, HAN, DIGIT, LATIN, PUNCTUATION, NUMERAL, OTHER, SPACE = range(8)
RUNS = 8  # ids of digits: 8 to 12, for one in a run of 1, 2, 3, 4, and 5 or more
FIRST_CHARACTER = 16  # ids below are boundary (0), unknown characters by class (1 to 6), and digits

VOCABULARY, DICTIONARY, USER = 1, 2, 4  # what a word of the trie is in, bits of its weight
FOLD_SHIFT = 3  # above them: one more than the only fold of the training text that has the word, or 0
CAP = 6  # lengths of words are told apart up to here

# Order of tags, and the lanes of their scores in a uint64.
B, M, E, S = range(4)
USER_BONUS = 24_000

CLASS_WINDOWS = 8**5
REPEATS = 16
TRIPLES = (CAP + 1) ** 3
JUNCTIONS = (CAP + 1) ** 2
STATES = 6  # of each character: longest word that starts, ends, goes on here; in vocabulary, dictionary

_U = np.uint64
_G1 = np.uint64(0x9E3779B97F4A7C15)
_G2 = np.uint64(0xD6E8FEB86659FD93)
_ZERO = np.uint32(0x80808080)
BYTES, CHARACTERS = 0, 1


@kernel
def fold(code):
    """Fullwidth ASCII as ASCII; features see no difference between the two."""
    return code - 0xFEE0 if 0xFF01 <= code <= 0xFF5E else code


@kernel
def identify(codes, begin, end, character_ids, classes, ids, kinds):
    """Ids and classes of the characters ``codes[begin:end]``, which are folded code points.

    A digit's id says how long its run is: `1998年` is one word where `3 年` is two.
    """
    i = begin
    while i < end:
        code = codes[i]
        if code < 65536:
            kinds[i] = classes[code]
            ids[i] = character_ids[code]
        else:
            kinds[i] = HAN if 0x20000 <= code < 0x40000 else OTHER
            ids[i] = kinds[i]
        if kinds[i] != DIGIT:
            i += 1
            continue
        start = i
        while i < end and codes[i] < 65536 and classes[codes[i]] == DIGIT:
            kinds[i] = DIGIT
            i += 1
        for j in range(start, i):
            ids[j] = RUNS + min(i - start, 5) - 1


@kernel
def find_words(trie, codes, kinds, begin, end, fold_number, states, favoured):
    """Words of the trie in ``codes[begin:end]``, as features and as the tags a user's words ask for.

    Parameters
    ----------
    fold_number : int
        A fold of the training text, whose own words are not in sight; -1 at use.
    states : uint8 array, shape (characters, STATES)
        Zeros. Receives the lengths (at most `CAP`) of the longest word that starts at, ends at and goes
        across a character.
    favoured : uint8 array
        Zeros. Receives a bit for each tag that a user's word gives the character.
    """
    one = np.uint8(0)
    for i in range(begin, end):
        code = np.int64(codes[i])
        at = find(trie, np.int64(1), code)
        stop = i
        while at >= 0:
            stop += 1
            weight = trie[at + 1] & WEIGHT
            if weight != 0:
                length = stop - i
                short = np.uint8(min(length, CAP))
                held_out = fold_number >= 0 and weight >> FOLD_SHIFT == fold_number + 1
                a = short if weight & VOCABULARY != 0 and not held_out else one
                b = short if weight & DICTIONARY != 0 else one
                states[i, 0] = max(states[i, 0], a)
                states[i, 1] = max(states[i, 1], b)
                states[stop - 1, 2] = max(states[stop - 1, 2], a)
                states[stop - 1, 3] = max(states[stop - 1, 3], b)
                for k in range(i + 1, stop - 1):
                    states[k, 4] = max(states[k, 4], a)
                    states[k, 5] = max(states[k, 5], b)
                if weight & USER != 0 and not (
                    _run_goes_on(kinds, i - 1, begin, end) or _run_goes_on(kinds, stop - 1, begin, end)
                ):
                    if length == 1:
                        favoured[i] |= 1 << S
                    else:
                        favoured[i] |= 1 << B
                        favoured[stop - 1] |= 1 << E
                        for k in range(i + 1, stop - 1):
                            favoured[k] |= 1 << M
            if stop >= end:
                break
            code = np.int64(codes[stop])
            if not may_have_child(trie[at], code):
                break
            at = find(trie, trie[at + 1] >> 32, code)


@kernel
def _run_goes_on(kinds, i, begin, end):
    """Whether characters `i` and ``i + 1`` are both digits or both Latin letters."""
    if i < begin or i + 1 >= end or kinds[i] != kinds[i + 1]:
        return False
    return kinds[i] == DIGIT or kinds[i] == LATIN


@kernel
def class_window(kinds, i):
    """Row of the classes of the five characters around `i`."""
    return (
        (np.int64(kinds[i - 2]) & 7) << 12
        | (np.int64(kinds[i - 1]) & 7) << 9
        | (np.int64(kinds[i]) & 7) << 6
        | (np.int64(kinds[i + 1]) & 7) << 3
        | (np.int64(kinds[i + 2]) & 7)
    )


@kernel
def repeats(codes, i):
    """Row that says which of the characters at distance 1 and 2 equal the one at `i`."""
    c = codes[i]
    return (
        np.int64(c == codes[i - 1])
        | np.int64(c == codes[i - 2]) << 1
        | np.int64(c == codes[i + 1]) << 2
        | np.int64(c == codes[i + 2]) << 3
    )


@kernel
def triple(states, i, which):
    """Row of the words that start, end and go on at `i`, in the vocabulary (0) or dictionary (1)."""
    starts_and_ends = np.int64(states[i, which]) * 7 + np.int64(states[i, 2 + which])
    return starts_and_ends * 7 + np.int64(states[i, 4 + which])


@kernel
def junction(states, i, which):
    """Row of the word that ends before `i` and the one that starts there."""
    return np.int64(states[i - 1, 2 + which]) * 7 + np.int64(states[i, which])


@kernel
def pair_slot(key, shift):
    """Home slot of a key of 32 bits."""
    return (key * _G1) >> shift


@kernel
def triple_hash(key):
    """Mixed hash of three ids: its high bits are the slot, its low 32 bits, made odd, the fingerprint."""
    h = key * _G1
    h ^= h >> _U(29)
    return h * _G2


@kernel
def build_table(keys, scores, triples, table, shift):
    """Fill an open hash table.

    Parameters
    ----------
    keys : uint64 array
        Pairs ``a << 16 | b`` or triples ``a << 32 | b << 16 | c`` of ids, none of them 0.
    scores : uint32 array, shape (keys, roles)
        Four biased int8 for each role.
    triples : bool
    table : uint32 array, shape (slots, 1 + roles)
        Empty: key 0 and zero weights. Receives key or fingerprint, and scores.
    shift : uint64
        64 less the logarithm of the slots.
    """
    mask = _U(table.shape[0] - 1)
    for i in range(keys.size):
        if triples:
            h = triple_hash(keys[i])
            slot = h >> shift
            name = np.uint32(h & _U(0xFFFFFFFF)) | np.uint32(1)
        else:
            slot = pair_slot(keys[i], shift)
            name = np.uint32(keys[i])
        while table[slot, 0] != 0:
            slot = (slot + _U(1)) & mask
        table[slot, 0] = name
        for r in range(scores.shape[1]):
            table[slot, 1 + r] = scores[i, r]


@kernel
def _probe(table, slot, name, mask):
    """Slot of a name, or the empty slot where it would be."""
    found = table[slot, 0]
    while found != name and found != 0:
        slot = (slot + _U(1)) & mask
        found = table[slot, 0]
    return np.uint32(slot)


@kernel
def _spread(scores):
    """Four bytes to four 16-bit lanes, in the order B, E, M, S."""
    wide = _U(scores)
    return (wide | (wide << _U(24))) & _U(0x00FF00FF00FF00FF)


@kernel
def _look_up(ids, n, bigrams, skips, trigrams, shifts, pairs, gaps, threes):
    """Slots of the n-grams that begin at each place of the window."""
    masks = (_U(bigrams.shape[0] - 1), _U(skips.shape[0] - 1), _U(trigrams.shape[0] - 1))
    for p in range(CONTEXT - 2, CONTEXT + n + 1):
        q = _U(p)
        a, b, c = _U(ids[q]), _U(ids[q + _U(1)]), _U(ids[q + _U(2)])
        key = a << _U(16) | b
        pairs[q] = _probe(bigrams, pair_slot(key, shifts[0]), np.uint32(key), masks[0])
        key = a << _U(16) | c
        gaps[q] = _probe(skips, pair_slot(key, shifts[1]), np.uint32(key), masks[1])
        h = triple_hash(a << _U(32) | b << _U(16) | c)
        name = np.uint32(h & _U(0xFFFFFFFF)) | np.uint32(1)
        threes[q] = _probe(trigrams, h >> shifts[2], name, masks[2])


@kernel
def _add_up(
    ids, codes, kinds, states, favoured, n, unigrams, bigrams, skips, trigrams, windows, doubles, triples,
    junctions, pairs, gaps, threes, sums,
):  # fmt: skip
    """Scores of each character of the window as four 16-bit lanes."""
    one, two = _U(1), _U(2)
    for k in range(n):
        i = _U(k + CONTEXT)
        s = _spread(unigrams[_U(ids[i - two]), 0]) + _spread(unigrams[_U(ids[i - one]), 1])
        s += _spread(unigrams[_U(ids[i]), 2]) + _spread(unigrams[_U(ids[i + one]), 3])
        s += _spread(unigrams[_U(ids[i + two]), 4])
        s += _spread(bigrams[_U(pairs[i - two]), 1]) + _spread(bigrams[_U(pairs[i - one]), 2])
        s += _spread(bigrams[_U(pairs[i]), 3]) + _spread(bigrams[_U(pairs[i + one]), 4])
        s += _spread(skips[_U(gaps[i - one]), 1])
        s += _spread(trigrams[_U(threes[i - two]), 1]) + _spread(trigrams[_U(threes[i - one]), 2])
        s += _spread(trigrams[_U(threes[i]), 3])
        j = k + CONTEXT
        s += _spread(windows[_U(class_window(kinds, j))]) + _spread(doubles[_U(repeats(codes, j))])
        for which in range(2):
            s += _spread(triples[which, _U(triple(states, j, which))])
            s += _spread(junctions[which, _U(junction(states, j, which)), 0])
            s += _spread(junctions[which, _U(junction(states, j + 1, which)), 1])
        f = _U(favoured[i])
        if f != _U(0):
            lanes = (f & one) | (f & _U(4)) << _U(14) | (f & two) << _U(31) | (f & _U(8)) << _U(45)
            s += lanes * _U(USER_BONUS)
        sums[k] = s


@kernel
def _best_path(sums, n, steps, tags):
    """Viterbi over the allowed transitions; of equal scores the way from E and from B wins."""
    low = _U(0xFFFF)
    b, s = np.int64(sums[0] & low), np.int64(sums[0] >> _U(48))
    m = np.int64(-(1 << 40))
    e = m
    for i in range(1, n):
        x = sums[i]
        e_b, s_b = e + steps[E, B], s + steps[S, B]
        b_m, m_m = b + steps[B, M], m + steps[M, M]
        b_e, m_e = b + steps[B, E], m + steps[M, E]
        e_s, s_s = e + steps[E, S], s + steps[S, S]
        tags[i] = (s_b > e_b) | (m_m > b_m) << 1 | (m_e > b_e) << 2 | (s_s > e_s) << 3
        b = max(e_b, s_b) + np.int64(x & low)
        e = max(b_e, m_e) + np.int64((x >> _U(16)) & low)
        m = max(b_m, m_m) + np.int64((x >> _U(32)) & low)
        s = max(e_s, s_s) + np.int64(x >> _U(48))
    tag = S if s > e else E
    for i in range(n - 1, 0, -1):
        other = (tags[i] >> tag) & 1
        tags[i] = tag
        if tag != M and tag != E:
            tag = S if other else E
        else:
            tag = M if other else B
    tags[0] = tag


@kernel
def cut(
    data, offsets, trie, character_ids, classes, unigrams, bigrams, skips, trigrams, shifts, windows, doubles,
    triples, junctions, steps, unit, out, rows,
):  # fmt: skip
    """Word ends of every row of a UTF-8 array.

    Parameters
    ----------
    data, offsets : uint8 array, int64 array
        Row `r` is ``data[offsets[r]:offsets[r + 1]]``.
    trie : int64 array
        Words; see `find_words`.
    character_ids, classes : uint16 array, uint8 array, shape (65536,)
    unigrams : uint32 array, shape (ids, 5)
    bigrams, skips, trigrams : uint32 array, shape (slots, 5), (slots, 2), (slots, 4)
        From `build_table`.
    shifts : uint64 array, shape (3,)
        Theirs.
    windows, doubles, triples, junctions : uint32 array
        Of shape (CLASS_WINDOWS,), (REPEATS,), (2, TRIPLES), (2, JUNCTIONS, 2).
    steps : int64 array, shape (4, 4)
        Transition scores (from, to).
    unit : int
        `BYTES` or `CHARACTERS` from the start of the row.
    out : int32 array
        Receives the ends; as long as there are characters at least.
    rows : int64 array, shape (rows + 1,)
        Receives the bounds of each row's ends in `out`.

    Returns
    -------
    n, row, byte : int
        The number of ends; and, if malformed UTF-8 was found, its row and byte in the row (else -1, -1).
    """
    size = WINDOW + 2 * CONTEXT
    codes = np.zeros(size, np.uint32)
    widths = np.zeros(size, np.uint8)
    ids = np.zeros(size, np.uint16)
    kinds = np.zeros(size, np.uint8)
    states = np.zeros((size, STATES), np.uint8)
    favoured = np.zeros(size, np.uint8)
    pairs, gaps, threes = np.empty(size, np.uint32), np.empty(size, np.uint32), np.empty(size, np.uint32)
    sums = np.empty(WINDOW, np.uint64)
    tags = np.empty(WINDOW, np.uint8)
    no_fold = np.int64(-1)
    n_out = 0
    rows[0] = 0
    for row in range(offsets.size - 1):
        at, end = offsets[row], offsets[row + 1]
        done = np.int64(0)  # where the window begins, in the unit
        n = 0
        before = 0  # characters of the same sequence in sight before the window
        while True:
            space = 0
            while at < end and n < WINDOW:
                code, width = checked_code_point(data, at, end)
                if width == 0:
                    return n_out, row, at - offsets[row]
                if code < 65536 and classes[code] == SPACE:
                    space = width
                    break
                codes[CONTEXT + n] = fold(code)
                widths[CONTEXT + n] = width
                n += 1
                at += width
            whole = at == end or space != 0
            if n > 0:
                first, last = CONTEXT - before, CONTEXT + n
                for i in range(last + CONTEXT):
                    favoured[i] = 0
                    for k in range(STATES):
                        states[i, k] = 0
                    if i < first or i >= last:
                        codes[i] = 0
                        ids[i] = 0
                        kinds[i] = 0
                identify(codes, first, last, character_ids, classes, ids, kinds)
                find_words(trie, codes, kinds, first, last, no_fold, states, favoured)
                _look_up(ids, n, bigrams, skips, trigrams, shifts, pairs, gaps, threes)
                _add_up(
                    ids, codes, kinds, states, favoured, n, unigrams, bigrams, skips, trigrams, windows,
                    doubles, triples, junctions, pairs, gaps, threes, sums,
                )  # fmt: skip
                _best_path(sums, n, steps, tags)
                limit = n
                if not whole:
                    limit = n - MARGIN
                    while limit > 0 and tags[limit - 1] < E:
                        limit -= 1
                    if limit == 0:  # a word as long as the window
                        limit = n - MARGIN
                        tags[limit - 1] = E
                for i in range(limit):
                    done += 1 if unit == CHARACTERS else np.int64(widths[CONTEXT + i])
                    if tags[i] >= E:
                        out[n_out] = done
                        n_out += 1
                if whole:
                    n, before = 0, 0
                else:
                    before = min(CONTEXT, before + limit)
                    for i in range(CONTEXT - before, CONTEXT + n - limit):
                        codes[i] = codes[i + limit]
                        widths[i] = widths[i + limit]
                    n -= limit
            if space != 0:
                paired = data[at] == 13 and at + 1 < end and data[at + 1] == 10
                at += 2 if paired else space
                done += (2 if paired else 1) if unit == CHARACTERS else (2 if paired else space)
                out[n_out] = done
                n_out += 1
            elif at == end and n == 0:
                break
        rows[row + 1] = n_out
    return n_out, -1, -1
