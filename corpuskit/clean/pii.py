"""Personal data masked, removed, counted, or a reason to drop the document; a mode for each kind.

A kernel finds the lines that can hold any (`corpuskit.kernels.pii`), the rules of
`corpuskit.clean.pii_rules` judge those, and only changed lines are copied. Rules run on a line until they
find nothing more, so that masking masked text changes nothing. The same `mask_texts` serves the text of kept
and of dropped documents, quarantine and reports; `mask_batch` the columns `title` and `url` as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar, Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpuskit.clean.characters import utf8_buffers
from corpuskit.clean.pii_rules import KINDS, PROVINCES, TAKEN, find, folded
from corpuskit.clean.steps import Check, Judged, Step, texts
from corpuskit.documents import DocumentBatch, StepResult, replace_text
from corpuskit.errors import ConfigError

PiiMode = Literal["mask", "remove", "drop", "count", "off"]
"""``mask`` puts the kind's mask in its place, ``remove`` nothing; ``drop`` drops the document (and masks the
text that is stored of it); ``count`` leaves the text; ``off`` does not count either."""

MAX_MASK_CHARACTERS = 24

MAX_ROUNDS = 50
"""How often the rules run on one line at most. Text comes to rest after two or three rounds; only a line made
to need one for every match would take longer, and time that is the square of its length."""


@dataclass(frozen=True)
class Pii(Step):
    """Find personal data and do with each kind what its mode says.

    In `title` it is masked or removed like in the text, and in `url` what `url_secret` stands for; checks and
    counts are of the text alone.

    The check ``clean/pii_<kind>`` has as value how many of the kind a document holds; its threshold is 0
    where the mode is ``drop`` and infinite elsewhere.

    Attributes
    ----------
    resident_id : {"mask", "remove", "drop", "count", "off"}
        Resident ID numbers of 18 (ISO 7064 MOD 11-2 check character) and 15 digits with region and date.
    mobile, landline : same
        Mobile numbers with or without +86; fixed lines with area code, or behind 电话 and the like.
    email : same
        Also right behind Han.
    bank_card : same
        16 to 19 digits with an issuer's prefix and Luhn's check digit.
    passport : same
        Passports and travel permits, near a word for one.
    licence_plate : same
        Vehicle plates, new-energy ones too.
    ip_address : same
        Public IPv4 and IPv6 addresses; private, loopback and documentation ranges are left.
    url_secret : same
        Tokens, session ids, keys and passwords in web addresses; the rest of the address stays.
    qq, wechat : same
        Accounts behind QQ, 微信, 加V, vx and the like.
    resident_id_mask, … : str
        What ``mask`` puts in place: at most 24 characters, no digit, ``@`` or line break, and not letters
        alone.

    Raises
    ------
    ConfigError
        For an unknown mode or a mask that could be taken for text.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    resident_id: PiiMode = "mask"
    mobile: PiiMode = "mask"
    landline: PiiMode = "mask"
    email: PiiMode = "mask"
    bank_card: PiiMode = "mask"
    passport: PiiMode = "mask"
    licence_plate: PiiMode = "mask"
    ip_address: PiiMode = "mask"
    url_secret: PiiMode = "mask"
    qq: PiiMode = "mask"
    wechat: PiiMode = "mask"
    resident_id_mask: str = "<身份证号>"
    mobile_mask: str = "<手机号>"
    landline_mask: str = "<电话>"
    email_mask: str = "<邮箱>"
    bank_card_mask: str = "<银行卡号>"
    passport_mask: str = "<护照号>"
    licence_plate_mask: str = "<车牌号>"
    ip_address_mask: str = "<IP地址>"
    url_secret_mask: str = "<密钥>"
    qq_mask: str = "<QQ号>"
    wechat_mask: str = "<微信号>"

    def __post_init__(self) -> None:
        for kind in KINDS:
            mode = self.mode(kind)
            if mode not in get_args(PiiMode):
                allowed = ", ".join(get_args(PiiMode))
                raise ConfigError(f"{mode!r} is not a mode", where=kind, hint=f"allowed: {allowed}")
            mask = self.mask(kind)
            if (
                not 1 <= len(mask) <= MAX_MASK_CHARACTERS
                or any(c.isdigit() or c in "@\n\r" for c in mask)
                or mask.isalpha()
                or mask.isspace()
                or folded(mask)[0] != mask
            ):
                raise ConfigError(
                    f"{mask!r} could be taken for text or personal data",
                    where=f"{kind}_mask",
                    hint="use a bracketed word like <电话>: 1 to 24 characters, no digits or fullwidth",
                )

    def mode(self, kind: str) -> PiiMode:
        """What is done with a kind."""
        return getattr(self, kind)

    def mask(self, kind: str) -> str:
        """What ``mask`` puts in place of a kind."""
        return getattr(self, f"{kind}_mask")

    def judge(self, batch: DocumentBatch) -> Judged:
        scrubbed = scrub(texts(batch), self)
        changed = batch if scrubbed.num_changed == 0 else replace_text(batch, scrubbed.text)
        checks = []
        for kind in KINDS:
            if self.mode(kind) != "off":
                values = scrubbed.counts[:, KINDS.index(kind)].astype(np.float64)
                limit = 0.0 if self.mode(kind) == "drop" else np.inf
                checks.append(Check(f"pii_{kind}", values, limit, values > limit))
        return Judged(_mask_columns(changed, self), checks)

    def __call__(self, batch: DocumentBatch) -> StepResult:
        result = super().__call__(batch)
        if result.dropped is None:
            return result
        return StepResult(result.kept, mask_batch(result.dropped, self))


