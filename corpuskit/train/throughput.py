"""How fast a run is: tokens a second, waiting for data, memory, and the share of the GPU's peak."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch
from transformers import PreTrainedModel

# Dense bfloat16 operations a second as NVIDIA's data sheets give them.
_PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "A10": 125e12, "4090": 165e12}


class Meter:
    """Measures one update at a time.

    Parameters
    ----------
    model : PreTrainedModel
    device : torch.device
    processes : int
        That share the work.

    Attributes
    ----------
    peak : float or None
        Operations a second of one GPU, where it is known.
    """

    def __init__(self, model: PreTrainedModel, device: torch.device, processes: int) -> None:
        config = model.config
        self._parameters = sum(p.numel() for p in model.parameters())
        position = getattr(config, "n_positions", 0) or 0
        width = getattr(config, "hidden_size", 0)
        if config.model_type == "gpt2":
            self._parameters -= position * width  # position embeddings are looked up, not multiplied
        self._attention = 12 * getattr(config, "num_hidden_layers", 0) * width
        self._cuda, self._processes = device.type == "cuda", processes
        name = torch.cuda.get_device_name(device) if self._cuda else ""
        self.peak = next((peak for kind, peak in _PEAKS.items() if kind in name), None)
        self._started = self._waited = 0.0

    def start(self) -> None:
        """An update begins."""
        self._started, self._waited = time.perf_counter(), 0.0

    def wait_for(self, batches: Iterator[Any]) -> Any:
        """The next batch."""
        before = time.perf_counter()
        batch = next(batches)
        self._waited += time.perf_counter() - before
        return batch

    def operations(self, tokens: int, length: int) -> int:
        """Of training on `tokens` tokens in rows of `length` (see `Step.mfu`)."""
        return tokens * (6 * self._parameters + self._attention * length)

    def stop(self, tokens: int, length: int) -> dict[str, Any]:
        """The update of `tokens` tokens in rows of `length` is over; fields of `Step`."""
        elapsed = time.perf_counter() - self._started
        operations = self.operations(tokens, length)
        return {
            "tokens_per_s": tokens / elapsed,
            "data_stall": self._waited / elapsed,
            "memory_bytes": torch.cuda.max_memory_allocated() if self._cuda else None,
            "mfu": operations / elapsed / self.peak / self._processes if self.peak else None,
        }
