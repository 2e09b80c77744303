"""Which lines a site shares, and documents without them: the arithmetic of `corpuskit.clean.boilerplate`.

Everything here maps arrays to arrays; files and tasks are the job's concern.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from corpuskit.clean.linecounts import Counts, added_up, concat
from corpuskit.clean.lines import Lines, lines_of, without_lines
from corpuskit.clean.steps import texts
from corpuskit.documents import DocumentBatch, StepResult, dropped_rows, replace_text

if TYPE_CHECKING:
    from corpuskit.clean.boilerplate import BoilerplateRemover

REASON = "clean/boilerplate"

_HOST = r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?(?:[wW][wW][wW]\.)?([^/:?#]*).*$"
_PAIR = np.uint64(0x9E3779B97F4A7C15)


def sites_of(batch: DocumentBatch) -> pa.Array:
    """The site of each document: host of `url` without ``www.``, lower case; else `source`; else an empty
    string."""
    sites = pa.array([""] * batch.num_rows, pa.large_string())
    for name in ("source", "url"):
        if name not in batch.schema.names:
            continue
        values = pc.fill_null(batch.column(name).cast(pa.large_string()), "")
        if name == "url":
            is_url = pc.match_substring_regex(values, _HOST)
            hosts = pc.utf8_lower(pc.replace_substring_regex(values, _HOST, r"\1"))
            values = pc.if_else(is_url, hosts, "")
        sites = pc.if_else(pc.equal(values, ""), sites, values)
    return sites


def site_hashes(batch: DocumentBatch) -> np.ndarray:
    """XXH3-64 of each document's site (uint64); 0 where it has none."""
    encoded = sites_of(batch).dictionary_encode()
    names = encoded.dictionary.to_pylist()
    hashes = [(xxhash.xxh3_64_intdigest(name.encode()) or 1) if name else 0 for name in names]
    return np.array([*hashes, 0], np.uint64)[encoded.indices.to_numpy(zero_copy_only=False)]


def count_sites(batch: DocumentBatch) -> Counts:
    """One row for each site of a batch: its documents, with line 0."""
    sites, documents = np.unique(site_hashes(batch), return_counts=True)
    return Counts(np.zeros(len(sites), np.uint64), sites, documents.astype(np.int64))


def count_lines(batch: DocumentBatch, remover: BoilerplateRemover) -> Counts:
    """One row for each line of each document, once a document, that is neither too short nor too long."""
    lines = lines_of(texts(batch), remover.fold_digits)
    eligible = _eligible(lines, remover)
    documents, hashes = lines.documents[eligible], lines.hashes[eligible]
    order = np.lexsort((hashes, documents))
    documents, hashes = documents[order], hashes[order]
    first = np.ones(len(order), bool)
    first[1:] = (documents[1:] != documents[:-1]) | (hashes[1:] != hashes[:-1])
    sites = site_hashes(batch)[documents[first]]
    return added_up(Counts(hashes[first], sites, np.ones(int(first.sum()), np.int64)))


def _eligible(lines: Lines, remover: BoilerplateRemover) -> np.ndarray:
    return (lines.characters >= remover.min_characters) & (lines.characters <= remover.max_characters)


class Limits:
    """In how many documents a line must stand: of the corpus, and of each site."""

    def __init__(self, remover: BoilerplateRemover, num_documents: int, sites: Counts) -> None:
        self._site = sites.site
        share = np.ceil(sites.documents * remover.min_site_share - 1e-9).astype(np.int64)
        self._minimum = np.maximum(share, remover.min_site_documents)
        self._corpus: int | None = None
        if remover.min_corpus_documents is not None:
            share_documents = int(np.ceil(num_documents * remover.min_corpus_share - 1e-9))
            self._corpus = max(remover.min_corpus_documents, share_documents)

    def decide(self, counts: Counts) -> Counts:
        """The rows of added-up counts to remove; site 0 means everywhere. All rows of a line must be
        there."""
        first = np.ones(len(counts.line), bool)
        first[1:] = counts.line[1:] != counts.line[:-1]
        starts = np.flatnonzero(first)
        if not len(starts):
            return counts
        totals = np.add.reduceat(counts.documents, starts)
        everywhere = np.zeros(len(starts), bool) if self._corpus is None else totals >= self._corpus
        own = self._minimum[np.searchsorted(self._site, counts.site)]
        here = (counts.site != 0) & (counts.documents >= own) & ~everywhere[np.cumsum(first) - 1]
        of_corpus = Counts(
            counts.line[starts[everywhere]], np.zeros(int(everywhere.sum()), np.uint64), totals[everywhere]
        )
        return added_up(concat([of_corpus, counts.take(here)]))


class Removals(NamedTuple):
    """What a part loses.

    Attributes
    ----------
    lines : numpy.ndarray
        uint64, sorted: hashes of lines that go everywhere.
    pairs : numpy.ndarray
        uint64, sorted: line and site in one (`pair_keys`), of lines that go from a site.
    top : Counts
        The most common of all, for the report.
    """

    lines: np.ndarray
    pairs: np.ndarray
    top: Counts

    @classmethod
    def of(cls, decided: Counts, top: Counts) -> Removals:
        """What `Limits.decide` says."""
        everywhere = decided.site == 0
        pairs = pair_keys(decided.line[~everywhere], decided.site[~everywhere])
        return cls(np.unique(decided.line[everywhere]), np.unique(pairs), top)


