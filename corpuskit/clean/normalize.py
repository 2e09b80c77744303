"""One spelling for the same text, without touching what Chinese writers mean.

Fullwidth letters, digits and the ideographic space are folded; Chinese punctuation ，。！？：；（） is
not (several pipelines map it to ASCII, ``１`` even to a quotation mark, and 。 to a full stop, which no
model can undo). NFC rather than NFKC for the same reason.

`normalize_text` is the readable reference: what it does to one text, `Normalize` does to a batch with
the kernel of `corpuskit.kernels.normalization`, and only the few documents that one pass cannot settle
come here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpuskit.clean import code_points, wrapping
from corpuskit.clean.characters import utf8_buffers
from corpuskit.clean.code_points import HAN, JOINABLE, PUNCTUATION, WIDE_PUNCTUATION
from corpuskit.clean.steps import Check, Judged, Step, at_most, require_at_least, require_shares, texts
from corpuskit.documents import DocumentBatch, replace_text
from corpuskit.errors import ConfigError

WHITE_SPACE = ("collapse", "lines", "keep")
DAMAGED_CHARACTERS = ("remove", "keep")

_SPACES = re.compile(" +")
_TABS = re.compile(" *\t[ \t]*")
# Indentation that says something: two spaces or a tab before ASCII, as in code.
_INDENTATION = re.compile("(?: {2,}|[ \t]*\t[ \t]*)(?=[!-~])")
# Not the space of （ ）, where an exam leaves room for the answer.
_SPACE_BETWEEN_HAN = re.compile(f"(?<=[{HAN}{WIDE_PUNCTUATION}]) (?=[{HAN}{WIDE_PUNCTUATION}])(?!(?<=（ )）)")
_NUMBER_MARKS = re.compile("(?<=[０-９])(?:．(?=[０-９])|％)")
# ``\n`` as two characters, left by a dump that escaped twice, beside Chinese text; not a path such
# as ``在\new``. In the news corpus of the tests 2,192 of 7,353 documents have them.
_ESCAPED_BREAKS = re.compile(
    rf"(?<=[{HAN}{WIDE_PUNCTUATION}])(?:\\[rn])+(?![a-z])|(?:\\[rn])+(?=[{HAN}{WIDE_PUNCTUATION}\u3000])"
)
_STRAY_JOINER = re.compile(f"(?<![{JOINABLE}])\u200d")
# A lead byte read as Latin-1 and what may follow it; the same test as `mojibake_suspects`.
_MOJIBAKE = re.compile("[\u00c2-\u00f4][\u0080-\u00bf\u0140-\u01bf\u02c0-\u02ff\u2000-\u2fff]")
_UNLIMITED = 1 << 40


@dataclass(frozen=True)
class Normalize(Step):
    """Normalise the text of every document; what is empty afterwards is dropped (``clean/empty``).

    The defaults are the preset ``web``.

    Attributes
    ----------
    nfc : bool
        Compose characters (Unicode normalisation form C).
    fold_width : bool
        Fullwidth letters and digits to ASCII, and ．between and ％ behind fullwidth digits; Chinese
        punctuation stays as it is.
    white_space : {"collapse", "lines", "keep"}
        ``collapse``: every line ending a newline, every run of other white space one space, or its
        tabs where it holds any (cells of a table row, empty ones too); none at the edges of lines, but
        for indentation by two spaces or a tab before ASCII (code). ``lines``: line endings only.
        ``keep``: nothing.
    remove_han_spaces : bool
        Remove the space between two Chinese characters or marks (only with ``collapse``), but for the
        blank ``（ ）`` of a question.
    max_blank_lines : int or None
        Longest run kept of blank lines (only with ``collapse``); None for any.
    join_lines : bool
        Join the lines of documents that were wrapped at a fixed width (`corpuskit.clean.wrapping`).
    unescape_newlines : bool
        Turn a backslash followed by n or r beside Chinese text into the newline it once was.
    remove_invisible : bool
        Remove control, zero-width and direction characters, and joiners that join no emoji.
    private_use, replacement_characters : {"remove", "keep"}
        What becomes of private-use characters (fonts of one site's own) and of U+FFFD (bytes that
        could not be decoded). Either way both count for `max_damaged_share`.
    max_damaged_share : float
        Documents with more private-use and replacement characters among their characters, counted
        before any is removed, are dropped (``clean/damaged_share``): removing them leaves holes.
    max_repeated_punctuation : int or None
        Longest run kept of one punctuation mark; None for any. The ellipsis …… and the dash —— are pairs:
        of … and — the longest even number up to it is kept, 2 of 3.
    fix_mojibake : bool
        Undo UTF-8 read as Latin-1 or Windows-1252 through ftfy, in lines that ftfy is sure about.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    nfc: bool = True
    fold_width: bool = True
    white_space: Literal["collapse", "lines", "keep"] = "collapse"
    remove_han_spaces: bool = True
    max_blank_lines: int | None = 1
    join_lines: bool = False
    unescape_newlines: bool = True
    remove_invisible: bool = True
    private_use: Literal["remove", "keep"] = "remove"
    replacement_characters: Literal["remove", "keep"] = "remove"
    max_damaged_share: float = 0.05
    max_repeated_punctuation: int | None = 3
    fix_mojibake: bool = True

    def __post_init__(self) -> None:
        if self.max_repeated_punctuation is not None:
            require_at_least(self, 1, "max_repeated_punctuation")
        if self.max_blank_lines is not None:
            require_at_least(self, 0, "max_blank_lines")
        require_shares(self, "max_damaged_share")
        for name, allowed in (
            ("white_space", WHITE_SPACE),
            ("private_use", DAMAGED_CHARACTERS),
            ("replacement_characters", DAMAGED_CHARACTERS),
        ):
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"unknown value {getattr(self, name)!r}",
                    where=name,
                    hint="allowed: " + ", ".join(allowed),
                )

    @classmethod
    def preset(cls, name: str, /, **overrides: Any) -> Normalize:
        """A named configuration, with fields changed.

        Parameters
        ----------
        name : str
            ``web`` for crawled pages; ``books`` for novels and other long prose, which also joins
            wrapped lines; ``minimal`` for NFC, line endings and invisible characters only; ``none``
            leaves every text as it is.
        **overrides
            Fields by name.

        Raises
        ------
        ConfigError
            For an unknown preset or field.
        """
        if name not in PRESETS:
            raise ConfigError(
                f"unknown preset {name!r}", where="preset", hint="allowed: " + ", ".join(PRESETS)
            )
        try:
            return replace(PRESETS[name], **overrides)
        except TypeError as error:
            raise ConfigError(
                str(error).split("() ")[-1], where="normalize", hint="allowed: fields of Normalize"
            ) from error

    def judge(self, batch: DocumentBatch) -> Judged:
        text = texts(batch)
        changed, characters, damaged_share = normalize_batch(text, self)
        checks = [
            Check("empty", characters.astype(np.float64), 1.0, characters < 1, "at least"),
            at_most("damaged_share", damaged_share, self.max_damaged_share),
        ]
        return Judged(batch if changed is text else replace_text(batch, changed), checks)

    def _kinds(self) -> dict[str, Any]:
        """The arguments that `code_points.translation` and `code_points.actions` share."""
        return {
            "white_space": self.white_space,
            "fold_width": self.fold_width,
            "invisible": self.remove_invisible,
            "private_use": self.private_use == "remove",
            "replacement": self.replacement_characters == "remove",
        }