class Scrubbed(NamedTuple):
    """Texts without their personal data.

    Attributes
    ----------
    text : pyarrow.Array
        large_string; the array that came in where nothing changed.
    counts : numpy.ndarray
        int64[num_documents, len(KINDS)], how many of each kind each document held.
    num_changed : int
        Lines that changed.
    """

    text: pa.Array
    counts: np.ndarray
    num_changed: int

    def totals(self) -> dict[str, int]:
        """How many of each kind that occurs, over all documents."""
        return {kind: int(n) for kind, n in zip(KINDS, self.counts.sum(axis=0)) if n}


def scrub(text: pa.Array, config: Pii) -> Scrubbed:
    """Mask and remove as `config` says, and count.

    Parameters
    ----------
    text : pyarrow.Array
        string or large_string without nulls.
    config : Pii
    """
    from corpuskit.kernels.pii import candidate_lines

    text = text.cast(pa.large_string())
    data, offsets = utf8_buffers(text)
    counts = np.zeros((len(text), len(KINDS)), np.int64)
    room = len(text) + int(np.count_nonzero(data[offsets[0] : offsets[-1]] == 10))
    documents, starts, stops = np.empty((3, room), np.int64)
    flags = np.empty(room, np.uint8)
    found = candidate_lines(data, offsets, *kernel_tables(), documents, starts, stops, flags)
    view = memoryview(data.data)
    pieces: list[bytes | memoryview] = []
    growth = np.zeros(len(text), np.int64)
    copied, num_changed = int(offsets[0]), 0
    lines = zip(*(column[:found].tolist() for column in (documents, starts, stops, flags)))
    for document, start, stop, flag in lines:
        line = bytes(view[start:stop]).decode("utf-8")
        scrubbed, kinds = scrub_line(line, config, flag)
        for kind in kinds:
            counts[document, KINDS.index(kind)] += 1
        if scrubbed != line:
            encoded = scrubbed.encode("utf-8")
            pieces += [view[copied:start], encoded]
            growth[document] += len(encoded) - (stop - start)
            copied = stop
            num_changed += 1
    if not num_changed:
        return Scrubbed(text, counts, 0)
    pieces.append(view[copied : int(offsets[-1])])
    moved = offsets - offsets[0]
    moved[1:] += np.cumsum(growth)
    buffers = [None, pa.py_buffer(moved), pa.py_buffer(b"".join(pieces))]
    return Scrubbed(pa.LargeStringArray.from_buffers(len(text), buffers[1], buffers[2]), counts, num_changed)


def scrub_line(line: str, config: Pii, flags: int | None = None) -> tuple[str, list[str]]:
    """One line without its personal data, and the kind of each that was found, in the order of finding.

    Parameters
    ----------
    line : str
        Without line breaks.
    config : Pii
    flags : int, optional
        What the kernel found possible in the line; everything without it.
    """
    seen, shown = folded(line)
    for mask in _masks(config):
        if mask in seen:
            seen = seen.replace(mask, TAKEN * len(mask))
    kinds: list[str] = []
    for _ in range(MAX_ROUNDS):
        found = find(seen, *([] if flags is None else [flags]))
        if not found:
            break
        flags = None  # what was replaced may have stood between the parts of something else
        new_seen, new_shown, copied = [], [], 0
        for start, stop, kind in found:
            mode = config.mode(kind)
            if mode != "off":
                kinds.append(kind)
            if mode in ("mask", "drop"):
                shows = config.mask(kind)
                sees = TAKEN * len(shows)
            elif mode == "remove":
                shows = sees = ""
            else:
                shows, sees = shown[start:stop], TAKEN * (stop - start)  # type: ignore[assignment]
            new_seen += [seen[copied:start], sees]
            new_shown += [*shown[copied:start], *shows]
            copied = stop
        seen = "".join([*new_seen, seen[copied:]])
        shown = [*new_shown, *shown[copied:]]
    return shown if isinstance(shown, str) else "".join(shown), kinds


