"""OpenCC converters, one of each kind a process.

A converter loads its dictionaries when it is made (some 20 ms) and holds no other state.
"""

from __future__ import annotations

from functools import cache
from typing import Any

CONVERSIONS = ("t2s", "tw2s", "hk2s", "tw2sp", "s2t", "s2tw", "s2hk", "s2twp", "t2hk", "t2jp")
"""OpenCC configurations; the ``p`` ones also replace regional words (滑鼠 → 鼠标); ``t2jp`` is to the forms
that Japan uses since 1946."""


@cache
def converter(configuration: str) -> Any:
    """The OpenCC converter of one of `CONVERSIONS`."""
    import opencc

    return opencc.OpenCC(configuration)
