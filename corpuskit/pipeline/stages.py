"""The stages of a run: each a job on the engine, or work of the driver, and its line in the report.

A stage gives the next one its documents as slices of files, and the ledger knows what each has done, so
a stage has no state of its own but the report. What is not cut into tasks (pages, publishing, training)
slice 0 of a sliced run does alone, and a store receives as soon as it is made.
"""

from __future__ import annotations

import glob
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from corpuskit.clean.examples import SurveyOptions
from corpuskit.documents import DroppedText, Tally
from corpuskit.engine import Engine, JobResult, Observer, PendingShards, ShardOf
from corpuskit.engine import run as run_job
from corpuskit.engine.objects import is_store_url
from corpuskit.errors import CorpuskitError, InputError, LedgerError
from corpuskit.files import checksum, write_json
from corpuskit.ingest import IngestJob
from corpuskit.ingest.remote import is_url
from corpuskit.jobs import Job, Slice
from corpuskit.parts import read_documents
from corpuskit.pipeline.cleaning_report import make_report
from corpuskit.pipeline.homes import Home
from corpuskit.pipeline.recipe import DecontaminateSection, Recipe, dump_recipe
from corpuskit.pipeline.report import FILE_NAME, Report, StageReport
from corpuskit.vocab import Tokenizer, VocabularyJob, unpack_artifact

CLEANING_PAGE = "cleaning.html"

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


@dataclass
class Stages:
    """The stages of one recipe, in order; `execute` runs them all."""

    recipe: Recipe
    home: Home
    engine: Engine
    shard: ShardOf | None
    verify: bool
    observer: RunObserver
    report: Report = field(init=False)

    def __post_init__(self) -> None:
        self.report = Report(self.home.name)

    @property
    def output(self) -> Path:
        return self.home.path

    @property
    def leads(self) -> bool:
        """Of several slices, slice 0 alone does what is not cut into tasks."""
        return self.shard is None or self.shard.number == 0

    def execute(self) -> Report:
        if self.leads:
            write_json(self.output / "recipe.json", dump_recipe(self.recipe))
            self.home.send("recipe.json")
        for path in _own_files(self.recipe):
            self.home.add(path)
        documents = self._documents()
        self._vocabularies(documents)
        self._shards(documents)
        if self.leads:
            self._train()
            self._generate()
            self.report.tally.check(self.home.name)
            self.report.save(self.output)
            self.home.send(FILE_NAME)
        return self.report

    def _documents(self) -> list[Slice]:
        """Ingest, clean and deduplicate; the document parts that remain."""
        result = self._job("clean", ingest_job(self.recipe))
        if self.leads:
            inputs = self.recipe.input
            kinds = ("survey", "dropped") if inputs.rescued else ("survey",)
            measured = self.home.local_result(result, *kinds)
            page = make_report("cleaning", inputs.paths, self.recipe.cleaner(), measured, inputs.rescued)
            page.save(self.output / CLEANING_PAGE)
            self.home.send(CLEANING_PAGE)
        documents, kept = _kept(result), result.tally.kept
        rescued = [_rescued_slice(path) for path in self.recipe.input.rescued]
        documents += rescued
        self.report.rescued = sum(_count_rows(piece) for piece in rescued)
        kept += self.report.rescued
        if kept == 0:
            raise _nothing_left(result.tally, self.home.name)
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

    def _job(self, name: str, job: Job, unreported: Sequence[str] = ()) -> JobResult:
        """Run a job; `unreported` are metrics that are no news to a reader of the report."""
        self.observer.stage_started(name)
        started = time.monotonic()
        result = run_job(
            job,
            self.home.place,
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
            if len(entries) == 1 and key not in unreported
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
        entries = self.home.local(result.entries["train"], "vocabulary")
        for spec, entry in zip(specs, entries, strict=True):
            (artifact,) = entry.outputs("vocabulary")
            directory = self.output / "vocabularies" / spec.name
            if self.leads or self.home.private:
                unpack_artifact(artifact.path, directory)
                if self.leads:
                    self.home.send(f"vocabularies/{spec.name}")
            elif not _is_tokenizer(directory, entry.outcome.metrics["fingerprint"]):
                raise PendingShards(
                    "slice 0 has not put the vocabulary in place yet",
                    where=str(directory),
                    hint="run this slice again when slice 0 has",
                )
            where = f"{self.home.name}/vocabularies/{spec.name}"
            self.report.vocabularies[spec.name] = {"path": where, **entry.outcome.metrics}

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
        from corpuskit.shards.job import DESCRIBED

        directory = self._tokenizer_directory()
        tokenizer = Tokenizer.load(directory)
        self.home.add(directory)
        job = ShardsJob(
            documents=tuple(documents),
            tokenizer_dir=str(directory),
            shard_tokens=section.shard_tokens,
            end_of_document=section.end_of_document,
            word_starts=section.word_starts,
            group_bytes=section.group_bytes,
        )
        result = self._job("shards", job, unreported=[DESCRIBED])
        if not self.leads:
            return
        target, entries = self.output / "shards", result.entries["encode"]
        whole = dump_recipe(self.recipe)
        provenance = {"recipe": {name: whole[name] for name in _SHARD_SECTIONS}}
        fingerprint = f"{tokenizer.fingerprint} {json.dumps(provenance, sort_keys=True)}"
        if not self.home.is_published(entries, fingerprint):
            # A store copies the shards itself, in `send_shards`.
            files = not is_store_url(self.home.name)
            publish(entries, target, tokenizer, provenance, files=files)
            _copy_tree(directory, target / "tokenizer")
            self.home.send_shards(entries, fingerprint)
        facts = info(target)
        self.report.shards = {"path": f"{self.home.name}/shards"} | {
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


def _own_files(recipe: Recipe) -> list[str]:
    """The user's files and directories that tasks read beside the documents, where they are local paths."""
    paths = [*recipe.cleaner().files, *recipe.input.rescued]
    paths += [spec.base for spec in recipe.vocabularies if spec.base is not None]
    if recipe.shards is not None and recipe.shards.word_starts is not None:
        paths.append(recipe.shards.word_starts)
    if recipe.decontaminate is not None:
        for pattern in (*recipe.decontaminate.against, *recipe.decontaminate.background):
            found = [] if is_url(pattern) else glob.glob(pattern, recursive=True)  # noqa: PTH207
            paths += [str(Path(path).absolute()) for path in found]
    return [path for path in paths if Path(path).exists()]


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


def _nothing_left(tally: Tally, output: str) -> InputError:
    reasons = {**tally.dropped, **tally.quarantined}
    most = sorted(reasons.items(), key=lambda item: -item[1])[:5]
    listed = ", ".join(f"{reason} {count}" for reason, count in most) or "the input is empty"
    return InputError(
        f"none of the {tally.documents_in} documents was kept: {listed}",
        where=output,
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
