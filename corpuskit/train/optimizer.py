"""AdamW with decay on matrices only, and the stage that trains nothing but new rows."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from corpuskit.errors import ConfigError
from corpuskit.models.blocks import blocks_of
from corpuskit.train.config import TrainConfig


class Optimizer:
    """The optimiser of a run; what it does in an update is a function of the update's number.

    For the first ``new_rows_steps`` updates only the embedding (input and output, and the output's
    bias) has gradients, those of its old rows are 0, and nothing decays; AdamW then leaves every old
    value at its bits: its averages are 0, and ``p - lr * 0 / eps`` is p.

    Parameters
    ----------
    model : PreTrainedModel
    config : TrainConfig
    old_rows : int or None
        Rows that the stage leaves alone.

    Raises
    ------
    ConfigError
        If only the blocks are to be trained and the model's cannot be told.
    """

    def __init__(self, model: PreTrainedModel, config: TrainConfig, old_rows: int | None) -> None:
        self._config, self._old_rows = config, old_rows
        self._vocabulary = _vocabulary_parameters(model)
        self.parameters = list(model.parameters())
        self._trained = self.parameters
        if config.trained == "blocks":
            self._trained = [p for block in blocks_of(model) for p in block.parameters()]
            if not self._trained:
                raise ConfigError(
                    f"the blocks of a {model.config.model_type} are not known",
                    where="train.trained",
                    hint="set it to all",
                )
        marked = {id(p) for p in self._vocabulary}
        groups = [
            ([p for p in self.parameters if p.dim() >= 2 and id(p) not in marked], config.weight_decay),
            ([p for p in self.parameters if p.dim() < 2 and id(p) not in marked], 0.0),
            ([p for p in self._vocabulary if p.dim() >= 2], config.weight_decay),
            ([p for p in self._vocabulary if p.dim() < 2], 0.0),
        ]
        self._decays = [decay for members, decay in groups if members]
        self.torch = torch.optim.AdamW(
            [{"params": members, "weight_decay": decay} for members, decay in groups if members],
            lr=config.learning_rate,
            betas=config.betas,
            fused=True,
        )

    def begin(self, update: int) -> float:
        """Set learning rate, decay and what is trained, for update `update`; returns the rate."""
        rate = self._config.learning_rate_at(update)
        only_new = self._only_new(update)
        for group, decay in zip(self.torch.param_groups, self._decays):
            group["lr"], group["weight_decay"] = rate, 0.0 if only_new else decay
        changing = {id(p) for p in (self._vocabulary if only_new else self._trained)}
        for parameter in self.parameters:
            parameter.requires_grad_(id(parameter) in changing)
        return rate

    def clip(self, update: int) -> float:
        """The L2 norm of the gradient, which is cut down to ``grad_clip`` afterwards."""
        if self._only_new(update):
            for parameter in self._vocabulary:
                if parameter.grad is not None:
                    parameter.grad[: self._old_rows] = 0
        limit = self._config.grad_clip or torch.inf
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, limit)
        return (norm.full_tensor() if isinstance(norm, DTensor) else norm).item()

    def step(self) -> None:
        """Change the weights, and forget the gradient."""
        self.torch.step()
        self.torch.zero_grad(set_to_none=True)

    def _only_new(self, update: int) -> bool:
        return update < self._config.new_rows_steps and self._old_rows is not None


def _vocabulary_parameters(model: PreTrainedModel) -> list[torch.nn.Parameter]:
    """Input and output embedding and the output's bias, each once."""
    embedding: Any = model.get_input_embeddings()
    output: Any = model.get_output_embeddings()
    candidates = [embedding.weight]
    if output is not None:
        candidates += [output.weight, getattr(output, "bias", None)]
    own = {id(p) for p in model.parameters()}
    found: dict[int, torch.nn.Parameter] = {}
    for parameter in candidates:
        if isinstance(parameter, torch.nn.Parameter) and id(parameter) in own:
            found[id(parameter)] = parameter
    return list(found.values())
