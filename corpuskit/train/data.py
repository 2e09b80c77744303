"""The sequences of a run: those it learns from, and the held-out ones it is judged by.

The dataset's windows of `sequence_length` tokens are numbered in stored order. The last
``held_out`` share of them is never trained on; a contiguous tail, because windows cut from among
the others would share documents with their neighbours and look easier than unseen text.
"""

from __future__ import annotations

import numpy as np

from corpuskit.errors import MismatchError
from corpuskit.models.tokenizers import TextTokenizer
from corpuskit.shards import TokenDataset
from corpuskit.shards.torch import TorchLoader
from corpuskit.shards.windows import SampleSource
from corpuskit.train.config import TrainConfig


class SampleRange:
    """Samples ``start … stop - 1`` of another source, as a source of its own."""

    def __init__(self, source: SampleSource, start: int, stop: int) -> None:
        self._source, self._start, self._stop = source, start, stop
        self.sequence_length = source.sequence_length
        self.fingerprint = source.fingerprint
        self.policy = f"{source.policy}[{start}:{stop}]"

    def __len__(self) -> int:
        return self._stop - self._start

    def gather(self, indices: np.ndarray, out: np.ndarray) -> None:
        self._source.gather(np.asarray(indices) + self._start, out)


def split(data: TokenDataset, config: TrainConfig) -> tuple[SampleRange, SampleRange]:
    """The training and the held-out sequences.

    At least one sequence is trained on; at least one is held out if ``held_out`` is above 0 and
    there are two.
    """
    windows = data.windows(config.sequence_length)
    count = len(windows)
    wanted = max(1, round(config.held_out * count)) if config.held_out else 0
    border = count - min(wanted, count - 1)
    learned = data.windows(config.sequence_length, stride=config.stride)
    # The last training sequence ends before the first held-out token.
    last_begin = (border - 1) * config.sequence_length
    return (
        SampleRange(learned, 0, last_begin // learned.stride + 1),
        SampleRange(windows, border, count),
    )


def training_batches(samples: SampleRange, config: TrainConfig) -> TorchLoader:
    """Endless shuffled batches; the order is the loader's pure function of seed and index."""
    return TorchLoader(samples, config.batch_size, seed=config.seed)


def held_out_batches(samples: SampleRange, config: TrainConfig) -> TorchLoader:
    """One pass over the first ``eval_sequences`` held-out sequences, in stored order."""
    count = min(len(samples), config.eval_sequences)
    few = SampleRange(samples, 0, count)
    return TorchLoader(few, min(config.batch_size, count), shuffle=False, epochs=1, drop_last=False)


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
