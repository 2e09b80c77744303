"""Text that was decoded wrongly once and saved so: recognised by evidence, repaired where that is sure.

A crawler that reads a GBK page as Latin-1 and saves it as UTF-8 leaves ``ÖÐ¹ú`` for 中国; no charset
detection can help, because the bytes *are* UTF-8. Four such mistakes are common on Chinese pages:

======================  =========================  ============================================
kind                    中国我们 becomes            repaired by
======================  =========================  ============================================
``gb18030-as-latin-1``  ``ÖÐ¹úÎÒÃÇ``               writing the Latin-1 (or Windows-1252)
``utf-8-as-latin-1``    ``ä¸­å›½æˆ‘ä»¬``             characters as bytes again and decoding
``big5-as-latin-1``     ``¤¤°ê§Ú­Ì``               those, run by run
``utf-8-as-gb18030``    ``涓浗鎴戜滑``, ``锛屾槸``   the same through GB18030
======================  =========================  ============================================

Whether a page has been damaged is decided for the page as a whole: the characters that its runs
give must be frequent Chinese ones (or valid three-byte UTF-8, which does not happen by chance)
with next to no errors. ftfy's repair is the model for the second kind, but it does not know the
GBK kinds at all and gives up on a run with one lost byte. What cannot be restored (most text of
the fourth kind has lost every third byte of odd runs, and ``锟斤拷`` is what replacement characters
became) is named and left as it is.

An undamaged page costs a dozen searches for single characters, which run at memory speed: one of
them is in any damaged text of a line or two.
"""

from __future__ import annotations

import re
from html.entities import name2codepoint
from typing import NamedTuple

import numpy as np

from corpuskit.clean.evidence import code_units, frequent_share

UNREPAIRED = "unrepaired:"
"""Beginning of the kinds that are recognised and left as they are."""

MIN_SHARE = 0.15
"""Least share of frequent characters in the restored text. Running Chinese has 0.25 or more
(`corpuskit.clean.evidence`), text of another origin put through the same decoding less than 0.05."""

MAX_ERROR_SHARE = 0.05
"""Most characters of the restored text that may be lost for the repair to count as sure."""

MIN_CHARACTERS = 6
"""Fewer restored characters than this are no evidence; a page with four stray ones stays."""

_PASSES = 3  # text that went through the same mistake twice needs two

# Windows-1252's characters for the bytes 0x80-0x9F; the five it leaves free come as C1 controls.
_WINDOWS_1252 = {
    ord(bytes([byte]).decode("cp1252")): byte
    for byte in range(0x80, 0xA0)
    if byte not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)
}
_HIGH = "\x80-\xff" + "".join(map(chr, _WINDOWS_1252))
# Bytes 0x40-0x7E may be second bytes of GBK and Big5 characters.
_RUN = re.compile(f"[{_HIGH}](?:[@-~]?[{_HIGH}])+[@-~]?")
# A Han character's three bytes, of which a no-break space (0xA0) became a plain one on the way.
_TRAIL = "\x80-\xbf" + "".join(map(chr, _WINDOWS_1252))
_LOST_SPACE = re.compile(f"[\xe2-\xe9\xef](?: [{_TRAIL}]|[{_TRAIL}] )")
_UPPER = re.compile("[\xa1-\xff]")
_LONG_RUN = 24
_MAX_RUN_ERROR_SHARE = 0.1

# Latin-1 characters that stand in twos and threes on any page: ·, », ©, ×, °, no-break spaces.
_USUAL = "\xa0\xa9\xab\xad\xae\xb0\xb1\xb7\xbb\xd7\xf7"
_MIN_NEIGHBOURS = 3
# Of the commonest characters in GBK (µÄ 的, ÊÇ 是, £¬ ，, ¡£ 。), UTF-8 (ã ä å æ ç) and Big5 (ªº 的).
_LATIN_MARKS = "ÄÐÖÊÎÒÓ£¡ãäåæçª¤"
_GB18030_MARKS = "锛紝鐨殑銆鏄"  # ，的。是 in UTF-8, at either of two alignments

_NON_ASCII_RUN = re.compile("[^\x00-\x7f]+")
_MIN_SIGNATURE_SHARE = 0.15
_LOST_REPLACEMENTS = "锟斤拷"  # U+FFFD twice, in UTF-8, read as GBK

