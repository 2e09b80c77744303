"""The loss on held-out samples, shared out among the processes of a run.

The samples lie evenly over all that is held out (`Source.spread`). The first of them would be of one or
two documents, which may be easier or harder than the rest by half a nat. They are the same at every
measurement of a run, before and after a resume.

The batches are the same for any number of processes, each process takes every n-th of them, and their
sums are added up in the order of the batches: so equal weights have a loss that is equal to the last bit
whatever the number of processes. A batch has some 8,000 tokens: enough to keep a GPU busy, few enough that
64 sequences of 1,024 are work for eight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from corpuskit.errors import ConfigError
from corpuskit.train.config import TrainConfig
from corpuskit.train.ranks import Ranks

_TOKENS_A_BATCH = 1 << 13


def held_out_batch_size(config: TrainConfig) -> int:
    """Sequences of a held-out batch; the same for any number of processes."""
    return min(config.batch_size, config.eval_sequences, max(1, _TOKENS_A_BATCH // config.sequence_length))


def held_out_loss(
    batches: Iterable[dict[str, Tensor]],
    loss_of: Callable[[dict[str, Tensor]], Tensor],
    ranks: Ranks,
    device: torch.device,
) -> float:
    """Mean nats per wanted token.

    Parameters
    ----------
    batches : iterable of dict
        Of all processes.
    loss_of : callable
        Summed nats of a batch.
    ranks : Ranks
        Every process must call this, with the same batches.
    device : torch.device

    Raises
    ------
    ConfigError
        If no token of the samples is in the loss.
    """
    own: dict[int, tuple[float, int]] = {}
    number, batch = -1, dict[str, Tensor]()
    for number, batch in enumerate(batches):
        if number % ranks.size == ranks.rank:
            own[number] = loss_of(batch).item(), len(batch["targets"])
    if ranks.sharded and 0 < (number + 1) % ranks.size <= ranks.rank:
        loss_of(batch)  # a share of the model takes part in every pass, so each process makes as many
    sums = torch.zeros(number + 1, 2, dtype=torch.float64)
    for place, found in own.items():
        sums[place] = torch.tensor(found, dtype=torch.float64)
    losses, counts = ranks.sum(sums, device).T.tolist() if len(sums) else ([], [])
    if not sum(counts):
        raise ConfigError(
            "no token of the held-out samples is in the loss",
            where="train.held_out",
            hint="raise held_out or eval_sequences, or set eval_every to 0",
        )
    return float(sum(losses) / sum(counts))
