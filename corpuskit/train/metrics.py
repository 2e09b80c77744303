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

from corpuskit.files import write_text

METRICS_NAME = "metrics.jsonl"


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
    """

    directory: Path
    steps: int
    tokens: int
    loss: float
    held_out_loss: float | None
    resumed_from: int | None


class MetricsLog:
    """Appends steps to ``metrics.jsonl``; opening it drops every line after `last_step`."""

    def __init__(self, directory: Path, last_step: int) -> None:
        path = directory / METRICS_NAME
        kept = [step for step in read_metrics(directory) if step.step <= last_step]
        write_text(path, "".join(_line(step) for step in kept))
        self.last = kept[-1] if kept else None
        self.held_out_loss = next(
            (s.held_out_loss for s in reversed(kept) if s.held_out_loss is not None), None
        )
        self._file = path.open("a", encoding="utf-8", newline="\n")

    def append(self, step: Step) -> None:
        self.last = step
        if step.held_out_loss is not None:
            self.held_out_loss = step.held_out_loss
        self._file.write(_line(step))
        self._file.flush()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


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
