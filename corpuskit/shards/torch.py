"""The loader for torch: the same batches as tensors, filled in place, pinned where CUDA is present."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from corpuskit.errors import MissingExtra
from corpuskit.shards.loader import Loader
from corpuskit.shards.windows import Remainder, SampleSource

try:
    import torch
except ImportError as error:
    raise MissingExtra(
        "torch is not installed", hint='pip install "corpuskit[train]", or use framework="numpy"'
    ) from error

if TYPE_CHECKING:
    from corpuskit.shards.reader import TokenDataset


class TorchLoader(Loader):
    """`Loader` whose ``input_ids`` are int64 tensors [batch_size, sequence_length].

    Parameters
    ----------
    samples, batch_size, **options
        As for `Loader`.
    pin_memory : bool, optional
        Page-locked batches, for asynchronous copies to a GPU. Default: where CUDA is available.
    """

    def __init__(
        self, samples: SampleSource, batch_size: int, *, pin_memory: bool | None = None, **options: Any
    ) -> None:
        self._pin_memory = torch.cuda.is_available() if pin_memory is None else pin_memory
        super().__init__(samples, batch_size, **options)

    def _allocate(self, shape: tuple[int, int]) -> tuple[Any, np.ndarray]:
        tensor = torch.empty(shape, dtype=torch.int64, pin_memory=self._pin_memory)
        return tensor, tensor.numpy()


def loader(
    data: TokenDataset,
    sequence_length: int,
    batch_size: int,
    *,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    shuffle: bool = True,
    epochs: int | None = None,
    drop_last: bool = True,
    remainder: Remainder = "drop",
    state: Mapping[str, Any] | None = None,
    pin_memory: bool | None = None,
) -> TorchLoader:
    """Batches ``{"input_ids": int64 tensor [batch_size, sequence_length]}`` of a token dataset.

    Labels are the same tensor: Hugging Face models shift them themselves. See `Loader` for the
    order, the other parameters and the errors.
    """
    return TorchLoader(
        data.windows(sequence_length, remainder=remainder),
        batch_size,
        seed=seed,
        rank=rank,
        world_size=world_size,
        shuffle=shuffle,
        epochs=epochs,
        drop_last=drop_last,
        state=state,
        pin_memory=pin_memory,
    )
