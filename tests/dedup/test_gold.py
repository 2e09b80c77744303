"""The gold set, small: what is found, what stays apart, and what the bands promise.

The set and the exact similarities come from `rust-free-benchmarks/dedup_gold.py`, which shares no code with
the package; `bench_dedup_quality.py` holds the large run beside the peers.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest

from corpuskit.dedup import MinHashDeduplicator, Sketcher, jaccard, shingles
from corpuskit.dedup.signatures import band_hashes
from corpuskit.documents import document_batch

BENCHMARKS = Path(__file__).parents[2] / "rust-free-benchmarks"
CONFIG = MinHashDeduplicator()


@pytest.fixture(scope="module")
def gold_module() -> Iterator[ModuleType]:
    if not (BENCHMARKS / "dedup_gold.py").exists():
        pytest.skip(f"no benchmarks at {BENCHMARKS}")
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import dedup_gold

        yield dedup_gold
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def gold(gold_module):
    """From the demo's articles, so that it is the same everywhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gold_module, "available", lambda: False)
        patch.setattr("corpus.available", lambda: False)
        return gold_module.build(num_bases=120, num_templates=12)


def partition(texts, config) -> np.ndarray:
    """For each text the number of the one that its cluster keeps."""
    kept = np.arange(len(texts))
    batch = document_batch([f"{i:05d}" for i in range(len(texts))], texts)
    for rows in config.deduplicate([batch]).dropped:
        for row in rows.to_pylist():
            kept[int(row["id"])] = int(row["document"]["duplicate_of"])
    return kept


def reference(text: str, n: int) -> set[str]:
    return set(shingles(text, n))


def plain_jaccard(a: str, b: str, n: int) -> float:
    one, other = reference(a, n), reference(b, n)
    return len(one & other) / len(one | other) if one | other else 0.0


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 13])
def test_sets_and_similar_pairs_of_the_gold_set_are_exact(gold_module, n):
    rng = random.Random(n)
    texts = ["", " \u3000", "好", "好 ", "好好", "𠮷野家𠮷野家", "天地玄黄宇宙洪荒" * 3]
    for _ in range(12):
        text = "".join(
            rng.choice("的一是在不了有和人这中大为上个国我以要他") for _ in range(rng.randrange(5, 60))
        )
        texts += [text, gold_module.edited(text, rng.randrange(4), rng)]
    sets = gold_module.ShingleSets(texts, n)
    assert sets.sizes.tolist() == [len(reference(text, n)) for text in texts]
    left, right = np.triu_indices(len(texts), 1)
    expected = [plain_jaccard(texts[a], texts[b], n) for a, b in zip(left, right)]
    assert sets.jaccard(left, right).tolist() == expected
    assert jaccard(pa.array(texts, pa.large_string()), left, right, n).tolist() == expected
    for threshold in (0.3, 0.8, 1.0):
        found = {(a, b): s for a, b, s in zip(*(column.tolist() for column in sets.similar_pairs(threshold)))}
        assert found == {(a, b): s for a, b, s in zip(left, right, expected) if s >= threshold}


def test_scores_count_removed_documents(gold_module):
    gold = np.array([0, 0, 0, 1, 1, 2])
    assert gold_module.score(gold, gold) == gold_module.Score(3, 0, 3)
    assert gold_module.score(np.arange(6), gold) == gold_module.Score(0, 0, 3)
    # One cluster of all three works: of five removals two lose a work.
    assert gold_module.score(np.zeros(6), gold) == gold_module.Score(3, 2, 3)
    assert gold_module.score(np.array([0, 0, 1, 1, 2, 2]), gold) == gold_module.Score(1, 2, 3)


def test_every_accepted_pair_is_similar_and_recall_is_what_the_bands_promise(gold, gold_module):
    """Each pair at or above the threshold is found with probability ``1 - (1 - s**rows)**bands`` at least.

    At least, because a chain through a third document joins it too. Trials of one family are not
    independent, so the bound is Chebyshev's for fully dependent families: the number of pairs missed of a
    family of m pairs has at most m times the variance of independent ones; five standard deviations.
    """
    sets = gold_module.ShingleSets(gold.texts, CONFIG.ngram)
    left, right, exact = sets.similar_pairs(0.7)
    kept = partition(gold.texts, CONFIG)
    removed = np.flatnonzero(kept != np.arange(len(kept)))
    assert len(removed) > 50
    # A removed document is joined to the kept one by accepted pairs only.
    components = gold_module.components(len(kept), left, right)
    assert (components[removed] == components[kept[removed]]).all()
    promised = 1 - (1 - exact**CONFIG.rows) ** CONFIG.bands
    family = np.bincount(components[left])[components[left]]
    spread = np.sqrt((family * promised * (1 - promised)).sum())
    found = (kept[left] == kept[right]).sum()
    assert found >= promised.sum() - 5 * spread
    assert (kept[left] == kept[right])[exact > 0.95].all()  # missed with probability 3e-7 each


