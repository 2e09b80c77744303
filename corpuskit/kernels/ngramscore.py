"""Hashed character n-grams of texts, and the mean of their weights, in one pass over the UTF-8 bytes.

The n-gram of characters c1 … cn falls into bucket ``(sum mix(ci) * BASE**(n - i)) * FINAL >> shift``
modulo 2**64, with `BASE` and the mixing of `kernels.hashing`: every order's sum follows from the
next shorter one by one multiplication, so the four orders of a position cost four multiplications
and four look-ups. `corpuskit.clean.classifier.ngram_bucket` is the same in plain Python.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel
from corpuskit.kernels.hashing import BASE, MIX_ADD, MIX_MULTIPLY, MIX_SHIFT
from corpuskit.kernels.utf8 import next_code_point

FINAL = np.uint64(0xC2B2AE3D27D4EB4F)
"""Odd multiplier (a prime of XXH64) that spreads the sum over the high bits, which choose the bucket."""

MAX_ORDER = 4

_BASE_2 = np.uint64((int(BASE) ** 2) % 2**64)
_BASE_3 = np.uint64((int(BASE) ** 3) % 2**64)
_SKIPPED = np.uint32(0xFFFFFFFF)


@kernel(inline="always")
def _mix(code):
    mixed = (np.uint64(code) + MIX_ADD) * MIX_MULTIPLY
    return mixed ^ (mixed >> MIX_SHIFT)


@kernel
def ngram_buckets(data, start, stop, folding, shift, max_order, out):
    """Write the bucket of every n-gram of one text, orders 1 to `max_order`; return how many.

    Parameters
    ----------
    data : uint8[:]
    start, stop : int64
    folding : uint32[65536]
        What each character becomes; 0xFFFFFFFF leaves it out.
    shift : uint64
        64 minus the bits of a bucket.
    max_order : int64
        1 to 4.
    out : int32[:]
        At least ``max_order * (stop - start)``.
    """
    a = b = c = np.uint64(0)
    seen = 0
    count = 0
    position = start
    while position < stop:
        code, position = next_code_point(data, position, stop)
        if code < 65536:
            folded = folding[code]
            if folded == _SKIPPED:
                continue
            code = np.int64(folded)
        mixed = _mix(code)
        seen += 1
        total = mixed
        out[count] = np.int32((total * FINAL) >> shift)
        count += 1
        if max_order >= 2 and seen >= 2:
            total += a * BASE
            out[count] = np.int32((total * FINAL) >> shift)
            count += 1
            if max_order >= 3 and seen >= 3:
                total += b * _BASE_2
                out[count] = np.int32((total * FINAL) >> shift)
                count += 1
                if max_order >= 4 and seen >= 4:
                    total += c * _BASE_3
                    out[count] = np.int32((total * FINAL) >> shift)
                    count += 1
        c = b
        b = a
        a = mixed
    return count


@kernel
def mean_weights(data, offsets, folding, weights, shift, max_order, means, counts):
    """The mean weight over all n-grams of each text, and how many there are.

    Parameters
    ----------
    data, offsets : uint8[:], int64[:]
    folding, shift, max_order
        As for `ngram_buckets`.
    weights : float32[:]
        One a bucket.
    means : float64[:]
        Filled; 0 for a text without n-grams.
    counts : int64[:]
        Filled.
    """
    for text in range(offsets.size - 1):
        a = b = c = np.uint64(0)
        seen = 0
        first = second = third = fourth = 0.0
        position = offsets[text]
        stop = offsets[text + 1]
        while position < stop:
            code, position = next_code_point(data, position, stop)
            if code < 65536:
                folded = folding[code]
                if folded == _SKIPPED:
                    continue
                code = np.int64(folded)
            mixed = _mix(code)
            seen += 1
            total = mixed
            first += weights[(total * FINAL) >> shift]
            if max_order >= 2 and seen >= 2:
                total += a * BASE
                second += weights[(total * FINAL) >> shift]
                if max_order >= 3 and seen >= 3:
                    total += b * _BASE_2
                    third += weights[(total * FINAL) >> shift]
                    if max_order >= 4 and seen >= 4:
                        total += c * _BASE_3
                        fourth += weights[(total * FINAL) >> shift]
            c = b
            b = a
            a = mixed
        count = 0
        for order in range(min(max_order, seen)):
            count += seen - order
        counts[text] = count
        means[text] = (first + second + third + fourth) / count if count else 0.0