_ENTITY = re.compile(r"&(?:#(\d{3})|#[xX]0*([89a-fA-F][0-9a-fA-F])|([A-Za-z]{2,6}\d{0,2}));")
_LATIN_ENTITIES = {name: code for name, code in name2codepoint.items() if 0xA0 <= code <= 0xFF}
# Behind another entity, one of a character that stands in Latin-1 for a common first or second byte.
_UNUSUAL_ENTITIES = re.compile(
    ";&(?:#(?!160|169|171|183|187)(?:1[6-9]|2[0-5])[0-9]|#[xX][b-fB-F][0-9a-fA-F]"
    "|[A-Za-z](?:uml|acute|grave|circ|tilde|cedil|slash|ring)|ETH|eth|THORN|thorn|szlig|sup[123]"
    "|frac[13][24]|yen|pound|cent|curren|para|micro|brvbar);"
)
_MIN_ENTITIES = 4
_MIN_SOUND = 3


def _tables() -> tuple[np.ndarray, np.ndarray]:
    """Which code units are unusual Latin-1 characters, and which begin UTF-8 read as GB18030."""
    latin = np.zeros(1 << 16, bool)
    latin[0x80:0x100] = True
    latin[list(_WINDOWS_1252)] = True
    latin[[ord(character) for character in _USUAL]] = False
    signature = np.zeros(1 << 16, bool)
    # The first two bytes of a Han character in UTF-8, and of 、。（），：； and the quotation marks.
    pairs = [(lead, second) for lead in range(0xE4, 0xEA) for second in range(0x80, 0xC0)]
    for pair in [*pairs, (0xE3, 0x80), (0xEF, 0xBC), (0xE2, 0x80)]:
        character = bytes(pair).decode("gb18030")
        if not "\ue000" <= character <= "\uf8ff":
            signature[ord(character)] = True
    return latin, signature


_LATIN, _SIGNATURE = _tables()


class Repair(NamedTuple):
    """A text, repaired where that was sure.

    Attributes
    ----------
    text : str
    kind : str or None
        What the damage was; with the prefix ``unrepaired:`` where the text was left as it is; None
        where there was none.
    """

    text: str
    kind: str | None


def repair(text: str) -> Repair:
    """Restore text that was decoded in a wrong encoding before it was saved.

    Parameters
    ----------
    text : str
        A decoded page (HTML, where Latin-1 characters may also be entities) or plain text.

    Returns
    -------
    Repair
        `text` itself, unchanged, unless the evidence is sure.

    Examples
    --------
    >>> repair("ÎÒÃÇÔÚÖÐ¹ú¡£").text
    '我们在中国。'
    """
    kinds: list[str] = []
    for _ in range(_PASSES):
        repaired, kind = _repair_once(text)
        if kind is None or kind.startswith(UNREPAIRED):
            return Repair(text, kinds[0] if kinds else kind)
        kinds.append(kind)
        text = repaired
    return Repair(text, kinds[0])


def _repair_once(text: str) -> tuple[str, str | None]:
    if _has_entities(text):
        unescaped = _ENTITY.sub(_latin_character, text)
        if unescaped != text:
            repaired, kind = _repair_latin(unescaped)
            if kind is not None and not kind.startswith(UNREPAIRED):
                return repaired, kind
    if text.isascii():
        return text, None
    if any(mark in text for mark in _LATIN_MARKS):
        latin = _LATIN.take(code_units(text))
        if np.count_nonzero(latin[1:] & latin[:-1]) >= _MIN_NEIGHBOURS:
            repaired, kind = _repair_latin(text)
            if kind is not None:
                return repaired, kind
    if any(mark in text for mark in _GB18030_MARKS):
        units = code_units(text)
        signatures = np.count_nonzero(_SIGNATURE.take(units))
        if signatures >= max(MIN_CHARACTERS, _MIN_SIGNATURE_SHARE * np.count_nonzero(units > 0x7F)):
            repaired, kind = _repair_gb18030(text)
            if kind is not None:
                return repaired, kind
    if _LOST_REPLACEMENTS[0] in text and _LOST_REPLACEMENTS in text:
        return text, f"{UNREPAIRED}replacements-as-gb18030"
    return text, None


def _has_entities(text: str) -> bool:
    """Whether entities follow each other that are not the usual ones; cheap, and right on most pages.

    A page that has 的 in it was decoded rightly, and its entities are what they say.
    """
    position = -1
    for _ in range(_MIN_SOUND):
        position = text.find("的", position + 1)
        if position < 0:
            break
    else:
        return False
    count = text.count(";&")
    if count < _MIN_ENTITIES or count - text.count(";&nbsp;") < _MIN_ENTITIES:
        return False
    return len(_UNUSUAL_ENTITIES.findall(text)) >= _MIN_ENTITIES


def _latin_character(match: re.Match[str]) -> str:
    decimal, hexadecimal, name = match.groups()
    if decimal:
        code = int(decimal)
    elif hexadecimal:
        code = int(hexadecimal, 16)
    else:
        code = _LATIN_ENTITIES.get(name, 0)
    return chr(code) if 0x80 <= code <= 0xFF else match.group()


