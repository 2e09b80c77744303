"""Signatures of documents: which scheme, which seed, and how they meet datasketch's.

``fss`` (the default) costs the same whatever the number of slots and estimates better than MinHash
on short texts. ``affine32`` and ``affine64`` are datasketch 2's permutations, value for value,
over our shingle hash: the same numbers as ``datasketch.MinHash(num_perm, seed, scheme=…,
hashfunc=shingle_hash32)`` (`shingle_hash` for 64 bits). Signatures of different schemes, seeds or
sizes have nothing in common; mixing them is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
import pyarrow as pa

from corpuskit.dedup.shingles import (
    Ignore,
    check_ignore,
    finish,
    ignored_table,
    shingle_hash,
    shingle_hash32,
    text_buffers,
)
from corpuskit.errors import ConfigError, MismatchError
from corpuskit.kernels import sketch
from corpuskit.kernels.shingles import MAX_NGRAM

if TYPE_CHECKING:
    from datasketch import MinHash

Scheme = Literal["fss", "affine32", "affine64"]


@dataclass(frozen=True)
class Sketcher:
    """Turns texts into signatures of their shingle sets.

    Parameters
    ----------
    slots : int
        Values per signature, 1 to 32767. The estimate's standard error is at most
        ``sqrt(J * (1 - J) / slots)``.
    ngram : int
        Characters per shingle, 1 to 64.
    ignore : {"nothing", "space", "space-punctuation"}
        Characters that do not count.
    scheme : {"fss", "affine32", "affine64"}
    seed : int
        0 to 2**32 - 1.
    """

    slots: int = 112
    ngram: int = 5
    ignore: Ignore = "space"
    scheme: Scheme = "fss"
    seed: int = 1

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        require_range("slots", self.slots, 1, 32767)
        require_range("ngram", self.ngram, 1, MAX_NGRAM)
        require_range("seed", self.seed, 0, 2**32 - 1)
        check_ignore(self.ignore)
        if self.scheme not in get_args(Scheme):
            raise ConfigError(f"{self.scheme!r} is not one of {', '.join(get_args(Scheme))}", where="scheme")

    @property
    def tag(self) -> str:
        """Everything a signature's values depend on, as text; equal tags can be compared."""
        return f"{self.scheme}:{self.slots}:n{self.ngram}:{self.ignore}:seed{self.seed}"

    @property
    def key(self) -> np.uint64:
        """A 64-bit key made from the seed."""
        return np.uint64(finish(self.seed + 1))

    def __call__(self, texts: pa.Array) -> np.ndarray:
        """Signatures of a string array.

        Returns
        -------
        uint64 array (uint32 for ``affine32``) of shape (len(texts), slots)
            A text without shingles has the largest value of the type in every slot.
        """
        data, offsets = text_buffers(texts)
        ignored = ignored_table(self.ignore)
        out = np.empty((len(texts), self.slots), np.uint32 if self.scheme == "affine32" else np.uint64)
        if self.scheme == "fss":
            sketch.sketch_fss(data, offsets, ignored, self.ngram, self.key, out)
            return out
        function = sketch.sketch_affine32 if self.scheme == "affine32" else sketch.sketch_affine64
        multipliers, increments = affine_permutations(self.scheme, self.slots, self.seed)
        function(data, offsets, ignored, self.ngram, multipliers, increments, out)
        return out

    def to_datasketch(self, signatures: np.ndarray) -> list[MinHash]:
        """Signatures as `datasketch.MinHash` objects, for its LSH indexes.

        Raises
        ------
        MismatchError
            If the scheme is ``fss``, which datasketch does not have.
        """
        from datasketch import MinHash

        self._require_affine()
        permutations = np.array(affine_permutations(self.scheme, self.slots, self.seed))
        return [
            MinHash(
                seed=self.seed,
                hashfunc=self._hash_function,
                hashvalues=row,
                permutations=permutations,
                scheme=self.scheme,
            )
            for row in signatures
        ]

    def from_datasketch(self, minhashes: Sequence[MinHash]) -> np.ndarray:
        """The signatures inside `datasketch.MinHash` objects, as this sketcher would return them.

        Raises
        ------
        MismatchError
            If one was made with another scheme, seed, number of permutations or hash function.
        """
        self._require_affine()
        for position, minhash in enumerate(minhashes):
            for name, theirs, ours in (
                ("scheme", getattr(minhash, "scheme", "legacy"), self.scheme),
                ("seed", minhash.seed, self.seed),
                ("num_perm", len(minhash.hashvalues), self.slots),
                ("hashfunc", getattr(minhash, "hashfunc", None), self._hash_function),
            ):
                if theirs != ours:
                    raise MismatchError(
                        f"the MinHash has {name} {theirs!r}, expected {ours!r}",
                        where=f"item {position}",
                        hint="signatures of different schemes, seeds or hash functions cannot be compared",
                    )
        dtype = np.uint32 if self.scheme == "affine32" else np.uint64
        rows = [minhash.hashvalues for minhash in minhashes]
        return np.array(rows, dtype).reshape(len(rows), self.slots)

    @property
    def _hash_function(self):
        return shingle_hash32 if self.scheme == "affine32" else shingle_hash

    def _require_affine(self) -> None:
        if self.scheme == "fss":
            raise MismatchError(
                "datasketch has no fast similarity sketches", where="scheme", hint="use affine32 or affine64"
            )


@cache
def affine_permutations(scheme: Scheme, slots: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Multipliers (odd) and increments, drawn exactly as datasketch 2 does."""
    dtype = np.uint32 if scheme == "affine32" else np.uint64
    width = 32 if scheme == "affine32" else 64
    generator = np.random.RandomState(seed)
    multipliers = generator.randint(0, 1 << (width - 1), slots, dtype=dtype) * dtype(2) + dtype(1)
    return multipliers, generator.randint(0, 1 << width, slots, dtype=dtype)


def signatures(
    texts: pa.Array,
    slots: int = 112,
    ngram: int = 5,
    ignore: Ignore = "space",
    scheme: Scheme = "fss",
    seed: int = 1,
) -> np.ndarray:
    """Signatures of a string array; see `Sketcher`."""
    return Sketcher(slots, ngram, ignore, scheme, seed)(texts)


def band_hashes(signatures: np.ndarray, bands: int, rows: int, key: np.uint64) -> np.ndarray:
    """Each signature's bands hashed to 64 bits: uint64 of shape (texts, bands).

    Two documents with Jaccard similarity s share at least one with probability
    ``1 - (1 - s**rows)**bands``.
    """
    out = np.empty((len(signatures), bands), np.uint64)
    sketch.band_hashes(signatures, rows, key, out)
    return out


def require_range(field: str, value: float, lowest: float, highest: float) -> None:
    """Raise `ConfigError` unless ``lowest <= value <= highest``."""
    if not lowest <= value <= highest:
        raise ConfigError(f"{value!r} is not between {lowest} and {highest}", where=field)
