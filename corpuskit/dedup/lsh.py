"""Signatures into and out of datasketch's LSH indexes.

A `datasketch.MinHashLSH` holds for each key the bytes of its bands (big-endian); joined they are the first
``b * r`` slots of the signature, and that is what an index of ours or anybody's is made from. It records
neither the seed nor the hash function of the shingles: who takes signatures out must know them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from corpuskit.dedup.signatures import Sketcher
from corpuskit.errors import MismatchError

if TYPE_CHECKING:
    from datasketch import MinHashLSH


def insert_into_lsh(lsh: MinHashLSH, ids: Sequence[str], signatures: np.ndarray, sketcher: Sketcher) -> None:
    """Insert signatures into an index of datasketch.

    Parameters
    ----------
    lsh : datasketch.MinHashLSH
        With ``num_perm`` equal to the slots.
    ids : sequence of str
        Keys, one a signature.
    signatures : array of shape (len(ids), slots)
        As `sketcher` makes them.
    sketcher : Sketcher

    Raises
    ------
    MismatchError
        If the scheme is ``fss``, or the index has another number of slots.
    """
    if lsh.h != sketcher.slots:
        raise MismatchError(
            f"the index takes signatures of {lsh.h} slots, these have {sketcher.slots}", where="num_perm"
        )
    with lsh.insertion_session() as session:
        for key, minhash in zip(ids, sketcher.to_datasketch(signatures), strict=True):
            session.insert(key, minhash)


def signatures_from_lsh(lsh: MinHashLSH, sketcher: Sketcher) -> tuple[list[Any], np.ndarray]:
    """Keys and signatures of an index of datasketch, in the order in which they were inserted.

    Parameters
    ----------
    lsh : datasketch.MinHashLSH
        In memory (``storage_config`` of type ``dict``), without a ``hashfunc`` of its own (which would have
        replaced the bands by their hashes).
    sketcher : Sketcher
        How its signatures were made; ``slots`` is the index's ``b * r``. Scheme and slots are checked; the
        seed and the shingles' hash cannot be, because the index does not record them.

    Returns
    -------
    keys : list
    signatures : array of shape (keys, slots)
        uint32 for ``affine32``, uint64 for ``affine64``; to be banded by `signatures.band_hashes`
        or compared with `sketcher`'s own.

    Raises
    ------
    MismatchError
        If the index does not hold what `sketcher` makes.
    """
    if lsh.hashfunc is not None:
        raise MismatchError(
            "the index holds hashes of its bands, not the bands",
            where="hashfunc",
            hint="signatures come out of an index made without hashfunc",
        )
    if lsh.b * lsh.r != sketcher.slots:
        raise MismatchError(
            f"the index holds {lsh.b} bands of {lsh.r} slots, expected {sketcher.slots} in all", where="slots"
        )
    scheme = getattr(lsh, "_minhash_scheme", None)
    if scheme is not None and scheme != sketcher.scheme:
        raise MismatchError(
            f"the index holds signatures of the scheme {scheme!r}, expected {sketcher.scheme!r}",
            where="scheme",
        )
    dtype = np.dtype(np.uint32 if sketcher.scheme == "affine32" else np.uint64)
    keys = list(lsh.keys)
    out = np.empty((len(keys), sketcher.slots), dtype)
    for row, key in enumerate(keys):
        joined = b"".join(lsh.keys[key])
        if len(joined) != sketcher.slots * dtype.itemsize:
            raise MismatchError(
                f"{len(joined)} bytes are not {sketcher.slots} slots of {dtype}",
                where=f"key {key!r}",
                hint="the scheme of the index is another one",
            )
        out[row] = np.frombuffer(joined, dtype.newbyteorder(">"))
    return keys, out
