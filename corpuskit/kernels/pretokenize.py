"""Cutting text into pre-tokens as GPT-2, cl100k, o200k and corpuskit's own pattern do, without regex.

The patterns are few and their alternatives begin with different characters, so each is written out as
the run it matches; backtracking is resolved by hand (noted where it matters) and every byte is read a
bounded number of times, so the time is linear in the text whatever it holds. Encoders spend
most of their time here if a regex engine does it; these kernels take 2 to 6 ns a byte.
"""

from __future__ import annotations

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.pretokenize_runs import (
    LETTER,
    NEWLINE,
    SPACE,
    U32,
    U64,
    ascii_letters_end,
    class_of,
    classes_mask,
    contraction_end,
    is_in,
    letters_end,
    newlines_end,
    perhaps_contraction,
    run_at_most,
    run_of,
    white_space_end,
)

_0, _1 = U64(0), U64(1)

HAN_RUN = 16
"""Characters of the longest Han pre-token of corpuskit's own pattern."""

_NUMBER = classes_mask(5)
_SYMBOL = classes_mask(0, 4)  # [^\s\p{L}\p{N}]
_SYMBOL_NOT_MARK = classes_mask(0)  # [^\s\p{L}\p{M}\p{N}]
_PREFIX = classes_mask(0, 4, 6)  # [^\r\n\p{L}\p{N}]
_UPPER = classes_mask(1, 3, 4)  # [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]
_LOWER = classes_mask(2, 3, 4)  # [\p{Ll}\p{Lm}\p{Lo}\p{M}]
_EITHER = classes_mask(3, 4)
_HAN = U32(0xFF00)
_FOREIGN = U32(0b11110)  # [\p{L}\p{M}&&[^\p{Han}]]


@kernel
def _next_text(offsets, row):
    """The next text with a character and its end; the last one's where there is none."""
    end = offsets[row + 1]
    while row + 2 < offsets.size and offsets[row + 1] == end:
        row += 1
    return row, U64(offsets[row + 1])


@kernel
def cut_gpt2(data, offsets, row, position, index, blocks, ends, digits, whole_end):
    """Write the ends of the pre-tokens from `position` on until `ends` is full or no text is left.

    One kernel a family, all called alike, so that only the one in use is compiled.

    Parameters
    ----------
    data : uint8[:]
        Valid UTF-8.
    offsets : int64[n + 1]
        Text ``i`` is ``data[offsets[i]:offsets[i + 1]]``; there is at least one.
    row : int64
        The text in which `position` lies.
    position : uint64
    index, blocks : uint16[0x4400], uint8[:]
        Classes: code point ``c`` has ``blocks[64 * index[c >> 6] + (c & 63)]``; blocks 0 and 1 are
        those of ASCII.
    ends : uint64[:]
        The end of each pre-token is where the next one begins, in the following text too.
    digits : int64
        Characters of the longest number (all families but GPT-2's, which has no limit).
    whole_end : bool
        White space that ends a text is one pre-token (``\\s+$`` in tiktoken's own cl100k).

    Returns
    -------
    (int64, int64)
        How many were written, and the text in which the last of them lies.
    """
    count = 0
    stop = U64(offsets[row + 1])
    while count < ends.size:
        if position == stop:
            row, stop = _next_text(offsets, row)
            if position == stop:
                break
        first = data[position]
        number, following = class_of(data, position, index, blocks)
        if first == 0x20 and following < stop:
            after, end = class_of(data, following, index, blocks)
            if not is_in(after, SPACE):
                number, following = after, end
        elif first == 0x27:
            end = contraction_end(data, position, stop, False)
            if end != position:
                position = end
                ends[count] = end
                count += 1
                continue
        if is_in(number, LETTER):
            position = letters_end(data, following, stop, index, blocks)
        elif is_in(number, SPACE):
            position = white_space_end(data, position, stop, index, blocks, False, False)
        elif is_in(number, _NUMBER):
            position = run_of(data, following, stop, index, blocks, _NUMBER)
        else:
            position = run_of(data, following, stop, index, blocks, _SYMBOL)
        ends[count] = position
        count += 1
    return count, row


