"""jieba's full mode: every dictionary word, with its handling of ASCII and of white space.

The kernel lists the words of a block; what jieba then yields has rules that only a copy of its loop
reproduces: characters of Latin words are collected across overlapping words (jieba issue 959), runs
outside blocks stay whole, and white space leaves empty strings around it.
"""

from __future__ import annotations

import re

import numpy as np

from corpuskit.kernels import segmentation
from corpuskit.kernels.ranked_trie import Trie
from corpuskit.segment import tables

_BLOCK = re.compile(r"([\u4E00-\u9FD5a-zA-Z0-9+#&._%\-]+)")
_SPACE = re.compile(r"(\r\n|\s)")
_ENGLISH = re.compile("[a-zA-Z0-9]")


def cut_all(trie: Trie, text: str) -> list[str]:
    """Words of `text` in full mode (jieba's ``cut(text, cut_all=True)``)."""
    words: list[str] = []
    for i, part in enumerate(_BLOCK.split(text)):
        if i % 2:
            _cut_block(trie, part, words)
        elif part:
            words.extend(_SPACE.split(part))
    return words


def _cut_block(trie: Trie, block: str, words: list[str]) -> None:
    counts, ends = _all_words(trie, block)
    reached = -1
    english: str | None = None  # the Latin characters collected so far
    at = 0
    for k, count in enumerate(counts):
        if english is not None and not _ENGLISH.match(block[k]):
            words.append(english)
            english = None
        last = ends[at] - 1
        if count == 1 and k > reached:
            word = block[k : last + 1]
            if _ENGLISH.match(word):
                english = word if english is None else english + word
            if english is None:
                words.append(word)
            reached = last
        else:
            for end in ends[at : at + count]:
                if end - 1 > k:
                    words.append(block[k:end])
                    reached = end - 1
        at += count
    if english is not None:
        words.append(english)


def _all_words(trie: Trie, block: str) -> tuple[list[int], list[int]]:
    ranks = tables.ranks_of(block, trie.ranks)
    counts = np.empty(ranks.size, np.int32)
    ends = np.empty(4 * ranks.size, np.int32)
    needed = segmentation.all_words(trie.slots, trie.nodes, ranks, counts, ends)
    if needed > ends.size:
        ends = np.empty(needed, np.int32)
        segmentation.all_words(trie.slots, trie.nodes, ranks, counts, ends)
    return counts.tolist(), ends[:needed].tolist()
