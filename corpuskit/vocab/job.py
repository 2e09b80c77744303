"""Vocabularies as a job: one task each, reading every document part of the run.

A vocabulary needs the whole corpus in view but only a sample in memory, so a task streams all
parts and keeps the sample. The artifact leaves as one tar of kind ``vocabulary``, rows = number of
ids; `corpuskit.vocab.unpack_artifact` puts it where the user wants it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, cast, get_args

from corpuskit.errors import ConfigError
from corpuskit.jobs import Entry, Outcome, Slice, Task, Workspace
from corpuskit.parts import read_documents
from corpuskit.vocab import extension, training
from corpuskit.vocab.artifact import pack_artifact
from corpuskit.vocab.formats import load
from corpuskit.vocab.sampling import Sample, Sampler, require_text
from corpuskit.vocab.tokenizer import Tokenizer

VocabularyAlgorithm = Literal[
    "bpe", "huggingface-bpe", "sentencepiece-unigram", "sentencepiece-bpe", "extend"
]

_MEASURE_BYTES = 1_000_000
_TRAINING_FIELDS = (
    "pattern",
    "pre_segment",
    "min_count",
    "max_token_bytes",
    "required_characters",
    "user_defined_symbols",
    "require_chinese",
)


@dataclass(frozen=True)
class VocabularySpec:
    """One vocabulary to make.

    Attributes
    ----------
    name : str
        Its directory's name.
    algorithm : {"bpe", "huggingface-bpe", "sentencepiece-unigram", "sentencepiece-bpe", "extend"}
    vocab_size : int, optional
        Number of ids; for every algorithm but ``extend``.
    base : str, optional
        For ``extend``: a path, or ``gpt2``.
    num_new_tokens : int, optional
        For ``extend``.
    special_tokens : tuple of str
        Not for ``extend``, which keeps the base's.
    sample_bytes : int, optional
        UTF-8 bytes of text to train on; by default 100 MB for ``bpe`` and ``extend``, else 16 MB.
    pattern, pre_segment, min_count, max_token_bytes : str, bool, int, int, optional
    required_characters, user_defined_symbols, require_chinese : str, tuple of str, bool, optional
        As in `corpuskit.vocab.train`; not for ``extend``.
    """

    name: str
    algorithm: VocabularyAlgorithm = "bpe"
    vocab_size: int | None = None
    base: str | None = None
    num_new_tokens: int | None = None
    special_tokens: tuple[str, ...] = ("<|endoftext|>",)
    sample_bytes: int | None = None
    pattern: str = "chinese"
    pre_segment: bool = False
    min_count: int = 2
    max_token_bytes: int | None = None
    required_characters: str | None = None
    user_defined_symbols: tuple[str, ...] = ()
    require_chinese: bool = True

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    def __post_init__(self) -> None:
        where = f"vocabulary {self.name!r}"
        if not self.name or Path(self.name).name != self.name or self.name.startswith("."):
            raise ConfigError("must be a plain directory name", where=f"{where}: name")
        if self.algorithm not in get_args(VocabularyAlgorithm):
            raise ConfigError(
                f"unknown algorithm {self.algorithm!r}",
                where=f"{where}: algorithm",
                hint=f"one of {', '.join(get_args(VocabularyAlgorithm))}",
            )
        extends = self.algorithm == "extend"
        for field, belongs in (("vocab_size", not extends), ("base", extends), ("num_new_tokens", extends)):
            if (getattr(self, field) is not None) != belongs:
                raise ConfigError(
                    f"{'needed' if belongs else 'not used'} by the algorithm {self.algorithm!r}",
                    where=f"{where}: {field}",
                    hint="extend takes base and num_new_tokens, the others vocab_size",
                )
        if extends:
            for field in _TRAINING_FIELDS:
                if getattr(self, field) != getattr(VocabularySpec, field):
                    raise ConfigError("not used by the algorithm 'extend'", where=f"{where}: {field}")
        try:
            if self.num_new_tokens is not None:
                extension.check_extension(self.num_new_tokens, self.sample_limit)
            if self.vocab_size is not None:
                training.check_sample_bytes(self.sample_limit)
                self.training_options()
        except ConfigError as error:
            raise ConfigError(error.what, where=f"{where}: {error.where}", hint=error.hint) from error

    @property
    def sample_limit(self) -> int:
        """`sample_bytes`, or the default of the algorithm."""
        if self.sample_bytes is not None:
            return self.sample_bytes
        if self.algorithm == "extend":
            return extension.DEFAULT_SAMPLE_BYTES
        return training.default_sample_bytes(self.algorithm)

    def training_options(self) -> training.TrainingOptions:
        """What `corpuskit.vocab.training` needs, checked; for every algorithm but ``extend``."""
        return training.TrainingOptions(
            cast(training.Algorithm, self.algorithm),
            self.vocab_size or 0,
            self.special_tokens,
            self.pattern,
            self.pre_segment,
            self.min_count,
            self.max_token_bytes,
            self.required_characters,
            self.user_defined_symbols,
            self.require_chinese,
        )


@dataclass(frozen=True)
class VocabularyTaskConfig:
    """What one task needs: the vocabulary, the seed, and the base's fingerprint.

    The fingerprint is here so that a changed base makes another ledger key.
    """

    spec: VocabularySpec
    seed: int
    base_fingerprint: str | None


@dataclass(frozen=True)
class VocabularyJob:
    """Train or extend vocabularies on the documents of a run.

    Attributes
    ----------
    vocabularies : tuple of VocabularySpec
        Made independently of each other; names must differ.
    documents : tuple of Slice
        Document parts.
    seed : int
        Chooses the samples.
    """

    vocabularies: tuple[VocabularySpec, ...]
    documents: tuple[Slice, ...]
    seed: int = 0

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    def __post_init__(self) -> None:
        names = [spec.name for spec in self.vocabularies]
        if len(set(names)) != len(names):
            raise ConfigError("two vocabularies have the same name", where="vocabularies")

    @property
    def name(self) -> str:
        return "vocab"

    @property
    def phases(self) -> tuple[str, ...]:
        return ("train",)

    def plan(self, phase: str, done: Mapping[str, Sequence[Entry]]) -> list[Task]:
        """One task for each vocabulary, in order; loading a base here fails before any work."""
        return [
            Task(
                index,
                make_vocabulary,
                self.documents,
                VocabularyTaskConfig(
                    spec, self.seed, load(spec.base).fingerprint if spec.base is not None else None
                ),
                memory_bytes=_memory_bytes(spec),
            )
            for index, spec in enumerate(self.vocabularies)
        ]


def _memory_bytes(spec: VocabularySpec) -> int:
    """Measured on Chinese, bytes a byte of sample."""
    factor = {"bpe": 10, "huggingface-bpe": 90}.get(spec.algorithm, 25)
    return (1 << 29) + spec.sample_limit * factor


def make_vocabulary(task: Task, workspace: Workspace) -> Outcome:
    """The task of `VocabularyJob`: sample, train, publish one tar, report measurements."""
    spec: VocabularySpec = task.config.spec
    sampler = Sampler(spec.sample_limit, task.config.seed)
    for piece in task.inputs:
        for batch in read_documents(piece.path, ["id", "text"]):
            ids, texts = batch.column("id").to_pylist(), batch.column("text").to_pylist()
            for document_id, text in zip(ids, texts):
                if text is not None:
                    sampler.add(document_id, text)
        workspace.report_progress(Path(piece.path).stat().st_size)
    sample = require_text(sampler.finish())
    provenance: dict[str, Any] = sample.provenance(spec.sample_limit, task.config.seed)
    if spec.algorithm == "extend":
        tokenizer = extension.extend_on_sample(
            load(spec.base or ""), sample, spec.num_new_tokens or 0, provenance=provenance
        )
    else:
        tokenizer = training.train_on_sample(sample, spec.training_options(), provenance=provenance)
    with workspace.publish("vocabulary", suffix=".tar") as publication:
        publication.path.write_bytes(pack_artifact(tokenizer.files()))
        publication.rows = tokenizer.vocab_size
    outputs = (publication.output,) if publication.output is not None else ()
    return Outcome(outputs, metrics=measure(tokenizer, sample, spec.name))


def measure(tokenizer: Tokenizer, sample: Sample, name: str) -> dict[str, Any]:
    """Size of the vocabulary and of its sample, and bytes per token on the sample's first MB."""
    texts, text_bytes, num_tokens = iter(sample.texts), 0, 0
    while text_bytes < _MEASURE_BYTES and (text := next(texts, None)) is not None:
        text_bytes += len(text.encode())
        num_tokens += len(tokenizer.encode(text))
    return {
        "name": name,
        "kind": tokenizer.kind,
        "vocab_size": tokenizer.vocab_size,
        "fingerprint": tokenizer.fingerprint,
        "sample_documents": len(sample.texts),
        "sample_bytes": sample.text_bytes,
        "sample_characters": sample.characters,
        "bytes_per_token": text_bytes / num_tokens,
    }