PRESETS: Mapping[str, Normalize] = {
    "web": Normalize(),
    "books": Normalize(join_lines=True, unescape_newlines=False),
    "minimal": Normalize(
        fold_width=False,
        white_space="lines",
        remove_han_spaces=False,
        max_blank_lines=None,
        unescape_newlines=False,
        private_use="keep",
        replacement_characters="keep",
        max_damaged_share=1.0,
        max_repeated_punctuation=None,
        fix_mojibake=False,
    ),
    "none": Normalize(
        nfc=False,
        fold_width=False,
        white_space="keep",
        remove_han_spaces=False,
        max_blank_lines=None,
        unescape_newlines=False,
        remove_invisible=False,
        private_use="keep",
        replacement_characters="keep",
        max_damaged_share=1.0,
        max_repeated_punctuation=None,
        fix_mojibake=False,
    ),
}
"""The named configurations of `Normalize.preset`."""


def normalize_text(text: str, config: Normalize | None = None) -> str:
    """Normalise one text.

    Applying it twice changes nothing more, mojibake repair and line joining aside (those look at whole
    lines, and a repaired line may hold what another repair changes).
    """
    config = config or Normalize()
    if config.fix_mojibake:
        text = _fix_mojibake(text)
    if config.join_lines:
        text = wrapping.join_lines(text)
    return _settle(text, config)


def _settle(text: str, config: Normalize) -> str:
    """Passes until nothing changes: removing one character may bring two others together."""
    while True:
        passed = _compose(_one_pass(text, config), config)
        if passed == text:
            return text
        text = passed


def _compose(text: str, config: Normalize) -> str:
    return unicodedata.normalize("NFC", text) if config.nfc else text


