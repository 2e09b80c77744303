"""Every character and line statistic of many documents, in one pass over their UTF-8 bytes.

A character costs two table look-ups: what it is, and how often it was seen. Counts that need no
order (classes, marks, entropy) are then summed over the distinct characters of a document, some
hundreds, rather than over all; lines are judged as they end, so nothing is split or copied. The
reference in the tests counts the same with Python strings.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.hashing import contains, finish, insert
from corpuskit.kernels.terms import LINK, NOTICE, NUM_CATEGORIES, SPAM, STUB, match_terms, pair_slot
from corpuskit.kernels.utf8 import next_code_point

CLASS_MASK = 15
"""The lowest four bits of a code point's properties are its class, three of which matter here."""

SPACE, HAN, DIGIT = 1, 2, 6

TERMINAL, CLOSING, FULL_STOP, SENTENCE_MARK, BULLET, DOT = 16, 32, 64, 128, 256, 512
SEPARATOR, TAIL, FUNCTION, DATE_JOINT, TERM_START, PLAIN = 1024, 2048, 4096, 8192, 16384, 32768
"""The other bits. Ends a line of prose; may follow what does (quotes); ends a sentence and nothing
else; the same with … and ；; begins a bulleted line; can be part of an ellipsis; stands between
keywords; may follow "read more"; is a function character; joins the numbers of a date; begins a term of the
matcher; has none of the above that its line depends on, and is neither white space, digit nor ASCII."""

(
    LINES, SHORT_LINES, TERMINATED_LINES, BULLET_LINES, ELLIPSIS_LINES, STUB_LINES, LIST_LINES, DATED_LINES,
    DUPLICATE_LINES, DUPLICATE_LINE_CHARACTERS, LIST_CHARACTERS, SOUP_CHARACTERS, NOTICE_CHARACTERS,
    LINKS, LINK_CHARACTERS, NEWLINES, SENTENCES, BRACKETS, FUNCTIONS, DISTINCT_FUNCTIONS,
    WINDOW_CHARACTERS, WINDOW_DISTINCT, DISTINCT, DISTINCT_SPAM,
) = range(24)  # fmt: skip
"""Columns of the counts."""

NUM_COUNTS = 24

MAX_DISTINCT_SPAM = 8
"""`DISTINCT_SPAM` counts no further."""

MAX_REMEMBERED_LINES = 1 << 20
"""Distinct lines of a document that are remembered, a bound on memory (16 MiB)."""

SOUP_FUNCTION_INTERVAL = 16
"""A line with as many as one function character in this many is a sentence that lacks its stop."""

_LINE_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_NEWLINE, _ELLIPSIS, _TAG_OPENS, _TAG_CLOSES, _AT, _MONTH = 10, 0x2026, 60, 62, 64, 0x6708


@kernel
def remember_line(seen, num_seen, value):
    """Put a line's hash into the set `seen` if there is room: the set, its size, whether it was new."""
    if num_seen >= MAX_REMEMBERED_LINES:
        return seen, num_seen, not contains(seen, value)
    if not insert(seen, value):
        return seen, num_seen, False
    num_seen += 1
    if 2 * num_seen > seen.size:
        larger = np.zeros(4 * seen.size, np.uint64)
        for other in seen:
            if other != np.uint64(0):
                insert(larger, other)
        seen = larger
    return seen, num_seen, True


