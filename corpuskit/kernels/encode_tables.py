"""What the encoder must know about a vocabulary: which tokens encode to themselves, and where
characters can be encoded one by one.

Let a merge be *first* if it joins whole characters, the end of one, or the beginning of one, to more
than one character but not to whole ones (a space and the lead byte of ``é``). BPE performs merges in
the order of their ids (every part of a token has a smaller id, so no merge makes an earlier one
possible). Until some first merge happens in a text, each character is therefore merged inside as
it is alone, and whole characters join only whole characters. So a text where no first merge happens has
the ids that merging from the characters' own encodings gives. A first merge ``(a, b)`` happens between
two neighbours at the earliest while `a` is what the left one ends in and `b` what the right one begins
with: `characters` follows each character alone through its merges and notes which first merges
would find their part there at their time. Characters with the same notes form a class.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.encode_lookup import NONE, find_pair

BEGINNING, END, WHOLE, STRADDLING, IMPOSSIBLE = range(5)
"""Beginning of a character, its end (or middle), whole ones, more than one but not whole, not in UTF-8."""

MAX_CLASSES = 256
CODE_POINTS = 1 << 16
_ANYTHING = MAX_CLASSES - 1  # class of characters that got none of their own: never safe
_FOREVER = np.int64(1) << 40


@kernel
def structures(token_bytes, token_starts, out):
    """Write BEGINNING, END, WHOLE, STRADDLING or IMPOSSIBLE of each token to `out` (uint8[:])."""
    for token in range(token_starts.size - 1):
        at, stop = token_starts[token], token_starts[token + 1]
        end = at
        while end < stop and token_bytes[end] & 0xC0 == 0x80:
            end += 1
        possible = end - at <= 3
        parts = np.int64(end > at)
        whole, beginning = 0, 0
        while end < stop:
            lead = token_bytes[end]
            if lead == 0xC0 or lead == 0xC1 or lead >= 0xF5:
                possible = False
            width = 1 if lead < 0x80 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            after = end + 1
            while after < stop and after < end + width:
                if token_bytes[after] & 0xC0 != 0x80:
                    possible = False
                after += 1
            if end + width > stop:
                beginning = 1
            else:
                whole = 1
            end = after
        if not possible:
            out[token] = IMPOSSIBLE
        elif parts + whole + beginning > 1:
            out[token] = STRADDLING
        else:
            out[token] = WHOLE if whole else END if parts else BEGINNING


@kernel
def _next_merge(parts, count, pairs):
    """The lowest token that two neighbours make (NONE if none do), and where."""
    best, at = NONE, 0
    for i in range(count - 1):
        made = find_pair(parts[i], parts[i + 1], pairs)
        if made < best:
            best, at = made, i
    return best, at


@kernel
def _join(parts, count, at, made):
    parts[at] = made
    for i in range(at + 1, count - 1):
        parts[i] = parts[i + 1]
    return count - 1


@kernel
def not_self_encoding(token_bytes, token_starts, byte_ids, pairs, longest):
    """The first token whose bytes alone are not merged into it, or -1; plain quadratic merging."""
    parts = np.empty(longest + 1, np.uint32)
    for token in range(token_starts.size - 1):
        start = token_starts[token]
        count = token_starts[token + 1] - start
        for i in range(count):
            parts[i] = byte_ids[token_bytes[start + i]]
        while count > 1:
            made, at = _next_merge(parts, count, pairs)
            if made == NONE:
                break
            count = _join(parts, count, at, made)
        if count > 1 or (count == 1 and parts[0] != token):
            return token
    return -1


@kernel
def _chains(values, size):
    """Linked lists of the positions of each value below `size`: first[value], following[position]."""
    first = np.full(size, -1, np.int32)
    following = np.full(values.size, -1, np.int32)
    for k in range(values.size - 1, -1, -1):
        if 0 <= values[k] < size:
            following[k] = first[values[k]]
            first[values[k]] = k
    return first, following


@kernel
def _note(row, value, birth, death, first, following, made):
    """Set the bits of the merges that find `value` between its birth and its death."""
    k = first[value]
    while k >= 0:
        if made[k] > birth and made[k] < death:
            row[k >> 6] |= np.uint64(1) << np.uint64(k & 63)
        k = following[k]


@kernel
def _class_of(row, rows, count):
    for number in range(count):
        same = 0
        while same < row.size and rows[number, same] == row[same]:
            same += 1
        if same == row.size:
            return number, count
    if count == _ANYTHING:
        return _ANYTHING, count
    for k in range(row.size):
        rows[count, k] = row[k]
    return count, count + 1


@kernel
def _share(left_rows, left_class, right_rows, right_class, words):
    """Whether two classes have a merge in common, or either is unknown."""
    if left_class == _ANYTHING or right_class == _ANYTHING:
        return True
    shared = np.uint64(0)
    for k in range(words):
        shared |= left_rows[left_class, k] & right_rows[right_class, k]
    return shared != np.uint64(0)


@kernel
def _bytes_of(code, byte_ids, tokens):
    """Write the tokens of the UTF-8 bytes of a code point below 65,536; return how many."""
    if code < 0x80:
        tokens[0] = byte_ids[code]
        return 1
    if code < 0x800:
        tokens[0] = byte_ids[0xC0 | (code >> 6)]
        tokens[1] = byte_ids[0x80 | (code & 63)]
        return 2
    tokens[0] = byte_ids[0xE0 | (code >> 12)]
    tokens[1] = byte_ids[0x80 | ((code >> 6) & 63)]
    tokens[2] = byte_ids[0x80 | (code & 63)]
    return 3


@kernel
def characters(byte_ids, pairs, left, right, made, left_codes, right_codes, size, out, unsafe):
    """Encode every code point below 65,536 alone, and find the neighbours that are not safe.

    Parameters
    ----------
    byte_ids, pairs
        See `corpuskit.kernels.encode.Tables`.
    left, right, made : int64[m]
        The first merges (see above).
    left_codes, right_codes : int64[m]
        Where the left (right) part is several whole characters, the last (first) of them, else -1.
    size : int64
        Number of tokens.
    out : uint32[65536, 4]
        NONE everywhere; `Tables.characters`.
    unsafe : bool[65536]
        `Tables.unsafe`; filled.
    """
    words = (made.size >> 6) + 1
    left_rows = np.zeros((MAX_CLASSES, words), np.uint64)
    right_rows = np.zeros((MAX_CLASSES, words), np.uint64)
    num_left, num_right = np.int64(0), np.int64(0)
    by_left, next_left = _chains(left, size)
    by_right, next_right = _chains(right, size)
    by_left_code, next_left_code = _chains(left_codes, np.int64(CODE_POINTS))
    by_right_code, next_right_code = _chains(right_codes, np.int64(CODE_POINTS))
    as_left, as_right = np.zeros(words, np.uint64), np.zeros(words, np.uint64)
    tokens = np.empty(3, np.uint32)
    for code in range(CODE_POINTS):
        count = _bytes_of(code, byte_ids, tokens)
        for k in range(words):
            as_left[k] = 0
            as_right[k] = 0
        birth = np.int64(-1)
        while True:
            made_here, at = _next_merge(tokens, count, pairs)
            death = _FOREVER if made_here == NONE else np.int64(made_here)
            _note(as_left, np.int64(tokens[count - 1]), birth, death, by_left, next_left, made)
            _note(as_right, np.int64(tokens[0]), birth, death, by_right, next_right, made)
            if made_here == NONE:
                break
            birth = death
            count = _join(tokens, count, at, made_here)
        _note(as_left, np.int64(code), np.int64(-1), _FOREVER, by_left_code, next_left_code, made)
        _note(as_right, np.int64(code), np.int64(-1), _FOREVER, by_right_code, next_right_code, made)
        for i in range(count):
            out[code, i] = tokens[i]
        left_class, num_left = _class_of(as_left, left_rows, num_left)
        right_class, num_right = _class_of(as_right, right_rows, num_right)
        out[code, 3] = (left_class << 8) | right_class
    for pair in range(unsafe.size):
        unsafe[pair] = _share(left_rows, pair >> 8, right_rows, pair & (MAX_CLASSES - 1), words)
