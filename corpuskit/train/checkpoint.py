"""Checkpoints from which training goes on as if it had never stopped.

A checkpoint is a directory ``step-00000100`` that appears by one rename: the model (itself a
loadable Hugging Face directory), ``training.pt`` with the optimiser, and ``state.json`` with the
step, the loader's position, what the run must agree with, and a checksum of every other file.
There is no random state: every update seeds its own from the run's seed and its number. A
checkpoint that fails its checksums is passed over for the one before.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer
from transformers import PreTrainedModel

from corpuskit.errors import ArtifactError, MismatchError
from corpuskit.files import checksum, write_json
from corpuskit.models.loading import load, save
from corpuskit.models.staging import staged_directory
from corpuskit.train.ranks import shares

FORMAT_VERSION = 2
_STATE, _TENSORS = "state.json", "training.pt"


@dataclass(frozen=True)
class State:
    """The plain part of a checkpoint.

    Attributes
    ----------
    step : int
        Updates done.
    loader : dict
        The loader's own state: integers.
    threads : int
        CPU threads of torch; another number sums in another order.
    config, dataset, tokenizer : dict, str, str
        What the run must agree with to go on: `TrainConfig.identity` and the fingerprints.
    """

    step: int
    loader: dict[str, Any]
    threads: int
    config: dict[str, Any]
    dataset: str
    tokenizer: str


def write(
    directory: Path,
    state: State,
    model: PreTrainedModel,
    weights: Mapping[str, torch.Tensor],
    optimizer: Mapping[str, Any],
    keep: int,
    best_step: int | None = None,
) -> Path:
    """Publish a checkpoint of `model` with these whole `weights` and state of the optimiser.

    Then all others are deleted but the newest `keep` and that of `best_step`.
    """
    path = path_of(directory, state.step)
    shutil.rmtree(path, ignore_errors=True)  # a damaged one of the same step, passed over on resume
    with staged_directory(path, last=_STATE) as stage:
        save(model, stage, weights=weights)
        torch.save({"optimizer": optimizer}, stage / _TENSORS)
        sums = {file.name: checksum(file) for file in sorted(stage.iterdir())}
        write_json(stage / _STATE, {"format": FORMAT_VERSION, "files": sums, **state.__dict__})
    for old in _paths(directory)[:-keep]:
        if best_step is None or old != path_of(directory, best_step):
            shutil.rmtree(old)
    return path


def path_of(directory: Path, step: int) -> Path:
    """Where the checkpoint after `step` updates lies, if there is one."""
    return directory / f"step-{step:08d}"


def latest(directory: Path) -> tuple[Path, State] | None:
    """The newest whole checkpoint below `directory`; None if there is none at all.

    A damaged one is passed over with a `RuntimeWarning` that names it.

    Raises
    ------
    ArtifactError
        If there are checkpoints and every one is damaged.
    """
    paths = _paths(directory)
    for path in reversed(paths):
        try:
            return path, _verified_state(path)
        except ArtifactError as error:
            warnings.warn(f"checkpoint passed over: {error}", RuntimeWarning, stacklevel=3)
    if paths:
        raise ArtifactError(
            f"all {len(paths)} checkpoints are damaged",
            where=str(directory),
            hint="delete this directory to train from the beginning",
        )
    return None


def check(found: State, wanted: State, where: Path) -> None:
    """Raise `MismatchError` unless a run described by `wanted` may go on from `found`."""
    hint = "choose another output directory, or delete this one to start again"
    for what, old, new in (
        ("other token shards", found.dataset, wanted.dataset),
        ("another tokenizer", found.tokenizer, wanted.tokenizer),
    ):
        if old != new:
            raise MismatchError(
                f"the run was started with {what} (fingerprint {old}, not {new})", where=str(where), hint=hint
            )
    changed = {**wanted.config, "threads": wanted.threads}
    before = {**found.config, "threads": found.threads}
    names = sorted(name for name in changed.keys() | before.keys() if changed.get(name) != before.get(name))
    if names:
        differences = ", ".join(
            f"{name} was {before.get(name)!r}, is {changed.get(name)!r}" for name in names
        )
        raise MismatchError(
            f"the run was started with another configuration: {differences}", where=str(where), hint=hint
        )


def restore_model(path: Path, model: PreTrainedModel) -> None:
    """Load the weights of a checkpoint that `latest` returned into a whole model."""
    model.load_state_dict(load(path).state_dict())


def restore_optimizer(path: Path, optimizer: Optimizer) -> None:
    """Load the optimiser of a checkpoint; of parameters that are shared out, this process's share."""
    stored = torch.load(path / _TENSORS, map_location="cpu", weights_only=True)["optimizer"]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for place, averages in stored["state"].items():
        for name, value in averages.items():
            averages[name] = shares(value, parameters[place])
    optimizer.load_state_dict(stored)


def _paths(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("step-*") if path.is_dir())


def _verified_state(path: Path) -> State:
    try:
        stored = json.loads((path / _STATE).read_text(encoding="utf-8"))
        version, files = stored.pop("format"), stored.pop("files")
        if version != FORMAT_VERSION:
            raise ArtifactError(f"format {version} is not {FORMAT_VERSION}", where=str(path))
        for name, expected in files.items():
            if checksum(path / name) != expected:
                raise ArtifactError("the file is damaged", where=str(path / name))
        return State(**stored)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArtifactError(f"not a whole checkpoint: {error}", where=str(path)) from error
