"""The byte-level BPE encoder over Arrow buffers: who may use it, its tables, and its threads.

A vocabulary goes through the kernels (`corpuskit.kernels.encode`) if its pattern is one of those in
`corpuskit.vocab.patterns`, it has no normaliser, its ids rise with the rank of its merges, and each of its
tokens encodes to itself. GPT-2, cl100k, o200k, what corpuskit trains and what it extends are so. Any other
goes through Hugging Face tokenizers, which gives the same ids wherever both apply.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from corpuskit.errors import InputError
from corpuskit.vocab.bytelevel import ByteLevelBPE
from corpuskit.vocab.patterns import PATTERNS, Rules, cut_texts

if TYPE_CHECKING:
    from corpuskit.kernels.encode import Tables
    from corpuskit.kernels.encode_backtrack import Trie
    from corpuskit.kernels.encode_lookup import Pairs

_PART_BYTES = 1 << 20  # text of one thread at a time


class Encoder:
    """Text to ids for one vocabulary; shares nothing that changes, so threads may use one object.

    Attributes
    ----------
    rules : Rules
    tables : corpuskit.kernels.encode.Tables
    dtype : numpy.dtype
        uint16 where every id fits, else uint32.
    """

    def __init__(self, vocabulary: ByteLevelBPE, rules: Rules, tables: Tables) -> None:
        self.rules = rules
        self.tables = tables
        self.dtype = np.dtype(np.uint16 if vocabulary.vocab_size <= 1 << 16 else np.uint32)

    @classmethod
    def of(cls, vocabulary: ByteLevelBPE) -> Encoder | None:
        """The encoder of a vocabulary, or None if only the library gives its ids (see above)."""
        rules = PATTERNS.get(vocabulary.pattern)
        if rules is None or vocabulary.normaliser != "identity":
            return None
        tables = _tables(vocabulary)
        return None if tables is None else cls(vocabulary, rules, tables)

    def encode(self, text: bytes) -> np.ndarray:
        """Ids of one text in valid UTF-8."""
        data = np.frombuffer(text, np.uint8) if text else np.empty(0, np.uint8)
        return self._encode(_read_only(data), _read_only(np.array([0, data.size], np.int64)))[0]

    def encode_batch(self, texts: pa.Array, threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Ids of a ``string`` or ``large_string`` array without nulls.

        Parameters
        ----------
        texts : pyarrow.Array
        threads : int
            The result does not depend on it. A text is never divided.

        Returns
        -------
        ids : numpy.ndarray, uint16 or uint32
        offsets : numpy.ndarray[int64], length n + 1

        Raises
        ------
        InputError
            If a text is not valid UTF-8.
        """
        require_valid(texts)
        data, offsets = buffers(texts)
        if threads == 1 or len(texts) < 2:
            return self._encode(data, offsets)
        total = int(offsets[-1] - offsets[0])
        num_parts = max(1, min(len(texts), max(threads, total // _PART_BYTES)))
        ends = offsets[0] + np.arange(1, num_parts) * total // num_parts
        cuts = [0, *np.searchsorted(offsets, ends).tolist(), len(texts)]
        parts = [offsets[a : b + 1] for a, b in pairwise(cuts) if b > a]
        with ThreadPoolExecutor(threads) as pool:
            done = list(pool.map(lambda part: self._encode(data, part), parts))
        starts = np.concatenate([[0], np.cumsum([ids.size for ids, _ in done])])
        shifted = [part[:-1] + start for (_, part), start in zip(done, starts)]
        return np.concatenate([ids for ids, _ in done]), np.concatenate([*shifted, starts[-1:]])

    @cached_property
    def trie(self) -> Trie:
        """For pre-tokens of more than 128 bytes; 0.1 s for 50,000 tokens, so built when one comes."""
        from corpuskit.kernels import encode_backtrack, encode_lookup

        starts = self.tables.token_starts
        bits = (2 * int(starts[-1])).bit_length()
        children = np.zeros(1 << bits, np.uint64)
        tokens = np.full(int(starts[-1]) + 1, encode_lookup.NONE, np.uint32)
        prefixes = np.full(len(starts) - 1, encode_lookup.NONE, np.uint32)
        shift = np.uint64(64 - bits)
        nodes = encode_backtrack.fill_trie(children, shift, tokens, prefixes, self.tables.token_bytes, starts)
        return encode_backtrack.Trie(children, shift, tokens[:nodes].copy(), prefixes)

    def _encode(self, data: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        from corpuskit.kernels import encode

        # A byte gives one token at most. What is not written to costs no memory, and is given back.
        out = np.empty(int(offsets[-1] - offsets[0]), self.dtype)
        out_offsets = np.zeros(len(offsets), np.int64)
        trie = self.__dict__.get("trie", _no_trie())
        written = row = 0
        for begin, ends in cut_texts(self.rules, data, offsets):
            where = np.uint64(begin), ends, offsets, row, self.tables
            after = encode.encode_pretokens(data, *where, trie, out, written, out_offsets)
            if after[0] == encode.NEEDS_TRIE:
                trie = self.trie
                after = encode.encode_pretokens(data, *where, trie, out, written, out_offsets)
            written, row = after
        out_offsets[row + 1 :] = written
        out.resize(written, refcheck=False)
        return out, out_offsets


@cache
def _no_trie() -> Trie:
    from corpuskit.kernels.encode_backtrack import Trie

    nothing = np.zeros(1, np.uint32)
    return Trie(np.zeros(1, np.uint64), np.uint64(63), nothing, nothing)


def buffers(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of an Arrow string array and the offsets of its texts, int64[n + 1]."""
    _, ends, content = texts.buffers()
    width = np.int32 if pa.types.is_string(texts.type) else np.int64
    offsets: np.ndarray = np.zeros(len(texts) + 1, np.int64)
    if len(texts) and ends is not None:
        offsets = np.frombuffer(ends, width)[texts.offset : texts.offset + len(texts) + 1]
    empty = content is None or content.size == 0
    data = np.empty(0, np.uint8) if empty else np.frombuffer(content, np.uint8)
    return _read_only(data), _read_only(offsets.astype(np.int64, copy=False))


def _read_only(array: np.ndarray) -> np.ndarray:
    """A view that is read-only whatever the array is: numba compiles for each of the two kinds."""
    view = array.view()
    view.flags.writeable = False
    return view


def require_valid(texts: pa.Array) -> None:
    """Raise InputError naming the row if a text is not UTF-8; kernels read without looking."""
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid as error:
        data, offsets = buffers(texts)
        for row in range(len(texts)):
            try:
                bytes(data[max(0, offsets[row]) : max(0, offsets[row + 1])]).decode()
            except UnicodeDecodeError as damage:
                raise InputError(
                    f"text is not valid UTF-8 at byte {damage.start}: {damage.reason}",
                    where=f"row {row}",
                    hint="decode it with corpuskit.clean.decode, or replace damaged bytes",
                ) from error
        raise InputError(f"the array of texts is damaged: {error}") from error


def _tables(vocabulary: ByteLevelBPE) -> Tables | None:
    """The tables, or None if the kernels would not give the vocabulary's ids."""
    from corpuskit.kernels import encode, encode_lookup, encode_tables

    tokens = [token or b"" for token in vocabulary.tokens]
    ids = vocabulary.ids
    byte_ids = np.array([ids[bytes([byte])] for byte in range(256)], np.uint32)
    pairs = np.array(vocabulary.merges, np.int64).reshape(-1, 2)
    left, right = pairs[:, 0].copy(), pairs[:, 1].copy()
    made = np.array([ids[tokens[a] + tokens[b]] for a, b in vocabulary.merges], np.int64)
    if not _ranks_rise(len(ids), byte_ids, left, right, made) or len(tokens) > encode_lookup.MAX_TOKENS:
        return None
    token_bytes, token_starts, word_table, word_shift = token_table(tokens)
    pair_table = _pairs(left, right, made)
    longest = int(np.diff(token_starts).max())
    if encode_tables.not_self_encoding(token_bytes, token_starts, byte_ids, pair_table, longest) >= 0:
        return None
    byte_of = np.full(len(tokens), -1)
    byte_of[byte_ids] = np.arange(256)
    both = (byte_of[left] >= 0) & (byte_of[right] >= 0)
    byte_pairs = np.full(1 << 16, encode_lookup.NONE, np.uint32)
    byte_pairs[(byte_of[left[both]] << 8) | byte_of[right[both]]] = made[both]
    kinds = np.empty(len(tokens), np.uint8)
    encode_tables.structures(token_bytes, token_starts, kinds)
    straddling = encode_tables.STRADDLING
    first = np.flatnonzero(
        (kinds[made] == straddling) & (kinds[left] < straddling) & (kinds[right] < straddling)
    )
    characters = np.full((encode_tables.CODE_POINTS, 4), encode_lookup.NONE, np.uint32)
    unsafe = np.empty(1 << 16, np.bool_)
    encode_tables.characters(
        byte_ids,
        pair_table,
        left[first],
        right[first],
        made[first],
        _codes([tokens[i] for i in left[first]], -1),
        _codes([tokens[i] for i in right[first]], 0),
        len(tokens),
        characters,
        unsafe,
    )
    split_left = np.arange(len(tokens), dtype=np.uint32)
    split_right = split_left.copy()
    split_left[made], split_right[made] = left, right
    return encode.Tables(
        byte_ids,
        byte_pairs,
        pair_table,
        word_table,
        word_shift,
        token_bytes,
        token_starts,
        np.uint64(longest),
        characters.reshape(-1),
        unsafe,
        split_left,
        split_right,
    )


def _ranks_rise(
    num_ordinary: int, byte_ids: np.ndarray, left: np.ndarray, right: np.ndarray, made: np.ndarray
) -> bool:
    """Whether each token but the bytes is made by one merge, of smaller ids, and merges are in order."""
    if num_ordinary != len(made) + 256 or np.any(np.diff(made) <= 0):
        return False
    return len(made) == 0 or bool(made[0] > byte_ids.max() and np.all(made > left) and np.all(made > right))


def _pairs(left: np.ndarray, right: np.ndarray, made: np.ndarray) -> Pairs:
    """The merges by their perfect hash: groups of about four, slots seven eighths full at most."""
    from corpuskit.kernels import encode_lookup

    seed_bits = max(1, (len(made) // 4).bit_length())
    slot_bits = max(1, (len(made) * 8 // 7).bit_length())
    seed_shift = np.uint64(64 - seed_bits)
    groups = encode_lookup.pair_groups(left, right, seed_shift)
    sizes = np.bincount(groups, minlength=1 << seed_bits)
    order = np.lexsort((groups, -sizes[groups]))
    merges = left[order], right[order], made[order], groups[order]
    while True:
        slots = np.full(1 << slot_bits, encode_lookup.EMPTY, np.uint64)
        seeds = np.zeros(1 << seed_bits, np.uint16)
        pairs = encode_lookup.Pairs(slots, seeds, np.uint64(64 - slot_bits), seed_shift)
        if encode_lookup.place_pairs(pairs, *merges):
            return pairs
        slot_bits += 1


def token_table(tokens: Sequence[bytes | None]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.uint64]:
    """`token_bytes`, `token_starts`, `words` (at most half full) and `word_shift` of `Tables`."""
    from corpuskit.kernels import encode_lookup

    lengths = np.fromiter((len(token or b"") for token in tokens), np.int64, len(tokens))
    starts = np.concatenate([[0], np.cumsum(lengths)])
    joined = np.frombuffer(b"".join(token or b"" for token in tokens) + bytes(8), np.uint8)
    bits = max(1, (2 * len(tokens)).bit_length())
    words, shift = np.zeros(2 << bits, np.uint64), np.uint64(64 - bits)
    encode_lookup.insert_words(words, shift, joined, starts)
    return joined, starts, words, shift


def _codes(tokens: Sequence[bytes], which: int) -> np.ndarray:
    """Code point of the last (-1) or first (0) of several whole characters; -1 for other tokens."""
    codes = []
    for token in tokens:
        try:
            text = token.decode()
        except UnicodeDecodeError:
            text = ""
        codes.append(ord(text[which]) if len(text) > 1 else -1)
    return np.array(codes, np.int64)
