"""Comparing tokenizers on one text: which tokenizers, which part of the text, and every measure of each.

Nothing in the result depends on time, machine or the order of files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa

from corpuskit.clean.script import ToSimplified, ToTraditional
from corpuskit.documents import DocumentBatch, document_batch
from corpuskit.errors import ConfigError, InputError
from corpuskit.segment import Segmenter
from corpuskit.vocab.comparison import (
    LENGTH_BINS,
    Encoding,
    Role,
    Text,
    character_sets,
    compression,
    describe_text,
    han_lengths,
    is_partial_utf8,
    renyi_efficiency,
    word_agreement,
)
from corpuskit.vocab.comparison_result import Comparison, Judgement, Piece
from corpuskit.vocab.lint import lint
from corpuskit.vocab.readers import open_tokenizer
from corpuskit.vocab.sampling import Sample, Sampler
from corpuskit.vocab.subjects import Subject, as_text

DEFAULT_SAMPLE_BYTES = 4_000_000

VARIANT_BYTES = 1_000_000
"""Text that is converted to both scripts: OpenCC is the slowest part."""

SENTENCE = "鑫鑫说：“臺灣的龘字太難寫了！”她在2024年买了3.5kg苹果，花¥128。OpenAI 的 GPT-4o 呢？"
"""Rare and Traditional characters, fullwidth punctuation, numbers and Latin, to see how each is cut."""

_SENTENCE_CHARACTERS = (24, 72)


@dataclass(frozen=True)
class Options:
    """How to compare.

    Attributes
    ----------
    sample_bytes : int
        UTF-8 bytes of the text to use, chosen document by document by a seeded hash of their ids.
    seed : int
    sentences : tuple of str
        To show cut by each tokenizer; by default one made for it and one of the text.
    """

    sample_bytes: int = DEFAULT_SAMPLE_BYTES
    seed: int = 0
    sentences: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.sample_bytes < 1:
            raise ConfigError("no text would be used", where="sample_bytes", hint="at least 1")
        if not all(sentence.strip() for sentence in self.sentences):
            raise ConfigError("a sentence is empty", where="sentences")


def open_all(sources: Sequence[str]) -> list[Subject]:
    """Read tokenizers given as ``PATH`` or ``NAME=PATH``.

    Raises
    ------
    ConfigError
        If none is given or two have one name.
    InputError, ArtifactError
        See `open_tokenizer`.
    """
    subjects = [open_tokenizer(path, name or None) for name, path in map(_named, sources)]
    if not subjects:
        raise ConfigError("no tokenizer to compare", where="tokenizers", hint="name one or more")
    first: dict[str, str] = {}
    for subject in subjects:
        if subject.name in first:
            raise ConfigError(
                f"two tokenizers are called {subject.name!r}",
                where=f"{first[subject.name]} and {subject.path}",
                hint="give one a name of its own: NAME=PATH",
            )
        first[subject.name] = subject.path
    return subjects


def _named(source: str) -> tuple[str, str]:
    name, sign, path = source.partition("=")
    return (name, path) if sign and name and path and "/" not in name else ("", source)


def sample_batches(batches: Iterable[DocumentBatch], options: Options, where: str = "--on") -> Sample:
    """The documents to compare on.

    Raises
    ------
    InputError
        If there is no text.
    """
    sampler = Sampler(options.sample_bytes, options.seed)
    for batch in batches:
        for document_id, text in zip(batch.column("id").to_pylist(), batch.column("text").to_pylist()):
            sampler.add(document_id, text or "")
    sample = sampler.finish()
    if not sample.texts:
        what = f"{sample.documents_seen} documents, all empty" if sample.documents_seen else "no documents"
        raise InputError(f"no text to compare on: {what}", where=where, hint="give text that is not empty")
    return sample


def compare(
    subjects: Sequence[Subject],
    sample: Sample,
    options: Options | None = None,
    *,
    inputs: Sequence[str] = (),
    translation: Sequence[str] = (),
    on_progress: Callable[[str], None] = lambda note: None,
) -> Comparison:
    """Measure tokenizers on one text.

    Parameters
    ----------
    subjects : sequence of Subject
        See `open_all`.
    sample : Sample
        See `sample_batches`.
    options : Options, optional
    inputs : sequence of str
        Where the text is from, for the reader.
    translation : sequence of str
        The same text in another language, for `parity`.
    on_progress : callable
        Told what is being done.
    """
    options = options or Options()
    on_progress("words of the text")
    texts = list(sample.texts)
    text = describe_text(texts)
    word_ends = _word_ends(texts, text)
    variants = _variants(texts)
    sentences = options.sentences or (SENTENCE, *_typical_sentence(texts))
    judgements = []
    for number, subject in enumerate(subjects, 1):
        on_progress(f"{subject.name} ({number} of {len(subjects)})")
        judgements.append(_judge(subject, texts, text, word_ends, variants, translation, sentences))
    facts = {**sample.provenance(options.sample_bytes, options.seed), "words": int(word_ends.size)}
    return Comparison(tuple(inputs), facts, tuple(judgements), tuple(sentences))


def _judge(
    subject: Subject,
    texts: Sequence[str],
    text: Text,
    word_ends: np.ndarray,
    variants: tuple[Sequence[str], Sequence[str]],
    translation: Sequence[str],
    sentences: Sequence[str],
) -> Judgement:
    encoding = subject.encode(texts, text)
    counts = np.bincount(encoding.ids, minlength=subject.vocab_size)
    ordinary = subject.roles == Role.ORDINARY
    words = word_agreement(text, encoding, word_ends)
    simplified, traditional = (_num_tokens(subject, variant) for variant in variants)
    values: dict[str, float | None] = {
        "vocab_size": subject.vocab_size,
        **asdict(compression(text, encoding, subject.roles)),
        **asdict(words),
        **{name: _covered(subject, characters) for name, characters in character_sets().items()},
        "simplified_bytes_per_token": _num_bytes(variants[0]) / max(1, simplified),
        "traditional_bytes_per_token": _num_bytes(variants[1]) / max(1, traditional),
        "traditional_premium": traditional / max(1, simplified),
        "parity": encoding.num_tokens / max(1, _num_tokens(subject, translation)) if translation else None,
        "renyi": renyi_efficiency(counts, subject.vocab_size),
        "renyi_used": renyi_efficiency(counts, int((counts > 0).sum())),
        "used": float((ordinary & (counts > 0)).sum()) / max(1, int(ordinary.sum())),
        "unreachable": len(subject.unreachable()),
        "partial_utf8": sum(is_partial_utf8(token) for token in subject.tokens if token),
    }
    shown = [
        as_text(token) if ordinary[i] and not subject.continues(i) else None
        for i, token in enumerate(subject.tokens)
    ]
    return Judgement(
        subject.name,
        subject.path,
        subject.kind,
        subject.notes,
        values,
        dict(zip(LENGTH_BINS, han_lengths(text, encoding).tolist())),
        tuple(lint(shown, counts.tolist())),
        tuple(tuple(_pieces(subject, sentence)) for sentence in sentences),
    )


def _word_ends(texts: Sequence[str], text: Text) -> np.ndarray:
    """Ends of jieba's words in `text.data`: int64."""
    cut = Segmenter().cut_batch(pa.array(texts, pa.large_string()))
    per_row = np.diff(cut.offsets.to_numpy())
    return cut.values.to_numpy().astype(np.int64) + np.repeat(text.rows[:-1], per_row)


