"""Bytes of unknown origin to text, with the evidence for the charset that was taken.

Chinese pages say GB2312 and hold GB18030, say ISO-8859-1 and hold GBK, say GBK and hold UTF-8, or
are cut in the middle of a character; a strict decoder loses nearly all of the last kind. So every
name of the GB family is read as GB18030 and Big5 as Big5-HKSCS (their supersets), a cut character
at the end is left off, undecodable bytes become U+FFFD and are counted, and a declaration is
believed only as long as the text that it gives looks like text.

Which encoding is right is told by the share of frequent characters in what it gives
(`corpuskit.clean.evidence`). Text that had been decoded wrongly before it was saved is then repaired
where that is sure (`corpuskit.clean.mojibake`).
"""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

from corpuskit.clean.evidence import frequent_share
from corpuskit.clean.mojibake import UNREPAIRED, repair

META_WINDOW_BYTES = 16_384
"""How far into a page a declaration is looked for. Browsers stop at 1,024 bytes; news sites put
scripts and preloads before it."""

DETECTION_WINDOW_BYTES = 131_072
"""How much is read to tell encodings apart."""

DETECTION_SAMPLE_BYTES = 32_768
"""How much of the non-ASCII stretches in that window is decoded in each encoding that is tried."""

MAX_ERROR_RATE = 0.002
"""Replaced characters per character above which a declared charset is doubted and others tried."""

MIN_FREQUENT_SHARE = 0.05
"""Least share of frequent characters among non-ASCII ones for a declared charset to be believed.
On 95 Chinese pages of news sites and forums the true charset gave 0.25 or more, a wrong one less
than 0."""

SURE_SHARE = 0.25
"""Share of frequent characters from which no other encoding needs to be tried."""

MIN_UTF16_SHARE = 0.15
"""The same for UTF-16 without any mark: any pair of bytes is a character there, most of them Han."""

MIN_EVIDENCE = 12
"""With fewer non-ASCII characters than this the shares mean nothing and a declaration stands."""

