"""Bytes of unknown origin to text, with the evidence for the charset that was taken.

Chinese pages say GB2312 and hold GB18030, say ISO-8859-1 and hold GBK, say GBK and hold UTF-8, or
are cut in the middle of a character; a strict decoder loses nearly all of the last kind. So every
name of the GB family is read as GB18030 and Big5 as Big5-HKSCS (their supersets), a cut character
at the end is left off, undecodable bytes become U+FFFD and are counted, and a declaration is
believed only as long as the text that it gives looks like text.

Decoding without errors proves little (GB18030 accepts nearly all bytes). What tells encodings apart
is whether *frequent* characters appear: the 130 or so below cover about a third of running
Chinese, and a few per cent of the same bytes read in a wrong encoding.
"""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

META_WINDOW_BYTES = 16_384
"""How far into a page a declaration is looked for. Browsers stop at 1,024 bytes; news sites put
scripts and preloads before it."""

DETECTION_WINDOW_BYTES = 131_072
"""How much is read to tell encodings apart."""

MAX_ERROR_RATE = 0.002
"""Replaced characters per character above which a declared charset is doubted and others tried."""

MIN_FREQUENT_SHARE = 0.05
"""Least share of frequent characters among non-ASCII ones for a declared charset to be believed.
On 95 Chinese pages of news sites and forums the true charset gave 0.25 or more, a wrong one less
than 0."""

MIN_EVIDENCE = 12
"""With fewer non-ASCII characters than this the shares mean nothing and a declaration stands."""

