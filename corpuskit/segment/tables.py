"""The dictionary trie and the model tables: built once for each content, kept on disk, memory-mapped.

Building from jieba's dictionary takes about a second, loading milliseconds; processes share the mapped
pages, and a process that adds words changes only its own copy of the pages it touches.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable
from math import inf, log
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xxhash

from corpuskit import files
from corpuskit.errors import InputError, ResourceError
from corpuskit.kernels import trie as kernels
from corpuskit.segment import dictionary

_BUILD_LOCK = threading.Lock()  # one process writes one temporary file at a time
_DICTIONARY_LAYOUT = 1  # raise when what a cache file holds changes
_HMM_LAYOUT = 1


class Dictionary(NamedTuple):
    """A main dictionary, ready for the kernels."""

    key: str
    """Hash of the file's content and of the layout."""
    trie: np.ndarray
    """int64, see `corpuskit.kernels.trie`; changing it leaves the cached file alone."""
    frequencies: list[int]
    """The frequency of each weight; the first is 0."""
    total: int


def load_dictionary(path: str | os.PathLike | None) -> Dictionary:
    """The dictionary at `path` (jieba's own by default), from the cache where it is there.

    Raises
    ------
    InputError
        If the file is missing or has a bad line.
    """
    source = dictionary.jieba_directory() / "dict.txt" if path is None else Path(path)
    content = _read(source)
    key = _key(f"dictionary {_DICTIONARY_LAYOUT} {kernels.FORMAT}", content)
    packed = _cached(f"dictionary-{key}", lambda: _pack_dictionary(content, str(source)))
    slots = kernels.SLOTS + (2 << int(packed[kernels.AT_BITS]))
    total = int(packed[slots])
    return Dictionary(key, packed[:slots], packed[slots + 1 :].tolist(), total)


def load_hmm() -> np.ndarray:
    """jieba's hidden Markov model (see `dictionary.read_hmm`), from the cache where it is there."""
    contents = [_read(path) for path in dictionary.hmm_files()]
    key = _key(f"hmm {_HMM_LAYOUT}", *contents)
    return _cached(f"hmm-{key}", dictionary.read_hmm)


def logarithms(frequencies: list[int]) -> np.ndarray:
    """Natural logarithm for each weight, minus infinity for frequency 0: float64.

    By `math.log`, whose last bit NumPy's vectorised logarithm does not always reproduce.
    """
    return np.array([log(f) if f else -inf for f in frequencies], np.float64)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"the dictionary cannot be read: {error.strerror}", where=str(path)) from error


def _key(layout: str, *contents: bytes) -> str:
    state = xxhash.xxh3_128(layout.encode())
    for content in contents:
        state.update(len(content).to_bytes(8, "little"))
        state.update(content)
    return state.hexdigest()


def _pack_dictionary(content: bytes, where: str) -> np.ndarray:
    """Trie, total (modulo nothing: it must fit 63 bits) and frequencies as one int64 array."""
    words, total = dictionary.parse_dictionary(content, where)
    if total > dictionary.MAX_FREQUENCY:
        raise InputError("the frequencies add up to more than 2**63 - 1", where=where)
    frequencies = [0, *sorted(set(words.values()) - {0})]
    weight_of = {frequency: i for i, frequency in enumerate(frequencies)}
    codes = np.frombuffer("".join(words).encode("utf-32-le"), np.uint32)
    offsets = np.zeros(len(words) + 1, np.int64)
    np.cumsum([len(word) for word in words], out=offsets[1:])
    weights = np.array([weight_of[frequency] for frequency in words.values()], np.int64)
    trie = kernels.new_trie(max(10, int(2.4 * len(words)).bit_length()))
    done = 0
    while (done := kernels.insert_many(trie, codes, offsets, weights, done)) < len(words):
        trie = grown(trie, where)
    return np.concatenate([trie, np.array([total, *frequencies], np.int64)])


def grown(trie: np.ndarray, where: str) -> np.ndarray:
    """A copy of `trie` with twice the slots.

    Raises
    ------
    InputError
        If the dictionary has more prefixes than node numbers.
    """
    if 2 * trie[kernels.AT_NODES] > kernels.MAX_NODES:
        raise InputError(f"the dictionary has more than {kernels.MAX_NODES // 2} prefixes", where=where)
    larger = kernels.new_trie(int(trie[kernels.AT_BITS]) + 1)
    kernels.grow(trie, larger)
    return larger


def _cached(name: str, build: Callable[[], np.ndarray]) -> np.ndarray:
    """The array in the cache file `name`, built and written first where it is missing or damaged."""
    directory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "corpuskit" / "segment"
    path = directory / f"{name}.npy"
    if (loaded := _mapped(path)) is not None:
        return loaded
    with _BUILD_LOCK:
        if (loaded := _mapped(path)) is not None:
            return loaded
        array = build()
        try:
            with files.atomic_path(path) as temporary, open(temporary, "wb") as handle:
                np.save(handle, array, allow_pickle=False)
        except (OSError, ResourceError) as error:
            warnings.warn(
                f"the segmentation tables cannot be cached ({error}); every process builds them anew. "
                "Set XDG_CACHE_HOME to a writable directory.",
                RuntimeWarning,
                stacklevel=4,
            )
            return array
    return array if (loaded := _mapped(path)) is None else loaded


def _mapped(path: Path) -> np.ndarray | None:
    """The array of a cache file, copy-on-write; None if the file is missing or damaged."""
    try:
        mapped = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return mapped.view(np.ndarray)
