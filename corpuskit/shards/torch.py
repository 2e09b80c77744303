"""Samples for torch: a loader whose batches are tensors, and a map-style dataset for other loaders.

Tensors are pinned where CUDA is present: with ``non_blocking=True`` the copy to the GPU then runs
beside the computation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from corpuskit.errors import MissingExtra
from corpuskit.shards.loader import Loader
from corpuskit.shards.samples import SampleSource, make_fields, require_fields

try:
    import torch
except ImportError as error:
    raise MissingExtra(
        "torch is not installed", hint='pip install "corpuskit[train]", or use framework="numpy"'
    ) from error

if TYPE_CHECKING:
    from corpuskit.shards.reader import TokenDataset


class TorchLoader(Loader):
    """`Loader` whose batches are tensors, ``input_ids`` int64 [batch_size, sequence_length].

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

    def _finish(self, arrays: dict[str, Any]) -> dict[str, Any]:
        return {name: self._tensor(value) for name, value in arrays.items()}

    def _tensor(self, value: Any) -> torch.Tensor:
        if isinstance(value, torch.Tensor):
            return value
        if value.dtype in (np.uint16, np.uint32):  # torch computes little with these
            value = value.astype(np.int64)
        tensor = torch.from_numpy(value)
        return tensor.pin_memory() if self._pin_memory else tensor

    def _allocate(self, shape: tuple[int, ...], dtype: np.dtype) -> tuple[Any, np.ndarray]:
        tensor = torch.empty(shape, dtype=torch.int64, pin_memory=self._pin_memory)
        return tensor, tensor.numpy()


class MapDataset(torch.utils.data.Dataset):
    """A map-style torch dataset of dictionaries, for `DataLoader`, `Trainer`, Lightning and the like.

    Parameters
    ----------
    samples : SampleSource
        `TokenDataset.windows` or `TokenDataset.packed`.
    fields : sequence of str
        As for `Loader`, without ``cu_seqlens`` (which belongs to a batch). ``labels`` is what
        Hugging Face models compute the loss from.
    """

    def __init__(self, samples: SampleSource, fields: Sequence[str] = ("labels",)) -> None:
        if "cu_seqlens" in fields:
            from corpuskit.errors import ConfigError

            raise ConfigError("cu_seqlens belongs to a batch, not to a sample", where="fields")
        require_fields(samples, fields)
        self._samples, self._fields = samples, tuple(fields)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, torch.Tensor]]:
        """The samples of a batch, from one gather (torch's `DataLoader` calls this)."""
        count = len(self._samples)
        chosen = np.asarray(indices, np.int64)
        if chosen.size and not (-count <= chosen.min() and chosen.max() < count):
            raise IndexError(f"samples {list(indices)} of {count}")
        chosen %= count
        ids = np.empty((len(chosen), self._samples.sequence_length), np.int64)
        self._samples.gather(chosen, ids)
        arrays = {"input_ids": ids, **make_fields(self._samples, chosen, ids, self._fields, None)}
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return [{name: tensor[row] for name, tensor in tensors.items()} for row in range(len(chosen))]


def loader(data: TokenDataset, sequence_length: int, batch_size: int, **options: Any) -> TorchLoader:
    """`TokenDataset.loader` with tensors."""
    made: Any = data.loader(sequence_length, batch_size, framework="torch", **options)
    return made
