"""64-bit mixing of code points and words, and sets of such hashes.

`finish` is the MurmurHash3 finaliser, a bijection.
"""

from __future__ import annotations

import numpy as np

from corpuskit.kernels.compiler import kernel

BASE = np.uint64(0x9E3779B97F4A7C15)
MIX_ADD = np.uint64(0xD1B54A32D192ED03)
MIX_MULTIPLY = np.uint64(0xAEF17502108EF2D9)
MIX_SHIFT = np.uint64(29)

_FMIX_SHIFT = np.uint64(33)
_FMIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_FMIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_INVERSE_1 = np.uint64(0x4F74430C22A54005)
_INVERSE_2 = np.uint64(0x9CB4B2F8129337DB)


@kernel
def finish(value):
    """The 64-bit finaliser of MurmurHash3 (Appleby, public domain): a bijection that avalanches."""
    value ^= value >> _FMIX_SHIFT
    value *= _FMIX_1
    value ^= value >> _FMIX_SHIFT
    value *= _FMIX_2
    return value ^ (value >> _FMIX_SHIFT)


@kernel
def unfinish(value):
    """The inverse of `finish` (the multipliers are the inverses modulo 2**64)."""
    value ^= value >> _FMIX_SHIFT
    value *= _INVERSE_2
    value ^= value >> _FMIX_SHIFT
    value *= _INVERSE_1
    return value ^ (value >> _FMIX_SHIFT)


@kernel
def insert(table, value):
    """Put `value` into an open-addressing set (uint64[power of two], 0 = free); whether it was new."""
    if value == np.uint64(0):
        value = np.uint64(1)
    mask = np.uint64(table.size - 1)
    slot = value & mask
    while table[slot] != np.uint64(0):
        if table[slot] == value:
            return False
        slot = (slot + np.uint64(1)) & mask
    table[slot] = value
    return True


@kernel
def contains(table, value):
    """Whether `value` is in the set."""
    if value == np.uint64(0):
        value = np.uint64(1)
    mask = np.uint64(table.size - 1)
    slot = value & mask
    while table[slot] != np.uint64(0):
        if table[slot] == value:
            return True
        slot = (slot + np.uint64(1)) & mask
    return False
