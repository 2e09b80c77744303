"""Signatures go into datasketch's LSH index and come out of it as they were, whoever filled it."""

from __future__ import annotations

import pickle

import pyarrow as pa
import pytest
from datasketch import MinHash, MinHashLSH

from corpuskit.dedup import Sketcher, shingle_hash, shingle_hash32, shingles
from corpuskit.dedup.lsh import insert_into_lsh, signatures_from_lsh
from corpuskit.dedup.signatures import band_hashes
from corpuskit.errors import MismatchError

TEXTS = ["天地玄黄宇宙洪荒日月盈昃", "天地玄黄宇宙洪荒日月盈亏", "寒来暑往秋收冬藏闰余成岁"]
IDS = ["一", "二", "三"]


def sketcher_of(scheme: str) -> Sketcher:
    return Sketcher(64, ngram=2, scheme=scheme, seed=3)


def their_minhashes(sketcher: Sketcher) -> list[MinHash]:
    function = shingle_hash32 if sketcher.scheme == "affine32" else shingle_hash
    made = []
    for text in TEXTS:
        made.append(MinHash(64, seed=3, scheme=sketcher.scheme, hashfunc=function))
        made[-1].update_batch([s.encode() for s in shingles(text, 2)])
    return made


@pytest.mark.parametrize("scheme", ["affine32", "affine64"])
def test_an_index_that_we_filled_answers_as_the_one_that_they_filled(scheme):
    sketcher = sketcher_of(scheme)
    ours, theirs = (MinHashLSH(params=(16, 4), num_perm=64) for _ in range(2))
    insert_into_lsh(ours, IDS, sketcher(pa.array(TEXTS)), sketcher)
    for name, minhash in zip(IDS, their_minhashes(sketcher)):
        theirs.insert(name, minhash)
    loaded = pickle.loads(pickle.dumps(ours))
    for minhash in [*their_minhashes(sketcher), *sketcher.to_datasketch(sketcher(pa.array(TEXTS)))]:
        assert sorted(loaded.query(minhash)) == sorted(theirs.query(minhash)) != []
    assert sorted(loaded.query(their_minhashes(sketcher)[0])) == sorted(["一", "二"])
    assert loaded.query(their_minhashes(sketcher)[2]) == ["三"]


@pytest.mark.parametrize("scheme", ["affine32", "affine64"])
def test_signatures_come_out_of_an_index_that_they_filled(scheme):
    sketcher = sketcher_of(scheme)
    lsh = MinHashLSH(params=(16, 4), num_perm=64)
    for name, minhash in zip(IDS, their_minhashes(sketcher)):
        lsh.insert(name, minhash)
    keys, found = signatures_from_lsh(lsh, sketcher)
    assert keys == IDS and found.dtype == sketcher(pa.array(TEXTS)).dtype
    assert (found == sketcher(pa.array(TEXTS))).all()
    ours = band_hashes(sketcher(pa.array(TEXTS)), 16, 4, sketcher.key)
    assert (band_hashes(found, 16, 4, sketcher.key) == ours).all()


def test_what_does_not_belong_together_is_refused():
    sketcher = sketcher_of("affine32")
    signatures = sketcher(pa.array(TEXTS))
    with pytest.raises(MismatchError, match="num_perm"):
        insert_into_lsh(MinHashLSH(num_perm=128), IDS, signatures, sketcher)
    fss = Sketcher(64, ngram=2)
    with pytest.raises(MismatchError, match="affine32"):
        insert_into_lsh(MinHashLSH(num_perm=64), IDS, fss(pa.array(TEXTS)), fss)
    lsh = MinHashLSH(params=(16, 4), num_perm=64)
    insert_into_lsh(lsh, IDS, signatures, sketcher)
    with pytest.raises(MismatchError, match="affine64"):
        signatures_from_lsh(lsh, sketcher_of("affine64"))
    with pytest.raises(MismatchError, match="slots"):
        signatures_from_lsh(lsh, Sketcher(32, ngram=2, scheme="affine32", seed=3))
    with pytest.raises(MismatchError, match="hashfunc"):
        signatures_from_lsh(MinHashLSH(params=(16, 4), num_perm=64, hashfunc=bytes), sketcher)