def test_reported_similarities_are_those_of_the_texts(gold):
    batch = document_batch([f"{i:05d}" for i in range(len(gold.texts))], gold.texts)
    for rows in CONFIG.deduplicate([batch]).dropped:
        for row in rows.to_pylist():
            other = gold.texts[int(row["document"]["duplicate_of"])]
            assert row["value"] == plain_jaccard(gold.texts[int(row["id"])], other, CONFIG.ngram)
            assert row["value"] >= 0.7 or row["document"]["duplicate_kind"] == "transitive"


def test_templates_stay_apart_but_for_the_form_letter(gold, gold_module):
    """Their largest exact similarity is below the threshold, so the check lets none through."""
    sets = gold_module.ShingleSets(gold.texts, CONFIG.ngram)
    kept = partition(gold.texts, CONFIG)
    _, inverse, sizes = np.unique(kept, return_inverse=True, return_counts=True)
    for kind in {kind for kind in gold.kinds if kind.startswith("template")}:
        documents = np.array([i for i, k in enumerate(gold.kinds) if k == kind])
        a, b = np.triu_indices(len(documents), 1)
        largest = sets.jaccard(documents[a], documents[b]).max()
        if kind == "template form letter":
            assert largest > 0.7
        else:
            assert largest < 0.7, kind
            assert (sizes[inverse][documents] == 1).all(), kind


def test_light_edits_reposts_and_moved_sentences_are_found(gold, gold_module):
    """A single edit of one character changes at most 5 shingles of each text.

    So k edits leave ``J >= (N - 5 k) / (N + 5 k)`` with N shingles: at 0.5 % of the characters J is 0.95 or
    above (texts without repetitions); above 0.94 a copy is missed with probability 2e-6.
    """
    made = np.flatnonzero(gold.origins != np.arange(len(gold.texts)))
    exact = gold_module.ShingleSets(gold.texts, CONFIG.ngram).jaccard(gold.origins[made], made)
    kept = partition(gold.texts, CONFIG)
    kinds = np.array(gold.kinds)[made]
    light = np.isin(kinds, ["edit 0.5%", "reorder 5%"])
    assert light.sum() > 20 and np.median(exact[kinds == "edit 0.5%"]) > 0.94
    assert (kept[made] == kept[gold.origins[made]])[exact > 0.94].all()
    score = gold_module.score(
        kept, np.where(np.char.endswith(np.array(gold.kinds), "letter"), -1, gold.labels)
    )
    assert score.precision == 1.0


@pytest.mark.parametrize("scheme", ["fss", "affine32", "affine64"])
@pytest.mark.parametrize("characters", [30, 100, 1000])
def test_estimates_err_no_more_than_minhash_and_bands_meet_as_promised(scheme, characters):
    """RMSE against ``sqrt(J (1 - J) / slots)``; of n errors its relative standard error is 1 / sqrt(2 n).

    A text and the same moved along by d of N shingles, none of which repeats, have ``J = (N - d) / (N + d)``.
    """
    rng = random.Random(characters)
    count, slots = 400, 112
    total = characters - 4
    moved = round(total / 9)  # J = 0.8
    left, right = [], []
    for _ in range(count):
        text = "".join(chr(rng.randrange(0x4E00, 0x9000)) for _ in range(characters + moved))
        left.append(text[:characters])
        right.append(text[moved:])
    exact = (total - moved) / (total + moved)
    sketcher = Sketcher(slots, 5, scheme=scheme)
    ours, theirs = (sketcher(pa.array(side, pa.large_string())) for side in (left, right))
    error = (ours == theirs).mean(axis=1) - exact
    theory = (exact * (1 - exact) / slots) ** 0.5
    assert np.sqrt((error**2).mean()) < theory * (1 + 5 / (2 * count) ** 0.5)
    assert abs(error.mean()) < 5 * theory / count**0.5
    met = (band_hashes(ours, 14, 8, sketcher.key) == band_hashes(theirs, 14, 8, sketcher.key)).any(axis=1)
    promised = 1 - (1 - exact**8) ** 14
    assert abs(met.mean() - promised) < 5 * (promised * (1 - promised) / count) ** 0.5


def test_the_threshold_decides_between_found_and_accepted(gold):
    """Without the check, pairs of the bands alone; with it a subset of them."""
    loose = partition(gold.texts, replace(CONFIG, verify_threshold=None))
    for threshold in (0.7, 0.8, 0.9):
        strict = partition(gold.texts, replace(CONFIG, verify_threshold=threshold))
        removed = np.flatnonzero(strict != np.arange(len(strict)))
        assert (loose[removed] == loose[strict[removed]]).all()
