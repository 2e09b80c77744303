"""jieba's hidden Markov model over runs of one-character words: `finalseg.cut`.

Of equal paths the model takes the state whose letter is larger (M over B, S over E), and an impossible step
costs `MIN_FLOAT`, which is added like any other number.

Five of six runs have two or three ideographs. They are sorted by length first, so that each kind is a loop
without branches; deciding run by run, the failed guesses took longer than the model itself.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.ranked_trie import (
    DOT,
    FIRST_HAN_RANK,
    FORCED,
    FORCED_WORDS,
    LAST_ALPHANUMERIC,
    LAST_DIGIT,
    LONGEST,
    ONE,
    PERCENT,
    THREE,
    TWO,
    ZERO,
    is_word,
    lookup,
)
from corpuskit.kernels.word_lattice import MORE_ARE_WORD

EMISSIONS = (
    20  # model[0:4] start, model[4:20] transitions (from, to), then 4 emissions for each ideograph rank
)

_FOUR = np.uint64(4)
_EMISSIONS = np.uint64(EMISSIONS)
_FIRST_HAN_RANK = np.uint64(FIRST_HAN_RANK)


@kernel
def find_single(ranks, n, bounds, single):
    """Set ``single[k + 1]`` to 1 if place k is a word of one character in a block, else 0.

    ``bounds[k]`` is 1 if a word begins at place k or the text ends there.
    """
    word, ends = single[1:], bounds[1:]
    single[0] = 0
    for k in range(n):
        word[k] = bounds[k] & ends[k] & np.uint8(ranks[k] != 0)
    word[n] = 0
    word[n + ONE] = 0


@kernel
def find_runs(single, begin, end, at):
    """Where in ``begin…end`` runs of two and more one-character words begin; how many there are."""
    previous, word, following = single[begin:], single[begin + ONE :], single[begin + TWO :]
    count = ZERO
    for k in range(end - begin):
        at[count] = begin + k
        count += np.uint64(word[k] & following[k] & (previous[k] ^ np.uint8(1)))
    return count


@kernel
def _viterbi(model, ranks, begin, length, states, bounds):
    """Set `bounds` within a run of ideographs as its most likely states B, M, E, S (0 to 3) say."""
    at = _EMISSIONS + _FOUR * (np.uint64(ranks[begin]) - _FIRST_HAN_RANK)
    b, m = model[0] + model[at], model[1] + model[at + ONE]
    e, s = model[2] + model[at + TWO], model[3] + model[at + THREE]
    for j in range(1, length):
        i = begin + np.uint64(j)
        at = _EMISSIONS + _FOUR * (np.uint64(ranks[i]) - _FIRST_HAN_RANK)
        e_b, s_b = e + model[12] + model[at], s + model[16] + model[at]
        b_m, m_m = b + model[5] + model[at + ONE], m + model[9] + model[at + ONE]
        b_e, m_e = b + model[6] + model[at + TWO], m + model[10] + model[at + TWO]
        e_s, s_s = e + model[15] + model[at + THREE], s + model[19] + model[at + THREE]
        b, m, e, s = max(s_b, e_b), max(m_m, b_m), max(m_e, b_e), max(s_s, e_s)
        states[i] = (
            np.uint64(s_b >= e_b)
            | np.uint64(m_m >= b_m) << ONE
            | np.uint64(m_e >= b_e) << TWO
            | np.uint64(s_s >= e_s) << THREE
        )
    state = TWO | np.uint64(s >= e)
    for j in range(length - 1):
        i = begin + np.uint64(length - 1 - j)
        picked = (np.uint64(states[i]) >> state) & ONE
        state = picked | (~(state ^ (state >> ONE)) & ONE) << ONE  # before B and S: E or S, else B or M
        bounds[i] = state >> ONE


@kernel
def _split_forced(slots, nodes, ranks, begin, end, bounds):
    """Cut words of the model that were deleted from the dictionary into their characters."""
    word = begin
    i = begin
    while i < end:
        i += ONE
        if bounds[i] != 0:
            node = lookup(slots, ranks, word, i)
            if nodes[node + node + ONE] & np.uint64(FORCED) != ZERO:
                bounds[word:i] = 1
            word = i


@kernel
def _recognise(slots, nodes, forced, model, ranks, begin, end, states, bounds):
    """Set `bounds` within a run of any characters of a block."""
    i = begin
    while i < end:
        start = i
        if ranks[i] >= FIRST_HAN_RANK:
            while i < end and ranks[i] >= FIRST_HAN_RANK:
                i += ONE
            _viterbi(model, ranks, start, np.int64(i - start), states, bounds)
            if forced:
                _split_forced(slots, nodes, ranks, start, i, bounds)
            continue
        if ranks[i] <= LAST_ALPHANUMERIC:  # [a-zA-Z0-9]+(?:\.\d+)?%?
            while i < end and ranks[i] <= LAST_ALPHANUMERIC:
                i += ONE
            if i + ONE < end and ranks[i] == DOT and ranks[i + ONE] <= LAST_DIGIT:
                i += TWO
                while i < end and ranks[i] <= LAST_DIGIT:
                    i += ONE
            if i < end and ranks[i] == PERCENT:
                i += ONE
        else:
            while i < end and LAST_ALPHANUMERIC < ranks[i] < FIRST_HAN_RANK:
                i += ONE
        bounds[start + ONE : i] = 0


@kernel
def _sort_runs(ranks, flags, forced, single, runs, n, two, three, other):
    """Runs of two and of three ideographs, and all others, without those that are words; how many of each."""
    word = single[1:]
    none = np.uint64(not forced)
    n_two = n_three = n_other = ZERO
    for i in range(n):
        k = np.uint64(runs[i])
        third, fourth = np.uint64(word[k + TWO]), np.uint64(word[k + THREE])
        is_two, is_three = third ^ ONE, third & (fourth ^ ONE)
        flag = np.uint64(flags[k])
        is_word = (is_two & flag) | (is_three & (flag >> ONE))
        han = none & np.uint64(ranks[k] >= FIRST_HAN_RANK) & np.uint64(ranks[k + ONE] >= FIRST_HAN_RANK)
        is_two &= han & (is_word ^ ONE)
        is_three &= han & (is_word ^ ONE) & np.uint64(ranks[k + TWO] >= FIRST_HAN_RANK)
        two[n_two] = k
        three[n_three] = k
        other[n_other] = k
        n_two += is_two
        n_three += is_three
        n_other += (is_two | is_three | is_word) ^ ONE
    return n_two, n_three, n_other


@kernel
def cut_runs(slots, nodes, header, model, ranks, flags, single, runs, n, sorted_runs, states, bounds):
    """Set `bounds` within the `n` runs that begin at `runs`: words of the model, unless the run is a word.

    Parameters
    ----------
    slots, nodes, header
        The trie.
    model : float64 array, shape (EMISSIONS + 4 * ideographs,)
        Start, transition and emission log probabilities.
    ranks, flags : uint16 array, uint8 array
        The text, and what `corpuskit.kernels.word_lattice.find_steps` says of words that begin in it.
    single : uint8 array
        As `find_single` fills it.
    sorted_runs : uint32 array, shape (3, at least n + 1)
    states : uint8 array
        As long as the text.
    bounds : uint8 array
        1 where words begin.
    """
    two, three, other = sorted_runs[0], sorted_runs[1], sorted_runs[2]
    forced = header[FORCED_WORDS] > 0
    longest = np.uint64(header[LONGEST])
    n_two, n_three, n_other = _sort_runs(ranks, flags, forced, single, runs, n, two, three, other)
    for i in range(n_two):
        _viterbi(model, ranks, np.uint64(two[i]), 2, states, bounds)
    for i in range(n_three):
        _viterbi(model, ranks, np.uint64(three[i]), 3, states, bounds)
    for i in range(n_other):
        begin = np.uint64(other[i])
        end = begin + TWO
        while single[end + ONE] != 0:
            end += ONE
        may_be_word = flags[begin] & MORE_ARE_WORD and THREE < end - begin <= longest
        if may_be_word and is_word(nodes, lookup(slots, ranks, begin, end)):
            continue
        _recognise(slots, nodes, forced, model, ranks, begin, end, states, bounds)
