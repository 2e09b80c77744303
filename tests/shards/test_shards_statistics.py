from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from exchange_fakes import DOCUMENTS, write_dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from shard_fakes import ByteTokenizer, token_batch

from corpuskit import shards
from corpuskit.errors import ArtifactError, ConfigError, MismatchError
from corpuskit.shards.previews import preview
from corpuskit.shards.statistics import Counted, LengthBin, _bins, _share, count_ids, token_statistics


def test_lengths_and_ids_are_what_a_plain_count_gives(tmp_path):
    data = write_dataset(tmp_path / "d", columns=["loss_mask"])
    found = token_statistics(data, sequence_lengths=[10, 1000], tokenizer=ByteTokenizer(), num_top_tokens=3)
    lengths = sorted(len(document) + 1 for document in DOCUMENTS)
    stream = [i for document in data for i in document.tokens.tolist()]
    assert (found.documents, found.tokens) == (len(lengths), sum(lengths))
    assert found.mean_length == sum(lengths) / len(lengths)
    assert (found.shortest, found.longest) == (lengths[0], lengths[-1])
    assert found.quantiles[0.5] == lengths[2] and found.quantiles[0.99] == lengths[-1]
    assert found.vocab_size == 257 and found.unused_ids == 257 - len(set(stream))
    counts = sorted((-stream.count(i), i) for i in set(stream))[:3]
    assert [(token.id, token.count) for token in found.top_tokens] == [(i, -c) for c, i in counts]
    beyond, nothing = found.sequence_lengths
    assert beyond.tokens_beyond == sum(max(0, n - 10) for n in lengths) / sum(lengths)
    assert beyond.longer_documents == sum(n > 10 for n in lengths) / len(lengths)
    assert (nothing.longer_documents, nothing.tokens_beyond) == (0, 0)
    mask = np.concatenate([document.columns["loss_mask"] for document in data])
    assert found.column_means == {"loss_mask": pytest.approx(mask.mean())}
    characters = sum(len(bytes(document).decode()) for document in DOCUMENTS)
    assert found.characters_per_token == characters / sum(map(len, DOCUMENTS))
    assert found.sampled_documents == len(DOCUMENTS)
    json.dumps(found.to_dict())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 5000), min_size=1, max_size=30), min_size=1, max_size=5),
    st.floats(0.001, 1),
    st.integers(1, 300),
)
def test_counted_lengths_are_exact(batches, share, limit):
    counted = Counted()
    for batch in batches:
        counted.add(np.array(batch))
    everything = np.sort(np.concatenate(batches))
    assert np.repeat(counted.values, counted.counts).tolist() == everything.tolist()
    assert counted.quantile(share) == np.quantile(everything, share, method="inverted_cdf")
    bins = _bins(counted)
    assert (
        sum(b.documents for b in bins) == len(everything) and sum(b.tokens for b in bins) == everything.sum()
    )
    for b in bins:
        inside = everything[(b.low <= everything) & (everything <= b.high)]
        assert b == LengthBin(b.low, b.high, len(inside), inside.sum())
    assert all(b.low == a.high + 1 for a, b in pairwise(bins))
    if everything.sum():
        assert (
            _share(counted, limit).tokens_beyond == np.maximum(everything - limit, 0).sum() / everything.sum()
        )


def test_ids_are_counted_in_pieces():
    rng = np.random.default_rng(0)
    for vocab_size, kind in [(300, np.uint16), (100_000, np.uint32)]:
        tokens = rng.integers(0, vocab_size, 500_000).astype(kind)
        counts = np.zeros(vocab_size, np.int64)
        count_ids(tokens[:123], counts)
        count_ids(tokens[123:], counts)
        assert np.array_equal(counts, np.bincount(tokens, minlength=vocab_size))
    with pytest.raises(ArtifactError, match="id 300 is outside the vocabulary of 300"):
        count_ids(np.array([1, 300], np.uint16), np.zeros(300, np.int64))


def test_datasets_with_little_in_them(tmp_path):
    with shards.Writer(tmp_path / "none", tokenizer=ByteTokenizer()):
        pass
    found = token_statistics(tmp_path / "none", tokenizer=ByteTokenizer())
    assert (found.documents, found.tokens, found.histogram, found.quantiles) == (0, 0, (), {})
    assert found.unused_ids == 257 and found.top_tokens == () and found.characters_per_token is None
    with shards.Writer(tmp_path / "empty", tokenizer=ByteTokenizer(), end_of_document="none") as writer:
        writer.write_tokens(token_batch([[], []]))
    found = token_statistics(tmp_path / "empty")
    assert found.histogram == (LengthBin(0, 0, 2, 0),) and found.sequence_lengths == ()


def test_what_cannot_be_measured(tmp_path):
    data = write_dataset(tmp_path / "d")
    with pytest.raises(ConfigError, match="0 is no sequence length"):
        token_statistics(data, sequence_lengths=[0])
    with pytest.raises(MismatchError):
        token_statistics(data, tokenizer=ByteTokenizer(fingerprint="other"))
    assert token_statistics(data).characters_per_token is None


# head


def test_documents_are_shown_decoded_and_cut(tmp_path):
    data = write_dataset(tmp_path / "d")
    shown = list(preview(data, 3, tokenizer=ByteTokenizer(), max_characters=4))
    assert [(d.id, d.num_tokens, d.text, d.is_cut) for d in shown] == [
        ("doc-0", 19, "我们在北", True), ("doc-1", 1, "", False), ("doc-2", 361, "天气很好", True),
    ]  # fmt: skip
    (only,) = preview(data, 1, max_characters=8)
    assert only.text == "230 136 " and only.is_cut and not only.is_decoded
    assert list(preview(data, 0)) == [] and len(list(preview(data, 99))) == len(DOCUMENTS)
    with pytest.raises(ConfigError, match="count: -1 is negative"):
        preview(data, -1)


def test_words_and_the_loss_are_marked(tmp_path):
    columns = {"word_starts": "uint8", "loss_mask": "uint8"}
    words = pa.array([[1, 0, 1, 0, 0, 1]])
    mask = pa.array([[0, 0, 1, 1, 0, 0]])
    with shards.Writer(tmp_path, tokenizer=ByteTokenizer(), columns=columns) as writer:
        writer.write_tokens(token_batch([list(b"abcdef")], word_starts=words, loss_mask=mask))
    (shown,) = preview(tmp_path, 1, tokenizer=ByteTokenizer())
    assert shown.text == "⟦ab⟧/cd⟦e/f⟧/" and not shown.is_cut
