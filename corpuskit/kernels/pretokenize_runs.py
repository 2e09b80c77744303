"""Runs of characters by class: what pre-tokens are made of.

Characters are looked up by class (`corpuskit.vocab.patterns.unicode_classes`): 0 other, 1 Lu and Lt, 2 Ll,
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


def classes_mask(*numbers: int) -> np.uint32:
    """A mask over classes, in Han script or not."""
    return U32(sum(0x101 << number for number in numbers))


LETTER = classes_mask(1, 2, 3)
SPACE = classes_mask(6, 7)
NEWLINE = classes_mask(7)

_HIGH = U64(0x8080808080808080)
_LOW = U64(0x7F7F7F7F7F7F7F7F)
ANY_CASE = U64(0x2020202020202020)
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
def class_of(data, position, index, blocks):
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
def is_in(number, mask):
    return (mask >> number) & U32(1) != U32(0)


@kernel(forceinline=True)
def run_of(data, position, stop, index, blocks, mask):
    """End of the run of characters of `mask` that begins at `position`."""
    while position < stop:
        number, following = class_of(data, position, index, blocks)
        if not is_in(number, mask):
            break
        position = following
    return position


@kernel(forceinline=True)
def run_at_most(data, position, stop, index, blocks, mask, limit):
    while position < stop and limit > 0:
        number, following = class_of(data, position, index, blocks)
        if not is_in(number, mask):
            break
        position = following
        limit -= 1
    return position


@kernel(forceinline=True)
def ascii_letters_end(data, position, stop, case):
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
def letters_end(data, position, stop, index, blocks):
    while True:
        position = ascii_letters_end(data, position, stop, ANY_CASE)
        while True:
            if position >= stop:
                return position
            number, following = class_of(data, position, index, blocks)
            if not is_in(number, LETTER):
                return position
            was_ascii = data[position] < 0x80
            position = following
            if was_ascii:
                break


@kernel
def contraction_end(data, position, stop, fold):
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
def perhaps_contraction(data, position, stop):
    if position < stop and data[position] == 0x27:
        return contraction_end(data, position, stop, True)
    return position


@kernel(forceinline=True)
def newlines_end(data, position, stop, slash):
    """End of the run of ``\\r``, ``\\n`` and, with `slash`, ``/``."""
    while position < stop and (
        data[position] == 0x0A or data[position] == 0x0D or (slash and data[position] == 0x2F)
    ):
        position += _1
    return position


@kernel
def white_space_end(data, position, stop, index, blocks, after_newline, whole_end):
    """End of the pre-token in the white space at `position`.

    ``\\s*[\\r\\n]+`` ends after the last newline of the run (with `after_newline`); ``\\s+(?!\\S)``
    leaves its last character to the word that follows; a single one is taken by ``\\s+``.
    `whole_end`: ``\\s+$`` comes first.
    """
    last, newline, end = position, position, position
    while end < stop:
        number, following = class_of(data, end, index, blocks)
        if not is_in(number, SPACE):
            break
        if is_in(number, NEWLINE):
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
