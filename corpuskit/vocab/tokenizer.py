"""The tokenizer: one object over every kind of vocabulary, and one directory on disk.

`corpuskit.json` makes the directory self-describing (kind, pattern, normaliser, special tokens,
fingerprint, provenance); beside it lie the files other programs load. For transformers that is
`tokenizer.json` and a configuration that names `PreTrainedTokenizerFast`, because a GPT-2 class
would silently put its own pre-tokenizer in place of ours.

The fingerprint covers what decides the ids and nothing else: two vocabularies with the same
fingerprint give the same ids for every text, whoever trained them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tokenizers
import xxhash

from corpuskit.errors import ArtifactError, ConfigError, InputError
from corpuskit.vocab import artifact, decoding, exports
from corpuskit.vocab.bytelevel import ByteLevelBPE
from corpuskit.vocab.encoder import Encoder, require_valid
from corpuskit.vocab.pieces import SentencePieceModel

_END_OF_TEXT_NAMES = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>")

# Text handed to a library in one call: bounds the memory of its intermediate objects, which
# measured about 90 times the text.
_CHUNK_BYTES = 4 << 20


class Tokenizer:
    """Text to ids and back.

    Parameters
    ----------
    vocabulary : ByteLevelBPE or SentencePieceModel
        What was trained, extended or loaded.
    provenance : mapping, optional
        How it came to be (training configuration, sample, library versions); JSON values. It is
        stored with the artifact and does not enter the fingerprint.

    Examples
    --------
    >>> tokenizer = Tokenizer.load("out/gpt2-zh")       # doctest: +SKIP
    >>> tokenizer.decode(tokenizer.encode("我想"))       # doctest: +SKIP
    '我想'
    """

    def __init__(
        self, vocabulary: ByteLevelBPE | SentencePieceModel, provenance: Mapping[str, Any] | None = None
    ) -> None:
        self.vocabulary = vocabulary
        self.provenance = dict(provenance or {})

    def __repr__(self) -> str:
        return f"<Tokenizer {self.kind}, {self.vocab_size} tokens, {self.fingerprint}>"

    def __reduce__(self):
        return Tokenizer, (self.vocabulary, self.provenance)

    @classmethod
    def load(cls, directory: str | os.PathLike) -> Tokenizer:
        """Read an artifact directory.

        Raises
        ------
        ArtifactError
            If it is missing, incomplete, too new, or its files were changed after saving.
        """
        vocabulary, stored = artifact.read(Path(directory))
        loaded = cls(vocabulary, stored.get("provenance"))
        if stored.get("fingerprint") != loaded.fingerprint:
            raise ArtifactError(
                "the model files do not have the fingerprint that corpuskit.json names",
                where=str(directory),
                hint="a file was changed or mixed with another tokenizer's; save the tokenizer again",
            )
        return loaded

    def save(self, directory: str | os.PathLike) -> Path:
        """Write the artifact directory, whole or not at all; an older artifact there is replaced.

        Raises
        ------
        ConfigError
            If the directory holds something that is not a tokenizer artifact.
        """
        return artifact.write_directory(Path(directory), self.files())

    def files(self) -> dict[str, bytes]:
        """Name and content of every file of the artifact; equal tokenizers give equal bytes."""
        return artifact.files(self)

    @property
    def kind(self) -> str:
        """``byte-bpe``, ``sentencepiece-unigram`` or ``sentencepiece-bpe``."""
        return "byte-bpe" if isinstance(self.vocabulary, ByteLevelBPE) else self.vocabulary.kind

    @property
    def vocab_size(self) -> int:
        """Number of ids, special tokens included; every id is below it."""
        return self.vocabulary.vocab_size

    @property
    def special_tokens(self) -> dict[str, int]:
        """Id of each special token."""
        return dict(self.vocabulary.special_tokens)

    @property
    def end_of_text(self) -> str | None:
        """The special token between documents: a well-known name, else the first one, else None."""
        special = self.vocabulary.special_tokens
        known = [name for name in _END_OF_TEXT_NAMES if name in special]
        return next(iter(known or special), None)

    @property
    def end_of_text_id(self) -> int:
        """Id of `end_of_text`.

        Raises
        ------
        ArtifactError
            If the vocabulary has no special token.
        """
        name = self.end_of_text
        if name is None:
            raise ArtifactError(
                "the tokenizer has no special token to put between documents",
                hint="train or load it with special_tokens=('<|endoftext|>',)",
            )
        return self.vocabulary.special_tokens[name]

    @cached_property
    def fingerprint(self) -> str:
        """XXH3-128 over everything that decides the ids, as 32 hexadecimal digits."""
        return xxhash.xxh3_128_hexdigest(self.vocabulary.canonical())

    @property
    def token_dtype(self) -> pa.DataType:
        """``uint16`` where every id fits, else ``uint32``."""
        return pa.uint16() if self.vocab_size <= 1 << 16 else pa.uint32()

    def encode(self, text: str, *, allow_special: bool = False) -> list[int]:
        """Ids of a text.

        Parameters
        ----------
        text : str
        allow_special : bool
            Take text that looks like a special token as that token. Off by default, because a
            crawled page that quotes ``<|endoftext|>`` must not end a document.

        Raises
        ------
        InputError
            If the text holds lone surrogates, which have no UTF-8 form.
        """
        ids: list[int] = []
        for piece, special in self._split_special(text, allow_special):
            ids += [special] if special is not None else self._encode_text(piece)
        return ids

    def encode_spans(
        self, text: str, *, allow_special: bool = False, unit: Literal["characters", "bytes"] = "characters"
    ) -> tuple[list[int], np.ndarray]:
        """Ids of a text, and where in it each token lies.

        Parameters
        ----------
        text : str
        allow_special : bool
            See `encode`.
        unit : {"characters", "bytes"}
            Bytes are those of UTF-8, and byte-level BPE without a normaliser alone has them.

        Returns
        -------
        ids : list of int
            Those of `encode`.
        spans : int64[n, 2]
            Begin and end of each token. In characters, a token that holds part of a character
            spans the whole of it, so ``text[a:b]`` is always what the token is about.

        Raises
        ------
        InputError
            If the text holds lone surrogates.
        ConfigError
            If `unit` is unknown, or ``bytes`` of a vocabulary that has none.
        """
        exact = isinstance(self.vocabulary, ByteLevelBPE) and self.vocabulary.normaliser == "identity"
        if unit not in ("characters", "bytes") or (unit == "bytes" and not exact):
            raise ConfigError(
                f"{unit!r} is not a unit of this {self.kind} tokenizer's spans",
                where="unit",
                hint="use 'characters'",
            )
        ids: list[int] = []
        spans: list[np.ndarray] = []
        start = 0
        for piece, special in self._split_special(text, allow_special):
            size = len(piece) if unit == "characters" else len(piece.encode())
            if special is not None:
                ids.append(special)
                spans.append(np.array([[start, start + size]], np.int64))
            elif piece:
                these, where = self._encode_piece_spans(piece, unit, exact)
                ids += these
                spans.append(where + start)
            start += size
        return ids, np.concatenate(spans) if spans else np.empty((0, 2), np.int64)

    def encode_batch(self, texts: pa.Array | pa.ChunkedArray, *, threads: int = 1) -> pa.LargeListArray:
        """Ids of every text of an Arrow string array.

        Parameters
        ----------
        texts : pyarrow.Array or ChunkedArray
            ``string`` or ``large_string``, length n, without nulls.
        threads : int
            Threads of byte-level BPE; the result does not depend on it, and a single text is
            never divided. Other kinds use one.

        Returns
        -------
        pyarrow.LargeListArray
            Length n; the values are `token_dtype`. Special tokens are never produced.

        Raises
        ------
        InputError
            If the array has nulls (the message names the first row), holds bytes that are not
            UTF-8, or is of another type.
        ConfigError
            If `threads` is less than 1.
        """
        if threads < 1:
            raise ConfigError(f"{threads} is less than 1", where="threads")
        if not (pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)):
            raise InputError(f"encode_batch takes an Arrow string array, not {texts.type}")
        if texts.null_count:
            row = pc.index(pc.is_null(texts), True).as_py()
            raise InputError(f"{texts.null_count} of {len(texts)} texts are null", where=f"row {row}")
        if isinstance(texts, pa.ChunkedArray):
            # Chunks of 32-bit offsets may not fit into one array of them.
            texts = texts.cast(pa.large_string()).combine_chunks()
        if self._encoder is not None:
            values, offsets = self._encoder.encode_batch(texts, threads)
        else:
            values, offsets = self._encode_by_library(texts)
        return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values))

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Text of ids; bytes that are not UTF-8 (a cut character) become U+FFFD.

        Raises
        ------
        InputError
            If an id is not in the vocabulary.
        """
        numbers = decoding.checked_ids(ids, self.vocab_size)
        if isinstance(self.vocabulary, ByteLevelBPE):
            return b"".join([self._token_bytes[i] for i in numbers]).decode("utf-8", errors="replace")
        special = self._special_names
        parts: list[str] = []
        run: list[int] = []
        for token_id in numbers:
            if token_id in special:
                parts += [self.vocabulary.decode_run(run), special[token_id]]
                run = []
            else:
                run.append(token_id)
        return "".join([*parts, self.vocabulary.decode_run(run)])

    def stream_decoder(self) -> decoding.StreamDecoder:
        """A decoder for ids that arrive one by one, which never shows half a character."""
        if isinstance(self.vocabulary, ByteLevelBPE):
            return decoding.of_bytes(self._token_bytes)
        return decoding.of_pieces(self.vocabulary, self._special_names)

    @cached_property
    def exportable_formats(self) -> tuple[str, ...]:
        """Formats that `export` can write with the same ids for every text."""
        return exports.formats_of(self.vocabulary)

    def export(self, format: str, path: str | os.PathLike) -> Path:
        """Write the vocabulary in another program's format.

        Parameters
        ----------
        format : {"tokenizer.json", "gpt2", "tiktoken", "spiece.model"}
            See `exportable_formats`. ``gpt2`` writes `vocab.json` and `merges.txt` into the
            directory `path`; ``tiktoken`` writes the ranks to `path` and pattern and special
            tokens to `path` + ``.json``, as the ranks hold neither.
        path : path-like

        Raises
        ------
        UnsupportedExport
            If the format cannot hold this vocabulary without changing ids.
        """
        return exports.export(self, format, Path(path))

    @cached_property
    def _special_pattern(self) -> re.Pattern[str]:
        # Longest first, so that a special token that begins with another is found whole.
        names = sorted(self.special_tokens, key=lambda name: (-len(name), name))
        return re.compile("(" + "|".join(re.escape(name) for name in names) + ")")

    @cached_property
    def _special_names(self) -> dict[int, str]:
        return {token_id: name for name, token_id in self.special_tokens.items()}

    @cached_property
    def _token_bytes(self) -> list[bytes]:
        return decoding.token_bytes(self._byte_level())

    @cached_property
    def _encoder(self) -> Encoder | None:
        """The kernel encoder, or None where only a library gives the ids."""
        return Encoder.of(self.vocabulary) if isinstance(self.vocabulary, ByteLevelBPE) else None

    @cached_property
    def _backend(self) -> tokenizers.Tokenizer:
        return self._byte_level().backend()

    def _byte_level(self) -> ByteLevelBPE:
        if not isinstance(self.vocabulary, ByteLevelBPE):
            raise TypeError(self.kind)
        return self.vocabulary

    def _split_special(self, text: str, allow_special: bool) -> Iterator[tuple[str, int | None]]:
        """Pieces of a text, each with the id of the special token it is, or None."""
        if not allow_special or not self.special_tokens:
            yield text, None
            return
        for piece in self._special_pattern.split(text):
            if piece:
                yield piece, self.special_tokens.get(piece)

    def _encode_text(self, text: str) -> list[int]:
        if self._encoder is not None:
            return self._encoder.encode(_utf8(text)).tolist()
        return self._encode_texts([text])[0]

    def _encode_piece_spans(self, text: str, unit: str, exact: bool) -> tuple[list[int], np.ndarray]:
        if exact:
            ids = self._encode_text(text)
            ends = np.cumsum([0, *(len(self._token_bytes[i]) for i in ids)])
            spans = np.stack([ends[:-1], ends[1:]], axis=1)
            return ids, spans if unit == "bytes" else decoding.character_spans(text.encode(), spans)
        _utf8(text)
        if isinstance(self.vocabulary, ByteLevelBPE):
            encoding = self._backend.encode(text, add_special_tokens=False)
            return encoding.ids, np.array(encoding.offsets, np.int64).reshape(-1, 2)
        return decoding.encode_piece_spans(self.vocabulary, text)

    def _encode_by_library(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        require_valid(texts)
        dtype = self.token_dtype.to_pandas_dtype()
        values: list[np.ndarray] = []
        lengths = [0]
        for chunk in _chunks(texts):
            for ids in self._encode_texts(chunk):
                lengths.append(len(ids))
                values.append(np.array(ids, dtype))
        flat = np.concatenate(values) if values else np.empty(0, dtype)
        return flat, np.cumsum(np.array(lengths, np.int64))

    def _encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids from the library."""
        try:
            if isinstance(self.vocabulary, ByteLevelBPE):
                encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
                return [encoding.ids for encoding in encodings]
            return self.vocabulary.encode_batch(texts)
        except (UnicodeEncodeError, TypeError) as error:
            for text in texts:
                _utf8(text)
            raise InputError(f"text cannot be encoded: {error}") from error


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            "text holds a lone surrogate, which has no UTF-8 form",
            where=f"character {error.start}",
            hint="decode the input with errors='replace'",
        ) from error


def _chunks(texts: pa.Array) -> Iterator[list[str]]:
    """Lists of texts of about `_CHUNK_BYTES` each."""
    start = 0
    while start < len(texts):
        size, stop = 0, start
        while stop < len(texts) and size < _CHUNK_BYTES:
            size += len(texts[stop].as_buffer())
            stop += 1
        yield texts.slice(start, stop - start).to_pylist()
        start = stop
