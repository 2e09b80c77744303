"""The samples of a run: those it learns from, and the held-out ones it is judged by.

What is held out is a contiguous tail, because samples taken from among the others would share
documents with their neighbours and look easier than unseen text: of the windows over the stream
the last ones, of packed sequences and single documents those made of the last documents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from corpuskit.errors import ConfigError, MismatchError
from corpuskit.models.tokenizers import TextTokenizer
from corpuskit.shards import Mixture, Stages, TokenDataset
from corpuskit.shards.samples import Boundaries
from corpuskit.train.config import TrainConfig
from corpuskit.train.objectives import MaskedLM, Objective, Pairs, Sample, SpanCorruption, SpecialTokens

_SENTINELS = 100  # as many as T5 has
_AROUND = (("[CLS]", "[SEP]"), ("<s>", "</s>"))  # BERT's and RoBERTa's


class Source:
    """Samples of one dataset and the objective they are for; a `SampleSource`.

    Parameters
    ----------
    rows : Windows, PackedSequences or DocumentTails
        Rows of ids, of the objective's `raw_length`.
    objective : Objective
    sequence_length : int
        Of the model's input.
    start, stop : int
        Which of the rows.
    whole : bool
        Take a row as one document, as windows over the stream are.
    count : int, optional
        How many of the rows, evenly spread; by default all.
    """

    def __init__(
        self,
        rows: Any,
        objective: Objective,
        sequence_length: int,
        start: int,
        stop: int,
        whole: bool,
        count: int | None = None,
    ) -> None:
        self._rows, self.objective, self.sequence_length = rows, objective, sequence_length
        self._start, self._stop, self._whole = start, stop, whole
        self._count = stop - start if count is None else count
        self.fingerprint = rows.fingerprint
        self.policy = f"{rows.policy}[{start}:{stop}]" + ("" if count is None else f"/{count}")

    def __len__(self) -> int:
        return self._count

    def spread(self, count: int) -> Source:
        """`count` of the samples, the middle ones of as many equal parts; all if there are no more.

        Neighbouring samples are often of one document or of one source, so the first few say little
        about the rest.
        """
        if count >= len(self):
            return self
        return Source(
            self._rows, self.objective, self.sequence_length, self._start, self._stop, self._whole, count
        )

    def gather(self, indices: np.ndarray, out: np.ndarray) -> None:
        """The ids alone, as every `SampleSource` gives them."""
        self._rows.gather(self._row_of(indices), out)

    def samples(self, indices: np.ndarray) -> list[Sample]:
        """Samples `indices` with the documents and parallel columns that the objective needs."""
        indices = self._row_of(indices)
        length = self._rows.sequence_length
        ids = np.empty((len(indices), length), np.int64)
        self._rows.gather(indices, ids)
        columns = {}
        for name in self.objective.columns:
            columns[name] = np.empty(ids.shape, self._rows.column_dtype(name))
            self._rows.gather_column(name, indices, columns[name])
        if self._whole:
            parts = [(length, np.zeros(1, np.int64))] * len(ids)
        else:
            starts, filled = self._rows.boundaries(indices)
            by_row = np.split(starts, np.searchsorted(starts, np.arange(1, len(ids)) * length))
            parts = [
                (int(size), (own - row * length)[own - row * length < size])
                for row, (size, own) in enumerate(zip(filled.tolist(), by_row))
            ]
        return [
            Sample(ids[row, :size], starts, {name: values[row, :size] for name, values in columns.items()})
            for row, (size, starts) in enumerate(parts)
        ]

    def _row_of(self, indices: np.ndarray) -> np.ndarray:
        indices, rows = np.asarray(indices), self._stop - self._start
        if self._count != rows:
            indices = (2 * indices + 1) * rows // (2 * self._count)
        return indices + self._start


class DocumentTails:
    """Every document as a row of its own; of one that is too long, its end, which holds the target."""

    def __init__(self, data: DocumentRange, length: int) -> None:
        self._data, self.sequence_length = data, length
        self.fingerprint, self.policy = data.fingerprint, f"tails/{length}"
        self._starts = np.cumsum([0, *data.rows])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def gather(self, indices: np.ndarray, out: np.ndarray) -> None:
        self._copy(self._data.streams, indices, out)

    def column_dtype(self, name: str) -> np.dtype:
        return _column_dtype(self._data, name)

    def gather_column(self, name: str, indices: np.ndarray, out: np.ndarray) -> None:
        self._copy(self._data.column(name), indices, out)

    def boundaries(self, indices: np.ndarray) -> Boundaries:
        sizes = [end - begin for _, begin, end in self._places(indices)]
        return Boundaries(np.arange(len(sizes)) * self.sequence_length, np.array(sizes, np.int64))

    def _copy(self, streams: Sequence[np.ndarray], indices: np.ndarray, out: np.ndarray) -> None:
        for row, (shard, begin, end) in zip(out, self._places(indices)):
            row[: end - begin] = streams[shard][begin:end]
            row[end - begin :] = 0

    def _places(self, indices: np.ndarray) -> list[tuple[int, int, int]]:
        offsets = self._data.offsets
        result = []
        for index in np.asarray(indices).tolist():
            shard = int(np.searchsorted(self._starts, index, side="right")) - 1
            place = index - int(self._starts[shard])
            begin, end = (int(value) for value in offsets[shard][place : place + 2])
            result.append((shard, max(begin, end - self.sequence_length), end))
        return result


class _Lazy(Sequence):
    """One array of each shard, made when it is asked for: those of a remote dataset are fetched then."""

    def __init__(self, count: int, make: Callable[[int], np.ndarray]) -> None:
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: Any) -> Any:
        if not 0 <= number < self._count:
            raise IndexError(number)
        return self._make(number)


class DocumentRange:
    """Documents ``start … stop - 1`` of a dataset, as token streams that samples are cut from.

    Arrays are views of the mapped files, but for the offsets of a shard that the range begins within,
    which are counted anew once.
    """

    def __init__(self, data: TokenDataset, start: int, stop: int) -> None:
        self._data = data
        self.fingerprint = f"{data.fingerprint}[{start}:{stop}]"
        self.column_types = data.column_types
        firsts = np.cumsum([0, *(entry.rows for entry in data.manifest.shards)])
        self._cuts = []  # shard, first and last document in it
        for shard in range(len(firsts) - 1):
            low = max(start, int(firsts[shard])) - int(firsts[shard])
            high = min(stop, int(firsts[shard + 1])) - int(firsts[shard])
            if low < high:
                self._cuts.append((shard, low, high))
        self.rows = [high - low for _, low, high in self._cuts]
        self.offsets = _Lazy(len(self._cuts), self._offsets)
        self.streams = _Lazy(len(self._cuts), lambda number: self._cut(self._data.streams, number))
        self._counted_anew: dict[int, np.ndarray] = {}
        self.lengths = [
            data.lengths[shard]
            if high - low == data.manifest.shards[shard].rows
            else int(self._offsets(i)[-1])
            for i, (shard, low, high) in enumerate(self._cuts)
        ]

    def column(self, name: str) -> Sequence[np.ndarray]:
        return _Lazy(len(self._cuts), lambda number: self._cut(self._data.column(name), number))

    def prefetch(self, shards: Sequence[int]) -> None:
        self._data.prefetch([self._cuts[shard][0] for shard in shards])

    def _offsets(self, number: int) -> np.ndarray:
        shard, low, high = self._cuts[number]
        offsets = self._data.offsets[shard][low : high + 1]
        if offsets[0] == 0:
            return offsets
        if number not in self._counted_anew:
            self._counted_anew[number] = offsets - offsets[0]
        return self._counted_anew[number]

    def _cut(self, streams: Sequence[np.ndarray], number: int) -> np.ndarray:
        shard, low, high = self._cuts[number]
        offsets = self._data.offsets[shard]
        return streams[shard][int(offsets[low]) : int(offsets[high])]


class Samples(NamedTuple):
    """What a run draws from.

    Attributes
    ----------
    training : Source, Mixture or Stages
        Endless.
    held_out : tuple of Source
        One of each dataset; may be empty.
    """

    training: Any
    held_out: tuple[Source, ...]


def make_samples(
    data: Mapping[str, TokenDataset], config: TrainConfig, special: SpecialTokens | None = None
) -> Samples:
    """The training and held-out samples of a run.

    Parameters
    ----------
    data : Mapping of str to TokenDataset
    config : TrainConfig
    special : SpecialTokens, optional
        Decides whether masked objectives put tokens around documents.

    Raises
    ------
    ConfigError
        If a dataset lacks a parallel column that its objective needs, or is too small, or the tokenizer lacks
        what an objective asks for.
    """
    stages = [*config.stages, (config.sequence_length, None)]
    made = [_at_length(data, config, length, special) for length, _ in stages]
    held_out = made[-1].held_out
    if len(stages) == 1:
        return made[0]
    sizes = [
        None if updates is None else updates * config.batch_size * config.gradient_accumulation
        for _, updates in stages
    ]
    return Samples(Stages([(one.training, size) for one, size in zip(made, sizes)]), held_out)


def _at_length(
    data: Mapping[str, TokenDataset], config: TrainConfig, length: int, special: SpecialTokens | None
) -> Samples:
    parts = {}
    for name, dataset in data.items():
        objective: Any = config.objective_of(name)
        if isinstance(objective, MaskedLM) and special is not None:
            objective = objective.for_tokens(special)
        parts[name] = split(dataset, config, objective, length)
    held_out = tuple(held for _, held in parts.values())
    sources = {name: learned for name, (learned, _) in parts.items()}
    if len(sources) == 1:
        return Samples(next(iter(sources.values())), held_out)
    weights = config.weights
    mixture = Mixture(sources, weights, temperature=config.temperature, cap=config.rate_cap)
    return Samples(mixture, held_out)


def split(
    data: TokenDataset, config: TrainConfig, objective: Objective, sequence_length: int
) -> tuple[Source, Source]:
    """The training and the held-out samples of one dataset.

    At least one is trained on; at least one is held out if ``held_out`` is above 0 and there are two.
    """
    for name in objective.columns:
        _column_dtype(data, name)
    if isinstance(objective, Pairs) and objective.input_tokens is None:
        objective = replace(objective, input_tokens=sequence_length)
    length = objective.raw_length(sequence_length)
    if (config.sequences or objective.sequences) == "windows":
        return _split_windows(data, config, objective, sequence_length, length)
    return _split_documents(data, config, objective, sequence_length, length)


def _split_windows(
    data: TokenDataset, config: TrainConfig, objective: Objective, sequence_length: int, length: int
) -> tuple[Source, Source]:
    windows = data.windows(length)
    count = len(windows)
    wanted = max(1, round(config.held_out * count)) if config.held_out else 0
    border = count - min(wanted, count - 1)
    stride = None if config.stride is None else min(config.stride, length)
    learned = data.windows(length, stride=stride)
    # The last training sequence ends before the first held-out token.
    last_begin = (border - 1) * length
    return (
        Source(learned, objective, sequence_length, 0, last_begin // learned.stride + 1, whole=True),
        Source(windows, objective, sequence_length, border, count, whole=True),
    )


def _split_documents(
    data: TokenDataset, config: TrainConfig, objective: Objective, sequence_length: int, length: int
) -> tuple[Source, Source]:
    count = len(data)
    wanted = max(1, round(config.held_out * count)) if config.held_out else 0
    border = count - min(wanted, count - 1)
    one_each = (config.sequences or objective.sequences) == "documents"
    made = []
    for start, stop in ((0, border), (border, count)):
        part = DocumentRange(data, start, stop)
        if not sum(part.lengths):
            made.append(Source(_Empty(part.fingerprint), objective, sequence_length, 0, 0, whole=False))
            continue
        # A prompt's answer means nothing without it, so where there is a mask no document is cut in two.
        overflow = "crop" if "loss_mask" in objective.columns else "split"
        rows: Any = DocumentTails(part, length) if one_each else _packed(part, length, overflow, data)
        made.append(Source(rows, objective, sequence_length, 0, len(rows), whole=False))
    return made[0], made[1]


class _Empty:
    """No rows."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint, self.policy, self.sequence_length = fingerprint, "empty", 1


