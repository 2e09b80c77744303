"""The training loop: shards in, a model in Hugging Face layout out, resumable at any checkpoint.

One update is: batches from the loader, loss and gradient, clipping, AdamW. Everything else here
decides when to measure, sample, save and stop. On the CPU the losses of a run that was killed and
resumed equal those of an uninterrupted one bit for bit, because all that an update depends on is
in the checkpoint or follows from its number: weights, optimiser, loader position, thread count;
learning rate, dropout and every objective's random choices.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from corpuskit import shards
from corpuskit.errors import ConfigError, MismatchError, ResourceError, TaskError
from corpuskit.files import disk_full, is_disk_full
from corpuskit.jobs import usable_cores
from corpuskit.models.blocks import blocks_of
from corpuskit.models.devices import device_of
from corpuskit.models.loading import load, save
from corpuskit.models.seeds import derive
from corpuskit.models.tokenizers import TextTokenizer
from corpuskit.shards.samples import digest
from corpuskit.train import checkpoint
from corpuskit.train.batches import ObjectiveLoader, held_out_batches
from corpuskit.train.config import TrainConfig
from corpuskit.train.data import make_samples, require_tokenizer, special_tokens
from corpuskit.train.evaluation import held_out_batch_size, held_out_loss
from corpuskit.train.losses import TokenLoss
from corpuskit.train.metrics import MetricsLog, Step, TrainResult, tensorboard_writer
from corpuskit.train.optimizer import Optimizer
from corpuskit.train.outputs import require_directory
from corpuskit.train.ranks import Ranks, joined_ranks
from corpuskit.train.samples import require_samples, write_sample
from corpuskit.train.setup import first_model
from corpuskit.train.stopping import StopSignal, out_of_memory
from corpuskit.train.throughput import Meter

_LOADER_THREADS = 2  # that make batches while the GPU computes; on the CPU they would take its cores

Data = shards.TokenDataset | str | os.PathLike


def fit(
    data: Data | Mapping[str, Data],
    config: TrainConfig,
    output_dir: str | os.PathLike,
    tokenizer: TextTokenizer | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> TrainResult:
    """Train a language model on a token dataset, or on a mixture of several.

    If `output_dir` holds checkpoints of the same run, training goes on from the newest whole one. Under
    ``torchrun`` every process calls it; the batch is shared out, and the first process writes.

    Parameters
    ----------
    data : TokenDataset or path-like, or a mapping of names to them
        Token shards. Of several, `TrainConfig.objectives` and ``weights`` say by name how each is learned
        and how often.
    config : TrainConfig
    output_dir : path-like
        Receives config.json, model.safetensors and the tokenizer's files when training ends, and
        from the beginning metrics.jsonl and checkpoints/.
    tokenizer : corpuskit.vocab.Tokenizer, optional
        Saved with the model, so that it can be prompted with text; samples need it, and so do its
        mask and sentinel tokens where it has any.
    on_step : callable, optional
        Receives a `Step` after every update, for a progress display; in the first process only.

    Returns
    -------
    TrainResult

    Raises
    ------
    ConfigError
        If the device does not exist, samples are wanted without a tokenizer, nothing is left to hold
        out, or objective, model and data do not fit.
    InputError
        If `output_dir` cannot be written.
    MismatchError
        If `tokenizer` did not make the shards, or `output_dir` holds another run: other shards,
        tokenizer or configuration.
    ArtifactError
        If the model's directory is damaged or too small for the vocabulary, or every checkpoint in
        `output_dir` is damaged.
    TaskError
        If the loss is no longer finite; checkpoints written before stay.
    ResourceError
        If the memory of the device, or the disk, is full.
    SystemExit
        With status 143 after SIGTERM, when a checkpoint has been written.
    """
    several = data if isinstance(data, Mapping) else {"data": data}
    opened = {
        name: one if isinstance(one, shards.TokenDataset) else shards.open(one)
        for name, one in several.items()
    }
    _require_together(opened, config, tokenizer)
    require_directory(Path(output_dir), [*(one.directory for one in opened.values()), config.source])
    if config.tensorboard:
        tensorboard_writer()  # before the hours of training, not after
    threads = torch.get_num_threads()
    try:
        with (
            torch.random.fork_rng(devices=range(torch.cuda.device_count())),
            joined_ranks(config.parallel == "sharded") as ranks,
            StopSignal() as stop,
        ):
            run = _Run(opened, config, Path(output_dir), tokenizer, ranks, stop)
            return run.run(on_step or (lambda _: None))
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise ResourceError(
            "there is too little memory for one batch",
            where=str(output_dir),
            hint="lower train.batch_size and raise train.gradient_accumulation by the same factor, "
            "lower train.sequence_length, or set train.gradient_checkpointing",
        ) from error
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise disk_full(output_dir) from error
    finally:
        torch.set_num_threads(threads)


class _Run:
    """The state of one call of `fit`; it alone owns the model, the optimiser and the loader."""

    def __init__(
        self,
        data: Mapping[str, shards.TokenDataset],
        config: TrainConfig,
        directory: Path,
        tokenizer: TextTokenizer | None,
        ranks: Ranks,
        stop: StopSignal,
    ) -> None:
        self.data, self.config, self.directory, self.tokenizer = data, config, directory, tokenizer
        self.ranks, self.stop = ranks, stop
        self.checkpoints = directory / "checkpoints"
        found = checkpoint.latest(self.checkpoints)
        self.threads = config.threads or (found[1].threads if found else usable_cores())
        torch.set_num_threads(self.threads)

        self.device = device_of(config.device, "train.device", ranks.local)
        record = next(iter(data.values())).manifest.tokenizer
        special = special_tokens(
            tokenizer,
            record.vocab_size,
            record.end_of_text_id,
            [config.objective_of(name) for name in data],
            config.sequence_length,
        )
        self.samples = make_samples(data, config, special)
        require_samples(config, tokenizer, self.samples.held_out)
        if config.eval_every and config.held_out and not any(map(len, self.samples.held_out)):
            raise ConfigError(
                "nothing is left to hold out: there is only one sample",
                where="train.held_out",
                hint="write more documents, lower sequence_length, or set held_out to 0",
            )
        self.model, old_rows, self.special = first_model(config, special, tokenizer, record.fingerprint)
        self.loader = ObjectiveLoader(
            self.samples.training,
            ranks.share(config.batch_size),
            self.special,
            "training",
            config.compile,
            workers=_LOADER_THREADS if self.device.type == "cuda" else 0,
            seed=config.seed,
            rank=ranks.rank,
            world_size=ranks.size,
        )

        self.step = 0
        self.resumed_from: int | None = None
        if found is not None:
            path, state = found
            checkpoint.check(state, self.state(), path)
            checkpoint.restore_model(path, self.model)
            self.loader.load_state_dict(state.loader)
            self.step = self.resumed_from = state.step

        if config.gradient_checkpointing:
            enable: Any = getattr(self.model, "activation_checkpointing_enable", None)
            if enable is None:  # its name in older transformers
                enable = self.model.gradient_checkpointing_enable
            enable({"use_reentrant": False})
        self.loss = TokenLoss(self.model, config.compile)
        ranks.place(self.loss, blocks_of(self.model), self.device)
        self.optimizer = Optimizer(self.model, config, old_rows)
        if found is not None:
            checkpoint.restore_optimizer(found[0], self.optimizer.torch)
        self.meter = Meter(self.model, self.device, ranks.size)
        ranks.wait()  # before the first process deletes what another still reads

    def run(self, on_step: Callable[[Step], None]) -> TrainResult:
        config = self.config
        log = MetricsLog(self.directory, self.step, self.ranks.leads, config.tensorboard)
        with log as metrics, self.loader:
            while self.step < config.steps and not metrics.stalled(config.patience):
                step = self.update()
                metrics.append(step)
                best = metrics.best if config.stops_early else None
                improved = best is not None and best[0] == self.step
                stopping = self.ranks.total(self.stop.received, self.device) > 0
                due = self.step == config.steps or _due(self.step, config.checkpoint_every)
                if due or improved or stopping:
                    self.write_checkpoint(best and best[0])
                if self.ranks.leads:
                    on_step(step)
                if stopping:
                    raise SystemExit(StopSignal.status)
            stopped_early = self.step < config.steps
            self.save(metrics.best if config.stops_early else None)
            self.ranks.wait()
        last = metrics.last
        return TrainResult(
            directory=self.directory,
            steps=self.step,
            tokens=config.tokens_until(self.step),
            loss=last.loss if last else float("nan"),
            held_out_loss=metrics.best[1] if config.stops_early and metrics.best else metrics.held_out_loss,
            resumed_from=self.resumed_from,
            stopped_early=stopped_early,
        )

    def update(self) -> Step:
        """One optimiser update, and what is due after it."""
        config, device = self.config, self.device
        self.meter.start()
        batches = [self.meter.wait_for(self.loader) for _ in range(config.gradient_accumulation)]
        rate = self.optimizer.begin(self.step)
        torch.manual_seed(derive(config.seed, f"dropout {self.step} {self.ranks.rank}"))
        self.model.train()
        targets = int(self.ranks.total(sum(len(batch["targets"]) for batch in batches), device))
        losses = []
        for batch in batches:
            share = self.loss_of(batch) / max(1, targets)
            share.backward()
            losses.append(share.detach())
        self.ranks.sum_gradients(self.optimizer.parameters)
        loss = self.ranks.total(float(sum(share.item() for share in losses)), device)
        norm = self.optimizer.clip(self.step)
        self.require_finite(loss, norm, losses)
        self.optimizer.step()
        self.step += 1
        tokens = config.tokens_until(self.step)
        speed = self.meter.stop(tokens - config.tokens_until(self.step - 1), batches[0]["input_ids"].shape[1])
        due = self.step == config.steps or _due(self.step, config.eval_every)
        return Step(
            step=self.step,
            steps=config.steps,
            loss=loss,
            learning_rate=rate,
            gradient_norm=norm,
            tokens=tokens,
            targets=targets,
            **speed,
            held_out_loss=self.evaluate() if due else None,
            sample=self.sample() if _due(self.step, config.sample_every) else None,
        )

    def loss_of(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Summed nats of a batch."""
        moved = {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}
        with _precision(self.device, self.config.dtype):
            return self.loss(moved)

    @torch.no_grad()
    def evaluate(self) -> float | None:
        """Mean nats per wanted token over the held-out samples; None if there are none."""
        config = self.config
        if not config.eval_every or not any(map(len, self.samples.held_out)):
            return None
        self.model.eval()
        batches = held_out_batches(
            self.samples.held_out,
            held_out_batch_size(config),
            config.eval_sequences,
            self.special,
            config.seed,
            config.compile,
        )
        return held_out_loss(batches, self.loss_of, self.ranks, self.device)

    def sample(self) -> str | None:
        if self.tokenizer is None:
            return None
        return write_sample(self.model, self.tokenizer, self.config, self.samples.held_out, self.special)

    def require_finite(self, loss: float, norm: float, shares: list[torch.Tensor]) -> None:
        """Stop before a bad gradient reaches the weights."""
        if torch.isfinite(torch.tensor([loss, norm])).all():
            return
        bad = [place for place, share in enumerate(shares) if not torch.isfinite(share)]
        size = self.config.batch_size
        first = self.loader.samples_consumed - size * (len(shares) - (bad[0] if bad else 0))
        good = checkpoint.latest(self.checkpoints)
        raise TaskError(
            f"the loss is {loss} and the gradient norm {norm} at step {self.step + 1}"
            + (f", in batch {bad[0] + 1} of {len(shares)}" if bad else "")
            + f" (samples {first} to {first + size - 1} of the run)",
            where=str(self.directory),
            hint=f"the last good checkpoint is {good[0] if good else 'none'}; train again in another "
            "directory with a lower learning_rate, a longer warm-up or a smaller grad_clip",
        )

    def write_checkpoint(self, best_step: int | None) -> None:
        weights = self.ranks.gathered(self.model.state_dict(keep_vars=True))
        optimizer = self.ranks.gathered(self.optimizer.torch.state_dict())
        if self.ranks.leads:
            keep = self.config.keep_checkpoints
            checkpoint.write(self.checkpoints, self.state(), self.model, weights, optimizer, keep, best_step)
        self.ranks.wait()

    def save(self, best: tuple[int, float] | None) -> None:
        """Publish the model: the last, or if measured the best one that has a checkpoint."""
        last = best is None or best[0] == self.step
        weights = self.ranks.gathered(self.model.state_dict(keep_vars=True)) if last else None
        if self.ranks.leads:
            model = (
                self.model if best is None or last else load(checkpoint.path_of(self.checkpoints, best[0]))
            )
            save(model, self.directory, self.tokenizer, weights)

    def state(self) -> checkpoint.State:
        return checkpoint.State(
            step=self.step,
            loader=self.loader.state_dict(),
            threads=self.threads,
            config=self.config.identity(),
            dataset=data_fingerprint(self.data),
            tokenizer=next(iter(self.data.values())).manifest.tokenizer.fingerprint,
        )


def _require_together(
    data: Mapping[str, shards.TokenDataset], config: TrainConfig, tokenizer: TextTokenizer | None
) -> None:
    if not data:
        raise ConfigError("there is no dataset", where="data")
    for dataset in data.values():
        require_tokenizer(dataset, tokenizer)
    if len({dataset.manifest.tokenizer.fingerprint for dataset in data.values()}) > 1:
        raise MismatchError(
            "the datasets were written with different tokenizers",
            where=", ".join(data),
            hint="write one anew",
        )
    for field in ("objectives", "weights"):
        unknown = set(getattr(config, field) or ()) - set(data)
        if unknown:
            raise ConfigError(
                f"there is no dataset called {', '.join(sorted(unknown))}",
                where=f"train.{field}",
                hint=f"the datasets are {', '.join(data)}",
            )


def data_fingerprint(data: Mapping[str, shards.TokenDataset]) -> str:
    """What a run remembers of its data."""
    if len(data) == 1:
        return next(iter(data.values())).fingerprint
    return digest(sorted((name, dataset.fingerprint) for name, dataset in data.items()))


def _precision(device: torch.device, dtype: str) -> Any:
    if dtype == "bfloat16" or (dtype == "auto" and device.type == "cuda"):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