def mask_texts(text: pa.Array, config: Pii) -> pa.Array:
    """The texts of an array as `config` lets them be stored; nulls stay null.

    For what is not kept text but may show it: dropped rows, details of the quarantine, samples of a report.

    Parameters
    ----------
    text : pyarrow.Array
        string or large_string.
    config : Pii

    Returns
    -------
    pyarrow.Array
        large_string of the same length.
    """
    scrubbed = scrub(pc.fill_null(text, "") if text.null_count else text, config).text
    return pc.if_else(text.is_valid(), scrubbed, None) if text.null_count else scrubbed


def mask_batch(batch: pa.RecordBatch, config: Pii) -> pa.RecordBatch:
    """A batch as `config` lets it be stored: `text` and `title`, and the secrets of `url`.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
        Documents, or dropped rows, whose struct `document` is masked the same way. Columns that are no
        strings are left.
    config : Pii

    Returns
    -------
    pyarrow.RecordBatch
        `batch` itself where nothing changed.
    """
    column = batch.schema.get_field_index("text")
    masked = _masked_column(batch.column(column), config) if column >= 0 else None
    if masked is not None:
        batch = batch.set_column(column, batch.schema.field(column), masked)
    return _mask_columns(batch, config)


def _mask_columns(batch: pa.RecordBatch, config: Pii) -> pa.RecordBatch:
    """The batch with `title` and `url` masked, beside the text and in the struct `document`."""
    for name, how in (("title", config), ("url", _secrets_only(config))):
        column = batch.schema.get_field_index(name)
        masked = _masked_column(batch.column(column), how) if column >= 0 else None
        if masked is not None:
            batch = batch.set_column(column, batch.schema.field(column), masked)
    column = batch.schema.get_field_index("document")
    if column < 0 or not pa.types.is_struct(batch.column(column).type):
        return batch
    struct = batch.column(column)
    inner = pa.RecordBatch.from_arrays(struct.flatten(), schema=pa.schema(list(struct.type)))
    masked_inner = _mask_columns(inner, config)
    if masked_inner is inner:
        return batch
    masked = pa.StructArray.from_arrays(
        masked_inner.columns, fields=list(struct.type), mask=struct.is_null() if struct.null_count else None
    )
    return batch.set_column(column, batch.schema.field(column), masked)


def _masked_column(column: pa.Array, config: Pii) -> pa.Array | None:
    """A column of strings masked, of its own type; None where nothing changed."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return None
    text = pc.fill_null(column, "") if column.null_count else column
    scrubbed = scrub(text, config)
    if not scrubbed.num_changed:
        return None
    masked = scrubbed.text.cast(column.type)
    return pc.if_else(column.is_valid(), masked, None) if column.null_count else masked


@cache
def _secrets_only(config: Pii) -> Pii:
    """The same for addresses, in which the other kinds would mask what makes them addresses."""
    return replace(config, **{kind: "off" for kind in KINDS if kind != "url_secret"})  # type: ignore[arg-type]


def mask_text(text: str, config: Pii) -> str:
    """`mask_texts` of one text; also the plain reference of `scrub`, which goes through the kernel."""
    return "\n".join(scrub_line(line, config)[0] for line in text.split("\n"))


@cache
def _masks(config: Pii) -> tuple[str, ...]:
    """The masks in use, longest first."""
    used: Iterable[str] = {config.mask(kind) for kind in KINDS if config.mode(kind) in ("mask", "drop")}
    return tuple(sorted(used, key=lambda mask: (-len(mask), mask)))


@cache
def kernel_tables() -> tuple[np.ndarray, np.ndarray]:
    """The kernel's classes of ASCII characters and its provinces."""
    from corpuskit.kernels import pii as kernel

    classes = np.full(128, kernel.OTHER, np.uint8)
    classes[ord("0") : ord("9") + 1] = kernel.DIGIT
    classes[ord("A") : ord("Z") + 1] = kernel.UPPER
    classes[ord("a") : ord("z") + 1] = kernel.LOWER
    classes[[ord(c) for c in "_-"]] = kernel.WORD_MARK
    classes[[ord(c) for c in " \t.()+"]] = kernel.NEUTRAL
    provinces = np.zeros(65536, np.uint8)
    provinces[[ord(c) for c in PROVINCES]] = 1
    return classes, provinces