_FREQUENT = re.compile(
    "[的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说"
    "产种面而方后多定行学法所民得经十三之进着等部度家电力里如水化高自二理起小物现实加量都两体制机当使点"
    "業這個國來時們為說產種後學對會發動過經進體點與將網關開電還"
    "，。、：；！？“”《》（）「」のはをにがとたでる가이는의에다]"
)
_NON_ASCII = re.compile(r"[^\x00-\x7f]")
_BROKEN = re.compile("[\ufffd\ue000-\uf8ff\x80-\x9f]")
_BEYOND_TWO_BYTES = re.compile("[\u0800-\U0010ffff]")
_META = re.compile(rb"<meta\b[^>]{0,512}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
_XML = re.compile(rb"<\?xml\b[^>]{0,256}?encoding\s*=\s*[\"']([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
_PARAMETER = re.compile(r"charset\s*=\s*[\"']?\s*([^\s;\"']+)", re.IGNORECASE)

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# A name's superset: what pages under that name really hold.
_SUPERSETS = {
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
}
# Names seen in the wild that the web's table of labels does not have.
_FURTHER_LABELS = {
    "cp936": "gb18030",
    "ms936": "gb18030",
    "windows-936": "gb18030",
    "gb-2312": "gb18030",
    "gb18030-2000": "gb18030",
    "gb18030-2005": "gb18030",
    "gb18030-2022": "gb18030",
    "euc-cn": "gb18030",
    "hz-gb-2312": "hz",
    "cp950": "big5hkscs",
    "big5hkscs": "big5hkscs",
    "big5-eten": "big5hkscs",
}


class Decoded(NamedTuple):
    """Text, and why it was decoded so.

    Attributes
    ----------
    text : str
        Never holds a surrogate; undecodable bytes are U+FFFD.
    encoding : str
        Python's name of the encoding used.
    evidence : tuple of str
        What spoke for it, in the order met: ``bom``, ``http:gbk``, ``meta:gb2312``,
        ``http-unknown:foo``, ``valid-utf-8``, ``detected:big5hkscs``, ``rejected:utf-8`` ….
    error_rate : float
        Replaced characters per character.
    """

    text: str
    encoding: str
    evidence: tuple[str, ...]
    error_rate: float


def decode(data: bytes, http_charset: str | None = None) -> Decoded:
    """Decode a page, a line or a file of unknown charset. Never raises on any bytes.

    Parameters
    ----------
    data : bytes
        The raw bytes, whole or cut anywhere.
    http_charset : str, optional
        The charset of the HTTP header, or the whole ``Content-Type`` value. Unknown names are
        ignored and recorded in the evidence.

    Returns
    -------
    Decoded
        The order is: byte order mark, text that is valid UTF-8 beyond chance, the HTTP header, the
        declaration in the page, detection. A declaration whose text has more than
        `MAX_ERROR_RATE` errors or too few frequent characters competes with the other encodings.
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            text = _decode(data[len(mark) :], encoding)
            return Decoded(text, encoding, ("bom",), _error_rate(text))

    evidence: list[str] = []
    declared = _declarations(data, http_charset, evidence)

    strict = _strict_utf8(data)
    if strict is not None and (not declared or "utf-8" in declared or _utf8_beyond_chance(strict)):
        return Decoded(strict, "utf-8", (*evidence, "valid-utf-8"), _error_rate(strict))

    for encoding in declared:
        text = _decode(data, encoding)
        if _believable(text):
            return Decoded(text, encoding, tuple(evidence), _error_rate(text))
        evidence.append(f"rejected:{encoding}")

    encoding = _best(data, declared)
    evidence.append(f"detected:{encoding}")
    text = _decode(data, encoding)
    return Decoded(text, encoding, tuple(evidence), _error_rate(text))


def canonical_encoding(label: str) -> str | None:
    """Python's codec for a charset label of the web, or None for an unknown label.

    The GB family becomes ``gb18030``, Big5 ``big5hkscs``, ISO-8859-1 ``cp1252``.
    """
    label = label.strip().strip("\"'").lower()
    if label in _FURTHER_LABELS:
        return _FURTHER_LABELS[label]
    if not label or not label.isascii():
        return None
    mapped = map_encoding_to_html5(label, fallback_utf8=False)
    if mapped is None:
        return None
    mapped = _SUPERSETS.get(mapped.lower(), mapped.lower())
    try:
        return mapped if codecs.lookup(mapped)._is_text_encoding else None
    except LookupError:
        return None


def _declarations(data: bytes, http_charset: str | None, evidence: list[str]) -> list[str]:
    """Encodings declared outside and inside the page, without repeats; notes go to `evidence`."""
    found: list[str] = []

    def note(origin: str, label: str) -> None:
        encoding = canonical_encoding(label)
        if encoding is None:
            evidence.append(f"{origin}-unknown:{label[:40]}")
            return
        if origin != "http" and encoding.startswith(("utf-16", "utf-32")):
            encoding = "utf-8"  # a declaration readable as ASCII cannot lie in UTF-16 text
        evidence.append(f"{origin}:{label.lower()[:40]}")
        if encoding not in found:
            found.append(encoding)

    if http_charset:
        parameter = _PARAMETER.search(http_charset)
        if parameter:
            note("http", parameter.group(1))
        elif "/" not in http_charset:
            note("http", http_charset)
    window = _COMMENT.sub(b"", data[:META_WINDOW_BYTES])
    for origin, pattern in (("xml", _XML), ("meta", _META)):
        match = pattern.search(window)
        if match:
            note(origin, match.group(1).decode("ascii"))
    return found


def _decode(data: bytes, encoding: str) -> str:
    """Decode with U+FFFD for undecodable bytes, leaving off a character cut at the end."""
    text = codecs.getincrementaldecoder(encoding)("replace").decode(data, False)
    # Some codecs let lone surrogates through; text must always be encodable.
    return text.encode("utf-8", "replace").decode("utf-8") if _has_surrogate(text) else text


def _has_surrogate(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _strict_utf8(data: bytes) -> str | None:
    try:
        return codecs.getincrementaldecoder("utf-8")("strict").decode(data, False)
    except UnicodeDecodeError:
        return None


def _utf8_beyond_chance(text: str) -> bool:
    """Whether valid UTF-8 outweighs another declaration.

    A GB2312 character passes for a two-byte UTF-8 sequence with a chance of about 0.2, so ten of
    them do with 1e-7; a run that passes for a three-byte sequence is rarer still.
    """
    return (
        text.isascii() or len(_NON_ASCII.findall(text, 0, 4096)) >= 10 or bool(_BEYOND_TWO_BYTES.search(text))
    )


def _error_rate(text: str) -> float:
    return text.count("\ufffd") / len(text) if text else 0.0


def _frequent_share(text: str) -> tuple[float, int]:
    """Share of frequent characters among the non-ASCII ones, less broken ones; and their number."""
    others = "".join(_NON_ASCII.findall(text))
    if not others:
        return 0.0, 0
    good = len(_FREQUENT.findall(others))
    broken = len(_BROKEN.findall(others))
    return (good - broken) / len(others), len(others)


def _believable(text: str) -> bool:
    share, evidence = _frequent_share(text[:DETECTION_WINDOW_BYTES])
    if evidence < MIN_EVIDENCE:
        return _error_rate(text) <= max(MAX_ERROR_RATE, 0.5 / max(len(text), 1))
    return _error_rate(text) <= MAX_ERROR_RATE and share >= MIN_FREQUENT_SHARE


def _best(data: bytes, declared: list[str]) -> str:
    """The encoding whose text holds the largest share of frequent characters.

    Ties (no Chinese at all) go to the first: declared ones, the detector's, UTF-8.
    """
    window = data[:DETECTION_WINDOW_BYTES]
    detected = canonical_encoding(detect_encoding(window) or "utf-8")
    candidates = [*declared, *([detected] if detected else []), "utf-8", "gb18030", "big5hkscs"]
    if window.count(0) * 5 > len(window):
        candidates += ["utf-16-le", "utf-16-be"]
    best, best_score = "utf-8", float("-inf")
    for encoding in dict.fromkeys(candidates):
        share, _ = _frequent_share(_decode(window, encoding))
        # Half a per cent: a difference below that is noise, and the earlier candidate stands.
        if share > best_score + 0.005:
            best, best_score = encoding, share
    return best
