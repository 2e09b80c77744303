"""Character-level normalisation from one Arrow string buffer to another, in one pass.

Every code point has one byte in a table of actions (`corpuskit.clean.code_points` builds it from the
configuration), so the loop has one lookup a character and copies what needs no change. White space is
remembered and written only when the next visible character shows what is due; that is also what makes
spaces between Han vanish and lines lose their edges without a second pass. What one pass cannot settle
(combining marks, an escape that a removal has just laid bare) is only flagged: those documents, one in
some hundreds of Chinese web pages, go through the plain Python of `corpuskit.clean.normalize`.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.utf8 import next_code_point

HAN, PUNCTUATION, JOINABLE, UNSTABLE, DAMAGED = 1, 2, 4, 8, 16
"""Flags of a character that is copied: Han or Chinese punctuation; a mark whose runs are cut; may stand
before a zero-width joiner; may change under NFC; counted as damaged."""

SPECIAL = 128
DELETE, DELETE_DAMAGED, SPACE, NEWLINE, RETURN, FOLD, JOINER, BACKSLASH, FOLD_MARK = range(
    SPECIAL, SPECIAL + 9
)
"""Actions for the other characters."""

_TAB = 9
_FULLWIDTH = 0xFEE0  # ！ (U+FF01) minus ! (U+0021)
_OPENS, _CLOSES, _PERCENT = 0xFF08, 0xFF09, 0xFF05
_ELLIPSIS, _DASH = 0x2026, 0x2014


@kernel
def _escaped_newlines(data, position, stop, after_han, actions):
    """How many two-character escapes from `position` on stand for newlines, 0 if none do.

    They do beside Chinese text: right after it unless a small letter follows (a path such as
    ``在\\new``; then all but the last do), or right before it.
    """
    count = 0
    end = position
    while end + 1 < stop and data[end] == 92 and (data[end + 1] == 110 or data[end + 1] == 114):
        count += 1
        end += 2
    if count == 0:
        return 0
    following = 0
    if end < stop:
        following, _ = next_code_point(data, end, stop)
    small_letter = 97 <= following <= 122
    if after_han and not small_letter:
        return count
    if after_han and count > 1:
        return count - 1
    flags = actions[following]
    if following == 0x3000 or (flags < SPECIAL and flags & HAN):
        return count
    return 0


@kernel
def _is_fullwidth_digit(data, position, start, stop):
    """Whether the three bytes from `position` on are one of ０ to ９, and lie in the document."""
    return (
        start <= position
        and position + 3 <= stop
        and data[position] == 0xEF
        and data[position + 1] == 0xBC
        and 0x90 <= data[position + 2] <= 0x99
    )


@kernel
def _write_indentation(data, position, stop, actions, out, written):
    """Write the white space of a line's beginning as spaces and tabs if it is two spaces or holds a tab.

    Returns where the output then ends.
    """
    begin = written
    has_tab = False
    while position < stop:
        code, position = next_code_point(data, position, stop)
        if actions[code] == SPACE:
            out[written] = _TAB if code == _TAB else 32
            has_tab |= code == _TAB
            written += 1
    return written if has_tab or written >= begin + 2 else begin


@kernel
def normalize_documents(
    data,
    offsets,
    actions,
    collapse,
    remove_han_spaces,
    max_run,
    max_newlines,
    out,
    out_offsets,
    characters,
    damaged_share,
    unsettled,
):
    """Normalise every document.

    Parameters
    ----------
    data : uint8[:]
        Valid UTF-8 of all documents.
    offsets : int64[:]
        Document `i` is ``data[offsets[i]:offsets[i + 1]]``.
    actions : uint8[0x110000]
        Flags (below 128) or action of each code point.
    collapse : bool
        Make one space, the tabs or one run of newlines of white space, keep indentation before ASCII, and
        strip the document; otherwise spaces are characters like others.
    remove_han_spaces : bool
        Leave out the space between two characters with the flag `HAN` (needs `collapse`), but not in
        ``（ ）``, the blank of an exam question.
    max_run : int
        Longest run kept of one punctuation mark; 0 for any. Of … and —, which stand in pairs, the even
        number below.
    max_newlines : int
        Longest run kept of newlines (needs `collapse`).
    out : uint8[:]
        As long as `data`; nothing grows.
    out_offsets : int64[:]
        As long as `offsets`; filled.
    characters : int64[num_documents]
        Filled: characters written.
    damaged_share : float64[num_documents]
        Filled: private-use and replacement characters among the characters read.
    unsettled : bool[num_documents]
        Filled: whether another pass could change more.
    """
    written = 0
    out_offsets[0] = 0
    max_pairs = max_run - max_run % 2 if max_run > 1 else max_run
    for document in range(offsets.size - 1):
        position, stop = offsets[document], offsets[document + 1]
        start = written
        last = -1  # the last character written
        last_han = after_han = joinable = False
        spaces = False
        tabs = 0
        newlines = 0
        line = position  # where the white space behind the last newline begins
        run = 0
        count = seen = broken = 0
        changed = escape = unstable = False
        while position < stop:
            code, following = next_code_point(data, position, stop)
            seen += 1
            action = actions[code]
            if action >= SPECIAL:
                if action == BACKSLASH:
                    escapes = _escaped_newlines(data, position, stop, after_han, actions)
                    if escapes > 0:
                        action = np.uint8(NEWLINE)
                        following = position + 2 * escapes
                    else:
                        action = np.uint8(PUNCTUATION)
                elif action == RETURN:
                    if following < stop and data[following] == 10:
                        position = following
                        continue
                    action = np.uint8(NEWLINE)
                if action == NEWLINE:
                    if collapse:
                        newlines += 1
                        spaces = after_han = joinable = False
                        tabs = 0
                        position = line = following
                        continue
                    code = 10
                    action = np.uint8(0)
                elif action == SPACE:
                    spaces = True
                    tabs += code == _TAB
                    after_han = joinable = False
                    position = following
                    continue
                elif action == FOLD:
                    code -= _FULLWIDTH
                    changed = True
                    action = np.uint8(0)
                elif action == FOLD_MARK:  # ．and ％ of a number in fullwidth digits
                    if _is_fullwidth_digit(data, position - 3, offsets[document], stop) and (
                        code == _PERCENT or _is_fullwidth_digit(data, following, offsets[document], stop)
                    ):
                        code -= _FULLWIDTH
                        changed = True
                        action = actions[code]
                    else:
                        action = np.uint8(0 if code == _PERCENT else PUNCTUATION)
                elif action == JOINER and joinable:
                    action = np.uint8(0)
                elif action >= SPECIAL:  # deleted
                    changed = True
                    after_han = False
                    broken += action == DELETE_DAMAGED
                    position = following
                    continue
            han = action & HAN != 0
            if newlines > 0:
                if written > start:
                    for _ in range(min(newlines, max_newlines)):
                        out[written] = 10
                        written += 1
                        count += 1
                    last = 10
                    if spaces and 33 <= code <= 126:
                        begin = written
                        written = _write_indentation(data, line, position, actions, out, written)
                        if written > begin:
                            count += written - begin
                            last = 32
                newlines = 0
                spaces = False
                tabs = 0
            elif spaces:
                if written > start:
                    blank = last == _OPENS and code == _CLOSES
                    if tabs > 0:
                        for _ in range(tabs):
                            out[written] = _TAB
                            written += 1
                        count += tabs
                        last = 32
                    elif blank or not (remove_han_spaces and last_han and han):
                        out[written] = 32
                        written += 1
                        count += 1
                        last = 32
                spaces = False
                tabs = 0
            after_han = han
            joinable = action & JOINABLE != 0
            unstable |= action & UNSTABLE != 0
            broken += action & DAMAGED != 0
            if action & PUNCTUATION and max_run > 0:
                run = run + 1 if code == last else 1
                paired = code in (_ELLIPSIS, _DASH)
                if run > (max_pairs if paired else max_run):
                    changed = True
                    position = following
                    continue
            escape |= last == 92 and (code == 110 or code == 114)
            last = code
            last_han = han
            if code < 0x80:
                out[written] = code
                written += 1
            else:
                for byte in range(position, following):
                    out[written] = data[byte]
                    written += 1
            count += 1
            position = following
        out_offsets[document + 1] = written
        characters[document] = count
        damaged_share[document] = broken / max(seen, 1)
        unsettled[document] = unstable or (escape and changed)


@kernel
def mojibake_suspects(data, offsets, suspects):
    """Which documents may hold UTF-8 that was read as Latin-1 or Windows-1252.

    The lead byte of a wrongly read character shows as a letter from Ã to ô (two bytes, 0xC3 first),
    and what follows it as a Latin-1 control or sign (0xC2) or as one of the Windows-1252 marks and
    letters (0xC5, 0xC6, 0xCB, 0xE2). Every such pair is found; ftfy decides.
    """
    for document in range(offsets.size - 1):
        found = False
        for position in range(offsets[document], offsets[document + 1] - 2):
            if data[position] == 0xC3 and 0x82 <= data[position + 1] <= 0xB4:
                lead = data[position + 2]
                if lead == 0xC2 or lead == 0xC5 or lead == 0xC6 or lead == 0xCB or lead == 0xE2:
                    found = True
                    break
        suspects[document] = found
