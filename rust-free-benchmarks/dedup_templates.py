"""Notices and forms that share a frame and must not be taken for copies of each other.

Each frame in `dedup_templates.txt` yields documents about other people, places, numbers and events. How much
of a document is frame differs on purpose: from a news brief, of which little is, to a form letter, of which
nearly everything is. No threshold on shingles tells two such letters from copies, so they show what the
others do not.

A slot is ``{kind}`` for any word of a kind, ``{kind.a}`` for the same word at each place, ``{1-900}`` for a
number, ``{body:300}`` for so many characters of a text of its own.
"""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path

_SURNAMES = "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦许何吕张孔曹严华金魏陶姜谢邹窦章潘葛范彭鲁韦马苗方任袁柳"
_GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超霞平刚桂英华玉兰建国志远晓东雪梅海燕文博思源子涵雨桐"
_DAY = "{sky}，最低气温{-10-19}度，最高气温{20-39}度，{wind}{1-6}级，相对湿度百分之{20-98}。"


def templates() -> tuple[str, ...]:
    """Their names."""
    return tuple(_read()[1])


def fill(name: str, rng: random.Random, body: str) -> str:
    """One document of a template; `body` is a text that no other document has."""
    words, frames = _read()
    held: dict[str, str] = {}

    def slot(match: re.Match[str]) -> str:
        wanted = match[1]
        if "." in wanted and wanted in held:
            return held[wanted]
        kind = wanted.partition(".")[0]
        if number := re.fullmatch(r"(-?\d+)-(\d+)", kind):
            value = str(rng.randint(int(number[1]), int(number[2])))
        elif kind.startswith("body:"):
            value = body[: int(kind.removeprefix("body:"))]
        elif kind == "name":
            value = rng.choice(_SURNAMES) + "".join(rng.choice(_GIVEN) for _ in range(rng.randint(1, 2)))
        elif kind == "date":
            value = f"{rng.randint(2015, 2024)}年{rng.randint(1, 12)}月{rng.randint(1, 28)}日"
        elif kind == "day":
            value = _SLOT.sub(slot, _DAY)
        else:
            value = rng.choice(words[kind])
        held[wanted] = value
        return value

    return _SLOT.sub(slot, frames[name])


_SLOT = re.compile(r"\{([^{}]+)\}")


@cache
def _read() -> tuple[dict[str, list[str]], dict[str, str]]:
    """The words of each kind, and the frames by name."""
    text = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8")
    head, *blocks = text.split("\n# ")
    words = {
        kind: listed.split()
        for kind, _, listed in (line.partition(": ") for line in head.split("\n") if line)
    }
    frames = {name: frame.strip("\n") for name, _, frame in (block.partition("\n") for block in blocks)}
    return words, frames