_BEYOND_TWO_BYTES = re.compile("[\u0800-\U0010ffff]")
_NON_ASCII = re.compile(r"[^\x00-\x7f]")
_META = re.compile(rb"<meta\b[^>]{0,512}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
_XML = re.compile(rb"<\?xml\b[^>]{0,256}?encoding\s*=\s*[\"']([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
# From a non-ASCII byte to the next bracket or line end, none of which is the second byte of a
# character in any of the encodings.
_STRETCH = re.compile(rb"[\x80-\xff][^<>\n]*")
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
# Their decoders give no lone surrogates, whatever the bytes.
_WITHOUT_SURROGATES = ("utf-8", "gb18030", "big5hkscs", "cp1252")
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
        ``http-unknown:foo``, ``valid-utf-8``, ``zero-bytes``, ``detected:big5hkscs``,
        ``rejected:utf-8`` …; last ``repaired:KIND`` or ``unrepaired:KIND`` where the text had been
        decoded wrongly before (kinds: `corpuskit.clean.mojibake`).
    error_rate : float
        Replaced characters per character.
    """

    text: str
    encoding: str
    evidence: tuple[str, ...]
    error_rate: float

    @property
    def mojibake(self) -> str | None:
        """``repaired:KIND``, ``unrepaired:KIND``, or None for text that was not decoded twice."""
        last = self.evidence[-1] if self.evidence else ""
        return last if last.startswith(("repaired:", UNREPAIRED)) else None


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
        The order is: byte order mark, the zero bytes of UTF-16, text that is valid UTF-8 beyond
        chance, the HTTP header, the declaration in the page, detection. A declaration whose text
        has more than `MAX_ERROR_RATE` errors or too few frequent characters competes with the
        other encodings.
    """
    text, encoding, evidence = _decode_once(data, http_charset)
    repaired, kind = repair(text)
    if kind is not None:
        evidence.append(kind if kind.startswith(UNREPAIRED) else f"repaired:{kind}")
    return Decoded(repaired, encoding, tuple(evidence), _error_rate(repaired))


def _decode_once(data: bytes, http_charset: str | None) -> tuple[str, str, list[str]]:
    """Text, encoding and evidence, before mojibake is looked for."""
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return _decode(data[len(mark) :], encoding), encoding, ["bom"]

    evidence: list[str] = []
    declared = _declarations(data, http_charset, evidence)

    wide = _utf16_by_zeros(data)
    if wide is not None:
        return _decode(data, wide), wide, [*evidence, "zero-bytes"]

    strict = _strict_utf8(data)
    if strict is not None and (not declared or "utf-8" in declared or _utf8_beyond_chance(strict)):
        return strict, "utf-8", [*evidence, "valid-utf-8"]

    for encoding in declared:
        text = _decode(data, encoding)
        if _believable(text):
            return text, encoding, evidence
        evidence.append(f"rejected:{encoding}")

    encoding = _best(data, declared)
    evidence.append(f"detected:{encoding}")
    return _decode(data, encoding), encoding, evidence


def canonical_encoding(label: str) -> str | None:
    """Python's codec for a charset label of the web, or None for an unknown label.

    The GB family becomes ``gb18030``, Big5 ``big5hkscs``, ISO-8859-1 ``cp1252``.
    """
    label = label.strip().strip("\"'").lower()
    if label in _FURTHER_LABELS:
        return _FURTHER_LABELS[label]
    if not label or not label.isascii():
        return None
    from resiliparse.parse.encoding import map_encoding_to_html5

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
    window = data[:META_WINDOW_BYTES]
    for origin, pattern in (("xml", _XML), ("meta", _META)):
        match = pattern.search(window)
        if match and window.rfind(b"<!--", 0, match.start()) > window.rfind(b"-->", 0, match.start()):
            match = pattern.search(_COMMENT.sub(b"", window))  # that one was in a comment
        if match:
            note(origin, match.group(1).decode("ascii"))
    return found


def _decode(data: bytes, encoding: str) -> str:
    """Decode with U+FFFD for undecodable bytes, leaving off a character cut at the end."""
    text = codecs.getincrementaldecoder(encoding)("replace").decode(data, False)
    if encoding in _WITHOUT_SURROGATES:
        return text
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
    return text.count("\ufffd") / len(text) if "\ufffd" in text else 0.0  # finding is faster than counting


def _utf16_by_zeros(data: bytes) -> str | None:
    """UTF-16 without a byte order mark, told by the zero bytes of its ASCII characters.

    Markup, digits and line ends are zero in every second byte, always the same one, and zero bytes
    occur in no other charset of the web. A page must have them in 1 of 50 characters; one with
    fewer (text alone) is left to detection.
    """
    window = data[: DETECTION_WINDOW_BYTES & ~1]
    if b"\0" not in window or window.count(0) * 100 < len(window):
        return None
    low, high = window[0::2].count(0), window[1::2].count(0)
    if min(low, high) * 20 > max(low, high):
        return None
    encoding = "utf-16-le" if high > low else "utf-16-be"
    text = _decode(window, encoding)
    return encoding if text.count("\ufffd") <= MAX_ERROR_RATE * len(text) else None


def _believable(text: str) -> bool:
    share, evidence = frequent_share(text[:DETECTION_SAMPLE_BYTES])
    if evidence < MIN_EVIDENCE * 10:
        share, evidence = frequent_share(text[:DETECTION_WINDOW_BYTES])
    if evidence < MIN_EVIDENCE:
        return _error_rate(text) <= max(MAX_ERROR_RATE, 0.5 / max(len(text), 1))
    return _error_rate(text) <= MAX_ERROR_RATE and share >= MIN_FREQUENT_SHARE


def _best(data: bytes, declared: list[str]) -> str:
    """The encoding whose text holds the largest share of frequent characters.

    Ties (no Chinese at all) go to the first: declared ones, UTF-8. resiliparse's detector is asked
    only where these leave a doubt.
    """
    from resiliparse.parse.encoding import detect_encoding

    window = data[:DETECTION_WINDOW_BYTES]
    sample = _sample(window)
    shares: dict[str, float] = {}

    def share_of(encoding: str) -> float:
        if encoding not in shares:
            shares[encoding] = frequent_share(_decode(sample, encoding))[0]
        return shares[encoding]

    for encoding in ("gb18030", "big5hkscs"):  # what nearly every page here is in
        if share_of(encoding) >= SURE_SHARE:
            return encoding
    detected = canonical_encoding(detect_encoding(sample) or "") or "utf-8"
    best, best_score = "utf-8", float("-inf")
    for encoding in (*declared, "utf-8", "gb18030", "big5hkscs", detected):
        # Half a per cent: a difference below that is noise, and the earlier candidate stands.
        if share_of(encoding) > best_score + 0.005:
            best, best_score = encoding, share_of(encoding)
    if best_score < MIN_FREQUENT_SHARE:
        for encoding in ("utf-16-le", "utf-16-be"):
            share, evidence = frequent_share(_decode(window[:DETECTION_SAMPLE_BYTES], encoding))
            if evidence >= MIN_EVIDENCE and share >= max(MIN_UTF16_SHARE, best_score + 0.005):
                best, best_score = encoding, share
    return best


def _sample(window: bytes) -> bytes:
    """The stretches of a window that hold non-ASCII bytes, a line each, up to a sample's size."""
    pieces: list[bytes] = []
    size = 0
    for match in _STRETCH.finditer(window):
        pieces.append(match.group())
        size += len(pieces[-1]) + 1
        if size >= DETECTION_SAMPLE_BYTES:
            break
    return b"\n".join(pieces) or window[:DETECTION_SAMPLE_BYTES]
