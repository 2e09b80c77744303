"""Byte-level BPE from counted pre-tokens: the merges, as bytes.

The next merge is always the pair with the highest count, among equals the one whose left token is
older, then the one whose right token is; the 256 bytes are in the order of GPT-2's alphabet (printable
ASCII first). That is the rule of Hugging Face's trainer, which this equals merge for merge.
"""

from __future__ import annotations

import numpy as np

from corpuskit.vocab.bytelevel import BYTE_CHARACTERS
from corpuskit.vocab.pretokens import Pretokens

_HASH_BASE = 0x9E3779B97F4A7C15
_HASH_MASK = (1 << 64) - 1

# A count at which nearly all of the asked tokens are made before the pairs must be counted again: on
# Chinese the last token's count was 1/8 to 1/9 of the mean count of a token.
_THRESHOLD_PART = 16

NO_LIMIT = 1 << 30
"""As the longest token's bytes: none."""


def learn_merges(
    pretokens: Pretokens,
    num_new_tokens: int,
    *,
    min_count: int = 2,
    max_token_bytes: int | None = None,
) -> list[tuple[bytes, bytes]]:
    """Learn merges, in order.

    Parameters
    ----------
    pretokens : Pretokens
    num_new_tokens : int
        Distinct tokens to make; fewer where the pre-tokens hold no more. A pair whose bytes are a token
        already is merged into that one, so there may be more merges than tokens.
    min_count : int
        Pairs that occur fewer times are not merged.
    max_token_bytes : int, optional
        No longer token is made.
    """
    from corpuskit.kernels import bpe_merging, bpe_tables, bpe_text

    size = 256 + num_new_tokens
    alphabet = sorted(range(256), key=lambda byte: BYTE_CHARACTERS[byte])
    byte_ids = np.empty(256, np.int32)
    byte_ids[alphabet] = np.arange(256)

    order = np.argsort(-pretokens.counts, kind="stable")
    units = np.empty(pretokens.store.size + order.size + 1, np.int32)
    num_characters = 0x110000
    unit_of = np.full(num_characters, -1, np.int32)
    room = min(num_characters, pretokens.store.size // 2 + 1)
    inner, unit_starts = np.empty(5 * room + 1, np.int32), np.empty(room, np.int64)
    num_items, num_inner, num_units = bpe_text.lay_units(
        pretokens.store, pretokens.starts, order, byte_ids, size, unit_of, units, inner, unit_starts
    )
    weights = pretokens.counts[order]
    units = units[:num_items].copy()
    inner, unit_starts = inner[:num_inner].copy(), unit_starts[:num_units].copy()

    hashes, powers = np.zeros(size, np.uint64), np.zeros(size, np.uint64)
    lengths = np.ones(size, np.int32)
    known = np.zeros(1 << (2 * size).bit_length(), np.uint64)
    known_ids = np.full(known.size, -1, np.int32)
    for token, byte in enumerate(alphabet):
        hashes[token], powers[token] = polynomial(bytes([byte]))
        slot = bpe_tables.find_known(known, hashes[token])
        known[slot], known_ids[slot] = hashes[token], token
    lengths_of = np.diff(pretokens.starts)
    weighted = float((pretokens.counts * lengths_of).sum())
    threshold = max(min_count, int(weighted / 3 / (_THRESHOLD_PART * num_new_tokens)))
    no_structure = np.zeros((3, 0), np.int8)
    merges, _ = bpe_merging.train_merges(
        units,
        weights,
        inner,
        unit_starts,
        False,
        no_structure,
        lengths,
        max_token_bytes or NO_LIMIT,
        hashes,
        powers,
        known,
        known_ids,
        True,
        256,
        num_new_tokens,
        min_count,
        threshold,
    )
    tokens = [bytes([byte]) for byte in alphabet]
    pairs = []
    for left, right, made in merges.tolist():
        pairs.append((tokens[left], tokens[right]))
        if made == len(tokens):
            tokens.append(tokens[left] + tokens[right])
    return pairs


def polynomial(token: bytes) -> tuple[int, int]:
    """The hash of `corpuskit.kernels.bpe_merging.train_merges`, and the base to the token's length.

    Equal bytes have equal hashes, so no token is made twice. Two different tokens share one with
    probability about 2**-64 a pair; the later one is then not made, on every machine alike.
    """
    value, power = 0, 1
    for byte in token:
        value = (value * _HASH_BASE + byte + 1) & _HASH_MASK
        power = (power * _HASH_BASE) & _HASH_MASK
    return value, power
