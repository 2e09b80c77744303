"""The training loop: shards in, a model in Hugging Face layout out, resumable at any checkpoint.

One update is: batches from the loader, loss and gradient, clipping, AdamW. Everything else here
decides when to measure, sample and save. On the CPU the losses of a run that was killed and
resumed equal those of an uninterrupted one bit for bit, because all that an update depends on is
in the checkpoint: weights, optimiser, random state, loader position, thread count.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from corpuskit import shards
from corpuskit.errors import ConfigError, ResourceError, TaskError
from corpuskit.generate.sampler import Generator
from corpuskit.jobs import usable_cores
from corpuskit.models.loading import create, save
from corpuskit.models.seeds import derive
from corpuskit.models.tokenizers import TextTokenizer
from corpuskit.train import checkpoint
from corpuskit.train.config import TrainConfig
from corpuskit.train.data import (
    held_out_batches,
    require_tokenizer,
    split,
    training_batches,
)
from corpuskit.train.metrics import MetricsLog, Step, TrainResult
from corpuskit.train.objectives import next_token_loss


def fit(
    data: shards.TokenDataset | str | os.PathLike,
    config: TrainConfig,
    output_dir: str | os.PathLike,
    tokenizer: TextTokenizer | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> TrainResult:
    """Train a GPT-2 on a token dataset.

    If `output_dir` holds checkpoints of the same run, training goes on from the newest whole one.

    Parameters
    ----------
    data : TokenDataset or path-like
        Token shards.
    config : TrainConfig
    output_dir : path-like
        Receives config.json, model.safetensors and the tokenizer's files when training ends, and
        from the beginning metrics.jsonl and checkpoints/.
    tokenizer : corpuskit.vocab.Tokenizer, optional
        Saved with the model, so that it can be prompted with text; samples need it.
    on_step : callable, optional
        Receives a `Step` after every update, for a progress display.

    Returns
    -------
    TrainResult

    Raises
    ------
    ConfigError
        If the device does not exist, or samples are wanted without a tokenizer.
    MismatchError
        If `tokenizer` did not make the shards, or `output_dir` holds another run: other shards,
        tokenizer or configuration.
    ArtifactError
        If every checkpoint in `output_dir` is damaged.
    TaskError
        If the loss is no longer finite; checkpoints written before stay.
    ResourceError
        If the memory of the device, or the disk, is full.
    """
    if not isinstance(data, shards.TokenDataset):
        data = shards.open(data)
    require_tokenizer(data, tokenizer)
    if config.sample_every and tokenizer is None:
        raise ConfigError("samples need a tokenizer", where="train.sample_every", hint="give tokenizer=")
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            return _Run(data, config, Path(output_dir), tokenizer).run(on_step or (lambda _: None))
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            "the device has too little memory for one batch",
            where=str(output_dir),
            hint="lower train.batch_size and raise train.gradient_accumulation by the same factor, "
            "or lower train.sequence_length",
        ) from error
    finally:
        torch.set_num_threads(threads)


class _Run:
    """The state of one call of `fit`; it alone owns the model, the optimiser and the loader."""

    def __init__(
        self, data: shards.TokenDataset, config: TrainConfig, directory: Path, tokenizer: TextTokenizer | None
    ) -> None:
        self.data, self.config, self.directory, self.tokenizer = data, config, directory, tokenizer
        self.checkpoints = directory / "checkpoints"
        found = checkpoint.latest(self.checkpoints)
        self.threads = config.threads or (found[1].threads if found else usable_cores())
        torch.set_num_threads(self.threads)

        self.device = _device(config.device)
        record = data.manifest.tokenizer
        self.model = create(config.shape, record.vocab_size, config.seed, record.end_of_text_id)
        self.model.to(self.device)  # type: ignore[arg-type]
        self.decoder: Any = self.model.base_model
        if config.compile:
            self.decoder = torch.compile(self.decoder)
        self.optimizer = _optimizer(self.model, config)
        self.training, self.held_out = split(data, config)
        self.loader = training_batches(self.training, config)
        torch.manual_seed(derive(config.seed, "dropout"))

        self.step = 0
        self.resumed_from: int | None = None
        if found is not None:
            path, state = found
            checkpoint.check(state, self.state(), path)
            checkpoint.restore(path, self.model, self.optimizer)
            self.loader.load_state_dict(state.loader)
            self.step = self.resumed_from = state.step

    def run(self, on_step: Callable[[Step], None]) -> TrainResult:
        config = self.config
        with MetricsLog(self.directory, self.step) as metrics:
            while self.step < config.steps:
                step = self.update()
                metrics.append(step)
                if self.step == config.steps or _due(self.step, config.checkpoint_every):
                    checkpoint.write(
                        self.checkpoints, self.state(), self.model, self.optimizer, config.keep_checkpoints
                    )
                on_step(step)
        save(self.model, self.directory, self.tokenizer)
        last = metrics.last
        return TrainResult(
            directory=self.directory,
            steps=self.step,
            tokens=self.step * config.tokens_per_update,
            loss=last.loss if last else float("nan"),
            held_out_loss=metrics.held_out_loss,
            resumed_from=self.resumed_from,
        )

    def update(self) -> Step:
        """One optimiser update, and what is due after it."""
        config, started = self.config, time.perf_counter()
        rate = config.learning_rate_at(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        loss = 0.0
        for _ in range(config.gradient_accumulation):
            share = self.loss_of(next(self.loader)["input_ids"]) / config.gradient_accumulation
            share.backward()
            loss += share.item()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.grad_clip or torch.inf).item()
        self.require_finite(loss, norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        elapsed = time.perf_counter() - started
        last = self.step == config.steps
        return Step(
            step=self.step,
            steps=config.steps,
            loss=loss,
            learning_rate=rate,
            gradient_norm=norm,
            tokens=self.step * config.tokens_per_update,
            tokens_per_s=config.tokens_per_update / elapsed,
            held_out_loss=self.evaluate() if last or _due(self.step, config.eval_every) else None,
            sample=self.sample() if _due(self.step, config.sample_every) else None,
        )

    def loss_of(self, ids: torch.Tensor) -> torch.Tensor:
        with _precision(self.device, self.config.dtype):
            return next_token_loss(self.decoder, self.model, ids.to(self.device, non_blocking=True))

    @torch.no_grad()
    def evaluate(self) -> float | None:
        """Mean nats per token over the held-out sequences; None if there are none."""
        if not len(self.held_out) or not self.config.eval_every:
            return None
        self.model.eval()
        total, count = 0.0, 0
        for batch in held_out_batches(self.held_out, self.config):
            ids = batch["input_ids"]
            total += self.loss_of(ids).item() * len(ids)
            count += len(ids)
        return total / count

    def sample(self) -> str:
        generator = Generator(self.model, self.tokenizer)
        return str(
            generator.generate(
                self.config.sample_prompt, max_new_tokens=self.config.sample_tokens, seed=self.config.seed
            )
        )

    def require_finite(self, loss: float, norm: float) -> None:
        """Stop before a bad gradient reaches the weights."""
        if torch.isfinite(torch.tensor([loss, norm])).all():
            return
        good = checkpoint.latest(self.checkpoints)
        raise TaskError(
            f"the loss is {loss} and the gradient norm {norm} at step {self.step + 1}",
            where=str(self.directory),
            hint=f"the last good checkpoint is {good[0] if good else 'none'}; train again in another "
            "directory with a lower learning_rate, a longer warm-up or a smaller grad_clip",
        )

    def state(self) -> checkpoint.State:
        return checkpoint.State(
            step=self.step,
            loader=self.loader.state_dict(),
            threads=self.threads,
            config=self.config.identity(),
            dataset=self.data.fingerprint,
            tokenizer=self.data.manifest.tokenizer.fingerprint,
        )


def _optimizer(model: PreTrainedModel, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with decay on matrices only, as GPT-2's successors train."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def _precision(device: torch.device, dtype: str) -> Any:
    if dtype == "bfloat16" or (dtype == "auto" and device.type == "cuda"):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"no such device here: {reason}", where="train.device", hint="auto or cpu"
        ) from error


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
