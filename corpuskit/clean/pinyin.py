"""Pinyin that annotates Chinese text: in brackets behind a character, or as lines of its own.

Readers for children and learners set ``汉(hàn)语(yǔ)`` or a line of pinyin above each line of text. A
model that reads it learns text that nobody writes. Annotation is only what spells syllables of Standard
Chinese (the table of the Hanyu Pinyin scheme), with a tone mark or number, behind at least as many
characters as there are syllables; so ``（GDP）``, ``（café）`` and ``（num1）`` stay.
"""

from __future__ import annotations

import re
import unicodedata

_FINALS_OF_INITIALS = {
    "b": "a o ai ei ao an en ang eng i ie iao ian in ing u",
    "p": "a o ai ei ao ou an en ang eng i ie iao ian in ing u",
    "m": "a o e ai ei ao ou an en ang eng i ie iao iu ian in ing u",
    "f": "a o ei ou an en ang eng u",
    "d": "a e ai ei ao ou an en ang eng ong i ia ie iao iu ian ing u uo ui uan un",
    "t": "a e ai ao ou an ang eng ong i ie iao ian ing u uo ui uan un",
    "n": "a e ai ei ao ou an en ang eng ong i ie iao iu ian in iang ing u uo uan ü üe",
    "l": "a o e ai ei ao ou an ang eng ong i ia ie iao iu ian in iang ing u uo uan un ü üe",
    "g k h": "a e ai ei ao ou an en ang eng ong u ua uo uai ui uan un uang",
    "j q x": "i ia ie iao iu ian in iang ing iong u ue uan un",
    "zh ch": "a e i ai ao ou an en ang eng ong u ua uo uai ui uan un uang",
    "sh": "a e i ai ei ao ou an en ang eng u ua uo uai ui uan un uang",
    "r": "e i ao ou an en ang eng ong u uo ui uan un",
    "z c s": "a e i ai ei ao ou an en ang eng ong u uo ui uan un",
    "y": "a o e ao ou an ang ong i in ing u ue uan un",
    "w": "a o ai ei an en ang eng u",
}
_WITHOUT_INITIAL = "a o e ai ei ao ou an en ang eng er"
_SYLLABLES = {
    initial + final
    for initials, finals in _FINALS_OF_INITIALS.items()
    for initial in initials.split()
    for final in finals.split()
} | set(_WITHOUT_INITIAL.split())
# The longest first, so that ``xian`` is one syllable; the marks of the four tones stand decomposed.
_TONES = "\u0304\u0301\u030c\u0300"
_SYLLABLE = re.compile(
    "|".join(sorted(_SYLLABLES, key=lambda syllable: (-len(syllable), syllable))), re.IGNORECASE
)

_TONED = "āáǎàēéěèīíǐìōóǒòūúǔùǖǘǚǜńňǹ"
_QUICK = re.compile(f"[{_TONED}]|[（(][a-zü]{{1,6}}[1-5]")
_LETTERS = f"a-zA-Zü{_TONED}"
_BRACKETED = re.compile(
    f"([\u3400-\u9fff\u3007]{{1,12}})[（(]\\s*([{_LETTERS}][{_LETTERS}1-5\\s'’·-]{{0,80}}?)\\s*[)）]"
)
_LINE = re.compile(f"[{_LETTERS}\\s'’·,.!?;:，。！？；：、“”-]+")
_HAN = re.compile("[\u3400-\u9fff\u3007]")


def remove_pinyin(text: str) -> str:
    """`text` without bracketed pinyin behind Han and without lines of pinyin beside lines of Han.

    A line counts as pinyin if it holds nothing else, half of its syllables bear tone marks, and a line
    next to it has about as many Han as it has syllables.
    """
    if not _QUICK.search(text):
        return text
    text = _BRACKETED.sub(_without_reading, text)
    lines = text.split("\n")
    return "\n".join(line for i, line in enumerate(lines) if not _is_reading_line(lines, i))


def _without_reading(match: re.Match[str]) -> str:
    han, reading = match.groups()
    syllables, toned = _count_syllables(reading)
    return han if 0 < syllables <= len(han) and toned else match.group()


def _is_reading_line(lines: list[str], index: int) -> bool:
    line = lines[index]
    if not _LINE.fullmatch(line):
        return False
    syllables, toned = _count_syllables(line)
    if not syllables or toned * 2 < syllables:
        return False
    beside = lines[index + 1 : index + 2] + lines[max(0, index - 1) : index]
    return any(0.6 <= len(_HAN.findall(other)) / syllables <= 1.7 for other in beside)


def _count_syllables(reading: str) -> tuple[int, int]:
    """Syllables, and tones among them; none where any word is not made of syllables."""
    decomposed = unicodedata.normalize("NFD", reading).replace("u\u0308", "ü").replace("U\u0308", "ü")
    count = tones = 0
    for word in re.findall(f"[A-Za-zü{_TONES}1-5]+", decomposed):
        bare = re.sub(f"[{_TONES}1-5]", "", word)
        tones += len(word) - len(bare)
        position = 0
        while position < len(bare):
            match = _SYLLABLE.match(bare, position)
            if match is None:
                return 0, 0
            position = match.end()
            count += 1
    return count, tones
