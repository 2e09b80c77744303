"""The trained segmenter's model: int8 tables, words, and the one file that holds them.

A file is ``CKSEGMOD``, the format number (uint32), the lengths of two parts (uint64 each), a JSON header that
names each array's type and shape, the arrays and the words (zlib), and XXH3-128 of all before it.
Little-endian throughout.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from corpuskit import files
from corpuskit.errors import ArtifactError, InputError
from corpuskit.kernels import perceptron as kernels
from corpuskit.kernels import trie as tries

FORMAT = 1
_MAGIC = b"CKSEGMOD"
_HEAD = struct.Struct("<8sIQQ")
_CHECKSUM_BYTES = 16
_RETRAIN = "train it again with this version of corpuskit"
_COPY_AGAIN = "copy the file again, or train the model again"


@dataclass(frozen=True, eq=False)
class SegmenterModel:
    """What training finds.

    Attributes
    ----------
    character_ids, classes : numpy.ndarray
        uint16 and uint8 for each code point below 65536; see `corpuskit.kernels.perceptron`.
    bigram_keys, skip_keys, trigram_keys : numpy.ndarray
        uint64, sorted.
    unigrams, bigrams, skips, trigrams : numpy.ndarray
        int8 of shape (rows, roles, 4): the score for B, M, E, S of each character of the n-gram's window.
    windows, repeats, triples, junctions : numpy.ndarray
        int8 with 4 as the last dimension: classes of five characters, equal characters, words of the
        vocabulary and the dictionary here, and the two words that would meet here.
    transitions : numpy.ndarray
        int32 of shape (4, 4), from and to, in the same unit.
    words : str
        The words of the training vocabulary and the dictionary, folded (`folded`) and sorted, a line each.
    word_sources : numpy.ndarray
        uint8 of each word: 1 vocabulary, 2 dictionary, 3 both.
    information : dict
        How it was trained: plain JSON values.
    """

    character_ids: np.ndarray
    classes: np.ndarray
    bigram_keys: np.ndarray
    skip_keys: np.ndarray
    trigram_keys: np.ndarray
    unigrams: np.ndarray
    bigrams: np.ndarray
    skips: np.ndarray
    trigrams: np.ndarray
    windows: np.ndarray
    repeats: np.ndarray
    triples: np.ndarray
    junctions: np.ndarray
    transitions: np.ndarray
    words: str
    word_sources: np.ndarray
    information: dict[str, Any]

    def to_bytes(self) -> bytes:
        """The content of a model file."""
        names = [field.name for field in fields(self) if field.name not in ("words", "information")]
        arrays = {name: getattr(self, name) for name in names}
        header = {
            "arrays": [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()],
            "information": self.information,
        }
        head = json.dumps(header, ensure_ascii=False, sort_keys=True).encode()
        parts = [np.ascontiguousarray(array).tobytes() for array in arrays.values()]
        body = zlib.compress(b"".join([*parts, self.words.encode()]), 6)
        content = _HEAD.pack(_MAGIC, FORMAT, len(head), len(body)) + head + body
        return content + xxhash.xxh3_128(content).digest()

    def save(self, path: str | os.PathLike) -> None:
        """Write the model as one file that appears whole or not at all."""
        with files.atomic_path(path) as temporary:
            temporary.write_bytes(self.to_bytes())

    @classmethod
    def from_bytes(cls, content: bytes, where: str = "the model") -> SegmenterModel:
        """The model of a file's content; errors are those of `load`."""
        if len(content) < _HEAD.size or not content.startswith(_MAGIC):
            raise ArtifactError(
                "it is no segmenter model",
                where=where,
                hint="expected a file that `corpuskit segment train` wrote",
            )
        _, number, head_bytes, body_bytes = _HEAD.unpack_from(content)
        if number != FORMAT:
            raise ArtifactError(
                f"the model has format {number}, this version reads format {FORMAT}",
                where=where,
                hint=_RETRAIN,
            )
        end = _HEAD.size + head_bytes + body_bytes
        if len(content) != end + _CHECKSUM_BYTES:
            raise ArtifactError(
                f"the model is damaged: it should have {end + _CHECKSUM_BYTES} bytes and has {len(content)}",
                where=where,
                hint=_COPY_AGAIN,
            )
        if xxhash.xxh3_128(content[:end]).digest() != content[end:]:
            raise ArtifactError(
                "the model is damaged: its checksum does not match", where=where, hint=_COPY_AGAIN
            )
        header = json.loads(content[_HEAD.size : _HEAD.size + head_bytes])
        body = zlib.decompress(content[_HEAD.size + head_bytes : end])
        values: dict[str, Any] = {"information": header["information"]}
        at = 0
        for name, kind, shape in header["arrays"]:
            count = int(np.prod(shape, dtype=np.int64))
            values[name] = np.frombuffer(body, kind, count, at).reshape(shape)
            at += values[name].nbytes
        return cls(words=body[at:].decode(), **values)

    @classmethod
    def load(cls, path: str | os.PathLike) -> SegmenterModel:
        """Read a model file.

        Raises
        ------
        InputError
            If the file cannot be read.
        ArtifactError
            If it is no model, damaged, or of another format.
        """
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise InputError(
                f"the model cannot be read: {error.strerror}", where=os.fspath(path), hint="check the path"
            ) from error
        return cls.from_bytes(content, os.fspath(path))

    def tables(self) -> tuple[np.ndarray, ...]:
        """The tables as `corpuskit.kernels.perceptron.cut` takes them, from `character_ids` to `steps`."""
        hashed = [
            _hashed(keys, biased(scores), triples)
            for keys, scores, triples in (
                (self.bigram_keys, self.bigrams, False),
                (self.skip_keys, self.skips, False),
                (self.trigram_keys, self.trigrams, True),
            )
        ]
        tables = (
            self.character_ids.view(),
            self.classes.view(),
            biased(self.unigrams),
            *(table for table, _ in hashed),
            np.array([shift for _, shift in hashed], np.uint64),
            biased(self.windows),
            biased(self.repeats),
            biased(self.triples),
            biased(self.junctions),
            self.transitions.astype(np.int64),
        )
        for table in tables:
            table.flags.writeable = False  # always: numba compiles a kernel for each kind
        return tables


