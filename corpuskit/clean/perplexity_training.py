"""From a reference corpus to a `PerplexityModel`, and to the thresholds of head, middle and tail.

The corpus is a bounded sample that does not depend on the order of its input. One document in ten
is held out by a hash of its text. Thresholds are percentiles of the texts that are to be ranked,
as in CCNet, where those are given; without them, of the held-out reference documents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import xxhash

from corpuskit.clean.characters import utf8_buffers
from corpuskit.clean.folding import FOLDING, folding_table
from corpuskit.clean.kneser_ney import Estimates, count_levels, estimate
from corpuskit.clean.perplexity import NUM_UNKNOWN, PerplexityModel, id_table
from corpuskit.clean.sampling import as_array, sample_documents
from corpuskit.documents import DocumentBatch
from corpuskit.errors import ConfigError, InputError

MIN_CHARACTERS = 10_000
"""Below this a model of five characters knows nothing but the text itself."""

_TABLE_LOAD = 0.6
"""A table is never fuller: with linear probing a miss then takes 3.6 places on average (Knuth)."""

_MEASURED_DOCUMENTS = 5_000
_MEASURED_CHARACTERS = 20_000_000


@dataclass(frozen=True)
class LanguageModelConfig:
    """How a language model is trained.

    Attributes
    ----------
    order : int
        Length of the longest n-gram, 2 to 6. CCNet: 5.
    max_characters : int
        Of training text; memory at the peak is about 100 bytes each.
    max_document_characters : int
        What is read of each document, from a place in it that its hash decides, so that a few
        books do not make up the model.
    min_count : int
        Times a character must occur to be in the vocabulary.
    prune : int
        N-grams of three and more characters below this count are pruned (pairs never are).
    seed : int
        Chooses the sample.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    order: int = 5
    max_characters: int = 20_000_000
    max_document_characters: int = 100_000
    min_count: int = 3
    prune: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("order", 2, 6),
            ("max_characters", MIN_CHARACTERS, 1_000_000_000),
            ("max_document_characters", 100, 1_000_000_000),
            ("min_count", 1, 1_000_000),
            ("prune", 1, 1_000_000),
            ("seed", 0, 2**31 - 1),
        ):
            if not low <= getattr(self, name) <= high:
                raise ConfigError(
                    f"{getattr(self, name)!r} is out of range", where=name, hint=f"allowed: {low} to {high}"
                )


