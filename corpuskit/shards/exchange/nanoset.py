"""datatrove's and nanotron's token files: ``NAME.ds`` with an index of document ends beside it.

As `datatrove.pipeline.tokens.tokenizer.TokenizedFile` writes them: ``.ds`` the bare ids (2 or 4 bytes
each), ``.ds.index`` one uint64 a document (the position after its last id), ``.ds.metadata`` three
lines (tokenizer and bytes per id, number of ids, the same in words), and ``.ds.loss`` one byte an id,
0 where it does not count in the loss: the room for a column `loss_mask` of 0 and 1.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from corpuskit.errors import InputError
from corpuskit.files import atomic_path, write_text
from corpuskit.shards.exchange.common import (
    DOCUMENT_IDS,
    NOTE_SUFFIX,
    ExportNote,
    HashedFile,
    TokenSource,
    prepare_files,
)
from corpuskit.shards.exchange.nanogpt import require_file_name

_LOSS = "loss_mask"


@dataclass(frozen=True)
class Nanoset:
    """One file ``NAME.ds`` with index, metadata and, with a column `loss_mask`, ``.ds.loss``.

    Attributes
    ----------
    name : str
    """

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    format_name: ClassVar[str] = "nanoset"
    loses: ClassVar[tuple[str, ...]] = (DOCUMENT_IDS,)

    name: str = "train"

    def __post_init__(self) -> None:
        require_file_name(self.name)

    def has_room_for(self, column: str, kind: str) -> bool:
        return column == _LOSS and kind in ("uint8", "int8")

    def write(self, source: TokenSource, directory: Path) -> tuple[Path, ...]:
        path = directory / f"{self.name}.ds"
        index, loss = Path(f"{path}.index"), Path(f"{path}.loss")
        note, metadata = directory / f"{self.name}{NOTE_SUFFIX}", Path(f"{path}.metadata")
        prepare_files(path, index, loss, metadata, note)
        outputs = [path, index, *([loss] if _LOSS in source.columns else [])]
        # Readers look for *.ds: that one is renamed last.
        with ExitStack() as stack:
            temporaries = [stack.enter_context(atomic_path(output)) for output in outputs]
            with ExitStack() as files:
                streams = [HashedFile(files.enter_context(open(t, "wb"))) for t in temporaries]
                written = 0
                for run in source.runs():
                    streams[0].write(run.tokens)
                    streams[1].write((run.offsets[1:] + written).astype("<u8"))
                    if len(streams) == 3:
                        streams[2].write(_checked(run.columns[_LOSS]))
                    written += len(run.tokens)
            manifest = source.manifest
            item = manifest.dtype.itemsize
            write_text(
                metadata, f"corpuskit:{manifest.tokenizer.fingerprint}|{item}\n{written}\n{in_words(written)}"
            )
            facts = {output.name: stream.facts for output, stream in zip(outputs, streams, strict=True)}
            ExportNote.of(source, self.format_name, manifest.dtype, facts).save(note)
        return *outputs, metadata, note


def in_words(count: int) -> str:
    """``1.23 GT`` for 1,230,000,000 tokens, as datatrove writes it."""
    exponent = min(max(len(str(count)) - 1, 0) // 3, 5)
    return f"{count / 1000**exponent:.3g} {['', 'k', 'M', 'G', 'T', 'P'][exponent]}T"


def _checked(mask: np.ndarray) -> np.ndarray:
    if len(mask) and (mask.max() > 1 or mask.min() < 0):
        raise InputError(
            f"{_LOSS} has a value of {mask.max()}, and the format holds 0 and 1",
            where=_LOSS,
            hint=f"drop it with drop=[{_LOSS!r}] (--drop {_LOSS}), or export to parquet or mds",
        )
    return mask