def biased(scores: np.ndarray) -> np.ndarray:
    """Four int8 (the last dimension) as one uint32, 128 added to each."""
    return np.ascontiguousarray(scores.view(np.uint8) ^ np.uint8(128)).view("<u4")[..., 0].astype(np.uint32)


def _hashed(keys: np.ndarray, scores: np.ndarray, triples: bool) -> tuple[np.ndarray, int]:
    """A hash table at most half full, and its shift."""
    bits = max(4, int(2 * keys.size).bit_length())
    table = np.full((1 << bits, 1 + scores.shape[1]), 0x80808080, np.uint32)
    table[:, 0] = 0
    kernels.build_table(keys.astype(np.uint64), scores, triples, table, np.uint64(64 - bits))
    return table, 64 - bits


def folded(text: str) -> str:
    """`text` with fullwidth ASCII as ASCII."""
    return text.translate(_FOLD)


def folded_codes(text: str) -> np.ndarray:
    """Code points of `folded` text: uint32."""
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    codes = np.where((codes >= 0xFF01) & (codes <= 0xFF5E), codes - 0xFEE0, codes).astype(np.uint32)
    codes.flags.writeable = False
    return codes


def word_trie(words: str, weights: np.ndarray) -> np.ndarray:
    """A trie (`corpuskit.kernels.trie`) of words that stand a line each, with a weight for each."""
    if not words:
        return tries.new_trie(10)
    lines = np.frombuffer(words.encode("utf-32-le"), np.uint32)
    is_end = lines == ord("\n")
    codes = lines[~is_end]
    codes.flags.writeable = False
    breaks = np.flatnonzero(is_end)
    offsets = np.concatenate([[0], breaks - np.arange(breaks.size), [codes.size]]).astype(np.int64)
    trie = tries.new_trie(max(10, int(2.4 * weights.size).bit_length()))
    values = weights.astype(np.int64)
    done = 0
    while (done := tries.insert_many(trie, codes, offsets, values, done)) < values.size:
        trie = larger_trie(trie)
    return trie


def larger_trie(trie: np.ndarray) -> np.ndarray:
    """A copy with twice the room.

    Raises
    ------
    InputError
        If the words have more prefixes than there are node numbers.
    """
    if 2 * trie[tries.AT_NODES] > tries.MAX_NODES:
        raise InputError(f"the words have more than {tries.MAX_NODES // 2} prefixes", hint="give fewer words")
    larger = tries.new_trie(int(trie[tries.AT_BITS]) + 1)
    tries.grow(trie, larger)
    return larger


_FOLD = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