@kernel
def cut_cl100k(data, offsets, row, position, index, blocks, ends, digits, whole_end):
    """As `cut_gpt2`."""
    count = 0
    stop = U64(offsets[row + 1])
    while count < ends.size:
        if position == stop:
            row, stop = _next_text(offsets, row)
            if position == stop:
                break
        first = data[position]
        number, following = class_of(data, position, index, blocks)
        if is_in(number, _NUMBER):
            position = run_at_most(data, following, stop, index, blocks, _NUMBER, digits - 1)
            ends[count] = position
            count += 1
            continue
        if not is_in(number, LETTER):
            if first == 0x27:
                end = contraction_end(data, position, stop, True)
                if end != position:
                    position = end
                    ends[count] = end
                    count += 1
                    continue
            if following < stop and not is_in(number, NEWLINE):
                after, end = class_of(data, following, index, blocks)
                if is_in(after, LETTER) or (first == 0x20 and is_in(after, _SYMBOL)):
                    number, following = after, end
        if is_in(number, LETTER):
            position = letters_end(data, following, stop, index, blocks)
        elif is_in(number, _SYMBOL):
            end = run_of(data, following, stop, index, blocks, _SYMBOL)
            position = newlines_end(data, end, stop, False)
        else:
            position = white_space_end(data, position, stop, index, blocks, True, whole_end)
        ends[count] = position
        count += 1
    return count, row


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
    end = ascii_letters_end(data, begin, stop, _0)
    if end == begin or end >= stop or data[end] >= 0x80 or data[end] == 0x27:
        return position
    after = data[end] | 0x20
    return position if after >= 0x61 and after <= 0x7A else end


@kernel
def cut_o200k(data, offsets, row, position, index, blocks, ends, digits, whole_end):
    """As `cut_gpt2`.

    A word is ``prefix? upper* lower+`` or else ``prefix? upper+ lower*``; Lo, Lm and M are both.
    Where no small letter follows the run of `upper`, ``lower+`` takes the last character of the
    run that is both, so the word ends after it; where there is none, the second alternative
    takes the run. A mark can be the prefix: if nothing follows it, it is the word instead.
    """
    count = 0
    stop = U64(offsets[row + 1])
    while count < ends.size:
        if position == stop:
            row, stop = _next_text(offsets, row)
            if position == stop:
                break
        first = data[position]
        number, following = class_of(data, position, index, blocks)
        start = following if is_in(number, _PREFIX) else position
        end = _plain_word(data, start, stop)
        if end != start:
            position = end
            ends[count] = end
            count += 1
            continue
        at, last_both, after = start, start, U32(0)
        while at < stop:
            after, end = class_of(data, at, index, blocks)
            if not is_in(after, _UPPER):
                break
            at = end
            if is_in(after, _EITHER):
                last_both = at
        if at < stop and is_in(after, _LOWER):
            at = ascii_letters_end(data, at, stop, _0)
            word_end = run_of(data, at, stop, index, blocks, _LOWER)
        elif last_both > start:
            word_end = last_both
        elif is_in(number, _EITHER):
            word_end = following
        else:
            word_end = at
        if word_end > start or (word_end > position and is_in(number, _EITHER)):
            position = perhaps_contraction(data, word_end, stop)
        elif is_in(number, _NUMBER):
            position = run_at_most(data, following, stop, index, blocks, _NUMBER, digits - 1)
        else:
            if first == 0x20 and following < stop:
                after, end = class_of(data, following, index, blocks)
                if is_in(after, _SYMBOL):
                    number, following = after, end
            if is_in(number, _SYMBOL):
                end = run_of(data, following, stop, index, blocks, _SYMBOL)
                position = newlines_end(data, end, stop, True)
            else:
                position = white_space_end(data, position, stop, index, blocks, True, False)
        ends[count] = position
        count += 1
    return count, row


@kernel
def cut_chinese(data, offsets, row, position, index, blocks, ends, digits, whole_end):
    """As `cut_gpt2`."""
    count = 0
    stop = U64(offsets[row + 1])
    while count < ends.size:
        if position == stop:
            row, stop = _next_text(offsets, row)
            if position == stop:
                break
        first = data[position]
        number, following = class_of(data, position, index, blocks)
        if is_in(number, _HAN):
            position = run_at_most(data, following, stop, index, blocks, _HAN, HAN_RUN - 1)
        elif is_in(number, _NUMBER):
            position = run_at_most(data, following, stop, index, blocks, _NUMBER, digits - 1)
        else:
            if first == 0x20 and following < stop:
                after, end = class_of(data, following, index, blocks)
                if is_in(after, _FOREIGN) or is_in(after, _SYMBOL_NOT_MARK):
                    number, following = after, end
            if is_in(number, _FOREIGN):
                end = run_of(data, following, stop, index, blocks, _FOREIGN)
                position = perhaps_contraction(data, end, stop)
            elif is_in(number, _SYMBOL_NOT_MARK):
                end = run_of(data, following, stop, index, blocks, _SYMBOL_NOT_MARK)
                position = newlines_end(data, end, stop, False)
            else:
                position = white_space_end(data, position, stop, index, blocks, True, False)
        ends[count] = position
        count += 1
    return count, row
