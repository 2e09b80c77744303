"""Texts that are HTML fragments: their tags matched, weighed against the text, and taken out.

Unlike `html_lines`, which reads pages, this pass must first find out whether a text is mark-up at all: it
writes a text without its tags (`html_tags`) only where they close one another and hold enough of it.

The table of tag names is data of the caller (`corpuskit.clean.fragments`).
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.html_syntax import is_space
from corpuskit.kernels.html_tags import (
    BLOCK,
    BREAK,
    CELL,
    COMMENT,
    HIDDEN,
    OPTIONAL,
    PARAGRAPH,
    ROW,
    VOID,
    read_tags,
)

# What becomes of a document: nothing; its tags go; its tags or comments go unless it speaks of mark-up.
UNCHANGED, FRAGMENT, LIKELY_FRAGMENT, COMMENTED = range(4)

# Columns of the counts of a document.
TAGS, MATCHED = range(2)


@kernel
def _match(count, kinds, names, is_end, partners, waiting, below):
    """The partner of every tag (its own where it needs none, -1 where it has none); how many have one.

    By name alone, for authors close elements in any order.
    """
    waiting[:] = -1
    matched = np.int64(0)
    for i in range(count):
        partners[i] = -1
        name = names[i]
        if name < 0:
            continue
        kind = kinds[name]
        if kind & VOID:
            partners[i] = i
            matched += 1
        elif is_end[i]:
            partner = waiting[name]
            if partner >= 0:
                waiting[name] = below[partner]
                matched += 2 - (partners[partner] == partner)
                partners[partner] = i
                partners[i] = partner
            elif kind & PARAGRAPH:  # browsers make an empty paragraph of it
                partners[i] = i
                matched += 1
        else:
            # A paragraph ends where the next begins.
            below[i] = -1 if kind & PARAGRAPH else waiting[name]
            waiting[name] = i
            if kind & OPTIONAL:
                partners[i] = i
                matched += 1
    return matched


@kernel
def _shares(data, begin, stop, count, starts, stops, partners):
    """Which shares of a text's characters stand on lines with tags or within elements, and within.

    Counted are characters beyond ASCII; where they are less than a quarter, all visible ones.
    """
    wide = np.zeros(3, np.int64)  # all; covered; held
    visible = np.zeros(3, np.int64)
    line_wide = line_visible = np.int64(0)  # of the line so far, outside elements
    touched = False
    depth = np.int64(0)
    position = begin
    for i in range(count + 1):
        piece_stop = starts[i] if i < count else stop
        while position < piece_stop:
            here_wide = here_visible = np.int64(0)
            ends_line = False
            while position < piece_stop:
                byte = data[position]
                position += 1
                if byte == 10:
                    ends_line = True
                    break
                here_wide += byte >= 0xC0
                here_visible += (byte > 32) & ((byte & 0xC0) != 0x80)
            wide[0] += here_wide
            visible[0] += here_visible
            if depth > 0:
                wide[2] += here_wide
                visible[2] += here_visible
            else:
                line_wide += here_wide
                line_visible += here_visible
            if ends_line:
                if touched:
                    wide[1] += line_wide
                    visible[1] += line_visible
                line_wide = line_visible = np.int64(0)
                touched = False
        if i == count:
            break
        if partners[i] >= 0:
            touched = True
            depth -= partners[i] < i
        for place in range(starts[i], stops[i]):
            if data[place] == 10:
                if touched:
                    wide[1] += line_wide
                    visible[1] += line_visible
                line_wide = line_visible = np.int64(0)
                touched = False
        if partners[i] >= 0:
            touched = True
            depth += partners[i] > i
        position = stops[i]
    if touched:
        wide[1] += line_wide
        visible[1] += line_visible
    counts = wide if 4 * wide[0] >= visible[0] else visible
    if counts[0] == 0:
        return 1.0, 1.0
    return (counts[1] + counts[2]) / counts[0], counts[2] / counts[0]


@kernel
def _copy(data, start, stop, out, at):
    for i in range(stop - start):
        out[at + i] = data[start + i]
    return at + stop - start


@kernel
def _space_width(data, position, stop):
    """Bytes of the white space at `position`: ASCII, U+00A0 or U+3000; 0 where there is none."""
    byte = data[position]
    if byte <= 32:
        return np.int64(1) if is_space(byte) else np.int64(0)
    if byte == 0xC2 and position + 1 < stop and data[position + 1] == 0xA0:
        return np.int64(2)
    if byte == 0xE3 and position + 2 < stop and data[position + 1] == 0x80 and data[position + 2] == 0x80:
        return np.int64(3)
    return np.int64(0)


@kernel
def _strip(data, begin, stop, count, kinds, starts, stops, names, is_end, partners, out, at):
    """Write a text without its tags; the position behind it.

    Between two visible characters stand as many line ends as tags ask for or the text has, whichever is
    more: ``<br>`` and the newline behind it are one.
    """
    first = at
    visible_stop = at  # behind the last visible character written
    breaks = tabs = cells = newlines = np.int64(0)
    hidden_until = np.int64(-1)
    position = begin
    for i in range(count + 1):
        piece_stop = starts[i] if i < count else stop
        if i <= hidden_until:
            position = piece_stop
        while position < piece_stop:
            width = _space_width(data, position, piece_stop)
            if width:
                newlines += data[position] == 10
                for k in range(width):
                    out[at + k] = data[position + k]
                at += width
                position += width
                continue
            if breaks or tabs:
                at = visible_stop
                if at > first:
                    for _ in range(tabs if tabs else max(breaks, newlines)):
                        out[at] = 9 if tabs else 10
                        at += 1
                breaks = tabs = np.int64(0)
            newlines = np.int64(0)
            # ASCII graphic characters, and what is no lead byte of a white space, in one go.
            out[at] = data[position]
            at += 1
            position += 1
            while position < piece_stop:
                byte = data[position]
                if byte <= 32 or byte == 0xC2 or byte == 0xE3:
                    break
                out[at] = byte
                at += 1
                position += 1
            visible_stop = at
        if i == count:
            break
        position = stops[i]
        name = names[i]
        if name < 0:
            continue
        kind = kinds[name]
        if kind & HIDDEN:
            hidden_until = max(hidden_until, partners[i])
        if kind & CELL:
            if not is_end[i]:
                cells += 1
                tabs += cells > 1
        elif kind & ROW:
            breaks = max(breaks, np.int64(1))
            tabs = cells = np.int64(0)
        elif kind & BREAK:
            breaks += tabs == 0
        elif kind & BLOCK and tabs == 0:
            breaks = max(breaks, np.int64(1))
    return visible_stop if breaks or tabs else at


@kernel
def _strip_comments(data, begin, stop, count, starts, stops, names, out, at):
    position = begin
    removed = np.int64(0)
    for i in range(count):
        if names[i] == COMMENT:
            at = _copy(data, position, starts[i], out, at)
            position = stops[i]
            removed += 1
    return _copy(data, position, stop, out, at), removed


@kernel
def strip_documents(
    data,
    offsets,
    openings,
    opening_bounds,
    code,
    code_bounds,
    keys,
    ids,
    hashes,
    kinds,
    max_tags,
    min_tags,
    min_matched_share,
    min_covered_share,
    min_held_share,
    out,
    out_offsets,
    counts,
    verdicts,
):
    """Write every document without its mark-up, where it is mark-up or may be.

    Parameters
    ----------
    data, offsets : uint8[:], int64[num_documents + 1]
    openings, opening_bounds : int64[:], int64[num_documents + 1]
        Where each ``<`` is, and which of them are those of each document: for document i from
        ``opening_bounds[i]`` up to ``opening_bounds[i + 1]``.
    code, code_bounds : int64[:, 2], int64[num_documents + 1]
        Byte ranges of quoted code, in which no tag begins, likewise.
    keys, ids, hashes, kinds : uint64[:], int32[:], uint64[:], int64[:]
        Table (see `html_syntax.fill_table`) from `name_hash` to the number of a tag, and the hash and kind
        bits of each number; the last is for the names that Word writes.
    max_tags : int64
        Documents with more tags are left as they are.
    min_tags, min_matched_share, min_covered_share, min_held_share
        See `corpuskit.clean.Markup`; the last is what makes a fragment of a text that speaks of mark-up.
    out : uint8[offsets[-1] - offsets[0]]
    out_offsets : int64[num_documents + 1]
    counts : int64[num_documents, 2]
        Filled in: tags and comments that were left out, and tags with a partner or in need of none.
    verdicts : int8[num_documents]
        Filled in: `UNCHANGED`, `FRAGMENT`, `LIKELY_FRAGMENT` or `COMMENTED`.
    """
    starts = np.empty(max_tags, np.int64)
    stops = np.empty(max_tags, np.int64)
    names = np.empty(max_tags, np.int64)
    is_end = np.empty(max_tags, np.bool_)
    partners = np.empty(max_tags, np.int64)
    below = np.empty(max_tags, np.int64)
    waiting = np.empty(kinds.size, np.int64)
    at = np.int64(0)
    out_offsets[0] = 0
    for row in range(offsets.size - 1):
        begin, stop = offsets[row], offsets[row + 1]
        spans = code[code_bounds[row] : code_bounds[row + 1]]
        count, unknown = read_tags(
            data,
            openings[opening_bounds[row] : opening_bounds[row + 1]],
            stop,
            spans,
            keys,
            ids,
            hashes,
            kinds,
            starts,
            stops,
            names,
            is_end,
        )
        counts[row, TAGS] = counts[row, MATCHED] = 0
        verdict = UNCHANGED
        if count > 0:
            matched = _match(count, kinds, names, is_end, partners, waiting, below)
            named = unknown
            comments = np.int64(0)
            for i in range(count):
                named += names[i] >= 0
                comments += names[i] == COMMENT
            if matched >= min_tags and matched >= min_matched_share * named:
                covered, held = _shares(data, begin, stop, count, starts, stops, partners)
                if held >= min_held_share:
                    verdict = FRAGMENT
                elif covered >= min_covered_share:
                    verdict = LIKELY_FRAGMENT
            if verdict == UNCHANGED and comments:
                verdict = COMMENTED
            counts[row, MATCHED] = matched
        if verdict == COMMENTED:
            at, removed = _strip_comments(data, begin, stop, count, starts, stops, names, out, at)
            counts[row, TAGS] = removed
        elif verdict != UNCHANGED:
            at = _strip(data, begin, stop, count, kinds, starts, stops, names, is_end, partners, out, at)
            counts[row, TAGS] = count
        else:
            at = _copy(data, begin, stop, out, at)
        verdicts[row] = verdict
        out_offsets[row + 1] = at
