"""`finetune` for those who know gpt-2-simple: texts and a model in, a trained model out, in one call.

The options have gpt-2-simple's names and defaults (`finetune` of its gpt_2.py) where they mean the same.
The texts are encoded once, to token shards in the run's directory, so they need not fit into memory.
What differs: `steps` counts all updates of the run, so the same call, made again, finishes what was
interrupted and then does nothing; a greater `steps` goes on.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from corpuskit import ingest
from corpuskit.documents import Quarantined, document_id
from corpuskit.errors import ArtifactError, ConfigError, InputError, MismatchError, renamed
from corpuskit.files import content_of
from corpuskit.models.configurations import ModelConfig
from corpuskit.models.hub import local_directory
from corpuskit.shards import TokenDataset, Writer
from corpuskit.shards import open as open_dataset
from corpuskit.shards.manifest import MANIFEST_NAME, load_manifest
from corpuskit.train.config import TrainConfig, shape_of
from corpuskit.train.formats import Piece, delimited_text
from corpuskit.train.loop import fit
from corpuskit.train.metrics import METRICS_NAME, Step, TrainResult
from corpuskit.train.preparation import cells, encode_pieces
from corpuskit.vocab import formats
from corpuskit.vocab.tokenizer import Tokenizer

__all__ = ["finetune"]

_TOKENS, _TOKENIZER = "tokens", "tokenizer"
_ROWS_A_BATCH = 1000
_WINDOWS_OVERLAP = 8  # every token lies in so many samples, each time at another position
# Fields of TrainConfig that gpt-2-simple has names of its own for.
_NAMED_OTHERWISE = {
    "gradient_accumulation": "accumulate_gradients",
    "gradient_checkpointing": "use_memory_saving_gradients",
    "trained": "only_train_transformer_layers",
    "sample_tokens": "sample_length",
    "checkpoint_every": "save_every",
    "keep_checkpoints": "max_checkpoints",
}

Paths = str | os.PathLike | Iterable[str | os.PathLike]


def finetune(
    dataset: Paths,
    model: str | os.PathLike | ModelConfig,
    *,
    tokenizer: Tokenizer | str | os.PathLike | None = None,
    steps: int = 1000,
    sequence_length: int | None = None,
    batch_size: int = 1,
    learning_rate: float = 1e-4,
    accumulate_gradients: int = 5,
    restore_from: str | os.PathLike = "latest",
    run_name: str = "run1",
    checkpoint_dir: str | os.PathLike = "checkpoint",
    sample_every: int = 100,
    sample_length: int = 1023,
    save_every: int = 1000,
    print_every: int = 1,
    max_checkpoints: int = 1,
    use_memory_saving_gradients: bool = False,
    only_train_transformer_layers: bool = False,
    overwrite: bool = False,
    on_step: Callable[[Step], None] | None = None,
    **settings: Any,
) -> TrainResult:
    """Train a causal language model on texts; the result lies in ``checkpoint_dir/run_name``.

    Parameters
    ----------
    dataset : path-like or several
        Text files, each one document; CSV files of one column, each cell a document between
        ``<|startoftext|>`` and ``<|endoftext|>``; other files that `corpuskit.ingest.read` knows;
        directories of these; or one token dataset. The run keeps its tokens in ``tokens/``.
    model : str, path-like or ModelConfig
        What is trained: a model's directory or hub name, or a size or shape with fresh weights.
    tokenizer : Tokenizer or path-like, optional
        Default: the one beside the token dataset or the model. Fresh weights on texts need one.
    steps : int
        Updates of the whole run, those of earlier calls included.
    sequence_length : int, optional
        Tokens of a sample. Default: the model's context, or half of the texts if that is less.
    batch_size, accumulate_gradients : int
        Samples per forward pass, and forward passes per update.
    learning_rate : float
        Of all updates.
    restore_from : "latest", "fresh" or path-like
        Go on with the run if it has begun; begin it anew; or a model or checkpoint to begin with in
        place of `model`.
    run_name, checkpoint_dir : str, path-like
    sample_every, sample_length : int
        Every how many updates (0: never) a text is written and printed, and of how many tokens at most;
        never more than the context holds.
    save_every, max_checkpoints : int
        Every how many updates a checkpoint is written (0: only at the end), and how many stay.
    print_every : int
        Every how many updates a line is printed; 0: nothing is.
    use_memory_saving_gradients : bool
        `TrainConfig.gradient_checkpointing`.
    only_train_transformer_layers : bool
        Embeddings and the last norm keep their values (``TrainConfig.trained="blocks"``).
    overwrite : bool
        With ``fresh``: delete what the run has written before.
    on_step : callable, optional
        Receives a `Step` after every update.
    **settings
        Further fields of `TrainConfig`.

    Returns
    -------
    TrainResult

    Raises
    ------
    ConfigError
        If an option is unknown or impossible, no tokenizer is there, or a fresh run would write over
        another.
    InputError
        If a text is missing or cannot be read.
    MismatchError
        If the run was begun with other texts, another tokenizer or other settings.
    CorpuskitError
        As `fit`.
    """
    unknown = sorted(set(settings) - ({field.name for field in fields(TrainConfig)} - set(_NAMED_OTHERWISE)))
    if unknown:
        raise ConfigError(
            "there is no such option", where=unknown[0], hint="see help(corpuskit.train.finetune)"
        )
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "finetune is one process", where="WORLD_SIZE", hint="write token shards and call fit in each"
        )
    run = run_directory(run_name, checkpoint_dir)
    given = str(restore_from) not in ("latest", "fresh")
    if given:
        model = restore_from
    beginning = model if isinstance(model, ModelConfig) else str(model)
    try:
        shape = shape_of(beginning)
    except ConfigError as error:
        if not given:
            raise
        raise ConfigError(
            f"there is no model {beginning!r}",
            where="restore_from",
            hint="latest, fresh, or the directory of a model or a checkpoint",
        ) from error
    for name, value, least in (
        ("sequence_length", 2 if sequence_length is None else sequence_length, 2),
        ("sample_length", sample_length, 1),
        ("print_every", print_every, 0),
    ):
        if value < least:
            raise ConfigError(f"must be at least {least}, not {value}", where=name)
    if not isinstance(dataset, (str, os.PathLike, Iterable)):
        raise ConfigError(f"must be a path or several, not {dataset!r}", where="dataset")
    paths = [dataset] if isinstance(dataset, (str, os.PathLike)) else list(dataset)
    place = None if isinstance(beginning, ModelConfig) else local_directory(beginning)
    reader = _tokenizer(tokenizer, paths, place)
    if str(restore_from) == "fresh":
        _begin_anew(run, overwrite, [place, *map(Path, paths)])
    tokens = _tokens(paths, run, reader)
    length = sequence_length or max(2, min(shape.context_length, tokens.num_tokens // 2))
    defaults: dict[str, Any] = {
        "schedule": "constant", "warmup_steps": 0, "weight_decay": 0.0, "betas": (0.9, 0.999),
        "held_out": 0.0, "eval_every": 0, "stride": max(1, length // _WINDOWS_OVERLAP),
    }  # fmt: skip
    if settings.get("sequences", "windows") != "windows":
        del defaults["stride"]
    with renamed({f"train.{field}": name for field, name in _NAMED_OTHERWISE.items()} | _NAMED_OTHERWISE):
        config = TrainConfig(
            model=beginning,
            steps=steps,
            sequence_length=length,
            batch_size=batch_size,
            gradient_accumulation=accumulate_gradients,
            learning_rate=learning_rate,
            sample_every=sample_every,
            sample_tokens=max(1, min(sample_length, shape.context_length - 1)),
            checkpoint_every=save_every,
            keep_checkpoints=max_checkpoints,
            gradient_checkpointing=use_memory_saving_gradients,
            trained="blocks" if only_train_transformer_layers else "all",
            **(defaults | settings),
        )
    return fit(tokens, config, run, reader, _Printer(print_every, on_step))


def run_directory(run_name: str, checkpoint_dir: str | os.PathLike) -> Path:
    """Where a run lies.

    Raises
    ------
    ConfigError
        If its name is not that of one directory.
    """
    if not run_name or run_name in (".", "..") or Path(run_name).name != run_name:
        raise ConfigError(
            f"{run_name!r} is no name of a directory", where="run_name", hint="put the path in checkpoint_dir"
        )
    return Path(checkpoint_dir) / run_name


def _begin_anew(run: Path, overwrite: bool, needed: list[Path | None]) -> None:
    if any(path is not None and path.resolve().is_relative_to(run.resolve()) for path in needed):
        raise ConfigError(
            "a fresh run cannot begin with what lies in its own directory",
            where=str(run),
            hint="choose another run_name",
        )
    written = [run / name for name in ("config.json", METRICS_NAME, "checkpoints", _TOKENS)]
    present = [path for path in written if path.exists()]
    if present and not overwrite:
        raise ConfigError(
            "the run has begun already",
            where=str(run),
            hint="choose another run_name, restore_from='latest', or overwrite=True to delete it",
        )
    for path in present:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _tokenizer(
    given: Tokenizer | str | os.PathLike | None, paths: list[Any], model: Path | None
) -> Tokenizer:
    """What was given, or the first that lies where one may be expected."""
    if isinstance(given, Tokenizer):
        return given
    if given is not None:
        return formats.load(given)
    places = [Path(path) / _TOKENIZER for path in paths if _is_dataset(path)]
    if model is not None:  # a checkpoint lies two directories below its run
        places += [model, model.parent.parent] if model.parent.name == "checkpoints" else [model]
    for place in places:
        if place.is_dir():
            try:
                return formats.load(place)
            except (ArtifactError, InputError):  # a model without one
                continue
    raise ConfigError(
        "no tokenizer lies beside the model or the data",
        where="tokenizer",
        hint="give tokenizer= a directory that corpuskit vocab wrote, or 'gpt2'",
    )


def _is_dataset(path: Any) -> bool:
    return (Path(path) / MANIFEST_NAME).is_file()


def _tokens(paths: list[Any], run: Path, tokenizer: Tokenizer) -> TokenDataset:
    """The token dataset of the texts, written now if it is not there."""
    if any(_is_dataset(path) for path in paths):
        if len(paths) > 1:
            raise ConfigError(
                "a token dataset can only be given alone", where="dataset", hint="merge them, or call fit"
            )
        return open_dataset(paths[0])
    files = _files(paths)
    directory = run / _TOKENS
    provenance = {"texts": [[file.name, content_of(file)] for file in files]}
    if (directory / MANIFEST_NAME).exists():
        found = load_manifest(directory, allow_incomplete=True)
        same = found.provenance == provenance and found.tokenizer.fingerprint == tokenizer.fingerprint
        if not same and any((run / "checkpoints").glob("step-*")):
            raise MismatchError(
                "the run was begun with other texts or another tokenizer",
                where=str(run),
                hint="give another run_name, with restore_from= this run's directory to go on from its model",
            )
        if not same:
            shutil.rmtree(directory)
        elif found.complete:
            return open_dataset(directory)
    with Writer(directory, tokenizer=tokenizer, provenance=provenance, resume=True) as writer:
        empty = True
        documents = _documents(files)
        while rows := list(islice(documents, _ROWS_A_BATCH)):
            empty = False
            batch = encode_pieces([name for name, _ in rows], [pieces for _, pieces in rows], tokenizer)
            writer.write_tokens(batch.select(["id", "tokens"]))
        if empty:
            raise InputError("the texts are empty", where=", ".join(str(file) for file in files))
    return open_dataset(directory)


def _files(paths: list[Any]) -> list[Path]:
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = [file for file in sorted(path.rglob("*")) if file.is_file()]
            found += [f for f in inside if not any(p.startswith(".") for p in f.relative_to(path).parts)]
        elif path.exists():
            found.append(path)
        else:
            raise InputError("no such file or directory", where=str(path), hint="check the path")
    if not found:
        raise InputError("there is no file", where=", ".join(map(str, paths)) or "dataset")
    return found


def _documents(files: list[Path]) -> Iterator[tuple[str, list[Piece]]]:
    """Ids and pieces: of a CSV one document a cell, of other files what `ingest.read` makes of them."""
    cell = delimited_text("text")
    for place, file in enumerate(files):
        source = f"{place}/{file.name}"
        if file.suffix.lower() == ".csv":
            for number, row in enumerate(cells(file)):
                if row["text"]:
                    yield document_id(source, number), cell(row)[0]
            continue
        number = 0
        for batch in ingest.read(file, on_quarantine=_refuse):
            for text in _texts(batch):
                if text:
                    yield document_id(source, number), [Piece(text, True)]
                number += 1


def _texts(batch: pa.RecordBatch) -> Iterator[str]:
    for text in batch.column("text"):
        yield text.as_py()


def _refuse(item: Quarantined) -> None:
    raise InputError(
        f"cannot be read as text: {item.detail}",
        where=f"{item.path}, byte {item.offset}",
        hint="leave it out, or write token shards with `corpuskit shards write`, which sets it aside",
    )


class _Printer:
    """A line an update as gpt-2-simple prints it: the loss, and its mean with weights 0.99 to the past."""

    def __init__(self, every: int, also: Callable[[Step], None] | None) -> None:
        self._every, self._also = every, also
        self._started, self._sum, self._weight = time.monotonic(), 0.0, 0.0

    def __call__(self, step: Step) -> None:
        self._sum, self._weight = self._sum * 0.99 + step.loss, self._weight * 0.99 + 1
        if self._every and (step.step % self._every == 0 or step.step == step.steps):
            seconds, mean = time.monotonic() - self._started, self._sum / self._weight
            print(f"[{step.step} | {seconds:.2f}] loss={step.loss:.2f} avg={mean:.2f}", flush=True)
        if self._every and step.sample is not None:
            print(f"======== SAMPLE {step.step} ========\n{step.sample}\n", flush=True)
        if self._also is not None:
            self._also(step)
