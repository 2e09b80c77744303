"""Several processes that train one model: each takes its share of every batch, gradients are summed.

A batch is a given number of sequences over all processes, so the same configuration means the same
training for any number of them, up to the order in which sums are made. Losses are divided by the
wanted tokens of the whole update, so the sum of the processes' gradients is that of one process.

Of a model that does not fit, each process keeps a share of every weight, its gradient and AdamW's averages
(FSDP2; Zhao et al. 2023). A block's weights are brought together when it runs and let go afterwards. What
is written is gathered first, so checkpoints are those of one process whoever wrote them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from corpuskit.errors import ConfigError


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is; as ``torchrun`` says, or the only one.

    `sharded` says that each keeps only a share of the model.
    """

    rank: int = 0
    size: int = 1
    local: int = 0
    sharded: bool = False

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
        return self.sum(torch.tensor(value, dtype=torch.float64), device).item()

    def sum(self, values: Tensor, device: torch.device) -> Tensor:
        """The sum over the processes of a tensor that is as large in each, on the CPU."""
        if self.size == 1:
            return values
        together = values.to(device)
        distributed.all_reduce(together)
        return together.cpu()

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace every gradient by the sum over the processes, in one message for each type.

        Gradients of shares are sums already.
        """
        if self.size == 1 or self.sharded:
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

    def place(self, loss: nn.Module, blocks: Iterable[nn.Module], device: torch.device) -> None:
        """Put the model within `loss` on the device: all of it, or this process's share.

        The whole model must be in the memory of the CPU; the device sees one block of it at a time.
        """
        if not self.sharded:
            loss.to(device)
            return
        mesh = init_device_mesh(device.type, (self.size,))
        for module in [*blocks, loss]:
            fully_shard(module, mesh=mesh, reshard_after_forward=True)
        for module in loss.modules():
            if isinstance(module, FSDPModule):
                module.set_gradient_divide_factor(1.0)  # a sum, not a mean
                module.set_force_sum_reduction_for_comms(True)  # gloo has no other

    def gathered(self, value: Any) -> Any:
        """`value`, nested in dictionaries and lists, with whole tensors on the CPU in the place of shares.

        Every process must call it; the first receives the result, the others None for each of these.
        What is one tensor under two names stays one.
        """
        return _gathered(value, self.leads, {}) if self.sharded else value

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            distributed.barrier()


def shares(whole: Tensor, like: Tensor) -> Tensor:
    """The share of `whole` that this process keeps, if `like` is one; every process has the whole."""
    if not isinstance(like, DTensor) or whole.shape != like.shape:
        return whole
    on_device = whole.to(like.device)
    return distribute_tensor(on_device, like.device_mesh, like.placements, src_data_rank=None)


def _gathered(value: Any, keep: bool, known: dict[int, Any]) -> Any:
    if isinstance(value, dict):
        return {name: _gathered(item, keep, known) for name, item in value.items()}
    if isinstance(value, list):
        return [_gathered(item, keep, known) for item in value]
    if not isinstance(value, DTensor):
        return value
    if id(value) not in known:
        share: Any = value.detach()
        whole = share.full_tensor()
        known[id(value)] = whole.cpu() if keep else None
    return known[id(value)]


@contextmanager
def joined_ranks(sharded: bool = False) -> Iterator[Ranks]:
    """The processes that ``torchrun`` started, connected; the only one without it, which shares nothing."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Ranks()
        return
    mine = not distributed.is_initialized()
    if mine:
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Ranks(
            distributed.get_rank(),
            distributed.get_world_size(),
            int(os.environ.get("LOCAL_RANK", "0")),
            sharded,
        )
    finally:
        if mine:
            distributed.destroy_process_group()
