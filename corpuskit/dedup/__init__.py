"""Deduplication: documents, lines, repeated passages; and what overlaps evaluation sets.

Each deduplicator holds a configuration. ``.job(slices)`` gives the work
as a job for an engine, with memory that does not grow with the texts; ``.deduplicate(batches)``
takes the same decisions in memory.
"""

from corpuskit.dedup.apply import Deduplicated
from corpuskit.dedup.contamination import ContaminationJob, Decontaminator
from corpuskit.dedup.exact import ExactDeduplicator, ExactJob
from corpuskit.dedup.lines import LineDeduplicator, LineJob
from corpuskit.dedup.lsh import insert_into_lsh, signatures_from_lsh
from corpuskit.dedup.minhash import MinHashDeduplicator, MinHashJob
from corpuskit.dedup.shingles import jaccard, shingle_hash, shingle_hash32, shingles
from corpuskit.dedup.signatures import Sketcher, signatures
from corpuskit.dedup.substrings import SubstringDeduplicator, SubstringJob

__all__ = [
    "ContaminationJob",
    "Decontaminator",
    "Deduplicated",
    "ExactDeduplicator",
    "ExactJob",
    "LineDeduplicator",
    "LineJob",
    "MinHashDeduplicator",
    "MinHashJob",
    "Sketcher",
    "SubstringDeduplicator",
    "SubstringJob",
    "insert_into_lsh",
    "jaccard",
    "shingle_hash",
    "shingle_hash32",
    "shingles",
    "signatures",
    "signatures_from_lsh",
]