def train_perplexity_model(
    reference: Iterable[DocumentBatch],
    config: LanguageModelConfig | None = None,
    *,
    ranked: Iterable[DocumentBatch] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> PerplexityModel:
    """Train a character language model on a corpus that reads as the result should.

    Parameters
    ----------
    reference : iterable of pyarrow.RecordBatch
        Documents, e.g. from `corpuskit.read`; read once.
    config : LanguageModelConfig, optional
    ranked : iterable of pyarrow.RecordBatch, optional
        Documents of the kind that will be filtered: the percentiles are theirs.
    on_progress : callable, optional
        Called with a line of text when a stage begins.

    Raises
    ------
    InputError
        If there are fewer than `MIN_CHARACTERS` of training text, or nothing to measure.
    """
    config = config or LanguageModelConfig()
    say = on_progress or (lambda line: None)
    say("reading the reference text")
    sample = sample_documents(
        reference,
        window_characters=min(config.max_document_characters, config.max_characters),
        max_characters=config.max_characters,
        seed=config.seed,
    )
    held = [xxhash.xxh3_64_intdigest(rank.to_bytes(8, "little")) % 10 == 0 for rank in sample.ranks]
    train = as_array([text for text, out in zip(sample.texts, held) if not out])
    held_out = as_array([text for text, out in zip(sample.texts, held) if out])
    say(f"counting n-grams of {len(train):,} documents")
    vocabulary = choose_vocabulary(train, config)
    model = estimate_model(train, vocabulary, config)

    measured, source = held_out, "held-out reference text"
    if ranked is not None:
        say("reading the text to be ranked")
        source = "text to be ranked"
        measured = as_array(_ranked_sample(ranked, config.seed))
    if len(measured) == 0:
        raise InputError("no documents to take the percentiles of", where=source, hint="give more documents")
    say(f"measuring {len(measured):,} documents")
    percentiles = np.percentile(model.perplexities(measured), np.arange(101))
    report = {
        **model.report,
        "settings": asdict(config),
        "folding": FOLDING,
        "documents": sample.seen,
        "train_documents": len(train),
        "held_out_documents": len(held_out),
        "held_out_perplexity": corpus_perplexity(model, held_out) if len(held_out) else None,
        "percentiles_of": source,
        "measured_documents": len(measured),
    }
    return PerplexityModel(
        model.order,
        model.vocabulary,
        model.unigram_costs,
        model.unigram_backoffs,
        model.slots,
        model.starts,
        percentiles,
        report,
    )


def corpus_perplexity(model: PerplexityModel, text: pa.Array) -> float:
    """Perplexity per character of all texts together."""
    bits, characters = model.costs(text)
    return float(2 ** (bits.sum() / max(1, characters.sum())))


def choose_vocabulary(text: pa.Array, config: LanguageModelConfig) -> np.ndarray:
    """The most frequent (folded) characters, as many as n-grams of `config.order` in 64 bits allow.

    Order 5 has room for 7,130: GB 2312 has 6,763 Han and ordinary text few others.

    Raises
    ------
    InputError
        If there is too little text.
    """
    from corpuskit.kernels.charlm import count_codes

    counts = np.zeros(0x110000, np.int64)
    data, offsets = utf8_buffers(text)
    count_codes(data[offsets[0] : offsets[-1]], folding_table(), counts)
    if counts.sum() < MIN_CHARACTERS:
        raise InputError(
            f"{counts.sum():,} characters of training text; a language model needs {MIN_CHARACTERS:,}",
            where="reference text",
            hint="give more text; millions of characters are better",
        )
    room = max_base(config.order) - 1
    order = np.lexsort((np.arange(counts.size), -counts))[:room]
    return np.sort(order[counts[order] >= config.min_count]).astype(np.uint32)


def max_base(order: int) -> int:
    """The largest number of ids whose n-grams of this order are below 2**64 and ids below 2**16 - 1."""
    base = min(int(2 ** (64 / order)) + 1, 0xFFFF)
    while base**order > 2**64:
        base -= 1
    return base


def estimate_model(text: pa.Array, vocabulary: np.ndarray, config: LanguageModelConfig) -> PerplexityModel:
    """The model of a corpus, without percentiles."""
    from corpuskit.kernels.charlm import COST_STEPS_PER_BIT

    order, base = config.order, len(vocabulary) + 1
    keys = corpus_keys(text, vocabulary, order)
    if len(keys) == 0:
        raise InputError(
            f"no document has {order} characters", where="reference text", hint="give longer documents"
        )
    levels = count_levels(keys, base, order)
    estimates = estimate(levels, base, min_counts(config))
    slots, starts = build_tables(estimates[1:])
    report: dict[str, Any] = {
        "vocabulary": len(vocabulary),
        "ngrams": [len(level.keys) for level in levels],
        "kept_ngrams": [len(e.keys) for e in estimates],
        "num_unknown": NUM_UNKNOWN,
    }
    first = estimates[0]
    return PerplexityModel(
        order,
        vocabulary,
        cost_steps(first.probabilities).astype(np.float32) / COST_STEPS_PER_BIT,
        cost_steps(first.backoffs).astype(np.float32) / COST_STEPS_PER_BIT,
        slots,
        starts,
        np.zeros(101),
        report,
    )


def min_counts(config: LanguageModelConfig) -> list[int]:
    """The count below which n-grams of each order are pruned."""
    return [1, 1, *([config.prune] * (config.order - 2))]


def corpus_keys(text: pa.Array, vocabulary: np.ndarray, order: int) -> np.ndarray:
    """The keys of all n-grams of `order` characters (uint64)."""
    from corpuskit.kernels import charlm

    data, offsets = utf8_buffers(text)
    ids = np.empty(int(offsets[-1] - offsets[0]) + 1, np.uint16)
    id_offsets = np.empty(len(offsets), np.int64)
    charlm.encode(data, offsets, id_table(vocabulary), ids, id_offsets)
    keys = np.empty(int(id_offsets[-1]), np.uint64)
    return keys[: charlm.ngram_keys(ids, id_offsets, len(vocabulary) + 1, order, keys)]


def build_tables(estimates: list[Estimates]) -> tuple[np.ndarray, np.ndarray]:
    """`slots` and `starts` of `kernels.charlm` from the orders 2 to N."""
    from corpuskit.kernels import charlm

    sizes = [1 << max(4, int(np.ceil(np.log2((len(e.keys) + 1) / _TABLE_LOAD)))) for e in estimates]
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    slots = np.zeros(int(starts[-1]), np.uint64)
    for level, start, size in zip(estimates, starts, sizes):
        table = slots[start : start + size]
        charlm.insert_all(table, level.keys, cost_steps(level.probabilities), cost_steps(level.backoffs))
    return slots, starts


def cost_steps(probabilities: np.ndarray) -> np.ndarray:
    """Minus log2 in steps of 1/1024 bit (uint16)."""
    from corpuskit.kernels.charlm import COST_STEPS_PER_BIT

    with np.errstate(divide="ignore"):
        steps = np.rint(-np.log2(probabilities) * COST_STEPS_PER_BIT)
    return np.clip(steps, 0, 0xFFFF).astype(np.uint16)


def _ranked_sample(batches: Iterable[DocumentBatch], seed: int) -> list[str]:
    return sample_documents(
        batches,
        max_documents=_MEASURED_DOCUMENTS,
        window_characters=_MEASURED_CHARACTERS,
        max_characters=_MEASURED_CHARACTERS,
        min_characters=10,
        seed=seed,
    ).texts