def _repair_latin(text: str) -> tuple[str, str | None]:
    """Repair runs of Latin-1 characters that are the bytes of another encoding."""
    runs = [run for run in map(re.Match.group, _RUN.finditer(text)) if _may_be_bytes(run)]
    if not runs:
        return text, None
    data = b"\n".join(map(_as_bytes, runs))
    encoding, sure = _encoding_of(data)
    if encoding is None:
        return text, None
    original = text
    if encoding == "utf-8" and _LOST_SPACE.search(text):
        text = _LOST_SPACE.sub(_with_no_break_space, text)
        runs = [run for run in map(re.Match.group, _RUN.finditer(text)) if _may_be_bytes(run)]
        encoding, sure = _encoding_of(b"\n".join(map(_as_bytes, runs)))
        if encoding is None:
            return original, None
    kind = f"{encoding.replace('big5hkscs', 'big5')}-as-latin-1"
    if not sure:
        return original, UNREPAIRED + kind

    def restore(match: re.Match[str]) -> str:
        run = match.group()
        return _restored(run, encoding) if _may_be_bytes(run) else run

    return _RUN.sub(restore, text), kind


def _may_be_bytes(run: str) -> bool:
    """Whether a run is no ornament (``········``) and not only quotation marks and dashes.

    ``¡¡`` is none of these: it is an ideographic space in GBK, which begins most paragraphs.
    """
    letters = _UPPER.findall(run)
    return 4 * len(letters) >= len(run) and (run[0] not in _USUAL or len(set(run)) > 1)


def _with_no_break_space(match: re.Match[str]) -> str:
    return match.group().replace(" ", "\xa0")


def _as_bytes(run: str) -> bytes:
    return run.translate(_WINDOWS_1252).encode("latin-1")


def _encoding_of(data: bytes) -> tuple[str | None, bool]:
    """The encoding that lines of bytes are in, if it is a Chinese one, and whether nearly none are lost."""
    text = data.decode("utf-8", "replace")
    lost = text.count("\ufffd")
    three_bytes = sum(character > "\u07ff" for character in text) - lost
    if three_bytes >= 3 and lost <= max(1, three_bytes):
        return "utf-8", lost <= MAX_ERROR_SHARE * three_bytes
    if not three_bytes and not lost and _is_latin_mojibake(text):
        return "utf-8", True
    best, best_share, best_sure = None, MIN_SHARE, False
    for encoding in ("gb18030", "big5hkscs"):
        text = data.decode(encoding, "replace")
        share, evidence = frequent_share(text)
        if evidence >= MIN_CHARACTERS and share > best_share:
            best, best_share = encoding, share
            best_sure = text.count("\ufffd") <= MAX_ERROR_SHARE * evidence
    return best, best_sure


def _is_latin_mojibake(text: str) -> bool:
    """Whether decoding gave text that is itself bytes read as Latin-1: the mistake was made twice."""
    lines = "".join(text.split("\n"))
    if not lines or not all("\x80" <= character <= "\xff" for character in lines if character > "\x7f"):
        return False
    return _encoding_of(text.encode("latin-1"))[0] is not None


def _restored(run: str, encoding: str) -> str:
    data = _as_bytes(run)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode(encoding, "replace")
        tolerable = len(run) >= _LONG_RUN and text.count("\ufffd") <= _MAX_RUN_ERROR_SHARE * len(text)
        return text if tolerable else run


def _repair_gb18030(text: str) -> tuple[str, str | None]:
    """Repair runs that are UTF-8 read as GB18030, where no bytes are lost."""
    runs = _NON_ASCII_RUN.findall(text)
    restored = [_from_gb18030(run) for run in runs]
    joined = "".join(restored)
    share, evidence = frequent_share(joined.replace("\ufffd", ""))
    if evidence < MIN_CHARACTERS or share <= max(MIN_SHARE, 2 * frequent_share("".join(runs))[0]):
        return text, None
    kind = "utf-8-as-gb18030"
    if joined.count("\ufffd") > MAX_ERROR_SHARE * evidence:
        return text, UNREPAIRED + kind
    pieces = iter(restored)
    return _NON_ASCII_RUN.sub(lambda _: next(pieces), text), kind


def _from_gb18030(run: str) -> str:
    # Windows reads a lone byte 0x80 as the euro sign; U+FFFD stands for a byte that is lost.
    parts = run.replace("\ufffd", "\uffff").split("€")
    lost = "\uffff".encode("gb18030")
    data = b"\x80".join(part.encode("gb18030") for part in parts).replace(lost, b"\xff")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
        # A run of real Chinese on the same page gives little but errors.
        return text if 3 * text.count("\ufffd") <= len(text) else run
