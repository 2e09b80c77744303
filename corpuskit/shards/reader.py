"""Reading a token dataset: memory-mapped, zero copy, checked when it is opened.

Opening maps every shard and checks its structure (some 5 % of the bytes), not the token values;
``verify="full"`` hashes those too. Anonymous memory holds offsets into the mappings only, so it
does not grow with the number of tokens. Shards behind a URL are opened when they are asked for
(`remote`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from corpuskit.errors import ArtifactError, ConfigError
from corpuskit.ingest.attempts import redact
from corpuskit.ingest.remote import is_url, local_path
from corpuskit.shards.cache import CacheConfig, default_cache_directory
from corpuskit.shards.loader import Loader, make_loader
from corpuskit.shards.manifest import PARALLEL_TYPES, Manifest, TokenizerLike, load_manifest
from corpuskit.shards.packing import Method, Overflow, PackedSequences
from corpuskit.shards.remote import RemoteShards, load_remote_manifest
from corpuskit.shards.shardfile import Shard, Verify, open_shard, require_choice
from corpuskit.shards.windows import Remainder, Windows

Sequences = Literal["windows", "packed", "documents"]


class _Views(Sequence):
    """One array of each shard; those of a remote one are fetched when they are asked for."""

    def __init__(self, shards: Sequence[Shard] | RemoteShards, view: Callable[[Shard], np.ndarray]) -> None:
        self._shards, self._view = shards, view

    def __len__(self) -> int:
        return len(self._shards)

    def __getitem__(self, number: Any) -> Any:
        return self._view(self._shards[number])


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
        Or a URL.
    manifest : Manifest
    verify : {"fast", "full", "none"}
        Remote shards are always checked whole, when they arrive.
    cache : CacheConfig, optional
        For a URL.
    """

    def __init__(
        self,
        directory: str | os.PathLike,
        manifest: Manifest,
        verify: Verify = "fast",
        cache: CacheConfig | None = None,
    ) -> None:
        require_choice("verify", verify, get_args(Verify))
        self.manifest = manifest
        self._shards: list[Shard] | RemoteShards
        self._remote: RemoteShards | None = None
        if is_url(str(directory)):
            self.directory: Any = str(directory)
            self._shards = self._remote = RemoteShards(self.directory, manifest, cache or CacheConfig())
            rows = [entry.rows for entry in manifest.shards]
            self.lengths = [entry.tokens for entry in manifest.shards]
        else:
            self.directory = Path(directory)
            self._shards = [open_shard(self.directory, entry, manifest, verify) for entry in manifest.shards]
            rows = [len(shard.ids) for shard in self._shards]
            self.lengths = [len(shard.tokens) for shard in self._shards]
        self._starts = np.cumsum([0, *rows])

    @property
    def num_documents(self) -> int:
        return int(self._starts[-1])

    @property
    def num_tokens(self) -> int:
        return sum(self.lengths)

    @property
    def fingerprint(self) -> str:
        """XXH3-128 of what defines the content; see `Manifest.fingerprint`."""
        return self.manifest.fingerprint

    @property
    def streams(self) -> Sequence[np.ndarray]:
        """The tokens of each shard, in order: read-only views of the mapped files."""
        return self._views(lambda shard: shard.tokens)

    @property
    def offsets(self) -> Sequence[np.ndarray]:
        """The offsets (int64) of each shard: document i of it is tokens offsets[i] to offsets[i + 1]."""
        return self._views(lambda shard: shard.offsets)

    @property
    def column_types(self) -> dict[str, np.dtype]:
        """The parallel columns and the dtypes of their values."""
        return {
            name: np.dtype(PARALLEL_TYPES[kind].to_pandas_dtype())
            for name, kind in self.manifest.columns.items()
        }

    def column(self, name: str) -> Sequence[np.ndarray]:
        """A parallel column of each shard, in order; `ConfigError` if there is none of that name."""
        if name not in self.manifest.columns:
            raise ConfigError(f"the dataset has no column {name!r}", where="column")
        return self._views(lambda shard: shard.columns[name])

    @property
    def remote(self) -> RemoteShards | None:
        """For a dataset behind a URL: its shards, with cache and statistics."""
        return self._remote

    def prefetch(self, shards: Sequence[int]) -> None:
        """Fetch remote shards in this order in the background; nothing for local ones."""
        if self._remote is not None:
            self._remote.prefetch(shards)

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
                where=f"{self._where}/{self.manifest.shards[number].name}",
            ) from error
        return Document(
            identifier, shard.tokens[span], {name: values[span] for name, values in shard.columns.items()}
        )

    def __iter__(self) -> Iterator[Document]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        return f"TokenDataset({self._where!r}, documents={len(self)}, tokens={self.num_tokens})"

    def __reduce__(self) -> tuple[Any, ...]:
        cache = None if self._remote is None else self._remote.config
        return TokenDataset, (self.directory, self.manifest, "none", cache)

    @property
    def _where(self) -> str:
        return redact(self.directory) if self._remote is not None else str(self.directory)

    def _views(self, view: Callable[[Shard], np.ndarray]) -> Sequence[np.ndarray]:
        if self._remote is None:
            return [view(self._shards[number]) for number in range(len(self._shards))]
        return _Views(self._remote, view)

    def windows(
        self,
        sequence_length: int,
        *,
        stride: int | None = None,
        remainder: Remainder = "drop",
        across_shards: bool = True,
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
        across_shards : bool
            False: windows end where a shard ends, so that a remote one is not fetched for a few tokens.
        dtype : numpy dtype
            Of the arrays that indexing returns; they own their memory.

        Raises
        ------
        InputError
            If the dataset holds no tokens.
        ConfigError
            If `sequence_length` or `stride` is impossible, or `dtype` too small for the vocabulary.
        """
        self._require_dtype(dtype)
        return Windows(
            self,
            sequence_length,
            stride=stride,
            remainder=remainder,
            across_shards=across_shards,
            dtype=dtype,
        )

    def packed(
        self,
        sequence_length: int,
        *,
        method: Method = "best_fit",
        overflow: Overflow = "split",
        block_rows: int = 4096,
        pad_id: int | None = None,
        dtype: Any = np.int64,
    ) -> PackedSequences:
        """Map-style view of documents packed into sequences, with padding.

        Parameters
        ----------
        sequence_length : int
        method : {"best_fit", "one_document"}
            ``one_document``: every document is a sequence of its own.
        overflow : {"split", "crop"}
            Documents longer than `sequence_length`: several pieces, or only the first.
        block_rows : int
            Documents that are packed together.
        pad_id : int, optional
            Fills sequences up. Default: the end-of-text id, or 0 where there is none.
        dtype : numpy dtype
            Of the arrays that indexing returns; they own their memory.

        Raises
        ------
        InputError
            If the dataset holds no tokens.
        ConfigError
            If a parameter is impossible.
        """
        self._require_dtype(dtype)
        if pad_id is None:
            pad_id = self.manifest.tokenizer.end_of_text_id or 0
        elif not 0 <= pad_id < self.manifest.tokenizer.vocab_size:
            raise ConfigError(f"{pad_id} is not in the vocabulary", where="pad_id")
        writable = self._remote is None and os.access(self.directory, os.W_OK)
        return PackedSequences(
            self,
            sequence_length,
            method=method,
            overflow=overflow,
            block_rows=block_rows,
            pad_id=pad_id,
            sidecar_directory=self.directory if writable else default_cache_directory().parent / "packing",
            sidecar_source=None if self._remote is None else self._remote.read_sidecar,
            dtype=dtype,
        )

    def loader(
        self,
        sequence_length: int,
        batch_size: int,
        *,
        sequences: Sequences = "windows",
        remainder: Remainder = "drop",
        framework: str = "torch",
        **options: Any,
    ) -> Loader:
        """Shuffled batches ``{"input_ids": int64 [batch_size, sequence_length]}``.

        Parameters
        ----------
        sequence_length, batch_size
            Tokens of a sample and samples of a batch.
        sequences : {"windows", "packed", "documents"}
            Fixed windows over the stream; documents packed with best fit; one document a sample.
            With `shuffle_window`, windows end where shards end.
        remainder : {"drop", "overlap"}
            As for `windows`.
        framework : {"torch", "numpy"}
            What the batches are; ``numpy`` never imports torch.
        **options
            `seed`, `rank`, `world_size`, `shuffle`, `fields`, `workers` and the others of
            `corpuskit.shards.Loader`; for torch also `pin_memory`.

        Raises
        ------
        ConfigError
            If a parameter is impossible, or the whole of a remote dataset is to be mixed and its
            cache cannot hold it.
        """
        require_choice("sequences", sequences, get_args(Sequences))
        window = options.get("shuffle_window")
        if self._remote is not None and options.get("shuffle", True):
            self._require_cache(window)
        samples: Windows | PackedSequences
        if sequences == "windows":
            samples = self.windows(sequence_length, remainder=remainder, across_shards=window is None)
        else:
            method: Method = "best_fit" if sequences == "packed" else "one_document"
            samples = self.packed(sequence_length, method=method)
        return make_loader(samples, batch_size, framework=framework, **options)

    def _require_dtype(self, dtype: Any) -> None:
        """Raise `ConfigError` unless `dtype` holds every id of the vocabulary."""
        largest = self.manifest.tokenizer.vocab_size - 1
        try:
            fits = int(np.array(largest).astype(dtype)) == largest
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{dtype!r} is no dtype of numbers: {error}", where="dtype") from error
        if not fits:
            raise ConfigError(
                f"{np.dtype(dtype)} cannot hold the ids of a vocabulary of {largest + 1}",
                where="dtype",
                hint="choose a larger one, such as int64",
            )

    def _require_cache(self, window: int | None) -> None:
        """Raise `ConfigError` unless the cache holds what is mixed at a time, twice if it is a window."""
        if self._remote is None:
            return
        largest = max((entry.bytes for entry in self.manifest.shards), default=0)
        wanted = self.manifest.num_bytes
        if isinstance(window, int):
            wanted = min(wanted, 2 * window * largest)
        if wanted > self._remote.config.max_bytes:
            raise ConfigError(
                f"{wanted} bytes are read in random order and the cache holds "
                f"{self._remote.config.max_bytes}, so shards would be fetched again and again",
                where="shuffle_window",
                hint="choose a small shuffle_window (shards mixed at a time), or raise max_bytes",
            )


def open_dataset(
    directory: str | os.PathLike,
    verify: Verify = "fast",
    tokenizer: TokenizerLike | None = None,
    *,
    allow_incomplete: bool = False,
    cache: CacheConfig | None = None,
) -> TokenDataset:
    """Open a token dataset (as `corpuskit.shards.open`).

    Parameters
    ----------
    directory : path-like
        Or a URL (``s3://``, ``gs://``, ``http://``, … through fsspec): shards are then fetched into
        a cache when they are needed.
    verify : {"fast", "full", "none"}
        ``fast``: sizes, footers, offsets, counts and the checksum of each shard's structure.
        ``full``: also the checksum of the token values, which reads everything once. Remote shards
        are checked whole on arrival, whatever is asked.
    tokenizer : corpuskit.vocab.Tokenizer, optional
        Must be the one that wrote the shards.
    allow_incomplete : bool
        Open the whole shards of a dataset whose writer did not finish.
    cache : CacheConfig, optional
        Where remote shards are kept and how many bytes of them.

    Raises
    ------
    ArtifactError
        If it is not a dataset, or damaged, incomplete, or of a newer format.
    MismatchError
        If `tokenizer` is another one.
    InputError
        If a server cannot be reached or refuses.
    """
    address = str(directory)
    if is_url(address) and (plain := local_path(address)) is not None:
        address = plain
    remote = is_url(address)
    load = load_remote_manifest if remote else load_manifest
    manifest = load(address, allow_incomplete=allow_incomplete)
    if tokenizer is not None:
        manifest.require_tokenizer(tokenizer, redact(address) if remote else address)
    return TokenDataset(address, manifest, verify, cache)
