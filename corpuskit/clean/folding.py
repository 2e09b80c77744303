"""What the two quality models see of a text: characters folded so that formatting does not decide.

Where a text comes from shows in its white space and line ends, in fullwidth or ASCII digits and in
the numbers themselves; a model that may look at those learns the source instead of the writing.
CCNet (Wenzek et al. 2020, arXiv:1911.00359, §3.4) therefore lower-cases text and replaces every
digit by 0 before its language model sees it; here white space, control and format characters go
too, and fullwidth ASCII becomes ASCII.
"""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np

FOLDING = "fold-1"
"""Name of this folding; model files carry it, and a model of another folding is refused."""

SKIPPED = np.uint32(0xFFFFFFFF)
"""Marks the characters that are left out."""


@cache
def folding_table() -> np.ndarray:
    """uint32[65536]: what each character of the BMP becomes, or `SKIPPED`; the others stay."""
    table = np.arange(0x10000, dtype=np.uint32)
    for code in range(0x10000):
        character = chr(code)
        if 0xFF01 <= code <= 0xFF5E:
            character = chr(code - 0xFEE0)
        category = unicodedata.category(character)
        if character.isspace() or category in ("Cc", "Cf"):
            table[code] = SKIPPED
        elif category == "Nd":
            table[code] = ord("0")
        else:
            table[code] = ord(character.lower()) if character.isascii() else ord(character)
    table.setflags(write=False)
    return table


def fold(text: str) -> str:
    """`text` as the models see it: the plain form of what the kernels do with `folding_table`."""
    table = folding_table()
    codes = (table[code] if (code := ord(c)) < table.size else code for c in text)
    return "".join(chr(code) for code in codes if code != SKIPPED)
