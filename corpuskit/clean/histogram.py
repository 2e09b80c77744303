"""Histograms of measurements whose scale nobody knows beforehand, in a form that adds up.

Bins are fixed: 64 to each power of two, equally wide within it, and zero apart (the bins of
HdrHistogram). No value is off by more than 1/64, be it a share of 0.001 or a length of millions;
integers up to 64 are exact; and two histograms add up to that of all documents together, which
quantiles or bins fitted to the data do not.
"""

from __future__ import annotations

import math

import numpy as np

BINS_PER_OCTAVE = 64
_MAX_EXPONENT = 64  # values beyond 2^±64 are counted with those at it
_ZERO = 0
_FIRST = (_MAX_EXPONENT + 1) * BINS_PER_OCTAVE + 1  # keeps the bins of positive values positive


def bins_of(values: np.ndarray) -> np.ndarray:
    """The histogram bin of each value.

    Parameters
    ----------
    values : float64[n]
        Finite values.

    Returns
    -------
    int64[n]
        0 for zero; positive and rising with positive values; negated for negative ones.
    """
    mantissa, exponent = np.frexp(np.abs(values))
    inside = np.floor((mantissa * 2 - 1) * BINS_PER_OCTAVE).astype(np.int64)
    inside = np.where(
        exponent > _MAX_EXPONENT, BINS_PER_OCTAVE - 1, np.where(exponent < -_MAX_EXPONENT, 0, inside)
    )
    octave = np.clip(exponent, -_MAX_EXPONENT, _MAX_EXPONENT).astype(np.int64)
    bins = octave * BINS_PER_OCTAVE + inside + _FIRST
    return np.where(values == 0, _ZERO, np.where(values < 0, -bins, bins))


def bin_edges(index: int) -> tuple[float, float]:
    """The smallest value of a bin, and the smallest above it (the other way round below zero)."""
    if index == _ZERO:
        return 0.0, 0.0
    if index < 0:
        low, high = bin_edges(-index)
        return -high, -low
    octave, inside = divmod(index - _FIRST, BINS_PER_OCTAVE)
    unit = math.ldexp(0.5, octave)
    return unit * (1 + inside / BINS_PER_OCTAVE), unit * (1 + (inside + 1) / BINS_PER_OCTAVE)
