"""Several processes that train one model: each takes its share of every batch, gradients are summed.

A batch is a given number of sequences over all processes, so the same configuration means the same
training for any number of them, up to the order in which sums are made. Losses are divided by the
wanted tokens of the whole update, so the sum of the processes' gradients is that of one process.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from corpuskit.errors import ConfigError


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is; as ``torchrun`` says, or the only one."""

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def share(self, batch_size: int) -> int:
        """Sequences of a batch that this process takes.

        Raises
        ------
        ConfigError
            If they cannot be shared out evenly.
        """
        share, rest = divmod(batch_size, self.size)
        if rest:
            raise ConfigError(
                f"{batch_size} sequences cannot be shared out to {self.size} processes",
                where="train.batch_size",
                hint=f"choose a multiple of {self.size}",
            )
        return share

    def total(self, value: float, device: torch.device) -> float:
        """The sum over the processes."""
        if self.size == 1:
            return value
        number = torch.tensor(value, dtype=torch.float64, device=device)
        distributed.all_reduce(number)
        return number.item()

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace every gradient by the sum over the processes, in one message for each type."""
        if self.size == 1:
            return
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for parameter in parameters:
            if parameter.grad is not None:
                by_type.setdefault(parameter.grad.dtype, []).append(parameter.grad)
        for gradients in by_type.values():
            together = torch.cat([gradient.flatten() for gradient in gradients])
            distributed.all_reduce(together)
            pieces = together.split([gradient.numel() for gradient in gradients])
            for gradient, piece in zip(gradients, pieces):
                gradient.copy_(piece.view_as(gradient))

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """The processes that ``torchrun`` started, connected; the only one without it."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Ranks()
        return
    mine = not distributed.is_initialized()
    if mine:
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Ranks(
            distributed.get_rank(), distributed.get_world_size(), int(os.environ.get("LOCAL_RANK", "0"))
        )
    finally:
        if mine:
            distributed.destroy_process_group()