def _one_pass(text: str, config: Normalize) -> str:
    """The rules in their order; the kernel does the same character by character."""
    collapse = config.white_space == "collapse"
    if config.white_space != "keep":
        text = text.replace("\r\n", "\n")
    if config.unescape_newlines and "\\" in text:
        text = _ESCAPED_BREAKS.sub("\n", text)
    if config.fold_width:
        text = _NUMBER_MARKS.sub(lambda mark: chr(ord(mark[0]) - 0xFEE0), text)
    text = text.translate(_table(config))
    if config.remove_invisible:
        text = _STRAY_JOINER.sub("", text)
    if collapse:
        text = "\n".join(_collapse_line(line) for line in text.split("\n"))
        if config.remove_han_spaces:
            text = _SPACE_BETWEEN_HAN.sub("", text)
    if config.max_repeated_punctuation is not None:
        text = _repeated(config.max_repeated_punctuation).sub(r"\1\3", text)
    if collapse:
        if config.max_blank_lines is not None:
            text = _blank_lines(config.max_blank_lines).sub(r"\1", text)
        text = text.strip(" \t\n")
    return text


def _collapse_line(line: str) -> str:
    indentation = _INDENTATION.match(line)
    body = _SPACES.sub(" ", _TABS.sub(lambda run: "\t" * run[0].count("\t"), line.strip(" \t")))
    return indentation.group() + body if indentation else body


def normalize_batch(text: pa.Array, config: Normalize) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """`normalize_text` of every document of a large_string array without nulls.

    Returns
    -------
    text : pyarrow.Array
        `text` itself where no document changed.
    characters : numpy.ndarray
        int64, characters of each document afterwards.
    damaged_share : numpy.ndarray
        float64, private-use and replacement characters among all of each document before.
    """
    from corpuskit.kernels.normalization import mojibake_suspects, normalize_documents

    source = text
    data, offsets = utf8_buffers(text)
    if config.fix_mojibake:
        suspects = np.empty(len(text), np.bool_)
        mojibake_suspects(data, offsets, suspects)
        text = _replace(text, suspects, _fix_mojibake)
    if config.join_lines:
        text = wrapping.join_batch(text)
    data, offsets = utf8_buffers(text)
    out = np.empty(offsets[-1] - offsets[0], np.uint8)
    out_offsets = np.empty(len(text) + 1, np.int64)
    characters, damaged_share = np.empty(len(text), np.int64), np.empty(len(text), np.float64)
    unsettled = np.empty(len(text), np.bool_)
    normalize_documents(
        data,
        offsets,
        _actions(config),
        config.white_space == "collapse",
        config.remove_han_spaces,
        config.max_repeated_punctuation or 0,
        _UNLIMITED if config.max_blank_lines is None else config.max_blank_lines + 1,
        out,
        out_offsets,
        characters,
        damaged_share,
        unsettled,
    )
    written = out_offsets[-1]
    if text is source and written == len(out) and np.array_equal(out, data[offsets[0] : offsets[-1]]):
        result = text
    else:
        result = wrapping.string_array(out, out_offsets)
    if unsettled.any():
        settled = _replace(result, unsettled, lambda value: _settle(_compose(value, config), config))
        if settled is not result:
            result = settled
            characters = pc.utf8_length(result).to_numpy(zero_copy_only=False).astype(np.int64)
    return result, characters, damaged_share


def _replace(text: pa.Array, chosen: np.ndarray, function: Any) -> pa.Array:
    """`text` with `function` applied to the chosen documents; itself where that changes nothing."""
    rows = np.flatnonzero(chosen)
    before = text.take(pa.array(rows)).to_pylist()
    after = [function(value) for value in before]
    if before == after:
        return text
    return pc.replace_with_mask(text, pa.array(chosen), pa.array(after, pa.large_string()))


@cache
def _table(config: Normalize) -> dict[int, str | None]:
    """The translation of single characters."""
    return code_points.translation(**config._kinds())


@cache
def _actions(config: Normalize) -> np.ndarray:
    return code_points.actions(**config._kinds(), unescape=config.unescape_newlines, nfc=config.nfc)


@cache
def _repeated(longest: int) -> re.Pattern[str]:
    pairs = longest - longest % 2 if longest > 1 else longest
    return re.compile(f"((?![…—])([{PUNCTUATION}])\\2{{{longest - 1}}})\\2+|(([…—])\\4{{{pairs - 1}}})\\4+")


@cache
def _blank_lines(longest: int) -> re.Pattern[str]:
    return re.compile(f"(\n{{{longest + 1}}})\n+")


def _fix_mojibake(text: str) -> str:
    if not _MOJIBAKE.search(text):
        return text
    import ftfy
    import ftfy.badness

    return "\n".join(
        ftfy.fix_encoding(line) if ftfy.badness.is_bad(line) else line for line in text.split("\n")
    )
