"""What a run tells: one `Step` per update, kept as a line of metrics.jsonl.

The file is the only output in which the clock appears. On resume it is cut back to the
checkpoint, so that it always reads as one uninterrupted run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from corpuskit.errors import MissingExtra
from corpuskit.files import write_text

METRICS_NAME = "metrics.jsonl"

_SCALARS = (
    "loss", "held_out_loss", "learning_rate", "gradient_norm", "tokens_per_s", "mfu", "data_stall",
    "memory_bytes",
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One optimiser update.

    Attributes
    ----------
    step, steps : int
        Its number, from 1, and how many there will be.
    loss : float
        Mean training loss of the update in nats per token.
    learning_rate : float
    gradient_norm : float
        L2 norm before clipping.
    tokens : int
        Tokens seen since the start of training.
    tokens_per_s : float
        Throughput of this update.
    data_stall : float
        Share of the update's time that was spent waiting for batches.
    targets : int
        Tokens that were in the loss of this update.
    memory_bytes : int or None
        Most memory that tensors have taken on the GPU.
    mfu : float or None
        Model FLOPs utilisation: the share of the GPU's peak that ``6 N + 12 layers width length``
        operations a token make (Chowdhery et al. 2022, appendix B). None where no peak is known.
    held_out_loss : float or None
        Nats per token on held-out sequences, where it was measured.
    sample : str or None
        The generated text, where there was one.
    """

    step: int
    steps: int
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens: int
    tokens_per_s: float
    data_stall: float = 0.0
    targets: int = 0
    memory_bytes: int | None = None
    mfu: float | None = None
    held_out_loss: float | None = None
    sample: str | None = None


@dataclass(frozen=True)
class TrainResult:
    """What `fit` returns.

    Attributes
    ----------
    directory : Path
        Holds the model in Hugging Face layout, metrics.jsonl and checkpoints/.
    steps, tokens : int
        Updates done and tokens seen, those before a resume included.
    loss : float
        Training loss of the last update, nats per token.
    held_out_loss : float or None
        The last one measured.
    resumed_from : int or None
        The step of the checkpoint this run started from.
    stopped_early : bool
        Whether `patience` ended it. The saved model and `held_out_loss` are then those of the best step.
    """

    directory: Path
    steps: int
    tokens: int
    loss: float
    held_out_loss: float | None
    resumed_from: int | None
    stopped_early: bool = False


class MetricsLog:
    """Appends steps to ``metrics.jsonl``; opening it drops every line after `last_step`.

    Only the process that leads writes; the others remember the same.
    """

    def __init__(
        self, directory: Path, last_step: int, writes: bool = True, tensorboard: bool = False
    ) -> None:
        path = directory / METRICS_NAME
        kept = [step for step in read_metrics(directory) if step.step <= last_step]
        self.last = kept[-1] if kept else None
        self._measured = [(s.step, s.held_out_loss) for s in kept if s.held_out_loss is not None]
        self._file = self._board = None
        if writes:
            write_text(path, "".join(_line(step) for step in kept))
            self._file = path.open("a", encoding="utf-8", newline="\n")
            if tensorboard:
                writer: Any = tensorboard_writer()
                self._board = writer(str(directory / "tensorboard"), purge_step=last_step + 1)

    @property
    def held_out_loss(self) -> float | None:
        """The last one measured."""
        return self._measured[-1][1] if self._measured else None

    @property
    def best(self) -> tuple[int, float] | None:
        """The step of the lowest held-out loss, the first of equals, and that loss."""
        return min(self._measured, key=lambda measured: (measured[1], measured[0]), default=None)

    def stalled(self, patience: int) -> bool:
        """Whether the last `patience` measurements were all no better than the best before them."""
        best = self.best
        return best is not None and sum(step > best[0] for step, _ in self._measured) >= patience > 0

    def append(self, step: Step) -> None:
        self.last = step
        if step.held_out_loss is not None:
            self._measured.append((step.step, step.held_out_loss))
        if self._file is not None:
            self._file.write(_line(step))
            self._file.flush()
        if self._board is not None:
            for name in _SCALARS:
                if getattr(step, name) is not None:
                    self._board.add_scalar(name, getattr(step, name), step.step)
            if step.sample is not None:
                self._board.add_text("sample", step.sample, step.step)

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()


def tensorboard_writer() -> Any:
    """torch's `SummaryWriter`.

    Raises
    ------
    MissingExtra
        If the package tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtra(
            "tensorboard is not installed",
            where="train.tensorboard",
            hint="pip install 'corpuskit[tensorboard]', or leave it out: metrics.jsonl has the same numbers",
        ) from error
    return SummaryWriter


def read_metrics(directory: str | os.PathLike) -> Iterator[Step]:
    """The steps recorded in a run's directory, in order; a line cut by a kill ends them."""
    path = Path(directory) / METRICS_NAME
    if not path.exists():
        return
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            try:
                yield Step(**json.loads(line))
            except (ValueError, TypeError):
                return


def _line(step: Step) -> str:
    fields = {name: value for name, value in asdict(step).items() if value is not None}
    return json.dumps(fields, ensure_ascii=False) + "\n"
