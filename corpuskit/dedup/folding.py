"""What two texts must share to be the same wording: characters folded, what carries none left out.

A copied test question comes back with other line breaks, in full width, without its punctuation or
in the other script. So texts are compared by *folded* characters: compatibility forms as their plain
form (NFKD of Unicode 3.2, where one character is left of it), small letters, marks, punctuation,
symbols and everything invisible left out, and all variants of a Chinese character as one.

Variants are folded by character, not by converting whole texts: OpenCC decides by context (乾隆 stays,
乾燥 becomes 干燥), so a quotation that is cut elsewhere would convert differently. Characters that any
of OpenCC's six standard conversions turns into each other are one class (4,609 classes, none larger
than five), and one member stands for it.
"""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np
import xxhash

from corpuskit.dedup.shingles import ignored_table

LEFT_OUT = np.uint32(0xFFFFFFFF)
"""Marks characters that do not count."""

VARIANT_CONVERSIONS = ("t2s", "tw2s", "hk2s", "s2t", "s2tw", "s2hk")

_HAN = ((0x3400, 0xA000), (0xF900, 0xFB00), (0x20000, 0x2FA20))
_EMOJI = (0x1F000, 0x1FB00)
# Beyond the BMP, only these have forms to fold: mathematical letters, and Han.
_ASTRAL = ((0x1D400, 0x1D800), (0x20000, 0x2FA20))


@cache
def fold_table(variants: bool = True) -> np.ndarray:
    """uint32[0x110000]: what each code point becomes, or `LEFT_OUT`; read-only.

    Parameters
    ----------
    variants : bool
        Whether the variants of a Chinese character are one.
    """
    table = np.arange(0x110000, dtype=np.uint32)
    ignored = ignored_table("space-punctuation")
    ucd = unicodedata.ucd_3_2_0
    for first, last in ((0, 65536), *_ASTRAL):
        for code in range(first, last):
            if 0xD800 <= code < 0xE000:
                continue
            character = chr(code)
            plain = [c for c in ucd.normalize("NFKD", character) if _counts(c, ignored)]
            if len(plain) == 1:
                character = plain[0]
            elif not plain or not _counts(character, ignored):
                table[code] = LEFT_OUT
                continue
            lower = character.lower()
            table[code] = ord(lower) if len(lower) == 1 else ord(character)
    table[slice(*_EMOJI)] = LEFT_OUT
    if variants:
        merged = np.arange(0x110000, dtype=np.uint32)
        for code, representative in _variant_classes().items():
            merged[code] = representative
        counted = table != LEFT_OUT
        table[counted] = merged[table[counted]]
    table.setflags(write=False)
    return table


@cache
def fold_tag(variants: bool = True) -> str:
    """A name for the table's content, which depends on OpenCC's dictionaries."""
    return f"fold:{xxhash.xxh3_64_hexdigest(fold_table(variants).data)}"


def fold(text: str, variants: bool = True) -> tuple[str, list[int]]:
    """The folded text, and for each of its characters the place in `text` that it comes from.

    The plain form of what the kernels do with `fold_table`.
    """
    table = fold_table(variants)
    kept = [(int(code), place) for place, c in enumerate(text) if (code := table[ord(c)]) != LEFT_OUT]
    return "".join(chr(code) for code, _ in kept), [place for _, place in kept]


def _counts(character: str, ignored: np.ndarray) -> bool:
    code = ord(character)
    if unicodedata.ucd_3_2_0.category(character)[0] == "M":
        return False
    return code >= 65536 or not ignored[code]


def _variant_classes() -> dict[int, int]:
    """Each character that has variants, with the smallest code point of its class."""
    from corpuskit.clean.variants import converter

    characters = [chr(code) for first, last in _HAN for code in range(first, last)]
    text = "\n".join(characters)
    parents: dict[str, str] = {}

    def root(character: str) -> str:
        while character in parents:
            character = parents[character]
        return character

    for conversion in VARIANT_CONVERSIONS:
        for source, target in zip(characters, converter(conversion).convert(text).split("\n")):
            if source != target and len(target) == 1:
                one, other = root(source), root(target)
                if one != other:
                    parents[max(one, other)] = min(one, other)
    return {ord(character): ord(root(character)) for character in parents}
