"""Cutting text into pre-tokens as GPT-2, cl100k, o200k and corpuskit's own pattern do, without regex.

The patterns are few and their alternatives begin with different characters, so each is written out as
the run it matches; backtracking is resolved by hand (noted where it matters) and every byte is read a
bounded number of times, so the time is linear in the text whatever it holds. Encoders spend
most of their time here if a regex engine does it; these kernels take 2 to 6 ns a byte.

Characters are looked up by class (`corpuskit.vocab.unicode_classes`): 0 other, 1 Lu and Lt, 2 Ll,
3 Lm and Lo, 4 M, 5 N, 6 white space, 7 ``\\r`` and ``\\n``; plus 8 where the script is Han. The table has
two steps of 64 code points, which are the steps of UTF-8. The text must be valid UTF-8.
"""

from __future__ import annotations

import numpy as np
from numba.cpython.unsafe.numbers import trailing_zeros

from corpuskit.kernels.compiler import kernel

# Unsigned throughout: numba would test every signed index for being negative.
U32, U64 = np.uint32, np.uint64
_0, _1, _2, _3, _8 = U64(0), U64(1), U64(2), U64(3), U64(8)

GPT2, CL100K, O200K, CHINESE = range(4)
"""Families of patterns; see `cut`."""

HAN_RUN = 16
"""Characters of the longest Han pre-token of the family CHINESE."""


def _classes(*numbers: int) -> np.uint32:
    """A mask over classes, in Han script or not."""
    return U32(sum(0x101 << number for number in numbers))


_LETTER = _classes(1, 2, 3)
_NUMBER = _classes(5)
_SPACE = _classes(6, 7)
_NEWLINE = _classes(7)
_SYMBOL = _classes(0, 4)  # [^\s\p{L}\p{N}]
_SYMBOL_NOT_MARK = _classes(0)  # [^\s\p{L}\p{M}\p{N}]
_PREFIX = _classes(0, 4, 6)  # [^\r\n\p{L}\p{N}]
_UPPER = _classes(1, 3, 4)  # [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]
_LOWER = _classes(2, 3, 4)  # [\p{Ll}\p{Lm}\p{Lo}\p{M}]
_EITHER = _classes(3, 4)
_HAN = U32(0xFF00)
_FOREIGN = U32(0b11110)  # [\p{L}\p{M}&&[^\p{Han}]]

_HIGH = U64(0x8080808080808080)
_LOW = U64(0x7F7F7F7F7F7F7F7F)
_CASE = U64(0x2020202020202020)
_FROM_A = U64(0x1F1F1F1F1F1F1F1F)
_PAST_Z = U64(0x0505050505050505)


@kernel(forceinline=True)
def load8(data, position):
    """Eight bytes from `position` as one little-endian uint64."""
    return (
        U64(data[position])
        | (U64(data[position + U64(1)]) << U64(8))
        | (U64(data[position + U64(2)]) << U64(16))
        | (U64(data[position + U64(3)]) << U64(24))
        | (U64(data[position + U64(4)]) << U64(32))
        | (U64(data[position + U64(5)]) << U64(40))
        | (U64(data[position + U64(6)]) << U64(48))
        | (U64(data[position + U64(7)]) << U64(56))
    )


@kernel(forceinline=True)
def _character(data, position, index, blocks):
    """Class of the character at `position`, and where the next one begins."""
    lead = U32(data[position])
    if lead < U32(0x80):
        return U32(blocks[lead]), position + _1  # blocks 0 and 1 are ASCII
    second = U32(data[position + _1]) & U32(63)
    if lead < U32(0xE0):
        return U32(blocks[(U32(index[lead & U32(31)]) << U32(6)) | second]), position + _2
    third = U32(data[position + _2]) & U32(63)
    step = ((lead & U32(15)) << U32(6)) | second
    if lead < U32(0xF0):
        return U32(blocks[(U32(index[step]) << U32(6)) | third]), position + _3
    step = ((step & U32(0x1FF)) << U32(6)) | third
    fourth = U32(data[position + _3]) & U32(63)
    return U32(blocks[(U32(index[step]) << U32(6)) | fourth]), position + U64(4)


@kernel(forceinline=True)
def _is(number, mask):
    return (mask >> number) & U32(1) != U32(0)


@kernel(forceinline=True)
def _run(data, position, stop, index, blocks, mask):
    """End of the run of characters of `mask` that begins at `position`."""
    while position < stop:
        number, following = _character(data, position, index, blocks)
        if not _is(number, mask):
            break
        position = following
    return position


@kernel(forceinline=True)
def _run_at_most(data, position, stop, index, blocks, mask, limit):
    while position < stop and limit > 0:
        number, following = _character(data, position, index, blocks)
        if not _is(number, mask):
            break
        position = following
        limit -= 1
    return position


