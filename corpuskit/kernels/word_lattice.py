"""jieba's dictionary lattice over a piece of text: which words may begin where, and the best path.

The text is an array of ranks (`corpuskit.kernels.ranked_trie`), 0 outside the blocks: the runs of characters
that jieba joins into words. Instead of asking everything at each character, a piece is walked once for each
question: which pairs begin words, where their records are, which have a third character, what longer
words there are, and at last the path. A loop that only loads has many cache misses under way at once, and
candidates are compacted without a branch (``list[n] = k; n += is_one``), since each branch the processor
guesses wrong costs as much as several characters. It is four times as fast as one loop for all.

Scores are float64 operation for float64 operation those of `Tokenizer.calc`, because another order of
additions breaks ties differently: ``(log f - log total) + route``, of equal scores the longer word, from
the end of a block leftwards, where the route is 0. A place where no word begins has one of frequency 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.ranked_trie import (
    ONE,
    THREE,
    TWO,
    ZERO,
    begins_word,
    child_bit,
    child_in,
    find,
    home,
    lies_elsewhere,
    transition,
)

PIECE = 1024
"""Characters in a piece: what the loops hand to each other is some 50 bytes a character and stays in L2."""

TWO_ARE_WORD, THREE_ARE_WORD, MORE_ARE_WORD = 1, 2, 4

_NOWHERE = np.uint64(1 << 63)


class Scratch(NamedTuple):
    """What the loops over one piece hand to each other."""

    at: np.ndarray
    """uint32: places of candidates."""
    next_at: np.ndarray
    next_node: np.ndarray
    """uint32: places where another character may go on, and the nodes of what is there so far."""
    entries: np.ndarray
    """uint64: slots of the trie."""
    one: np.ndarray
    two: np.ndarray
    three: np.ndarray
    """float64: ``log f - log total`` of the words of so many characters, minus infinity for none."""
    route: np.ndarray
    """float64: the best score from each place to the end of its block, as far as the longest word reaches."""


class LongWords(NamedTuple):
    """Words of four and more characters in a piece, by place and length."""

    at: np.ndarray
    length: np.ndarray
    score: np.ndarray


@kernel
def new_scratch(longest):
    """Scratch for pieces of `PIECE` characters and words of at most `longest`."""
    room = PIECE + 8
    numbers = np.empty(5 * room + longest, np.float64)
    places = np.empty(3 * room, np.uint32)
    return Scratch(
        places[:room],
        places[room : 2 * room],
        places[2 * room :],
        numbers[:room].view(np.uint64),
        numbers[room : 2 * room],
        numbers[2 * room : 3 * room],
        numbers[3 * room : 4 * room],
        numbers[4 * room :],
    )


@kernel
def new_long_words(room):
    """Room for so many long words."""
    places = np.empty(2 * room, np.uint32)
    return LongWords(places[:room], places[room:], np.empty(room, np.float64))


@kernel
def _enlarged(words, used):
    """A copy of the first `used` long words with twice the room."""
    larger = new_long_words(2 * words.at.size)
    for i in range(used):
        larger.at[i], larger.length[i], larger.score[i] = words.at[i], words.length[i], words.score[i]
    return larger


@kernel
def _find_pairs(pairs, ranks, following, n, at):
    """The places where two characters may begin a word; how many there are."""
    count = ZERO
    for k in range(n):
        at[count] = k
        count += begins_word(pairs, np.uint64(ranks[k]), np.uint64(following[k]))
    return count


@kernel
def _load_pairs(slots, shift, ranks, at, n, entries):
    """The home slots of the pairs at ``at[:n]``."""
    for i in range(n):
        k = np.uint64(at[i])
        entries[i] = slots[home(transition(np.uint64(ranks[k]), np.uint64(ranks[k + ONE])), shift)]


@kernel
def _read_pairs(slots, shift, nodes, logs, log_total, ranks, n, at, entries, two, next_at, next_node):
    """Scores of the pairs, and where a third character may go on; how many such places there are."""
    count = ZERO
    for i in range(n):
        k = np.uint64(at[i])
        first, second = np.uint64(ranks[k]), np.uint64(ranks[k + ONE])
        node = child_in(entries[i], transition(first, second))
        if node == ZERO and lies_elsewhere(entries[i]):
            node = find(slots, shift, first, second)
        two[k] = logs[node + node] - log_total
        next_at[count] = k
        next_node[count] = node
        count += (nodes[node + node + ONE] >> child_bit(np.uint64(ranks[k + TWO]))) & ONE
    return count


@kernel
def _load_triples(slots, shift, ranks, next_at, next_node, n, entries):
    """The home slots of the transitions from ``next_node[:n]`` by the third characters."""
    for i in range(n):
        rank = np.uint64(ranks[np.uint64(next_at[i]) + TWO])
        entries[i] = slots[home(transition(np.uint64(next_node[i]), rank), shift)]


@kernel
def _read_triples(slots, shift, nodes, logs, log_total, ranks, n, entries, three, next_at, next_node):
    """Scores of three characters, and where a fourth may go on; how many such places there are."""
    count = ZERO
    for i in range(n):
        k = np.uint64(next_at[i])
        parent, rank = np.uint64(next_node[i]), np.uint64(ranks[k + TWO])
        node = child_in(entries[i], transition(parent, rank))
        if node == ZERO and lies_elsewhere(entries[i]):
            node = find(slots, shift, parent, rank)
        three[k] = logs[node + node] - log_total
        next_at[count] = k
        next_node[count] = node
        count += (nodes[node + node + ONE] >> child_bit(np.uint64(ranks[k + THREE]))) & ONE
    return count


@kernel
def _find_long_words(
    slots, shift, nodes, logs, log_total, longest, ranks, i, n, next_at, next_node, words, count
):  # fmt: skip
    """Append words of four and more characters from candidate `i` on.

    Returns the next candidate, `n` unless there was too little room in `words`, and how many words there are.
    """
    at, lengths, scores = words.at, words.length, words.score
    room = np.uint64(at.size) - longest
    while i < n and count < room:
        k = np.uint64(next_at[i])
        node = np.uint64(next_node[i])
        length = THREE
        while True:
            node = find(slots, shift, node, np.uint64(ranks[k + length]))
            if node == ZERO:
                break
            length += ONE
            value = logs[node + node]
            at[count] = k
            lengths[count] = length
            scores[count] = value - log_total
            count += np.uint64(value > -np.inf)
            if (nodes[node + node + ONE] >> child_bit(np.uint64(ranks[k + length]))) & ONE == ZERO:
                break
        i += ONE
    return i, count


@kernel
def _read_characters(logs, log_total, ranks, n, one, two, three, flags, words, n_long):
    """Scores of single characters, where no other word begins that of a word of frequency 1; and `flags`."""
    unknown = 0.0 - log_total
    for k in range(n):
        rank = np.uint64(ranks[k])
        one[k] = logs[rank + rank] - log_total
    for k in range(n):
        is_two, is_three = two[k] > -np.inf, three[k] > -np.inf
        one[k] = unknown if (one[k] == -np.inf) & (not (is_two | is_three)) else one[k]
        flags[k] = np.uint8(is_two) * np.uint8(TWO_ARE_WORD) | np.uint8(is_three) * np.uint8(THREE_ARE_WORD)
    for i in range(n_long):
        place = np.uint64(words.at[i])
        flags[place] |= np.uint8(MORE_ARE_WORD)
        rank = np.uint64(ranks[place])
        if logs[rank + rank] == -np.inf:
            one[place] = -np.inf


@kernel
def _best_path(ranks, n, one, two, three, words, n_long, route, steps):
    """The length of the best word at each place of a piece, right to left.

    No score is above 0. A character outside blocks has the route 0, and takes it in place of that of longer
    words: those do not wait for the character to its right, as its own score does.
    """
    i = n
    after_one, after_two, after_three = route[n], route[n + ONE], route[n + TWO]
    left = n_long
    next_long = np.uint64(words.at[left - ONE]) if left > ZERO else _NOWHERE
    while i > ZERO:
        i -= ONE
        outside = ranks[i] == 0
        of_two, of_three = two[i] + after_two, three[i] + after_three
        longer = of_three if of_three >= of_two else of_two
        step = THREE if of_three >= of_two else TWO
        longer = 0.0 if outside else longer
        best = one[i] + after_one
        step = ONE if (best > longer) | outside else step
        best = best if best > longer else longer
        while next_long == i:
            left -= ONE
            length = np.uint64(words.length[left])
            score = words.score[left] + route[i + length]
            if score > best or (score == best and length > step):
                best = score
                step = length
            next_long = np.uint64(words.at[left - ONE]) if left > ZERO else _NOWHERE
        steps[i] = step
        route[i] = best
        after_one, after_two, after_three = best, after_one, after_two


@kernel
def find_steps(pairs, slots, shift, nodes, log_total, longest, ranks, size, scratch, words, flags, steps):
    """The length of the best word at each place of a text.

    Parameters
    ----------
    pairs, slots, shift, nodes
        The trie.
    log_total : float
        Logarithm of the sum of all frequencies.
    longest : uint64
        Characters of the longest word.
    ranks : uint16 array
        The text, beginning and ending with whole blocks, and three zeros behind.
    size : uint64
        Its characters.
    scratch, words : Scratch, LongWords
        As `new_scratch` and `new_long_words` make them.
    flags : uint8 array
        Receives the sum of `TWO_ARE_WORD`, `THREE_ARE_WORD` and `MORE_ARE_WORD` for words that begin there.
    steps : uint32 array
        Receives the lengths; a character outside blocks has 1.

    Returns
    -------
    LongWords
        `words`, or a larger one to go on with.
    """
    logs = nodes.view(np.float64)
    at, next_at, next_node, entries, one, two, three, route = scratch
    end = size
    while end > ZERO:
        n = min(end, np.uint64(PIECE))
        begin = end - n
        piece = ranks[begin:]
        if end == size:
            route[n : n + THREE] = 0.0
        else:  # what the piece to the right has found, as far as words of this one may reach
            for back in range(longest + ONE):
                j = longest - np.uint64(back)
                route[n + j] = route[j]
        two[:n] = -np.inf
        three[:n] = -np.inf
        count = _find_pairs(pairs, piece, piece[1:], n, at)
        _load_pairs(slots, shift, piece, at, count, entries)
        count = _read_pairs(
            slots, shift, nodes, logs, log_total, piece, count, at, entries, two, next_at, next_node
        )
        _load_triples(slots, shift, piece, next_at, next_node, count, entries)
        count = _read_triples(
            slots, shift, nodes, logs, log_total, piece, count, entries, three, next_at, next_node
        )
        done, n_long = ZERO, ZERO
        while True:
            done, n_long = _find_long_words(
                slots, shift, nodes, logs, log_total, longest,
                piece, done, count, next_at, next_node, words, n_long,
            )  # fmt: skip
            if done == count:
                break
            words = _enlarged(words, n_long)
        _read_characters(logs, log_total, piece, n, one, two, three, flags[begin:], words, n_long)
        _best_path(piece, n, one, two, three, words, n_long, route, steps[begin:])
        end = begin
    return words
