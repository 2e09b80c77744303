"""jieba's segmentation over UTF-8 bytes: block scan, dictionary lattice, and the hidden Markov model.

A reimplementation of the published behaviour of jieba 0.42.1 (`Tokenizer.__cut_DAG`,
`__cut_DAG_NO_HMM`, `finalseg.cut`), float64 operation for float64 operation, because a different
order of additions breaks ties differently. What decides a result:

* the lattice runs from right to left; a score is ``(log f - log total) + route`` and of equal scores
  the longer word wins;
* walking the dictionary stops at the first string that is no prefix; a position without any word is
  a word of frequency 1;
* the model sees maximal runs of one-character words of a block, unless that run is itself a word;
* of equal paths the model takes the state whose letter is larger (M over B, S over E), and an
  impossible step costs `MIN_FLOAT`, which is added like any other number.

Only the scores of the next `longest word` positions are kept, so a block of n characters needs 11 n bytes
of scratch and time linear in n.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.trie import (
    AT_FORCED,
    AT_LONGEST,
    DISPLACED,
    FIRST,
    FORCED,
    HEADER,
    KEY,
    NOTHING,
    WEIGHT,
    find,
    lookup,
    may_have_child,
    slot,
)

FIRST_HAN = 0x4E00
LAST_HAN = FIRST - 1
EMISSIONS = 20  # hmm[0:4] start, hmm[4:20] transitions (from, to), then 4 emissions for each ideograph
BYTES, CHARACTERS = 0, 1


def _classes() -> np.ndarray:
    """For each ASCII character: 0 outside blocks, 1 a letter or digit, 2 another block character."""
    table = np.zeros(128, np.uint8)
    for code in range(128):
        if chr(code).isalnum():
            table[code] = 1
        elif chr(code) in "+#&._%-":
            table[code] = 2
    return table


_CLASS = _classes()


@kernel
def _decode(data, at, end):
    """Code point and width of the UTF-8 character at `at`; width 0 if it is malformed."""
    b = np.int64(data[at])
    if b < 0x80:
        return b, 1
    if 0xE0 <= b < 0xF0 and at + 2 < end:
        c, d = np.int64(data[at + 1]), np.int64(data[at + 2])
        code = (b & 0xF) << 12 | (c & 0x3F) << 6 | (d & 0x3F)
        if c & 0xC0 == 0x80 and d & 0xC0 == 0x80 and code >= 0x800 and code & 0xF800 != 0xD800:
            return code, 3
    elif 0xC2 <= b < 0xE0 and at + 1 < end:
        c = np.int64(data[at + 1])
        if c & 0xC0 == 0x80:
            return (b & 0x1F) << 6 | (c & 0x3F), 2
    elif 0xF0 <= b < 0xF5 and at + 3 < end:
        c, d, e = np.int64(data[at + 1]), np.int64(data[at + 2]), np.int64(data[at + 3])
        code = (b & 0x7) << 18 | (c & 0x3F) << 12 | (d & 0x3F) << 6 | (e & 0x3F)
        if c & 0xC0 == 0x80 and d & 0xC0 == 0x80 and e & 0xC0 == 0x80 and 0x10000 <= code <= 0x10FFFF:
            return code, 4
    return np.int64(-1), 0


@kernel
def _in_block(code):
    if code < 128:
        return _CLASS[code] != 0
    return FIRST_HAN <= code <= LAST_HAN


@kernel
def _alphanumeric(code):
    return code < 128 and _CLASS[code] == 1


@kernel
def _find_pairs(trie, codes, n, pairs):
    """Fill ``pairs[:n]`` with the record of the two characters at each position, or `NOTHING`.

    A loop of its own, nearly free of branches, because its loads do not depend on each other: the
    processor has many cache misses under way at once, where the lattice would wait for each.
    """
    for k in range(n - 1):
        at = HEADER + 2 * np.int64(codes[k])
        code = np.int64(codes[k + 1])
        key = ((trie[at + 1] >> 32) << 21) | code
        pairs[k] = slot(trie, key) if may_have_child(trie[at], code) else NOTHING
    for k in range(n - 1):
        at = HEADER + 2 * np.int64(codes[k])
        node = trie[at + 1] >> 32
        code = np.int64(codes[k + 1])
        record = trie[pairs[k]]
        found = record & KEY == (node << 21) | code
        if not found and record & DISPLACED:
            other = find(trie, node, code)
            pairs[k] = other if other >= 0 else NOTHING
        else:
            pairs[k] = pairs[k] if found else NOTHING
    pairs[n - 1] = NOTHING


@kernel
def _route(trie, logs, log_total, codes, n, pairs, steps, ring):
    """Fill ``steps[:n]`` with the length of the best word at each position of a block.

    A prefix that is no word has weight 0 and so a score of minus infinity, which spares branches.
    """
    last = ring.size - 1
    ring[n & last] = 0.0
    after_one, after_two = 0.0, 0.0
    for k in range(n - 1, -1, -1):
        best = (logs[trie[HEADER + 2 * np.int64(codes[k]) + 1] & WEIGHT] - log_total) + after_one
        length = 1
        at = np.int64(pairs[k])
        value = trie[at + 1]
        score = (logs[value & WEIGHT] - log_total) + after_two
        better = score >= best
        best = score if better else best
        length = 2 if better else 1
        end = k + 2
        while end < n:
            code = np.int64(codes[end])
            if not may_have_child(trie[at], code):
                break
            at = find(trie, value >> 32, code)
            if at < 0:
                break
            end += 1
            value = trie[at + 1]
            score = (logs[value & WEIGHT] - log_total) + ring[end & last]
            if score >= best:
                best = score
                length = end - k
        if best == -np.inf:
            best = (0.0 - log_total) + after_one
            length = 1
        steps[k] = length
        ring[k & last] = best
        after_one, after_two = best, after_one


@kernel
def _viterbi(hmm, codes, begin, end, states):
    """Most likely B, M, E, S (0 to 3) of the ideographs ``codes[begin:end]``, into ``states``."""
    at = EMISSIONS + 4 * (np.int64(codes[begin]) - FIRST_HAN)
    b, m, e, s = hmm[0] + hmm[at], hmm[1] + hmm[at + 1], hmm[2] + hmm[at + 2], hmm[3] + hmm[at + 3]
    for i in range(begin + 1, end):
        at = EMISSIONS + 4 * (np.int64(codes[i]) - FIRST_HAN)
        e_b, s_b = e + hmm[12] + hmm[at], s + hmm[16] + hmm[at]
        b_m, m_m = b + hmm[5] + hmm[at + 1], m + hmm[9] + hmm[at + 1]
        b_e, m_e = b + hmm[6] + hmm[at + 2], m + hmm[10] + hmm[at + 2]
        e_s, s_s = e + hmm[15] + hmm[at + 3], s + hmm[19] + hmm[at + 3]
        b, m, e, s = max(s_b, e_b), max(m_m, b_m), max(m_e, b_e), max(s_s, e_s)
        states[i] = (s_b >= e_b) | ((m_m >= b_m) << 1) | ((m_e >= b_e) << 2) | ((s_s >= e_s) << 3)
    state = 3 if s >= e else 2
    for i in range(end - 1, begin, -1):
        picked = (states[i] >> state) & 1
        states[i] = state
        if state == 0 or state == 3:
            state = 3 if picked else 2
        else:
            state = 1 if picked else 0
    states[begin] = state


@kernel
def _emit_model_word(trie, codes, begin, end, out, n_out):
    """A word of the model, or its characters one by one where it was deleted from the dictionary."""
    if trie[AT_FORCED] != 0:
        at = lookup(trie, codes, begin, end)
        if at >= 0 and trie[at] & FORCED:
            for i in range(begin, end):
                out[n_out] = i + 1
                n_out += 1
            return n_out
    out[n_out] = end
    return n_out + 1


@kernel
def _recognise(trie, hmm, codes, begin, end, states, out, n_out):
    """Words of a run of one-character words: `finalseg.cut`."""
    i = begin
    while i < end:
        start = i
        if codes[i] >= FIRST_HAN:
            while i < end and codes[i] >= FIRST_HAN:
                i += 1
            _viterbi(hmm, codes, start, i, states)
            word, done = start, start
            for k in range(start, i):
                if states[k] == 0:
                    word = k
                elif states[k] == 2:
                    n_out = _emit_model_word(trie, codes, word, k + 1, out, n_out)
                    done = k + 1
                elif states[k] == 3:
                    n_out = _emit_model_word(trie, codes, k, k + 1, out, n_out)
                    done = k + 1
            if done < i:
                n_out = _emit_model_word(trie, codes, done, i, out, n_out)
            continue
        if _alphanumeric(codes[i]):  # [a-zA-Z0-9]+(?:\.\d+)?%?
            while i < end and _alphanumeric(codes[i]):
                i += 1
            if i + 1 < end and codes[i] == 46 and 48 <= codes[i + 1] <= 57:
                i += 2
                while i < end and 48 <= codes[i] <= 57:
                    i += 1
            if i < end and codes[i] == 37:
                i += 1
        else:
            while i < end and codes[i] < FIRST_HAN and not _alphanumeric(codes[i]):
                i += 1
        out[n_out] = i
        n_out += 1
    return n_out


@kernel
def _emit_run(trie, hmm, codes, begin, end, states, out, n_out):
    """Words of ``codes[begin:end]``, a maximal run of one-character words."""
    if end - begin > 1:
        at = lookup(trie, codes, begin, end) if end - begin <= trie[AT_LONGEST] else -1
        if at < 0 or trie[at + 1] & WEIGHT == 0:
            return _recognise(trie, hmm, codes, begin, end, states, out, n_out)
    for i in range(begin, end):
        out[n_out] = i + 1
        n_out += 1
    return n_out


@kernel
def _cut_block(trie, logs, log_total, hmm, use_hmm, codes, n, pairs, steps, states, ring, out, n_out):
    """Append the word ends of a block, as character positions in it."""
    _find_pairs(trie, codes, n, pairs)
    _route(trie, logs, log_total, codes, n, pairs, steps, ring)
    x = 0
    while x < n:
        if use_hmm:
            begin = x
            while x < n and steps[x] == 1:
                x += 1
            if x > begin:
                n_out = _emit_run(trie, hmm, codes, begin, x, states, out, n_out)
        else:
            begin = x
            while x < n and steps[x] == 1 and _alphanumeric(codes[x]):
                x += 1
            if x > begin:
                out[n_out] = x
                n_out += 1
        if x < n:
            x += steps[x]
            out[n_out] = x
            n_out += 1
    return n_out


@kernel
def _place(codes, position, unit, out, begin, end):
    """Turn ``out[begin:end]`` from positions in a block that begins at `position` to positions in a row."""
    if unit == CHARACTERS:
        for i in range(begin, end):
            out[i] += position
        return
    k = 0
    for i in range(begin, end):
        word_end = out[i]
        while k < word_end:
            position += 1 if codes[k] < 128 else 3
            k += 1
        out[i] = position


@kernel
def cut(data, offsets, trie, logs, log_total, hmm, use_hmm, unit, out, rows):
    """Word ends of every row of a UTF-8 array.

    Parameters
    ----------
    data : uint8 array
        The bytes of all rows.
    offsets : int64 array, shape (rows + 1,)
        Row `r` is ``data[offsets[r]:offsets[r + 1]]``.
    trie, logs : int64 array, float64 array
        The dictionary, and the logarithm of the frequency for each weight.
    log_total : float
        Logarithm of the total frequency.
    hmm : float64 array, shape (EMISSIONS + 4 * ideographs,)
        Start, transition and emission log probabilities.
    use_hmm : bool
        Whether runs of one-character words go to the model.
    unit : int
        `BYTES` or `CHARACTERS` from the start of the row.
    out : int32 array
        Receives the ends; as long as there are characters in `data` at least.
    rows : int64 array, shape (rows + 1,)
        Receives the bounds of each row's ends in `out`.

    Returns
    -------
    n, row, byte : int
        The number of ends written; and, if malformed UTF-8 was found, its row and byte in the row
        (else -1, -1).
    """
    capacity = 1024
    codes = np.empty(capacity, np.uint16)
    pairs = np.empty(capacity, np.int32)
    steps = np.empty(capacity, np.int32)
    states = np.empty(capacity, np.uint8)
    size = 4
    while size <= trie[AT_LONGEST]:
        size *= 2
    ring = np.empty(size, np.float64)
    n_out = 0
    rows[0] = 0
    for row in range(offsets.size - 1):
        begin, end = offsets[row], offsets[row + 1]
        at = begin
        characters = 0
        n = 0  # characters of the block so far
        position = 0  # where the block begins
        while True:
            code, width = np.int64(-1), 0
            if at < end:
                code, width = _decode(data, at, end)
                if width == 0:
                    return n_out, row, at - begin
                if _in_block(code):
                    if n == 0:
                        position = characters if unit == CHARACTERS else at - begin
                    if n == capacity:
                        capacity *= 2
                        wider = np.empty(capacity, np.uint16)
                        wider[:n] = codes
                        codes = wider
                        pairs = np.empty(capacity, np.int32)
                        steps = np.empty(capacity, np.int32)
                        states = np.empty(capacity, np.uint8)
                    codes[n] = code
                    n += 1
                    at += width
                    characters += 1
                    continue
            if n > 0:
                first = n_out
                n_out = _cut_block(
                    trie, logs, log_total, hmm, use_hmm, codes, n, pairs, steps, states, ring, out, n_out
                )
                _place(codes, position, unit, out, first, n_out)
                n = 0
            if width == 0:
                break
            at += width
            characters += 1
            if code == 13 and at < end and data[at] == 10:
                at += 1
                characters += 1
            out[n_out] = characters if unit == CHARACTERS else at - begin
            n_out += 1
        rows[row + 1] = n_out
    return n_out, -1, -1


@kernel
def count_characters(data, begin, end):
    """Code points in ``data[begin:end]``, counting malformed bytes generously."""
    n = 0
    for i in range(begin, end):
        n += (data[i] & 0xC0) != 0x80
    return n


@kernel
def word_offsets(offsets, rows, ends, out):
    """Absolute byte offsets of all words, for rows that partition ``offsets[0]…offsets[-1]``.

    `out` is int64 with one more place than there are words.
    """
    out[0] = offsets[0]
    for row in range(offsets.size - 1):
        for i in range(rows[row], rows[row + 1]):
            out[i + 1] = offsets[row] + ends[i]


@kernel
def search_spans(trie, codes, ends, out):
    """jieba's search mode: the two- and three-character words inside each word, then the word.

    Parameters
    ----------
    codes : uint32 array
        Code points of the text.
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
                    at = lookup(trie, codes, i, i + width)
                    if at >= 0 and trie[at + 1] & WEIGHT != 0:
                        out[n, 0] = i
                        out[n, 1] = i + width
                        n += 1
        out[n, 0] = begin
        out[n, 1] = end
        n += 1
        begin = end
    return n


@kernel
def all_words(trie, codes, counts, ends):
    """Every dictionary word of a block: `get_DAG`.

    Parameters
    ----------
    codes : uint32 array
        Code points of the block.
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
    n = 0
    for k in range(codes.size):
        before = n
        node = np.int64(1)
        for end in range(k, codes.size):
            at = find(trie, node, np.int64(codes[end]))
            if at < 0:
                break
            if trie[at + 1] & WEIGHT != 0:
                if n < ends.size:
                    ends[n] = end + 1
                n += 1
            node = trie[at + 1] >> 32
        if n == before:
            if n < ends.size:
                ends[n] = k + 1
            n += 1
        counts[k] = n - before
    return n