@kernel
def document_statistics(
    data,
    offsets,
    properties,
    pairs,
    edges,
    nodes,
    node_terms,
    limits,
    seen_counts,
    classes,
    counts,
    terms,
    entropies,
):
    """Count characters, lines, terms and links of each document.

    Parameters
    ----------
    data : uint8[:]
        Valid UTF-8 of all documents.
    offsets : int64[:]
        Document `i` is ``data[offsets[i]:offsets[i + 1]]``.
    properties : uint16[0x110000]
        Class and flags of each code point, `TERM_START` among them.
    pairs, edges, nodes, node_terms : uint8[65536], uint64[:], int32[:], uint8[:]
        The term matcher, see `corpuskit.kernels.terms`.
    limits : int64[6]
        A line with fewer visible characters than the first is short; without a full stop and with
        fewer than the second it is a list line; with at least the third number of tokens, of at
        most the fourth number of characters on average, at least half of them Han, and no full stop, it
        is keyword soup; the
        fifth is the window of `WINDOW_DISTINCT`; with fewer characters than the sixth a line with a
        notice counts as one.
    seen_counts : int32[0x110000]
        Zeros; zeros again afterwards.
    classes : int64[num_documents, 16]
        Filled in: characters of each class.
    counts : int64[num_documents, NUM_COUNTS]
        Filled in.
    terms : int64[num_documents, NUM_CATEGORIES]
        Filled in: matched terms of each category.
    entropies : float64[num_documents]
        Filled in: entropy of the distribution of visible characters, bits a character.
    """
    short_line, list_line, soup_tokens, soup_length, window, notice_line = limits
    distinct_codes = np.empty(seen_counts.size + 1, np.int32)
    weighted = np.zeros(1024, np.float64)  # logarithms are dear
    for times in range(2, weighted.size):
        weighted[times] = times * np.log2(times)
    seen_lines = np.zeros(256, np.uint64)
    term_ends = np.empty(NUM_CATEGORIES, np.int64)
    term_nodes = np.empty(NUM_CATEGORIES, np.int32)
    spam_nodes = np.empty(MAX_DISTINCT_SPAM, np.int32)
    matched_until = np.empty(NUM_CATEGORIES, np.int64)
    for document in range(offsets.size - 1):
        position, stop = offsets[document], offsets[document + 1]
        out = counts[document]
        num_codes = spaces = visible = num_seen = 0
        matched_until[:] = 0
        line_visible, line_hash = 0, np.uint64(0)
        tokens = separators = functions = han = 0
        stopped = bulleted = noticed = dated = False
        # Each of these holds only where it stands: a plain character need not reset it.
        ended_at = dots_at = digit_at = joint_at = token_at = stub_at = -1
        dots = 0
        digits, first_digit = 0, np.int64(0)
        century = joined = makes_date = False
        web_begin = web_end = -1
        web_linked = has_at = False
        in_tag = False
        previous = np.int64(_NEWLINE)
        finished = False
        while not finished:
            start = position
            code = np.int64(_NEWLINE)
            if position < stop:
                code, position = next_code_point(data, position, stop)
                # Without a branch: whether a character is new is what no processor can predict.
                distinct_codes[num_codes] = code
                num_codes += seen_counts[code] == 0
                seen_counts[code] += 1
            else:
                finished = True
            flags = np.int64(properties[code])

            if flags & CLASS_MASK == SPACE:
                spaces += seen_counts[code] == 1
                if token_at == line_visible > 0:
                    tokens += 1
                    token_at = -1
                if stub_at == start and not finished and code != _NEWLINE:
                    stub_at = position
                previous = code
                if code != _NEWLINE:
                    continue
                if line_visible > 0:
                    out[LINES] += 1
                    out[SHORT_LINES] += line_visible < short_line
                    out[TERMINATED_LINES] += ended_at == line_visible
                    out[BULLET_LINES] += bulleted
                    out[ELLIPSIS_LINES] += dots >= 3 and dots_at == line_visible
                    out[STUB_LINES] += stub_at == start
                    if noticed and line_visible < notice_line:
                        out[NOTICE_CHARACTERS] += line_visible
                    if not stopped:
                        if line_visible < list_line:
                            out[LIST_LINES] += 1
                            out[LIST_CHARACTERS] += line_visible
                            out[DATED_LINES] += dated
                        words = line_visible - separators
                        if (
                            tokens >= soup_tokens
                            and words <= soup_length * tokens
                            and ended_at != line_visible
                            and SOUP_FUNCTION_INTERVAL * functions < words
                            and 2 * han >= words
                        ):
                            out[SOUP_CHARACTERS] += line_visible
                    seen_lines, num_seen, new = remember_line(seen_lines, num_seen, finish(line_hash))
                    if not new:
                        out[DUPLICATE_LINES] += 1
                        out[DUPLICATE_LINE_CHARACTERS] += line_visible
                    line_visible, line_hash = 0, np.uint64(0)
                    tokens = separators = functions = han = 0
                    stopped = bulleted = noticed = dated = False
                    ended_at = dots_at = digit_at = joint_at = token_at = -1
                    in_tag = False
                stub_at = -1
                continue

            visible += 1
            if visible == window:
                out[WINDOW_DISTINCT] = num_codes - spaces
            line_visible += 1
            line_hash = (line_hash ^ np.uint64(code)) * _LINE_MULTIPLIER
            line_hash ^= line_hash >> np.uint64(32)
            functions += flags & FUNCTION != 0
            han += flags & CLASS_MASK == HAN
            if flags & PLAIN:
                token_at = line_visible
                previous = code
                continue

            if 0x20 < code < 0x7F:
                if web_end != start:
                    if web_linked:
                        out[LINK_CHARACTERS] += web_end - web_begin
                    web_begin, web_linked, has_at = start, False, False
                web_end = position
                has_at = has_at or code == _AT
            if flags & SEPARATOR:
                tokens += token_at == line_visible - 1 > 0
                separators += 1
                han -= flags & CLASS_MASK == HAN  # 丨
            else:
                token_at = line_visible
            if ended_at == line_visible - 1:
                in_tag = bool((in_tag or code == _TAG_OPENS) and code < 0x80)
                if in_tag or flags & CLOSING:
                    ended_at = line_visible
                in_tag = bool(in_tag and code != _TAG_CLOSES)
            else:
                in_tag = False
            if flags & TERMINAL:
                ended_at = line_visible
            if flags & DOT:
                if code == _ELLIPSIS:
                    dots = 3
                else:
                    dots = dots + 1 if dots_at == line_visible - 1 else 1
                dots_at = line_visible
            if flags & CLASS_MASK == DIGIT:
                if digit_at == line_visible - 1:
                    digits += 1
                    if digits == 2:
                        century = (first_digit == 49 and code == 57) or (first_digit == 50 and code == 48)
                else:
                    digits, first_digit = 1, code
                    joined = joint_at == line_visible - 1
                    dated = dated or (joined and makes_date)
                digit_at = line_visible
            elif flags & DATE_JOINT and digit_at == line_visible - 1:
                # 2024-3, 3月4 and 05-03-24 are dates; 112-108 is a score, 12-15 are pages.
                makes_date = (digits == 4 and century) or (digits <= 2 and (joined or code == _MONTH))
                joint_at = line_visible
            stopped = stopped or flags & FULL_STOP != 0
            if line_visible == 1:
                bulleted = flags & BULLET != 0
            if flags & TAIL and stub_at == start:
                stub_at = position
            if flags & TERM_START:
                # The call is dear, so it waits until the second character fits, too.
                if position < stop:
                    second, _ = next_code_point(data, position, stop)
                    if pairs[pair_slot(code, second)] == 0:
                        previous = code
                        continue
                if not match_terms(
                    data, start, stop, previous, edges, nodes, node_terms, term_ends, term_nodes
                ):
                    previous = code
                    continue
                for category in range(NUM_CATEGORIES):
                    if term_ends[category] >= 0 and start >= matched_until[category]:
                        matched_until[category] = term_ends[category]
                        terms[document, category] += 1
                        if category == LINK:
                            if has_at:  # the domain of an e-mail address
                                continue
                            out[LINKS] += not web_linked
                            web_linked = True
                        elif category == STUB:
                            stub_at = term_ends[category]
                        elif category == NOTICE:
                            noticed = True
                        elif category == SPAM and out[DISTINCT_SPAM] < MAX_DISTINCT_SPAM:
                            known = 0
                            spam_nodes[out[DISTINCT_SPAM]] = term_nodes[SPAM]
                            while spam_nodes[known] != term_nodes[SPAM]:
                                known += 1
                            out[DISTINCT_SPAM] += known == out[DISTINCT_SPAM]
            previous = code

        if web_linked:
            out[LINK_CHARACTERS] += web_end - web_begin
        total = 0.0
        for i in range(num_codes):
            code = np.int64(distinct_codes[i])
            count = np.int64(seen_counts[code])
            seen_counts[code] = 0
            flags = np.int64(properties[code])
            classes[document, flags & CLASS_MASK] += count
            if flags & CLASS_MASK != SPACE:
                out[DISTINCT] += 1
                total += weighted[count] if count < weighted.size else count * np.log2(count)
            if flags & SENTENCE_MARK:
                out[SENTENCES] += count
            if code == 0x3010 or code == 0x3011:
                out[BRACKETS] += count
            if flags & FUNCTION:
                out[FUNCTIONS] += count
                out[DISTINCT_FUNCTIONS] += 1
            if code == _NEWLINE:
                out[NEWLINES] = count
        out[WINDOW_CHARACTERS] = min(visible, window)
        if visible < window:
            out[WINDOW_DISTINCT] = out[DISTINCT]
        entropies[document] = np.log2(visible) - total / visible if visible > 0 else 0.0
        if seen_lines.size > 4096:
            seen_lines = np.zeros(256, np.uint64)
        elif num_seen > 0:
            seen_lines[:] = np.uint64(0)