@kernel(forceinline=True)
def _ascii_letters(data, position, stop, case):
    """End of the run of ASCII letters, eight at a time; `case` is 0 where capitals end it.

    Short of eight bytes before `stop` it may stop early. Without the branch a letter, whose end
    the processor cannot foresee, English took a third longer.
    """
    while position + _8 <= stop:
        word = load8(data, position)
        low = (word | case) & _LOW
        others = ~((low + _FROM_A) & ~(low + _PAST_Z) & ~word) & _HIGH
        if others != _0:
            return position + (U64(trailing_zeros(others)) >> _3)  # type: ignore[call-arg]
        position += _8
    return position


@kernel(forceinline=True)
def _letters(data, position, stop, index, blocks):
    while True:
        position = _ascii_letters(data, position, stop, _CASE)
        while True:
            if position >= stop:
                return position
            number, following = _character(data, position, index, blocks)
            if not _is(number, _LETTER):
                return position
            was_ascii = data[position] < 0x80
            position = following
            if was_ascii:
                break


@kernel
def _contraction(data, position, stop, fold):
    """End of ``'s 't 'm 'd 're 've 'll`` at the apostrophe at `position`, or `position`.

    With `fold`, in any case, and with U+017F (long s), which folds to s; no other character
    folds to one of these letters.
    """
    if position + _1 >= stop:
        return position
    first = U32(data[position + _1])
    if fold and first < U32(0x80):
        first |= U32(0x20)
    if first == 0x73 or first == 0x74 or first == 0x6D or first == 0x64:
        return position + _2
    if position + _2 >= stop:
        return position
    second = U32(data[position + _2])
    if fold:
        if first == 0xC5 and second == 0xBF:
            return position + _3
        if second < U32(0x80):
            second |= U32(0x20)
    if (first == 0x72 or first == 0x76) and second == 0x65:
        return position + _3
    if first == 0x6C and second == 0x6C:
        return position + _3
    return position


@kernel(forceinline=True)
def _perhaps_contraction(data, position, stop):
    if position < stop and data[position] == 0x27:
        return _contraction(data, position, stop, True)
    return position


@kernel(forceinline=True)
def _newlines(data, position, stop, slash):
    """End of the run of ``\\r``, ``\\n`` and, with `slash`, ``/``."""
    while position < stop and (
        data[position] == 0x0A or data[position] == 0x0D or (slash and data[position] == 0x2F)
    ):
        position += _1
    return position


@kernel
def _white_space(data, position, stop, index, blocks, after_newline, whole_end):
    """End of the pre-token in the white space at `position`.

    ``\\s*[\\r\\n]+`` ends after the last newline of the run (with `after_newline`); ``\\s+(?!\\S)``
    leaves its last character to the word that follows; a single one is taken by ``\\s+``.
    `whole_end`: ``\\s+$`` comes first.
    """
    last, newline, end = position, position, position
    while end < stop:
        number, following = _character(data, end, index, blocks)
        if not _is(number, _SPACE):
            break
        if _is(number, _NEWLINE):
            newline = following
        last = end
        end = following
    if end == stop and whole_end:
        return end
    if after_newline and newline > position:
        return newline
    if end == stop or last == position:
        return end
    return last


@kernel
def _cut_gpt2(data, position, stop, index, blocks, ends):
    count = 0
    while position < stop and count < ends.size:
        first = data[position]
        number, following = _character(data, position, index, blocks)
        if first == 0x20 and following < stop:
            after, end = _character(data, following, index, blocks)
            if not _is(after, _SPACE):
                number, following = after, end
        elif first == 0x27:
            end = _contraction(data, position, stop, False)
            if end != position:
                position = end
                ends[count] = end
                count += 1
                continue
        if _is(number, _LETTER):
            position = _letters(data, following, stop, index, blocks)
        elif _is(number, _SPACE):
            position = _white_space(data, position, stop, index, blocks, False, False)
        elif _is(number, _NUMBER):
            position = _run(data, following, stop, index, blocks, _NUMBER)
        else:
            position = _run(data, following, stop, index, blocks, _SYMBOL)
        ends[count] = position
        count += 1
    return count


@kernel
def _cut_cl100k(data, position, stop, index, blocks, ends, digits, whole_end):
    count = 0
    while position < stop and count < ends.size:
        first = data[position]
        number, following = _character(data, position, index, blocks)
        if _is(number, _NUMBER):
            position = _run_at_most(data, following, stop, index, blocks, _NUMBER, digits - 1)
            ends[count] = position
            count += 1
            continue
        if not _is(number, _LETTER):
            if first == 0x27:
                end = _contraction(data, position, stop, True)
                if end != position:
                    position = end
                    ends[count] = end
                    count += 1
                    continue
            if following < stop and not _is(number, _NEWLINE):
                after, end = _character(data, following, index, blocks)
                if _is(after, _LETTER) or (first == 0x20 and _is(after, _SYMBOL)):
                    number, following = after, end
        if _is(number, _LETTER):
            position = _letters(data, following, stop, index, blocks)
        elif _is(number, _SYMBOL):
            end = _run(data, following, stop, index, blocks, _SYMBOL)
            position = _newlines(data, end, stop, False)
        else:
            position = _white_space(data, position, stop, index, blocks, True, whole_end)
        ends[count] = position
        count += 1
    return count


