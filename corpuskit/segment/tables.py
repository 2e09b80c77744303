"""The dictionary trie and the model tables: built once for each content, kept on disk, memory-mapped.

Building from jieba's dictionary takes about a second, loading milliseconds; processes share the mapped
pages, and a process that adds words changes only its own copy of the pages it touches.
"""

from __future__ import annotations

import json
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
from corpuskit.kernels import ranked_trie as kernels
from corpuskit.kernels.hidden_markov import EMISSIONS
from corpuskit.kernels.ranked_trie import Trie
from corpuskit.segment import dictionary

_BUILD_LOCK = threading.Lock()  # one process writes one temporary file at a time
_DICTIONARY_LAYOUT = 3  # raise when what a cache file holds changes
_HMM_LAYOUT = 1
_ALIGNMENT = 64
_SLACK = 8  # a loaded trie has room for an eighth more nodes before a user's words make it grow


class Dictionary(NamedTuple):
    """A main dictionary, ready for the kernels."""

    key: str
    """Hash of the file's content and of the layout."""
    trie: Trie
    """Changing its arrays leaves the cached file alone."""
    frequencies: np.ndarray
    """int64: the frequency of each node of the trie, 0 for a mere prefix, -1 for a single character that is
    not in the dictionary."""
    others: dict[str, int]
    """Frequencies of the words with characters outside `dictionary.is_matchable`, and of their prefixes; text
    is never cut into these."""
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
    packed = _cached(f"dictionary-{key}", lambda: _packed(*_built(content, str(source))))
    return Dictionary(key, *_unpacked(packed))


def load_hmm(ranks: np.ndarray) -> np.ndarray:
    """jieba's hidden Markov model (see `dictionary.read_hmm`), its emissions in the order of `ranks`."""
    contents = [_read(path) for path in dictionary.hmm_files()]
    key = _key(f"hmm {_HMM_LAYOUT}", *contents)
    table = _cached(f"hmm-{key}", dictionary.read_hmm)
    emissions = table[EMISSIONS:].reshape(-1, 4)
    ranked = np.empty_like(emissions)
    ranked[ranks[kernels.FIRST_HAN : kernels.LAST_HAN + 1] - kernels.FIRST_HAN_RANK] = emissions
    return np.concatenate([table[:EMISSIONS], ranked.ravel()])


def ranks_of(text: str, table: np.ndarray) -> np.ndarray:
    """The rank of each character: uint16."""
    return table[np.minimum(np.frombuffer(text.encode("utf-32-le"), np.uint32), 0xFFFF)]


def grown(trie: Trie, frequencies: np.ndarray, where: str) -> tuple[Trie, np.ndarray]:
    """A trie with twice the room, and its frequencies.

    Raises
    ------
    InputError
        If the dictionary has more prefixes than node numbers.
    """
    used = int(trie.header[kernels.NODES])
    if 2 * used > kernels.MAX_NODES:
        raise InputError(f"the dictionary has more than {kernels.MAX_NODES // 2} prefixes", where=where)
    larger = kernels.new_trie(trie.ranks, 2 * trie.slots.size, 2 * used)
    kernels.rehash(trie.slots, larger.slots)
    larger.nodes[: 2 * used] = trie.nodes[: 2 * used]
    more = np.zeros(larger.nodes.size // 2, np.int64)
    more[:used] = frequencies[:used]
    return Trie(trie.ranks, trie.pairs, larger.slots, larger.nodes, trie.header), more


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


def _built(content: bytes, where: str) -> tuple[Trie, np.ndarray, dict[str, int], int]:
    """Trie, frequencies, other words and total of a main dictionary."""
    entries, total = dictionary.parse_dictionary(content, where)
    if total > dictionary.MAX_FREQUENCY:
        raise InputError("the frequencies add up to more than 2**63 - 1", where=where)
    others: dict[str, int] = {}
    for word in [word for word in entries if not dictionary.is_matchable(word)]:
        frequency = entries.pop(word)
        for i in range(1, len(word)):
            if dictionary.is_matchable(word[:i]):
                entries.setdefault(word[:i], 0)
            else:
                others.setdefault(word[:i], 0)
        others[word] = frequency
    given = np.array(list(entries.values()), np.int64)
    order = np.argsort(-given, kind="stable")
    names = list(entries)
    words = [names[i] for i in order.tolist()]
    given = given[order]
    offsets = np.zeros(len(words) + 1, np.int64)
    np.cumsum([len(word) for word in words], out=offsets[1:])
    codes = np.frombuffer("".join(words).encode("utf-32-le"), np.uint32)
    table = _rank_table(codes, np.repeat(given, np.diff(offsets)))

    ranks = table[codes]
    room = 1 << max(10, int(2.4 * len(words)).bit_length())
    trie = kernels.new_trie(table, room, max(room // 8, int(1.5 * len(words))))
    frequencies = np.zeros(trie.nodes.size // 2, np.int64)
    nodes = np.empty(len(words), np.int64)
    done = 0
    while True:
        done = kernels.insert_many(
            trie.pairs, trie.slots, trie.nodes, trie.header, ranks, offsets, done, nodes
        )
        if done == len(words):
            break
        trie, frequencies = grown(trie, frequencies, where)
    frequencies[: kernels.RANKS] = -1
    frequencies[ranks[offsets[:-1]]] = 0  # the first characters of words are prefixes at least
    frequencies[nodes] = given
    trie.nodes.view(np.float64)[2 * nodes] = [log(f) if f else -inf for f in given.tolist()]
    return trie, frequencies, others, total


def _rank_table(codes: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Ranks by the frequencies of the words that ideographs occur in."""
    uses = np.bincount(codes, weights=frequencies, minlength=kernels.LAST_HAN + 1)
    uses = uses[kernels.FIRST_HAN : kernels.LAST_HAN + 1]
    return kernels.rank_table(kernels.FIRST_HAN + np.argsort(-uses, kind="stable"))


def _packed(trie: Trie, frequencies: np.ndarray, others: dict[str, int], total: int) -> np.ndarray:
    """All of it as one array of bytes, each part at a multiple of `_ALIGNMENT`."""
    used = int(trie.header[kernels.NODES])
    room = min(used + used // _SLACK, frequencies.size)
    text = np.frombuffer(json.dumps(others).encode(), np.uint8)
    sizes = np.array([total, trie.slots.size, room, text.size], np.int64)
    parts = [sizes, trie.ranks, trie.pairs, trie.slots, trie.nodes[: 2 * room], trie.header]
    parts += [frequencies[:room], text]
    packed = np.zeros(sum(_aligned(part.nbytes) for part in parts), np.uint8)
    at = 0
    for part in parts:
        packed[at : at + part.nbytes] = part.view(np.uint8)
        at += _aligned(part.nbytes)
    return packed


def _unpacked(packed: np.ndarray) -> tuple[Trie, np.ndarray, dict[str, int], int]:
    """What was packed, as views."""
    at = 0

    def part(kind: type, length: int) -> np.ndarray:
        nonlocal at
        begin, size = at, length * np.dtype(kind).itemsize
        at += _aligned(size)
        return packed[begin : begin + size].view(kind)

    total, slots, room, length = part(np.int64, 4).tolist()
    trie = Trie(
        part(np.uint16, 1 << 16),
        part(np.uint8, kernels.FOLD * kernels.ROW),
        part(np.uint64, slots),
        part(np.uint64, 2 * room),
        part(np.int64, kernels.HEADER),
    )
    frequencies = part(np.int64, room)
    return trie, frequencies, json.loads(part(np.uint8, length).tobytes()), total


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


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
