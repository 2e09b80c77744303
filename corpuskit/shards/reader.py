"""Reading a token dataset: memory-mapped, zero copy, checked when it is opened.

Opening maps every shard and checks its structure (some 5 % of the bytes), not the token values;
``verify="full"`` hashes those too. Anonymous memory holds offsets into the mappings only, so it
does not grow with the number of tokens.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from corpuskit.errors import ArtifactError
from corpuskit.shards.loader import Loader
from corpuskit.shards.manifest import Manifest, TokenizerLike, load_manifest
from corpuskit.shards.shardfile import Verify, open_shard, require_choice
from corpuskit.shards.windows import Remainder, Windows

Framework = Literal["torch", "numpy"]


class Document(NamedTuple):
    """One document of a token dataset.

    Attributes
    ----------
    id : str
    tokens : numpy.ndarray[uint16 or uint32]
        Read-only view of the mapped file.
    columns : Mapping[str, numpy.ndarray]
        Parallel columns, one value per token.
    """

    id: str
    tokens: np.ndarray
    columns: Mapping[str, np.ndarray]


class TokenDataset:
    """A directory of token shards; made by `corpuskit.shards.open`.

    ``data[i]`` is a `Document`, ``len(data)`` counts documents. It pickles by its path, so loader
    workers map the files themselves.

    Parameters
    ----------
    directory : path-like
    manifest : Manifest
    verify : {"fast", "full", "none"}
    """

    def __init__(self, directory: str | os.PathLike, manifest: Manifest, verify: Verify = "fast") -> None:
        require_choice("verify", verify, get_args(Verify))
        self.directory = Path(directory)
        self.manifest = manifest
        self._shards = [open_shard(self.directory, entry, manifest, verify) for entry in manifest.shards]
        self._starts = np.cumsum([0, *(len(shard.ids) for shard in self._shards)])
        self._num_tokens = sum(len(shard.tokens) for shard in self._shards)

    @property
    def num_documents(self) -> int:
        return int(self._starts[-1])

    @property
    def num_tokens(self) -> int:
        return self._num_tokens

    @property
    def fingerprint(self) -> str:
        """XXH3-128 of what defines the content; see `Manifest.fingerprint`."""
        return self.manifest.fingerprint

    @property
    def streams(self) -> list[np.ndarray]:
        """The tokens of each shard, in order: read-only views of the mapped files."""
        return [shard.tokens for shard in self._shards]

    def __len__(self) -> int:
        return self.num_documents

    def __getitem__(self, index: int) -> Document:
        length = self.num_documents
        if not -length <= index < length:
            raise IndexError(f"document {index} of {length}")
        index = index % length
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        shard, row = self._shards[number], index - int(self._starts[number])
        span = slice(int(shard.offsets[row]), int(shard.offsets[row + 1]))
        try:
            identifier = shard.ids[row].as_py()
        except UnicodeDecodeError as error:
            raise ArtifactError(
                f"the id of row {row} is not UTF-8: {error}",
                where=str(self.directory / self.manifest.shards[number].name),
            ) from error
        return Document(
            identifier, shard.tokens[span], {name: values[span] for name, values in shard.columns.items()}
        )

    def __iter__(self) -> Iterator[Document]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        return f"TokenDataset({str(self.directory)!r}, documents={len(self)}, tokens={self.num_tokens})"

    def __reduce__(self) -> tuple[Any, ...]:
        return TokenDataset, (self.directory, self.manifest, "none")

    def windows(
        self,
        sequence_length: int,
        *,
        stride: int | None = None,
        remainder: Remainder = "drop",
        dtype: Any = np.int64,
    ) -> Windows:
        """Map-style view of all tokens, in order, as windows of `sequence_length`.

        Parameters
        ----------
        sequence_length : int
        stride : int, optional
            Tokens between the beginnings of neighbouring windows; by default `sequence_length`.
        remainder : {"drop", "overlap"}
            The tokens after the last whole window: leave them out, or add one window that ends at
            the last token.
        dtype : numpy dtype
            Of the arrays that indexing returns; they own their memory.

        Raises
        ------
        InputError
            If the dataset holds no tokens.
        ConfigError
            If `sequence_length` or `stride` is impossible.
        """
        return Windows(self, sequence_length, stride=stride, remainder=remainder, dtype=dtype)

    def loader(
        self,
        sequence_length: int,
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        framework: Framework = "torch",
        remainder: Remainder = "drop",
        **options: Any,
    ) -> Loader:
        """Shuffled batches ``{"input_ids": int64 [batch_size, sequence_length]}``.

        Parameters
        ----------
        sequence_length, batch_size, seed, rank, world_size
            As for `corpuskit.shards.loader.Loader`.
        framework : {"torch", "numpy"}
            What the batches are; ``numpy`` never imports torch.
        remainder : {"drop", "overlap"}
            As for `windows`.
        **options
            `shuffle`, `epochs`, `drop_last`, `state`; for torch also `pin_memory`.
        """
        require_choice("framework", framework, get_args(Framework))
        samples = self.windows(sequence_length, remainder=remainder)
        options.update(seed=seed, rank=rank, world_size=world_size)
        if framework == "numpy":
            return Loader(samples, batch_size, **options)
        from corpuskit.shards.torch import TorchLoader

        return TorchLoader(samples, batch_size, **options)


def open_dataset(
    directory: str | os.PathLike,
    verify: Verify = "fast",
    tokenizer: TokenizerLike | None = None,
    *,
    allow_incomplete: bool = False,
) -> TokenDataset:
    """Open a token dataset (as `corpuskit.shards.open`).

    Parameters
    ----------
    directory : path-like
    verify : {"fast", "full", "none"}
        ``fast``: sizes, footers, offsets, counts and the checksum of each shard's structure.
        ``full``: also the checksum of the token values, which reads everything once.
    tokenizer : corpuskit.vocab.Tokenizer, optional
        Must be the one that wrote the shards.
    allow_incomplete : bool
        Open the whole shards of a dataset whose writer did not finish.

    Raises
    ------
    ArtifactError
        If it is not a dataset, or damaged, incomplete, or of a newer format.
    MismatchError
        If `tokenizer` is another one.
    """
    manifest = load_manifest(directory, allow_incomplete=allow_incomplete)
    if tokenizer is not None:
        manifest.require_tokenizer(tokenizer, str(directory))
    return TokenDataset(directory, manifest, verify)
