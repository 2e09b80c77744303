"""Progress on a terminal (rich bars) and without one (plain lines that read well in a log)."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from corpuskit.jobs import Entry
from corpuskit.pipeline.report import StageReport
from corpuskit.pipeline.stages import RunObserver

_PLAIN_INTERVAL_S = 10.0


def observer_for(console: Console) -> RunObserver:
    """Bars where `console` is a terminal, lines where it is not."""
    return BarObserver(console) if console.is_terminal else LineObserver(console)


def describe_stage(stage: StageReport) -> str:
    """One line on what a stage did."""
    parts = []
    if stage.tally is not None:
        tally = stage.tally
        parts.append(f"{tally.documents_in:,} in, {tally.kept:,} kept")
        if tally.num_dropped:
            parts.append(f"{tally.num_dropped:,} dropped")
        if tally.num_quarantined:
            parts.append(f"{tally.num_quarantined:,} quarantined")
    if stage.tasks_skipped and not stage.tasks_run:
        parts.append("already done")
    elif stage.tasks_skipped:
        parts.append(f"{stage.tasks_skipped} of {stage.tasks_skipped + stage.tasks_run} tasks already done")
    parts.append(f"{stage.seconds:.1f} s")
    return ", ".join(parts)


class LineObserver(RunObserver):
    """A line when a stage starts and ends, and every ten seconds in between."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._label = ""
        self._total = self._done = 0
        self._last = time.monotonic()

    def stage_started(self, name: str) -> None:
        self._console.print(f"{name} …", highlight=False)
        self._last = time.monotonic()

    def stage_finished(self, stage: StageReport) -> None:
        self._console.print(f"{stage.name}: {describe_stage(stage)}", highlight=False)

    def phase_started(self, label: str, tasks: int, skipped: int, input_bytes: int) -> None:
        self._label, self._total, self._done = label, input_bytes, 0

    def progress(self, input_bytes: int) -> None:
        self._done += input_bytes
        share = f"{100 * self._done / self._total:.0f} % of " if self._total else ""
        self._say(f"  {self._label}: {share}{self._total / 1e6:,.1f} MB")

    def training_step(self, step: Any) -> None:
        self._say(
            f"  step {step.step}/{step.steps}: loss {step.loss:.3f}, {step.tokens_per_s:,.0f} tokens/s",
            force=step.step in (1, step.steps),
        )

    def _say(self, text: str, force: bool = False) -> None:
        now = time.monotonic()
        if force or now - self._last >= _PLAIN_INTERVAL_S:
            self._last = now
            self._console.print(text, highlight=False)


class BarObserver(RunObserver):
    """One live bar for the running phase; a finished stage leaves one line."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._bar: TaskID | None = None

    def stage_started(self, name: str) -> None:
        self._close()

    def stage_finished(self, stage: StageReport) -> None:
        self._close()
        self._console.print(f"[green]✓[/] [bold]{stage.name}[/]  {describe_stage(stage)}", highlight=False)

    def phase_started(self, label: str, tasks: int, skipped: int, input_bytes: int) -> None:
        if not tasks:
            return
        self._open(
            TextColumn("  {task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        if self._progress is not None:
            self._bar = self._progress.add_task(f"{label} ({tasks} tasks)", total=max(1, input_bytes))

    def progress(self, input_bytes: int) -> None:
        if self._progress is not None and self._bar is not None:
            self._progress.advance(self._bar, input_bytes)

    def task_finished(self, entry: Entry) -> None:
        if self._progress is not None:
            self._progress.refresh()

    def phase_finished(self, label: str) -> None:
        self._close()

    def training_step(self, step: Any) -> None:
        if self._progress is None:
            self._open(
                TextColumn("  training"),
                BarColumn(),
                TextColumn("step {task.completed}/{task.total}  {task.description}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
            )
            if self._progress is not None:
                self._bar = self._progress.add_task("", total=step.steps)
        if self._progress is not None and self._bar is not None:
            text = f"loss {step.loss:.3f}  {step.tokens_per_s:,.0f} tokens/s"
            self._progress.update(self._bar, completed=step.step, description=text)

    def _open(self, *columns: Any) -> None:
        self._close()
        self._progress = Progress(*columns, console=self._console, transient=True)
        self._progress.start()

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._progress = self._bar = None