def _packed(part: DocumentRange, length: int, overflow: Any, data: TokenDataset) -> Any:
    from corpuskit.shards.packing import PackedSequences

    pad = data.manifest.tokenizer.end_of_text_id or 0
    return PackedSequences(part, length, overflow=overflow, pad_id=pad)


def _column_dtype(data: Any, name: str) -> np.dtype:
    if name not in data.column_types:
        hint = {
            "word_starts": "write the shards with `corpuskit shards write --word-starts jieba`, or set "
            "objective.whole_words to false",
            "loss_mask": "write the dataset with corpuskit.train.prepare",
        }
        raise ConfigError(
            f"the objective needs the column {name!r}, and the dataset has none",
            where="train.objective",
            hint=hint.get(name),
        )
    return np.dtype(data.column_types[name])


def special_tokens(
    tokenizer: TextTokenizer | None,
    vocab_size: int,
    end_of_text: int | None,
    objectives: Sequence[Objective],
    sequence_length: int,
) -> SpecialTokens:
    """The ids that the objectives need: the tokenizer's own, else rows above its vocabulary.

    ``<extra_id_0>`` …, ``[MASK]`` or ``<mask>``, and ``<pad>`` or ``[PAD]`` are taken where the
    tokenizer has them. Where not, the model gets rows for them that no text encodes to; causal
    models and encoder-decoders pad with the end-of-text token. ``[CLS]`` with ``[SEP]``, or ``<s>`` with
    ``</s>``, are only ever the tokenizer's own.
    """
    known = dict(getattr(tokenizer, "special_tokens", {}) or {})
    families = {objective.family for objective in objectives}
    free = vocab_size
    pad = next((known[name] for name in ("<pad>", "[PAD]", "<|pad|>") if name in known), None)
    if pad is None and families == {"masked"}:
        pad, free = free, free + 1
    mask = next((known[name] for name in ("[MASK]", "<mask>", "<|mask|>") if name in known), None)
    if mask is None and "masked" in families:
        mask, free = free, free + 1
    sentinels = tuple(known[f"<extra_id_{i}>"] for i in range(1000) if f"<extra_id_{i}>" in known)
    corrupting = [objective for objective in objectives if isinstance(objective, SpanCorruption)]
    if not sentinels and corrupting:
        needed = max(o.num_sentinels(o.raw_length(sequence_length)) for o in corrupting)
        # As T5's: the first sentinel has the highest id.
        sentinels = tuple(range(free + max(_SENTINELS, needed) - 1, free - 1, -1))
    if pad is None:
        pad = end_of_text or 0
    around = next((pair for pair in _AROUND if known.keys() >= set(pair)), None)
    first, last = (None, None) if around is None else (known[around[0]], known[around[1]])
    return SpecialTokens(vocab_size, end_of_text, pad, mask, sentinels, first=first, last=last)


def require_tokenizer(data: TokenDataset, tokenizer: TextTokenizer | None) -> None:
    """Raise `MismatchError` if the shards were written with another tokenizer."""
    written = data.manifest.tokenizer.fingerprint
    if tokenizer is not None and tokenizer.fingerprint != written:
        raise MismatchError(
            f"the shards were written with another tokenizer (fingerprint {written}, "
            f"not {tokenizer.fingerprint})",
            where=str(data.directory),
            hint="give the tokenizer the shards were written with, or write the shards again",
        )
