"""Runs a recipe: job after job on an engine, each skipped where the ledger says it is done.

The output directory::

    report.json           what happened
    recipe.json           the recipe with every default filled in
    cleaning.html         what cleaning kept and dropped, with a histogram for every rule
    work/                 documents between phases, dropped rows, quarantine, the ledger
    vocabularies/<name>/  tokenizer artifacts
    shards/               the token dataset
    model/                checkpoints, and the model in Hugging Face layout
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from corpuskit.clean.examples import SurveyOptions
from corpuskit.documents import DroppedText, Tally
from corpuskit.engine import Engine, JobResult, Local, Observer, PendingShards, ShardOf, hold
from corpuskit.engine import run as run_job
from corpuskit.errors import CorpuskitError, InputError, LedgerError
from corpuskit.files import checksum, require_free_space, write_json
from corpuskit.ingest import IngestJob, expand_inputs
from corpuskit.jobs import Job, Slice
from corpuskit.parts import read_documents
from corpuskit.pipeline.cleaning_report import make_report
from corpuskit.pipeline.recipe import DecontaminateSection, Recipe, dump_recipe
from corpuskit.pipeline.report import Report, StageReport
from corpuskit.vocab import Tokenizer, VocabularyJob, unpack_artifact

WORK = "work"
CLEANING_PAGE = "cleaning.html"

# Bytes of documents between phases, dropped rows and shards for each byte of decompressed input:
# 1.6 on laws + news, rounded up.
_WORK_BYTES_PER_INPUT_BYTE = 2.0
_FIXED_BYTES = 64e6  # vocabularies, reports
_ADAM_CHECKPOINT_BYTES_PER_PARAMETER = 12  # float32 weights and two moments


# What the shards depend on; kept in dataset.json as their provenance.
_SHARD_SECTIONS = (
    *(
        "input",
        "clean",
        "boilerplate",
        "deduplicate",
        "decontaminate",
        "vocabularies",
        "shards",
        "seed",
        "dropped_text",
    ),
)


class RunObserver(Observer):
    """Receives what a whole run does; every method may be left as it is."""

    def stage_started(self, name: str) -> None:
        """A stage of the recipe begins."""

    def stage_finished(self, stage: StageReport) -> None:
        """A stage of the recipe has ended."""

    def training_step(self, step: Any) -> None:
        """One optimiser step; see `corpuskit.train.Step`."""


def ingest_job(recipe: Recipe) -> IngestJob:
    """The first job of the road: read and clean."""
    return IngestJob(
        inputs=recipe.input.paths,
        steps=(recipe.cleaner(),),
        options=recipe.input.options,
        root=recipe.input.root,
        task_bytes=recipe.input.task_bytes,
        part_bytes=recipe.input.part_bytes,
        dropped_text=recipe.dropped_text,
        limit=recipe.input.limit,
        survey=SurveyOptions(),
    )


def estimate_disk_bytes(recipe: Recipe) -> int:
    """About how much disk the run will need, from the inputs' sizes and the model's shape."""
    inputs = expand_inputs(recipe.input.paths, recipe.input.root, recipe.input.options.format)
    needed = _FIXED_BYTES + _WORK_BYTES_PER_INPUT_BYTE * sum(file.content_bytes for file in inputs.files)
    if recipe.train is not None:
        shape = recipe.train.shape
        sizes = [s.vocab_size or 50_257 + (s.num_new_tokens or 0) for s in recipe.vocabularies]
        rows = max(sizes, default=65_536)
        parameters = rows * shape.width + 12 * shape.layers * shape.width**2
        copies = recipe.train.keep_checkpoints + 1
        needed += parameters * _ADAM_CHECKPOINT_BYTES_PER_PARAMETER * copies
    return int(needed)


def run_recipe(
    recipe: Recipe,
    *,
    workers: int = 1,
    engine: Engine | None = None,
    shard: ShardOf | None = None,
    verify: bool = False,
    check_disk: bool = True,
    observer: RunObserver | None = None,
) -> Report:
    """Run a recipe to its end, or resume it.

    Parameters
    ----------
    recipe : Recipe
    workers : int
        Worker processes; the result does not depend on it.
    engine : Engine, optional
        Another engine than the local one.
    shard : ShardOf, optional
        Run only this slice of each phase's tasks.
    verify : bool
        Compare checksums of everything made before.
    check_disk : bool
        Refuse to start when the disk looks too small.
    observer : RunObserver, optional
        Receives progress.

    Raises
    ------
    corpuskit.errors.CorpuskitError
        What was wrong, where, and what to do; finished tasks are kept, and the same call resumes.
    """
    if check_disk:
        require_free_space(recipe.output, estimate_disk_bytes(recipe))
    with hold(recipe.output, shard) as output:
        run = _Run(recipe, output, engine or Local(workers), shard, verify, observer or RunObserver())
        return run.execute()


@dataclass
class _Run:
    recipe: Recipe
    output: Path
    engine: Engine
    shard: ShardOf | None
    verify: bool
    observer: RunObserver
    report: Report = field(init=False)

    def __post_init__(self) -> None:
        self.report = Report(str(self.output))

    @property
    def leads(self) -> bool:
        """Of several slices, slice 0 alone does what is not cut into tasks."""
        return self.shard is None or self.shard.number == 0

    def execute(self) -> Report:
        if self.leads:
            write_json(self.output / "recipe.json", dump_recipe(self.recipe))
        documents = self._documents()
        self._vocabularies(documents)
        self._shards(documents)
        if self.leads:
            self._train()
            self._generate()
            self.report.tally.check(str(self.output))
            self.report.save()
        return self.report

    def _documents(self) -> list[Slice]:
        """Ingest, clean and deduplicate; the document parts that remain."""
        result = self._job("clean", ingest_job(self.recipe))
        if self.leads:
            inputs = self.recipe.input
            page = make_report("cleaning", inputs.paths, self.recipe.cleaner(), result, inputs.rescued)
            page.save(self.output / CLEANING_PAGE)
        documents, kept = _kept(result), result.tally.kept
        rescued = [_rescued_slice(path) for path in self.recipe.input.rescued]
        documents += rescued
        self.report.rescued = sum(_count_rows(piece) for piece in rescued)
        kept += self.report.rescued
        if kept == 0:
            raise _nothing_left(result.tally, self.output)
        if self.recipe.boilerplate is not None:
            lines = self.recipe.boilerplate.job(tuple(documents), dropped_text=self.recipe.dropped_text)
            result = self._job("boilerplate", lines)
            _check_handover(result, kept)
            documents, kept = _kept(result), result.tally.kept
        for name, job in self._removals():
            result = self._job(name, job(documents))
            _check_handover(result, kept)
            documents, kept = _kept(result), result.tally.kept
        return documents

    def _removals(self) -> list[tuple[str, Callable[[list[Slice]], Job]]]:
        """Deduplication and decontamination: a name, and the job for what is left by then."""
        text = self.recipe.dropped_text
        section, items = self.recipe.deduplicate, self.recipe.decontaminate
        removals: list[tuple[str, Callable[[list[Slice]], Job]]] = []
        if section is not None:
            index = {"index": section.index} if section.index else {}
            for name, deduplicator, further in (
                ("dedup-exact", section.exact, {}),
                ("dedup-near", section.near, index),
                ("dedup-lines", section.lines, {}),
                ("dedup-substrings", section.substrings, {}),
            ):
                if deduplicator is not None:
                    removals.append((name, partial(_deduplication, deduplicator, text, further)))
        if items is not None:
            removals.append(("decontaminate", partial(_decontamination, items, text)))
        return removals

    def _job(self, name: str, job: Job) -> JobResult:
        self.observer.stage_started(name)
        started = time.monotonic()
        result = run_job(
            job,
            self.output / WORK,
            engine=self.engine,
            shard=self.shard,
            verify=self.verify,
            observer=self.observer,
        )
        tally = result.tally if result.tally.documents_in else None
        metrics = {
            key: value
            for entries in result.entries.values()
            for entry in entries
            for key, value in entry.outcome.metrics.items()
            if len(entries) == 1
        }
        metrics |= {"counts": result.counts} if result.counts else {}
        metrics |= {"verdicts": result.verdicts} if result.verdicts else {}
        self._stage(
            StageReport(
                name, tally, time.monotonic() - started, result.tasks_run, result.tasks_skipped, metrics
            )
        )
        return result

    def _stage(self, stage: StageReport) -> None:
        self.report.stages.append(stage)
        self.observer.stage_finished(stage)

    def _vocabularies(self, documents: Sequence[Slice]) -> None:
        specs = self.recipe.vocabularies
        if not specs:
            return
        job = VocabularyJob(specs, tuple(documents), self.recipe.seed)
        result = self._job("vocabularies", job)
        for spec, entry in zip(specs, result.entries["train"], strict=True):
            (artifact,) = entry.outputs("vocabulary")
            directory = self.output / "vocabularies" / spec.name
            if self.leads:
                unpack_artifact(artifact.path, directory)
            elif not _is_tokenizer(directory, entry.outcome.metrics["fingerprint"]):
                raise PendingShards(
                    "slice 0 has not put the vocabulary in place yet",
                    where=str(directory),
                    hint="run this slice again when slice 0 has",
                )
            self.report.vocabularies[spec.name] = {"path": str(directory), **entry.outcome.metrics}

    def _tokenizer_directory(self) -> Path:
        section = self.recipe.shards
        if section is None:
            raise LedgerError("no shards section", where="recipe")
        ours = self.output / "vocabularies" / section.tokenizer
        return ours if section.tokenizer in self.report.vocabularies else Path(section.tokenizer)

    def _shards(self, documents: Sequence[Slice]) -> None:
        section = self.recipe.shards
        if section is None:
            return
        from corpuskit.shards import ShardsJob, info, publish

        directory = self._tokenizer_directory()
        tokenizer = Tokenizer.load(directory)
        job = ShardsJob(
            documents=tuple(documents),
            tokenizer_dir=str(directory),
            shard_tokens=section.shard_tokens,
            end_of_document=section.end_of_document,
            word_starts=section.word_starts,
            group_bytes=section.group_bytes,
        )
        result = self._job("shards", job)
        if not self.leads:
            return
        target = self.output / "shards"
        whole = dump_recipe(self.recipe)
        publish(
            result.entries["encode"],
            target,
            tokenizer,
            provenance={"recipe": {name: whole[name] for name in _SHARD_SECTIONS}},
        )
        _copy_tree(directory, target / "tokenizer")
        facts = info(target)
        self.report.shards = {"path": str(target)} | {
            name: facts[name] for name in ("tokens", "documents", "num_shards", "dtype", "fingerprint")
        }

    def _train(self) -> None:
        config = self.recipe.train
        if config is None:
            return
        from corpuskit.train import fit

        self.observer.stage_started("train")
        started = time.monotonic()
        result = fit(
            self.output / "shards",
            replace(config, seed=config.seed or self.recipe.seed),
            self.output / "model",
            tokenizer=Tokenizer.load(self._tokenizer_directory()),
            on_step=self.observer.training_step,
        )
        facts = {
            "steps": result.steps,
            "tokens": result.tokens,
            "loss": result.loss,
            "held_out_loss": result.held_out_loss,
            "resumed_from": result.resumed_from,
        }
        self.report.model = {"path": str(result.directory), **facts}
        self._stage(StageReport("train", None, time.monotonic() - started, metrics=facts))

    def _generate(self) -> None:
        section = self.recipe.generate
        if section is None or self.report.model is None:
            return
        from corpuskit.generate import Generator

        self.observer.stage_started("generate")
        started = time.monotonic()
        generator = Generator.load(self.report.model["path"])
        for prompt in section.prompts:
            text = generator.generate(
                prompt,
                max_new_tokens=section.max_new_tokens,
                temperature=section.temperature,
                top_k=section.top_k,
                top_p=section.top_p,
                repetition_penalty=section.repetition_penalty,
                seed=self.recipe.seed,
            )
            self.report.samples.append({"prompt": prompt, "text": str(text)})
        self._stage(StageReport("generate", None, time.monotonic() - started))


def _deduplication(
    deduplicator: Any, dropped_text: DroppedText, further: dict, documents: list[Slice]
) -> Job:
    return deduplicator.job(tuple(documents), dropped_text=dropped_text, **further)


def _decontamination(section: DecontaminateSection, dropped_text: DroppedText, documents: list[Slice]) -> Job:
    return section.rules.job(
        tuple(documents), section.against, background=section.background, dropped_text=dropped_text
    )


def _is_tokenizer(directory: Path, fingerprint: str) -> bool:
    try:
        return Tokenizer.load(directory).fingerprint == fingerprint
    except CorpuskitError:
        return False


def _kept(result: JobResult) -> list[Slice]:
    return [output.as_slice() for output in result.outputs("kept")]


def _check_handover(result: JobResult, expected: int) -> None:
    if result.tally.documents_in != expected:
        raise LedgerError(
            f"{expected} documents were handed on but {result.tally.documents_in} came in",
            where=result.name,
            hint="this is a bug; run again with --verify",
        )


def _rescued_slice(path: str) -> Slice:
    if not Path(path).is_file():
        raise InputError("no such file of rescued documents", where=path, hint="see: corpuskit rescue")
    return Slice(str(Path(path).absolute()), relative_path=Path(path).name, identity=checksum(path))


def _count_rows(piece: Slice) -> int:
    return sum(batch.num_rows for batch in read_documents(piece.path, ["id"]))


def _nothing_left(tally: Tally, output: Path) -> InputError:
    reasons = {**tally.dropped, **tally.quarantined}
    most = sorted(reasons.items(), key=lambda item: -item[1])[:5]
    listed = ", ".join(f"{reason} {count}" for reason, count in most) or "the input is empty"
    return InputError(
        f"none of the {tally.documents_in} documents was kept: {listed}",
        where=str(output),
        hint="look at the dropped rows under work/, choose another preset, or rescue some",
    )


def _copy_tree(source: Path, target: Path) -> None:
    """Copy a small directory; the target appears whole."""
    if target.exists() and _same_files(source, target):
        return
    temporary = target.with_name(f".{target.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(source, temporary)
    shutil.rmtree(target, ignore_errors=True)
    temporary.replace(target)


def _same_files(left: Path, right: Path) -> bool:
    listing: Callable[[Path], dict[str, str]] = lambda d: {  # noqa: E731
        p.relative_to(d).as_posix(): checksum(p) for p in d.rglob("*") if p.is_file()
    }
    return listing(left) == listing(right)
