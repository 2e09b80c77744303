"""The tokenizer that lies beside a model's weights: ours where there is one, else transformers'.

A `corpuskit.vocab.Tokenizer` is loaded as itself. Any other directory goes through
`AutoTokenizer`, wrapped so that training and generation see one small interface.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import xxhash
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from corpuskit.errors import ArtifactError
from corpuskit.models.hub import local_directory
from corpuskit.vocab.artifact import METADATA
from corpuskit.vocab.tokenizer import Tokenizer

_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "spiece.model", "tokenizer.model")


class TextTokenizer(Protocol):
    """What training and generation ask of a tokenizer; `corpuskit.vocab.Tokenizer` has it."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def end_of_text_id(self) -> int | None: ...

    @property
    def fingerprint(self) -> str: ...

    def encode(self, text: str) -> Sequence[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...

    def files(self) -> dict[str, bytes]: ...


class HuggingFaceTokenizer:
    """A transformers tokenizer behind the `TextTokenizer` interface.

    `encode` adds the special tokens the tokenizer itself adds (Llama's ``<s>``), because its
    model was trained with them; `decode` leaves special tokens out.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.wrapped = tokenizer

    @property
    def vocab_size(self) -> int:
        return len(self.wrapped)

    @property
    def end_of_text_id(self) -> int | None:
        return self.wrapped.eos_token_id

    @property
    def fingerprint(self) -> str:
        state = repr(sorted(self.wrapped.get_vocab().items())).encode("utf-8", "surrogatepass")
        return xxhash.xxh3_128_hexdigest(state)

    def encode(self, text: str) -> list[int]:
        return list(self.wrapped(text)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        return str(
            self.wrapped.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        )

    def files(self) -> dict[str, bytes]:
        with TemporaryDirectory() as directory:
            self.wrapped.save_pretrained(directory)
            return {path.name: path.read_bytes() for path in sorted(Path(directory).iterdir())}


def load_tokenizer(directory: str | os.PathLike) -> TextTokenizer | None:
    """The tokenizer stored in a model's directory, or of its hub name; None if it has none.

    Raises
    ------
    InputError
        If the hub's model cannot be had.
    ArtifactError
        If its files cannot be read.
    """
    path = local_directory(directory)
    if (path / METADATA).is_file():
        return Tokenizer.load(path)
    if not any((path / name).is_file() for name in _FILES):
        return None
    try:
        return HuggingFaceTokenizer(AutoTokenizer.from_pretrained(path, local_files_only=True))
    except Exception as error:  # every tokenizer class raises its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ArtifactError(
            f"the tokenizer cannot be loaded: {reason}",
            where=str(path),
            hint="copy the tokenizer's files again from where the model came from",
        ) from error