@kernel(forceinline=True)
def _plain_word(data, position, stop):
    """End of ``[A-Z]?[a-z]+`` where another ASCII character than a letter or ``'`` ends it, or `position`.

    What nine of ten words of English are; this alone makes cutting English a third faster.
    """
    if position >= stop or data[position] >= 0x80:
        return position
    begin = position
    if data[position] >= 0x41 and data[position] <= 0x5A:
        begin += _1
    end = _ascii_letters(data, begin, stop, _0)
    if end == begin or end >= stop or data[end] >= 0x80 or data[end] == 0x27:
        return position
    after = data[end] | 0x20
    return position if after >= 0x61 and after <= 0x7A else end


@kernel
def _cut_o200k(data, position, stop, index, blocks, ends, digits):
    """A word is ``prefix? upper* lower+`` or else ``prefix? upper+ lower*``; Lo, Lm and M are both.

    Where no small letter follows the run of `upper`, ``lower+`` takes the last character of the
    run that is both, so the word ends after it; where there is none, the second alternative
    takes the run. A mark can be the prefix: if nothing follows it, it is the word instead.
    """
    count = 0
    while position < stop and count < ends.size:
        first = data[position]
        number, following = _character(data, position, index, blocks)
        start = following if _is(number, _PREFIX) else position
        end = _plain_word(data, start, stop)
        if end != start:
            position = end
            ends[count] = end
            count += 1
            continue
        at, last_both, after = start, start, U32(0)
        while at < stop:
            after, end = _character(data, at, index, blocks)
            if not _is(after, _UPPER):
                break
            at = end
            if _is(after, _EITHER):
                last_both = at
        if at < stop and _is(after, _LOWER):
            at = _ascii_letters(data, at, stop, _0)
            word_end = _run(data, at, stop, index, blocks, _LOWER)
        elif last_both > start:
            word_end = last_both
        elif _is(number, _EITHER):
            word_end = following
        else:
            word_end = at
        if word_end > start or (word_end > position and _is(number, _EITHER)):
            position = _perhaps_contraction(data, word_end, stop)
        elif _is(number, _NUMBER):
            position = _run_at_most(data, following, stop, index, blocks, _NUMBER, digits - 1)
        else:
            if first == 0x20 and following < stop:
                after, end = _character(data, following, index, blocks)
                if _is(after, _SYMBOL):
                    number, following = after, end
            if _is(number, _SYMBOL):
                end = _run(data, following, stop, index, blocks, _SYMBOL)
                position = _newlines(data, end, stop, True)
            else:
                position = _white_space(data, position, stop, index, blocks, True, False)
        ends[count] = position
        count += 1
    return count


@kernel
def _cut_chinese(data, position, stop, index, blocks, ends, digits):
    count = 0
    while position < stop and count < ends.size:
        first = data[position]
        number, following = _character(data, position, index, blocks)
        if _is(number, _HAN):
            position = _run_at_most(data, following, stop, index, blocks, _HAN, HAN_RUN - 1)
        elif _is(number, _NUMBER):
            position = _run_at_most(data, following, stop, index, blocks, _NUMBER, digits - 1)
        else:
            if first == 0x20 and following < stop:
                after, end = _character(data, following, index, blocks)
                if _is(after, _FOREIGN) or _is(after, _SYMBOL_NOT_MARK):
                    number, following = after, end
            if _is(number, _FOREIGN):
                end = _run(data, following, stop, index, blocks, _FOREIGN)
                position = _perhaps_contraction(data, end, stop)
            elif _is(number, _SYMBOL_NOT_MARK):
                end = _run(data, following, stop, index, blocks, _SYMBOL_NOT_MARK)
                position = _newlines(data, end, stop, False)
            else:
                position = _white_space(data, position, stop, index, blocks, True, False)
        ends[count] = position
        count += 1
    return count


@kernel
def cut(family, digits, whole_end, data, position, stop, index, blocks, ends):
    """Write the ends of the pre-tokens of ``data[position:stop]`` until `ends` is full.

    Parameters
    ----------
    family : int64
        GPT2, CL100K, O200K or CHINESE.
    digits : int64
        Characters of the longest number (all families but GPT2, which has no limit).
    whole_end : bool
        White space that ends the text is one pre-token (``\\s+$`` in tiktoken's own cl100k).
    data : uint8[:]
        Valid UTF-8.
    position, stop : uint64
    index, blocks : uint16[0x4400], uint8[:]
        Classes: code point ``c`` has ``blocks[64 * index[c >> 6] + (c & 63)]``; blocks 0 and 1 are
        those of ASCII.
    ends : uint64[:]

    Returns
    -------
    int64
        How many were written; cutting goes on at the last of them.
    """
    if family == GPT2:
        return _cut_gpt2(data, position, stop, index, blocks, ends)
    if family == CL100K:
        return _cut_cl100k(data, position, stop, index, blocks, ends, digits, whole_end)
    if family == O200K:
        return _cut_o200k(data, position, stop, index, blocks, ends, digits)
    return _cut_chinese(data, position, stop, index, blocks, ends, digits)
