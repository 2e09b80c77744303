"""Training a language model on token shards: one readable loop, exact resume, Hugging Face output.

`TrainConfig` needs no torch; `fit` does, and raises `MissingExtra` where it is not installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from corpuskit.models.lazy import resolve

_NAMES = {
    "Step": "corpuskit.train.metrics",
    "TrainConfig": "corpuskit.train.config",
    "TrainResult": "corpuskit.train.metrics",
    "fit": "corpuskit.train.loop",
    "read_metrics": "corpuskit.train.metrics",
}

__all__ = ["Step", "TrainConfig", "TrainResult", "fit", "read_metrics"]

if TYPE_CHECKING:
    from corpuskit.train.config import TrainConfig as TrainConfig
    from corpuskit.train.loop import fit as fit
    from corpuskit.train.metrics import Step as Step
    from corpuskit.train.metrics import TrainResult as TrainResult
    from corpuskit.train.metrics import read_metrics as read_metrics


def __getattr__(name: str) -> Any:
    return resolve(__name__, _NAMES, name)


def __dir__() -> list[str]:
    return sorted(__all__)
