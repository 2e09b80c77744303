"""Training a language model on token shards: one readable loop, exact resume, Hugging Face output.

`prepare` makes shards of prompts and dialogues, the objectives say what is learned of a sample, and
`fit` trains. `TrainConfig`, the objectives and `prepare` need no torch; `fit` does, and raises
`MissingExtra` where it is not installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from corpuskit.models.lazy import resolve

_NAMES = {
    "CausalLM": "corpuskit.train.objectives",
    "Dialogue": "corpuskit.generate.dialogue",
    "MaskedLM": "corpuskit.train.objectives",
    "Pairs": "corpuskit.train.objectives",
    "PrefixLM": "corpuskit.train.objectives",
    "Prepared": "corpuskit.train.preparation",
    "SpanCorruption": "corpuskit.train.objectives",
    "Step": "corpuskit.train.metrics",
    "SupervisedFineTuning": "corpuskit.train.objectives",
    "TrainConfig": "corpuskit.train.config",
    "TrainResult": "corpuskit.train.metrics",
    "export_run": "corpuskit.train.archive",
    "finetune": "corpuskit.train.simple",
    "fit": "corpuskit.train.loop",
    "import_run": "corpuskit.train.archive",
    "prepare": "corpuskit.train.preparation",
    "read_metrics": "corpuskit.train.metrics",
}

__all__ = [
    "CausalLM",
    "Dialogue",
    "MaskedLM",
    "Pairs",
    "PrefixLM",
    "Prepared",
    "SpanCorruption",
    "Step",
    "SupervisedFineTuning",
    "TrainConfig",
    "TrainResult",
    "export_run",
    "finetune",
    "fit",
    "import_run",
    "prepare",
    "read_metrics",
]

if TYPE_CHECKING:
    from corpuskit.generate.dialogue import Dialogue as Dialogue
    from corpuskit.train.archive import export_run as export_run
    from corpuskit.train.archive import import_run as import_run
    from corpuskit.train.config import TrainConfig as TrainConfig
    from corpuskit.train.loop import fit as fit
    from corpuskit.train.metrics import Step as Step
    from corpuskit.train.metrics import TrainResult as TrainResult
    from corpuskit.train.metrics import read_metrics as read_metrics
    from corpuskit.train.objectives import CausalLM as CausalLM
    from corpuskit.train.objectives import MaskedLM as MaskedLM
    from corpuskit.train.objectives import Pairs as Pairs
    from corpuskit.train.objectives import PrefixLM as PrefixLM
    from corpuskit.train.objectives import SpanCorruption as SpanCorruption
    from corpuskit.train.objectives import SupervisedFineTuning as SupervisedFineTuning
    from corpuskit.train.preparation import Prepared as Prepared
    from corpuskit.train.preparation import prepare as prepare
    from corpuskit.train.simple import finetune as finetune


def __getattr__(name: str) -> Any:
    return resolve(__name__, _NAMES, name)


def __dir__() -> list[str]:
    return sorted(__all__)