@dataclass(frozen=True)
class Removed:
    """Which lines a batch lost.

    Attributes
    ----------
    text : pyarrow.Array
        Before.
    lines : Lines
    gone : numpy.ndarray
        bool, one a line.
    everywhere : numpy.ndarray
        bool, whether the line goes from the whole corpus.
    counts : Mapping[str, int]
    """

    text: pa.Array
    lines: Lines
    gone: np.ndarray
    everywhere: np.ndarray
    counts: Mapping[str, int] = field(default_factory=dict)


def pair_keys(line: np.ndarray, site: np.ndarray) -> np.ndarray:
    """A line's and a site's hash as one (uint64)."""
    return line ^ (site * _PAIR)


def decided_rows(decided: Counts, counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    """Which rows of `counts` something was decided on: their numbers, and those of the decisions (int64).

    Parameters
    ----------
    decided : Counts
        What `Limits.decide` says of a range of lines.
    counts : Counts
        Rows of the same range.
    """
    found, rows = [], []
    everywhere = decided.site == 0
    for of_all, wanted in (
        (everywhere, counts.line),
        (~everywhere, pair_keys(counts.line, counts.site)),
    ):
        numbers = np.flatnonzero(of_all)
        keys = decided.line[numbers]
        if of_all is not everywhere:
            keys = pair_keys(keys, decided.site[numbers])
        order = np.argsort(keys)
        places = np.minimum(np.searchsorted(keys, wanted, sorter=order), max(0, len(keys) - 1))
        hit = keys[order][places] == wanted if len(keys) else np.zeros(len(wanted), bool)
        found.append(np.flatnonzero(hit))
        rows.append(numbers[order[places[hit]]])
    return np.concatenate(found), np.concatenate(rows)


def remove_from(
    batch: DocumentBatch, removals: Removals, remover: BoilerplateRemover
) -> tuple[StepResult, Removed]:
    """A batch without the lines to remove, and what they were."""
    text = texts(batch)
    lines = lines_of(text, remover.fold_digits)
    eligible = _eligible(lines, remover)
    everywhere = eligible & _contains(removals.lines, lines.hashes)
    pairs = pair_keys(lines.hashes, site_hashes(batch)[lines.documents])
    gone = everywhere | (eligible & _contains(removals.pairs, pairs))
    _, before = lines.per_document(batch.num_rows, np.ones(len(gone), bool))
    _, lost = lines.per_document(batch.num_rows, gone)
    shares = lost / np.maximum(before, 1)
    over = shares > remover.max_removed_share
    gone &= ~over[lines.documents]
    counts = {
        "lines_removed": int(gone.sum()),
        "characters_removed": int(lines.characters[gone].sum()),
        "documents_changed": int(np.count_nonzero(lost[~over])),
        "documents_left": int(over.sum()) if remover.over == "keep" else 0,
    }
    kept = replace_text(batch, without_lines(text, lines, gone)) if gone.any() else batch
    dropped = None
    if over.any() and remover.over == "drop":
        rows = np.flatnonzero(over)
        limits = [remover.max_removed_share] * len(rows)
        dropped = dropped_rows(batch.take(pa.array(rows)), [REASON] * len(rows), shares[rows], limits)
        kept = kept.filter(pa.array(~over))
    return StepResult(kept, dropped), Removed(text, lines, gone, everywhere, counts)


def _contains(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Which `values` are in a sorted array."""
    if not len(ordered):
        return np.zeros(len(values), bool)
    places = np.searchsorted(ordered, values)
    return ordered[np.minimum(places, len(ordered) - 1)] == values


class Sample:
    """Text and occurrences of the most common lines, as a part loses them."""

    def __init__(self, removals: Removals) -> None:
        self._keys = np.sort(pair_keys(removals.top.line, removals.top.site))
        self._seen: dict[str, dict[str, Any]] = {}

    def add(self, batch: DocumentBatch, removed: Removed) -> None:
        if not len(self._keys):
            return
        lines, gone = removed.lines, np.flatnonzero(removed.gone)
        site = np.where(removed.everywhere[gone], np.uint64(0), site_hashes(batch)[lines.documents[gone]])
        hashes = lines.hashes[gone]
        chosen = _contains(self._keys, pair_keys(hashes, site))
        names: pa.Array | None = None
        for line, digest, home in zip(gone[chosen].tolist(), hashes[chosen].tolist(), site[chosen].tolist()):
            key = f"{digest:016x}{home:016x}"
            if key not in self._seen:
                names = sites_of(batch) if names is None else names
                document = int(lines.documents[line])
                self._seen[key] = {
                    "text": _text_of(removed, line),
                    "site": names[document].as_py() if home else None,
                    "occurrences": 0,
                }
            self._seen[key]["occurrences"] += 1

    def take(self) -> dict[str, Any]:
        """What was seen since the last call."""
        seen, self._seen = self._seen, {}
        return {"removed": dict(sorted(seen.items()))}


def _text_of(removed: Removed, line: int) -> str:
    data = removed.text.buffers()[2]
    start, stop = int(removed.lines.starts[line]), int(removed.lines.stops[line])
    return data.slice(start, stop - start).to_pybytes().decode("utf-8").strip()


def parse_key(key: str) -> tuple[int, int]:
    return int(key[:16], 16), int(key[16:], 16)


def most_common(pieces: Iterable[Counts], count: int) -> Counts:
    """The rows with the most documents, by documents, line and site."""
    best = concat([])
    for piece in pieces:
        best = concat([best, piece])
        best = best.take(np.lexsort((best.site, best.line, -best.documents))[:count])
    return best
