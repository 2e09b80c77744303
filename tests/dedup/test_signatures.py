"""Interchange with datasketch, and refusal of signatures that do not belong together."""

from __future__ import annotations

import pickle

import pyarrow as pa
import pytest
from datasketch import MinHash, MinHashLSH

from corpuskit.dedup import Sketcher, shingle_hash32, shingles
from corpuskit.errors import ConfigError, MismatchError

TEXTS = ["天地玄黄宇宙洪荒日月盈昃", "天地玄黄宇宙洪荒日月盈亏", "寒来暑往秋收冬藏闰余成岁"]


@pytest.mark.parametrize("scheme", ["affine32", "affine64"])
def test_signatures_survive_the_way_to_datasketch_and_back(scheme):
    sketcher = Sketcher(32, scheme=scheme, seed=5)
    ours = sketcher(pa.array(TEXTS))
    theirs = pickle.loads(pickle.dumps(sketcher.to_datasketch(ours)))
    assert (sketcher.from_datasketch(theirs) == ours).all()


def test_our_signatures_work_in_datasketchs_index_beside_its_own():
    sketcher = Sketcher(64, ngram=2, scheme="affine32")
    lsh = MinHashLSH(threshold=0.5, num_perm=64)
    for i, minhash in enumerate(sketcher.to_datasketch(sketcher(pa.array(TEXTS)))):
        lsh.insert(str(i), minhash)
    query = MinHash(64, scheme="affine32", hashfunc=shingle_hash32)
    query.update_batch([s.encode() for s in shingles(TEXTS[0], 2)])
    assert "0" in lsh.query(query) and "2" not in lsh.query(query)


@pytest.mark.parametrize(
    ("minhash", "what"),
    [
        (MinHash(32, 1, hashfunc=shingle_hash32, scheme="affine64"), "scheme"),
        (MinHash(32, 1, hashfunc=shingle_hash32, scheme="legacy"), "scheme"),
        (MinHash(32, 2, hashfunc=shingle_hash32, scheme="affine32"), "seed"),
        (MinHash(33, 1, hashfunc=shingle_hash32, scheme="affine32"), "num_perm"),
        (MinHash(32, 1, scheme="affine32"), "hashfunc"),
    ],
)
def test_a_minhash_of_another_kind_is_refused(minhash, what):
    with pytest.raises(MismatchError, match=what):
        Sketcher(32, scheme="affine32").from_datasketch([minhash])


def test_fss_has_no_datasketch_form():
    with pytest.raises(MismatchError, match="affine32"):
        Sketcher(8).to_datasketch(Sketcher(8)(pa.array(TEXTS)))


@pytest.mark.parametrize(
    ("field", "value"),
    [("slots", 0), ("slots", 40_000), ("ngram", 0), ("seed", -1), ("scheme", "legacy"), ("ignore", "words")],
)
def test_impossible_configuration_names_the_field(field, value):
    with pytest.raises(ConfigError, match=field):
        Sketcher(**{field: value})
