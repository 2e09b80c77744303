"""The merges behind a list of ranks.

tiktoken's files hold tokens and no merges. What makes a token is what plain BPE with all lower ranks leaves
of its bytes: two parts, if it is reachable at all. Parts lie in the token itself, so they are looked up in
place.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.encode_lookup import NONE, find_word
from corpuskit.kernels.pretokenize_runs import U64


@kernel
def split_tokens(token_bytes, token_starts, words, shift, left, right):
    """Write the two parts of each token (ids are ranks), or NONE for one that is not made of two.

    Parameters
    ----------
    token_bytes, token_starts, words, shift
        See `corpuskit.kernels.encode.Tables`.
    left, right : uint32[tokens]
        NONE everywhere.
    """
    size = U64(token_bytes.size)
    longest = 0
    for token in range(token_starts.size - 1):
        longest = max(longest, token_starts[token + 1] - token_starts[token])
    borders = np.empty(longest + 1, np.uint64)  # of the parts
    made = np.empty(longest + 1, np.uint32)  # what each part and the next one make
    for token in range(token_starts.size - 1):
        start, stop = U64(token_starts[token]), U64(token_starts[token + 1])
        count = np.int64(stop - start)
        for i in range(count + 1):
            borders[i] = start + U64(i)
        for i in range(count - 1):
            made[i] = find_word(
                token_bytes, borders[i], borders[i + 2], size, words, shift, token_bytes, token_starts
            )
        while count > 2:
            best, at = np.uint32(token), -1
            for i in range(count - 1):
                if made[i] < best:
                    best, at = made[i], i
            if at < 0:
                break
            count -= 1
            for i in range(at + 1, count + 1):
                borders[i] = borders[i + 1]
            for i in range(at + 1, count - 1):
                made[i] = made[i + 1]
            for i in (at - 1, at):
                if 0 <= i < count - 1:
                    made[i] = find_word(
                        token_bytes, borders[i], borders[i + 2], size, words, shift, token_bytes, token_starts
                    )
        if count == 2:
            left[token] = find_word(
                token_bytes, borders[0], borders[1], size, words, shift, token_bytes, token_starts
            )
            right[token] = find_word(
                token_bytes, borders[1], borders[2], size, words, shift, token_bytes, token_starts
            )
            if left[token] == NONE or right[token] == NONE:  # a byte that is no token
                left[token] = right[token] = NONE
