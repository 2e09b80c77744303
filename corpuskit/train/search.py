"""Search of hyper-parameters with optuna: grid, random or TPE, pruned on held-out loss, resumable.

The study is a journal file beside the trials, so that a search that was killed goes on: finished trials are
read back, and one that was cut off is trained on from its checkpoint. What a trial is given depends on the
seed, its number and the results before it only, never on how often the search was interrupted, because
each trial's sampler is seeded anew.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from corpuskit.errors import ConfigError, MismatchError, MissingExtra, TaskError
from corpuskit.files import write_json
from corpuskit.models.seeds import derive
from corpuskit.shards import TokenDataset
from corpuskit.shards import open as open_dataset
from corpuskit.train.config import TrainConfig
from corpuskit.train.loop import data_fingerprint, fit
from corpuskit.train.metrics import Step
from corpuskit.train.outputs import require_directory
from corpuskit.train.search_space import Choice, Range, Space, check_values, combinations, parse_space

if TYPE_CHECKING:
    import optuna

Sampler = Literal["tpe", "random", "grid"]

__all__ = ["Choice", "Range", "SearchResult", "Space", "Trial", "parse_space", "plot_importance", "search"]

JOURNAL_NAME = "study.journal"
RESULT_NAME = "search.json"


@dataclass(frozen=True)
class Trial:
    """One training run of a search.

    Attributes
    ----------
    number : int
    parameters : Mapping[str, Any]
    loss : float or None
        Held-out loss in nats per token at the end, or where it was pruned; None where it diverged.
    state : {"complete", "pruned", "diverged"}
    directory : Path
    """

    number: int
    parameters: Mapping[str, Any]
    loss: float | None
    state: str
    directory: Path


@dataclass(frozen=True)
class SearchResult:
    """The trials in order, the best of the complete ones, and how much each parameter mattered.

    Attributes
    ----------
    trials : tuple of Trial
    best : Trial
    importance : Mapping[str, float]
        Share of each parameter in telling good trials from others (PED-ANOVA: Watanabe et al. 2023);
        empty with fewer than two parameters or two complete trials.
    """

    trials: tuple[Trial, ...]
    best: Trial
    importance: Mapping[str, float]


def search(
    data: Any,
    config: TrainConfig,
    output_dir: str | os.PathLike,
    space: Space,
    *,
    tokenizer: Any = None,
    sampler: Sampler = "tpe",
    trials: int = 20,
    prune: bool = True,
    on_trial: Callable[[Trial], None] | None = None,
) -> SearchResult:
    """Train with many configurations and find the one of least held-out loss.

    Parameters
    ----------
    data, tokenizer
        As for `corpuskit.train.fit`.
    config : TrainConfig
        All that is not searched; its `seed` is also the search's.
    output_dir : path-like
        Receives ``trial-00000`` and so on, the journal, and search.json with the table of results.
    space : Mapping of str to Range or Choice
        Fields of `TrainConfig`.
    sampler : {"tpe", "random", "grid"}
        TPE (Bergstra et al. 2011) learns from the trials before; a grid needs choices only and tries all.
    trials : int
        How many in all, those of an interrupted search included; a grid ignores it.
    prune : bool
        Stop a trial whose held-out loss, at some evaluation, is worse than the median of those before it
        (Golovin et al. 2017); the first five are never stopped.
    on_trial : callable, optional
        Receives every `Trial` when it has ended.

    Raises
    ------
    ConfigError
        If a parameter is no field of `TrainConfig`, there is nothing held out to judge by, a grid has a
        range, a value is impossible, or `output_dir` holds a search of another space.
    MismatchError
        If `output_dir` holds a search with other data or settings.
    InputError
        If `output_dir` cannot be written.
    MissingExtra
        If optuna is not installed.
    """
    optuna = _optuna()
    _check(config, space, sampler, trials)
    output = Path(output_dir)
    require_directory(output)
    output.mkdir(parents=True, exist_ok=True)
    backend = optuna.storages.journal.JournalFileBackend(
        str(output / JOURNAL_NAME),
        lock_obj=optuna.storages.journal.JournalFileOpenLock(str(output / JOURNAL_NAME)),
    )
    study = optuna.create_study(
        study_name="corpuskit", storage=optuna.storages.JournalStorage(backend), direction="minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5) if prune else optuna.pruners.NopPruner(),
        load_if_exists=True,
    )  # fmt: skip
    several = data if isinstance(data, Mapping) else {"data": data}
    opened = {
        name: one if isinstance(one, TokenDataset) else open_dataset(one) for name, one in several.items()
    }
    others = {name: value for name, value in config.identity().items() if name not in space}
    _require_same_space(study, space, output)
    _require_same(study, "data", data_fingerprint(opened), "of other token shards", output)
    _require_same(study, "settings", others, "with other settings", output)
    grid = combinations(space) if sampler == "grid" else []
    wanted = len(grid) if sampler == "grid" else trials
    waiting = _cut_off(study)
    while len(done := _ended(study, output)) < wanted:
        number = len(done)
        if grid:
            study.enqueue_trial(grid[number])
        elif waiting:
            study.enqueue_trial(waiting.pop(0))
        seed = derive(config.seed, f"trial {number}") % (1 << 32)
        samplers = optuna.samplers
        study.sampler = (samplers.TPESampler if sampler == "tpe" else samplers.RandomSampler)(seed=seed)
        trial = study.ask()
        parameters = {name: _suggest(trial, name, part, config) for name, part in space.items()}
        directory = output / f"trial-{number:05d}"
        ended = _train(optuna, trial, data, replace(config, **parameters), directory, tokenizer)
        study.tell(trial, *ended)
        shutil.rmtree(directory / "checkpoints", ignore_errors=True)
        if on_trial is not None:
            on_trial(_ended(study, output)[-1])
    complete = [trial for trial in done if trial.state == "complete" and trial.loss is not None]
    if not complete:
        raise ConfigError("no trial came to its end", where=str(output), hint="train longer, or do not prune")
    best = min(complete, key=lambda trial: (trial.loss, trial.number))
    result = SearchResult(tuple(done), best, _importance(optuna, study, space, len(complete)))
    write_json(output / RESULT_NAME, _plain(result))
    return result


def _train(
    optuna: Any, trial: optuna.Trial, data: Any, config: TrainConfig, directory: Path, tokenizer: Any
) -> tuple[float | None, Any]:
    """Train one trial to its end, or to where it is pruned: its loss and state."""

    def watch(step: Step) -> None:
        if step.held_out_loss is None:
            return
        trial.report(step.held_out_loss, step.step)
        if step.step < config.steps and trial.should_prune():
            raise optuna.TrialPruned

    try:
        result = fit(data, config, directory, tokenizer=tokenizer, on_step=watch)
    except optuna.TrialPruned:
        return None, optuna.trial.TrialState.PRUNED
    except TaskError as error:  # the loss is no longer a number
        trial.set_user_attr("diverged", error.what)
        return None, optuna.trial.TrialState.PRUNED
    return result.held_out_loss, optuna.trial.TrialState.COMPLETE


def plot_importance(result: SearchResult, path: str | os.PathLike) -> None:
    """Draw how much each parameter mattered as a bar chart (PNG, SVG or PDF by the path's ending).

    Raises
    ------
    ConfigError
        If the search has no importance to show.
    MissingExtra
        If matplotlib is not installed.
    """
    if not result.importance:
        raise ConfigError("it takes two parameters and two complete trials to compare", where="importance")
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "matplotlib is not installed", where="plot", hint="pip install 'corpuskit[search]'"
        ) from error
    names = sorted(result.importance, key=result.importance.__getitem__)
    figure = Figure(figsize=(6, 1 + 0.4 * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.barh(names, [result.importance[name] for name in names], color="#3b6ea5")
    axes.set_xlabel("share of importance (PED-ANOVA)")
    axes.set_xlim(0, 1)
    with matplotlib.rc_context({"svg.hashsalt": "corpuskit"}):
        figure.savefig(path, metadata={"Date": None} if str(path).endswith(".svg") else None)


def _check(config: TrainConfig, space: Space, sampler: str, trials: int) -> None:
    known = {field.name for field in fields(TrainConfig)} - {"seed"}
    for name in space:
        if name not in known:
            raise ConfigError(
                f"{name!r} is no parameter of training",
                where="space",
                hint=f"known: {', '.join(sorted(known))}",
            )
    if not space:
        raise ConfigError("there is nothing to search", where="space")
    if sampler not in get_args(Sampler):
        raise ConfigError(f"{sampler!r} is not one of {', '.join(get_args(Sampler))}", where="sampler")
    if trials < 1:
        raise ConfigError(f"must be at least 1, not {trials}", where="trials")
    if not config.held_out or not config.eval_every:
        raise ConfigError(
            "a search needs held-out loss", where="train.held_out", hint="set held_out and eval_every above 0"
        )
    if sampler == "grid" and not all(isinstance(part, Choice) for part in space.values()):
        raise ConfigError(
            "a grid needs values to choose from, not a range",
            where="space",
            hint="name=a,b,c instead of low:high",
        )
    check_values(config, space)


def _require_same_space(study: optuna.Study, space: Space, output: Path) -> None:
    plain = {name: repr(part) for name, part in sorted(space.items())}
    known = study.user_attrs.get("space")
    if known is None:
        study.set_user_attr("space", plain)
    elif known != plain:
        raise ConfigError(
            "the directory holds a search of another space",
            where=str(output),
            hint="choose another output directory, or delete this one to start again",
        )


def _require_same(study: optuna.Study, name: str, value: Any, what: str, output: Path) -> None:
    """Trials of other data or settings do not compare."""
    known = study.user_attrs.get(name)
    if known is None:
        study.set_user_attr(name, value)
    elif known != value:
        raise MismatchError(
            f"the directory holds a search {what}",
            where=str(output),
            hint="choose another output directory, or delete this one to start again",
        )


def _cut_off(study: optuna.Study) -> list[dict[str, Any]]:
    """End the trials that were running when a search was killed; their parameters are tried again."""
    import optuna

    running = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
    parameters = [dict(trial.params) for trial in running if trial.params]
    for trial in running:
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return parameters


def _ended(study: optuna.Study, output: Path) -> list[Trial]:
    import optuna

    states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    found = []
    for number, trial in enumerate(study.get_trials(deepcopy=False, states=states)):
        losses = trial.intermediate_values
        if trial.state == optuna.trial.TrialState.COMPLETE:
            state, loss = "complete", trial.value
        elif "diverged" in trial.user_attrs:
            state, loss = "diverged", None
        else:
            state, loss = "pruned", losses[max(losses)] if losses else None
        directory = output / f"trial-{number:05d}"
        found.append(Trial(number, dict(trial.params), loss, state, directory))
    return found


def _suggest(trial: optuna.Trial, name: str, part: Range | Choice, config: TrainConfig) -> Any:
    if isinstance(part, Choice):
        return trial.suggest_categorical(name, list(part.values))
    if isinstance(getattr(config, name), int):
        return trial.suggest_int(name, math.ceil(part.low), math.floor(part.high), log=part.log)
    return trial.suggest_float(name, part.low, part.high, log=part.log)


def _importance(optuna: Any, study: optuna.Study, space: Space, complete: int) -> dict[str, float]:
    if len(space) < 2 or complete < 2:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    try:
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
    except (ValueError, RuntimeError):  # all trials alike
        return {}


def _plain(result: SearchResult) -> dict[str, Any]:
    rows = [
        {
            "trial": trial.number,
            "state": trial.state,
            "loss": trial.loss,
            "parameters": dict(trial.parameters),
        }
        for trial in result.trials
    ]
    return {"best": result.best.number, "importance": dict(result.importance), "trials": rows}


def _optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "optuna is not installed", where="corpuskit.train.search", hint="pip install 'corpuskit[search]'"
        ) from error
    logging.getLogger("optuna").setLevel(logging.ERROR)
    return optuna
