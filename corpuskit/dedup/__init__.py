"""Deduplication: exact and near-duplicate documents.

`ExactDeduplicator` and `MinHashDeduplicator` hold a configuration. ``.job(slices)`` gives the work
as a job for an engine, with memory that does not grow with the texts; ``.deduplicate(batches)``
takes the same decisions in memory.
"""

from corpuskit.dedup.apply import Deduplicated
from corpuskit.dedup.exact import ExactDeduplicator, ExactJob
from corpuskit.dedup.minhash import MinHashDeduplicator, MinHashJob
from corpuskit.dedup.shingles import jaccard, shingle_hash, shingle_hash32, shingles
from corpuskit.dedup.signatures import Sketcher, signatures

__all__ = [
    "Deduplicated",
    "ExactDeduplicator",
    "ExactJob",
    "MinHashDeduplicator",
    "MinHashJob",
    "Sketcher",
    "jaccard",
    "shingle_hash",
    "shingle_hash32",
    "shingles",
    "signatures",
]
