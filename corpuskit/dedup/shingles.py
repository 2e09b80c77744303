"""What a shingle is: which characters count, and the hash of n consecutive ones.

Chinese has no word breaks, so shingles are n-grams of *characters* (default 5; NeMo Curator takes
24 and Chinese-Tiny-LLM 13, on other texts and thresholds). White space differs between copies of
one page (line wrapping, indentation with U+3000), so it does not count by default; punctuation
does, unless asked.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpuskit.errors import ConfigError
from corpuskit.kernels import hashing, utf8
from corpuskit.kernels import shingles as kernel

Ignore = Literal["nothing", "space", "space-punctuation"]
"""Which characters do not count.

``space``: Unicode categories Zs, Zl, Zp, Cc and Cf (spaces, U+3000, line breaks, zero-width and
other invisible characters). ``space-punctuation``: those and all of P* and S* (punctuation, symbols).
"""

_MASK64 = (1 << 64) - 1


def check_ignore(ignore: str) -> None:
    """Raise `ConfigError` unless `ignore` is one of `Ignore`."""
    if ignore not in get_args(Ignore):
        raise ConfigError(f"{ignore!r} is not one of {', '.join(get_args(Ignore))}", where="ignore")


@cache
def ignored_table(ignore: Ignore) -> np.ndarray:
    """A read-only uint8[65536] with 1 at the code points that do not count.

    The categories are those of Unicode 3.2, which Python freezes as `unicodedata.ucd_3_2_0`, so
    that hashes do not change with the Python version.
    """
    check_ignore(ignore)
    table = np.zeros(65536, np.uint8)
    if ignore != "nothing":
        for code in range(65536):
            category = unicodedata.ucd_3_2_0.category(chr(code))
            if category in ("Zs", "Zl", "Zp", "Cc", "Cf") or (
                ignore == "space-punctuation" and category[0] in "PS"
            ):
                table[code] = 1
    table.setflags(write=False)
    return table


def text_buffers(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The UTF-8 bytes (uint8) and offsets (int64, one more than texts) of a string array.

    Views, without a copy, of a `large_string` array without nulls; anything else is cast first
    and a null counts as an empty text.
    """
    if texts.type != pa.large_string():
        texts = texts.cast(pa.large_string())
    if texts.null_count:
        texts = pc.fill_null(texts, "")
    _, offset_buffer, data_buffer = texts.buffers()
    if offset_buffer is None or not len(texts):
        offsets = np.zeros(len(texts) + 1, np.int64)
    else:
        offsets = np.frombuffer(offset_buffer, np.int64, len(texts) + 1, texts.offset * 8)
    if data_buffer is None or data_buffer.size == 0:
        return np.zeros(1, np.uint8), offsets
    return np.frombuffer(data_buffer, np.uint8), offsets


def character_counts(texts: pa.Array) -> np.ndarray:
    """The number of characters of each text (int64)."""
    counts = np.empty(len(texts), np.int64)
    utf8.count_characters(*text_buffers(texts), counts)
    return counts


def shingle_sum(shingle: str | bytes) -> int:
    """The 64-bit sum of one shingle; the readable twin of `corpuskit.kernels.shingles.read_block`.

    Parameters
    ----------
    shingle : str or bytes
        The characters (UTF-8 if bytes), without those that do not count.
    """
    if isinstance(shingle, bytes):
        shingle = shingle.decode("utf-8", "surrogatepass")
    total = 0
    for back, character in enumerate(reversed(shingle)):
        mixed = (ord(character) + int(hashing.MIX_ADD)) * int(hashing.MIX_MULTIPLY) & _MASK64
        mixed ^= mixed >> int(hashing.MIX_SHIFT)
        turn = kernel.ROTATION * back % 64
        total ^= (mixed << turn | mixed >> (64 - turn)) & _MASK64
    return total


def shingle_hash(shingle: str | bytes) -> int:
    """The 64-bit hash of one shingle: its sum, finished."""
    return finish(shingle_sum(shingle))


def shingle_hash32(shingle: str | bytes) -> int:
    """The lower 32 bits of `shingle_hash`: the ``hashfunc`` of datasketch's `affine32` scheme."""
    return shingle_hash(shingle) & 0xFFFFFFFF


def finish(value: int) -> int:
    """The finaliser of MurmurHash3 in plain Python."""
    value ^= value >> 33
    value = value * 0xFF51AFD7ED558CCD & _MASK64
    value ^= value >> 33
    value = value * 0xC4CEB9FE1A85EC53 & _MASK64
    return value ^ (value >> 33)


def shingles(text: str, ngram: int = 5, ignore: Ignore = "space") -> list[str]:
    """The shingles of one text, in order and with repetitions.

    A text with fewer than `ngram` counting characters is one shingle; one with none has none.
    """
    table = ignored_table(ignore)
    counted = "".join(c for c in text if ord(c) >= 65536 or not table[ord(c)])
    if not counted:
        return []
    return [counted[i : i + ngram] for i in range(max(1, len(counted) - ngram + 1))]


def jaccard(
    texts: pa.Array, left: np.ndarray, right: np.ndarray, ngram: int = 5, ignore: Ignore = "space"
) -> np.ndarray:
    """Exact Jaccard similarity of the shingle sets of pairs of texts.

    Parameters
    ----------
    texts : pyarrow.Array
    left, right : integer arrays
        Positions in `texts`, one pair each.

    Returns
    -------
    float64 array
        0 for two texts without shingles.
    """
    out = np.empty(len(left), np.float64)
    data, offsets = text_buffers(texts)
    pairs = np.asarray(left, np.int64), np.asarray(right, np.int64)
    kernel.jaccard_pairs(data, offsets, *pairs, ignored_table(ignore), ngram, out)
    return out