def _variants(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """The first `VARIANT_BYTES` of the text in Simplified and in Traditional characters."""
    chosen: list[str] = []
    size = 0
    for text in texts:
        if size >= VARIANT_BYTES:
            break
        text = text.encode()[: VARIANT_BYTES - size].decode(errors="ignore")
        chosen.append(text)
        size += len(text.encode())
    batch = document_batch([str(i) for i in range(len(chosen))], chosen)
    simplified = ToSimplified().judge(batch).batch.column("text").to_pylist()
    return simplified, ToTraditional().judge(batch).batch.column("text").to_pylist()


def _num_tokens(subject: Subject, texts: Sequence[str]) -> int:
    return sum(ids.size for ids in subject.ids(texts)) if texts else 0


def _num_bytes(texts: Sequence[str]) -> int:
    return sum(len(text.encode()) for text in texts)


def _covered(subject: Subject, characters: str) -> float:
    """Share of some characters that are one ordinary token each."""
    found = subject.alone(list(characters))
    single = sum(ids.size == 1 and subject.roles[ids[0]] == Role.ORDINARY for ids in found)
    return float(single) / len(characters)


def _typical_sentence(texts: Iterable[str]) -> list[str]:
    """The first sentence of the text that is neither short nor long and mostly Chinese."""
    least, most = _SENTENCE_CHARACTERS
    for text in texts:
        for line in text.splitlines():
            for sentence in line.replace("。", "。\n").splitlines():
                sentence = sentence.strip()
                if (
                    least <= len(sentence) <= most
                    and sum("\u4e00" <= c <= "\u9fff" for c in sentence) > least
                ):
                    return [sentence]
    return []


def _pieces(subject: Subject, sentence: str) -> list[Piece]:
    """A sentence in tokens; those that share a character come as one piece."""
    text = describe_text([sentence])
    encoding = subject.encode([sentence], text)
    data = sentence.encode()
    whole = set(text.character_starts.tolist())
    pieces: list[Piece] = []
    at = token = 0
    while token < encoding.num_tokens:
        begin, last = int(encoding.begins[token]), token
        if begin > at:
            pieces.append(Piece(data[at:begin].decode(errors="replace"), [], "dropped"))
        while int(encoding.ends[last]) not in whole and last + 1 < encoding.num_tokens:
            last += 1
        at = max(at, int(encoding.ends[last]))
        ids = encoding.ids[token : last + 1].tolist()
        pieces.append(
            Piece(data[begin:at].decode(errors="replace"), ids, _piece_kind(subject, encoding, token, last))
        )
        token = last + 1
    if at < len(data):
        pieces.append(Piece(data[at:].decode(errors="replace"), [], "dropped"))
    return pieces


def _piece_kind(subject: Subject, encoding: Encoding, first: int, last: int) -> str:
    if last > first:
        return "split"
    if subject.roles[encoding.ids[first]] == Role.UNKNOWN:
        return "unknown"
    if encoding.begins[first] == encoding.ends[first]:
        return "empty"
    return "changed" if encoding.changed[first] else "token"
