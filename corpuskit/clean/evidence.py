"""How much a text looks like Chinese: the share of frequent characters among its non-ASCII ones.

Decoding without errors proves little (GB18030 accepts nearly all bytes). What tells encodings apart
is whether *frequent* characters appear: the 170 or so below cover about a third of running
Chinese (and the kana and syllables a tenth or more of Japanese and Korean), and a few per cent of
the same bytes read in a wrong encoding.

The characters are looked up in an array of UTF-16 code units, which takes a third of the time that
regular expressions take.
"""

from __future__ import annotations

import numpy as np

_FREQUENT = (
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说"
    "产种面而方后多定行学法所民得经十三之进着等部度家电力里如水化高自二理起小物现实加量都两体制机当使点"
    "業這個國來時們為說產種後學對會發動過經進體點與將網關開電還"
    "，。、：；！？“”《》（）「」のはをにがとたでる가이는의에다"
)
_BROKEN = ((0x80, 0xA0), (0xE000, 0xF900), (0xFFFD, 0xFFFE))


def _weights() -> np.ndarray:
    weights = np.zeros(1 << 16, np.int8)
    weights[[ord(character) for character in _FREQUENT]] = 1
    for start, stop in _BROKEN:
        weights[start:stop] = -1
    return weights


_WEIGHTS = _weights()


def code_units(text: str) -> np.ndarray:
    """The UTF-16 code units of a text, as uint16 (n,); a character beyond U+FFFF gives two."""
    return np.frombuffer(text.encode("utf-16-le", "surrogatepass"), np.dtype("<u2"))


def frequent_share(text: str) -> tuple[float, int]:
    """Frequent characters minus broken ones, as a share of the non-ASCII code units; and their number.

    Broken are U+FFFD, C1 controls and the private use area, which only a wrong decoding gives.

    Returns
    -------
    share : float
        Between -1 and 1; 0 for a text that is all ASCII.
    evidence : int
        Non-ASCII code units.
    """
    if text.isascii():
        return 0.0, 0
    units = code_units(text)
    evidence = int(np.count_nonzero(units > 0x7F))
    return float(_WEIGHTS.take(units).sum(dtype=np.int64)) / evidence, evidence
