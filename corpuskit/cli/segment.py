"""`corpuskit segment`: cut files into words, score a segmentation, train a segmenter, find new words."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from corpuskit.cli.outputs import require_distinct
from corpuskit.cli.road import DEFAULT_WORKERS
from corpuskit.files import require_writable

if TYPE_CHECKING:
    from corpuskit.segment.scoring import SegmentationScore

DEFAULT_COMMAND = "cut"


class CutByDefault(TyperGroup):
    """A group whose first word, where it is no command, is already a file (or an option) of `cut`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [DEFAULT_COMMAND, *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        formatter.write_usage(ctx.command_path, "[OPTIONS] FILES...", "Usage: ")
        formatter.write_usage(ctx.command_path, "COMMAND [ARGS]...", "   or: ")


segment = typer.Typer(cls=CutByDefault, no_args_is_help=True, rich_markup_mode=None)

Files = Annotated[
    list[str], typer.Argument(help="Files, directories or globs; - is standard input.", show_default=False)
]
MainDictionary = Annotated[
    Path | None, typer.Option(help="Main dictionary instead of jieba's: word frequency [tag] a line.")
]
UserDictionary = Annotated[
    list[Path] | None, typer.Option(help="User dictionary: word [frequency] [tag] a line. May be repeated.")
]
TrainingFormat = Literal["words", "bmes"]
Threads = Annotated[int, typer.Option(min=1, help="Threads; the result does not depend on it.")]
Format = Annotated[
    str,
    typer.Option(
        "--format", help="Format of the inputs: auto (by name; text if it tells none), text, jsonl, …."
    ),
]
TextColumn = Annotated[str, typer.Option(help="Column or key that holds the text.")]


@segment.command(DEFAULT_COMMAND)
def segment_cut(
    files: Files,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write, instead of standard output.")
    ] = None,
    to: Annotated[
        Literal["text", "jsonl", "arrow"] | None,
        typer.Option(help="What to write; by default as the output's name says, else text."),
    ] = None,
    offsets: Annotated[
        bool, typer.Option("--offsets", help="Write where words end (word_ends) instead of the words.")
    ] = False,
    unit: Annotated[
        Literal["characters", "bytes"], typer.Option(help="What --offsets counts, from the text's start.")
    ] = "characters",
    separator: Annotated[str, typer.Option(help="Between the words of a line of text.")] = " ",
    mode: Annotated[
        Literal["default", "search", "full"],
        typer.Option(help="jieba's modes: one cut, with shorter words within, or every dictionary word."),
    ] = "default",
    hmm: Annotated[bool, typer.Option(help="Find words outside the dictionary (jieba's model).")] = True,
    dictionary: MainDictionary = None,
    user_dictionary: UserDictionary = None,
    model: Annotated[
        Path | None, typer.Option(help="A model that `segment train` wrote, instead of jieba's words.")
    ] = None,
    threads: Threads = DEFAULT_WORKERS,
    format_: Format = "auto",
    text_column: TextColumn = "text",
) -> None:
    """Cut files into words (also without its name).

    `corpuskit segment FILES…` does the same. A text file is lines, and as many come out as went in. To
    segment a file that has the name of a command, write ./score.
    """
    from corpuskit.segment.files import SegmentOptions, segment_files
    from corpuskit.segment.wordfiles import format_of_name

    require_distinct([output], [dictionary, *(user_dictionary or []), model])
    options = SegmentOptions(
        format=format_,
        text_column=text_column,
        mode=mode,
        output_format=to or format_of_name(output) or "text",
        offsets=offsets,
        unit=unit,
        separator=separator,
        threads=threads,
    )
    _require_inputs(files)
    cutter = _cutter(dictionary, user_dictionary, hmm, model)
    unread: list[str] = []
    quiet = output is None and sys.stdout.isatty()
    with _progress(files, format_, quiet) as advance:
        report = segment_files(
            files, output, cutter, options, on_progress=advance, on_quarantine=_noted(unread)
        )
    if output is not None:
        _say(
            f"{report.rows:,} lines or documents, {report.words:,} words, "
            f"{report.text_bytes / 1e6:,.1f} MB → {output}"
        )
    if report.quarantined:
        _say(f"note: {report.quarantined:,} records could not be read and are left out")


@segment.command("score")
def segment_score(
    gold: Annotated[str, typer.Argument(help="The right words: white space between them.")],
    out: Annotated[str, typer.Argument(help="The same text, line by line, as it was cut; or -.")],
    vocabulary: Annotated[
        Path | None,
        typer.Option(help="Training text or word list, for the rate and recall of unknown words."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Precision, recall, F1 of words (SIGHAN)."""
    from corpuskit.segment.scoring import score_files

    score = score_files(gold, out, vocabulary)
    print(json.dumps(score.to_dict()) if json_ else _score_table(score))


@segment.command("train")
def segment_train(
    gold: Annotated[list[str], typer.Argument(help="Segmented text: white space between words.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model file to write.")],
    development: Annotated[
        list[str] | None,
        typer.Option(help="Segmented text that says when to stop; by default a part of GOLD. Repeatable."),
    ] = None,
    dictionary: Annotated[
        str, typer.Option(help="Words to look up: jieba (those of jieba), none, or a dictionary file.")
    ] = "jieba",
    epochs: Annotated[int, typer.Option(help="Passes over the text at most.")] = 10,
    patience: Annotated[int, typer.Option(help="Stop after so many epochs without a better F1.")] = 2,
    min_count: Annotated[int, typer.Option(help="N-grams below this count get no weight.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Order of sentences, and what is set aside.")] = 0,
    format_: Annotated[
        TrainingFormat, typer.Option("--format", help="words (white space between them), or bmes (tags).")
    ] = "words",
) -> None:
    """Train a segmenter on segmented text.

    Writes one file, which `--model` loads. With --development, its scores on that and jieba's are printed
    at the end.
    """
    from corpuskit.segment import train_segmenter
    from corpuskit.segment.bmes import read_bmes
    from corpuskit.segment.scoring import read_segmented

    require_writable(output)
    require_distinct([output], [*gold, *(development or []), dictionary])
    read = read_bmes if format_ == "bmes" else read_segmented
    seen = _Seen(words for path in gold for words in read(path))
    held_out = [words for path in development or [] for words in read(path)]
    model = train_segmenter(
        seen,
        held_out if development else None,
        dictionary=None if dictionary == "none" else dictionary,
        epochs=epochs,
        patience=patience,
        min_count=min_count,
        seed=seed,
        progress=_say_epoch,
    )
    model.save(output)
    if development:
        print(_comparison_table(model, seen.vocabulary, held_out))
    if seen.single > 0.9 * seen.lines:
        _say(
            f"note: {seen.single:,} of {seen.lines:,} lines hold a single word; "
            "is there white space between the words?"
        )
    print(f"model: {output} ({output.stat().st_size / 1e6:.1f} MB)")


@segment.command("discover")
def segment_discover(
    files: Files,
    output: Annotated[Path, typer.Option("--output", "-o", help="User dictionary to write.")],
    scores: Annotated[
        Path | None, typer.Option(help="Also write counts and scores: .tsv, .jsonl, .parquet or .arrow.")
    ] = None,
    max_words: Annotated[int, typer.Option(help="Words at most, those of the highest score.")] = 10_000,
    min_count: Annotated[int, typer.Option(help="Least number of occurrences.")] = 10,
    max_length: Annotated[int, typer.Option(help="Longest word, in characters, 2 to 12.")] = 6,
    min_cohesion: Annotated[
        float, typer.Option(help="Least mutual information of the weakest cut, bits.")
    ] = 3.0,
    min_entropy: Annotated[float, typer.Option(help="Least branching entropy on either side, bits.")] = 1.5,
    min_score: Annotated[float, typer.Option(help="Least score.")] = 20.0,
    compounds: Annotated[
        bool, typer.Option(help="Also strings of dictionary words only: terms and phrases.")
    ] = False,
    memory_mb: Annotated[int, typer.Option(help="Memory for tables, MiB; at least 64.")] = 1024,
    dictionary: MainDictionary = None,
    user_dictionary: UserDictionary = None,
    threads: Threads = DEFAULT_WORKERS,
    format_: Format = "auto",
    text_column: TextColumn = "text",
) -> None:
    """Find words that the dictionary lacks.

    Writes a user dictionary that `--user-dictionary` and jieba load.
    """
    from corpuskit.files import atomic_path
    from corpuskit.segment.discovery import DiscoveryConfig, dictionary_lines, discover_words
    from corpuskit.segment.files import read_texts
    from corpuskit.segment.wordfiles import require_table_name, write_table

    config = DiscoveryConfig(
        max_length=max_length, min_count=min_count, min_cohesion=min_cohesion, min_entropy=min_entropy,
        min_score=min_score, compounds=compounds, max_words=max_words, memory_mb=memory_mb,
    )  # fmt: skip
    _require_inputs(files)
    require_writable(output)
    if scores is not None:
        require_table_name(scores)
        require_writable(scores, option="--scores")
    require_distinct([output, scores], [*files, dictionary, *(user_dictionary or [])])
    cutter = _cutter(dictionary, user_dictionary, True, None)
    unread: list[str] = []
    with _progress(files, format_, False) as advance:
        texts = read_texts(files, format_, text_column, on_progress=advance, on_quarantine=_noted(unread))
        words = discover_words(texts, cutter, config, threads=threads, on_progress=_note)
    with atomic_path(output) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in dictionary_lines(words))
    if scores is not None:
        write_table(words, scores)
    asked = int(words.schema.metadata[b"min_count"])
    if asked > min_count:
        _say(f"note: the least count was raised to {asked} to stay within {memory_mb} MiB (--memory-mb)")
    if unread:
        _say(f"note: {len(unread):,} records could not be read and are left out")
    print(_words_table(words.slice(0, 20).to_pylist()))
    print(f"{words.num_rows:,} words → {output}" + ("" if scores is None else f", scores → {scores}"))


def _cutter(
    dictionary: Path | None, user_dictionary: list[Path] | None, hmm: bool, model: Path | None
) -> Any:
    """The segmenter that the options name."""
    from corpuskit.errors import ConfigError
    from corpuskit.segment import Segmenter

    if model is None:
        return Segmenter(dictionary, user_dictionary or None, hmm=hmm)
    if dictionary is not None or not hmm:
        raise ConfigError(
            "a trained model has no main dictionary and no hidden Markov model",
            where="--model",
            hint="leave out --dictionary and --no-hmm, or leave out --model",
        )
    from corpuskit.segment import PerceptronSegmenter

    return PerceptronSegmenter.load(model, user_dictionary or None)


def _require_inputs(files: list[str]) -> None:
    """A first word that is neither a file nor a command may be a mistyped command."""
    from difflib import get_close_matches

    from corpuskit.errors import InputError
    from corpuskit.ingest.remote import is_url

    first = files[0]
    if first == "-" or is_url(first) or Path(first).exists() or any(c in first for c in "*?[/."):
        return
    close = get_close_matches(first, ["score", "discover", "train"], 1)
    meant = f"the command may be {close[0]}; else " if close else ""
    raise InputError("there is no such file", where=first, hint=f"{meant}check the name")


def _noted(unread: list[str]) -> Callable[[Any], None]:
    """Print the first records that cannot be read, and keep the reasons of all."""

    def note(item: Any) -> None:
        if len(unread) < 5:
            _say(f"note: {item.path}, at {item.offset}: {item.reason}: {item.detail}")
        unread.append(item.reason)

    return note


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _note(line: str) -> None:
    _say(f"{line} …")


@contextmanager
def _progress(files: list[str], format_: str, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar of the bytes read on a terminal; elsewhere a line every ten seconds."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.progress import TransferSpeedColumn as Speed

    from corpuskit.segment.files import find_sources

    sources = find_sources(files, format_)
    total = sum(source.file.bytes for source in sources if source.file is not None)
    known = total if all(source.file is not None for source in sources) else None
    console = Console(stderr=True)
    if quiet:
        yield lambda _: None
    elif console.is_terminal:
        with Progress(
            TextColumn("  reading"), BarColumn(), DownloadColumn(), Speed(), TimeRemainingColumn(),
            console=console, transient=True,
        ) as bar:  # fmt: skip
            task = bar.add_task("", total=known)
            yield lambda size: bar.advance(task, size)
    else:
        from corpuskit.cli.progress import LineObserver

        observer = LineObserver(console)
        observer.phase_started("reading", len(sources), 0, known or 0)
        yield observer.progress


def _score_table(score: SegmentationScore) -> str:
    rows = [
        ("precision", f"{score.precision:.4f}", f"{score.correct:,} of {score.words:,} words"),
        ("recall", f"{score.recall:.4f}", f"{score.correct:,} of {score.gold_words:,} gold words"),
        ("F1", f"{score.f1:.4f}", f"{score.lines:,} lines, {score.characters:,} characters"),
    ]
    if score.oov_words is not None:
        known = score.gold_words - score.oov_words
        right = score.correct - (score.oov_correct or 0)
        rows += [
            ("OOV rate", f"{score.oov_rate:.4f}", f"{score.oov_words:,} of {score.gold_words:,} gold words"),
            ("OOV recall", _share(score.oov_recall), f"{score.oov_correct:,} of {score.oov_words:,}"),
            ("IV recall", _share(score.iv_recall), f"{right:,} of {known:,}"),
        ]
    return "\n".join(f"{name:<11}{value:>7}   {note}" for name, value, note in rows)


def _say_epoch(report: Any) -> None:
    """A line an epoch: on the development text where there is one."""
    line = f"epoch {report.epoch:>2} of at most {report.epochs}: loss {report.loss:.4f}"
    if report.f1 is not None:
        unknown = "" if report.oov_recall is None else f", OOV recall {report.oov_recall:.4f}"
        line += f", F1 {report.f1:.4f}{unknown}{'  (best)' if report.best else ''}"
    _say(line + (", on all lines" if report.final and report.f1 is None else ""))


class _Seen:
    """Lines that pass through, remembering their words and how many lines hold but one."""

    def __init__(self, lines: Iterable[Sequence[str]]) -> None:
        self._lines = lines
        self.vocabulary: set[str] = set()
        self.lines = self.single = 0

    def __iter__(self) -> Iterator[Sequence[str]]:
        for words in self._lines:
            self.vocabulary.update(words)
            self.lines += 1
            self.single += len(words) == 1
            yield words


def _comparison_table(model: Any, known: set[str], lines: Sequence[Sequence[str]]) -> str:
    """The model's and jieba's scores on the development text."""
    from corpuskit.segment import Segmenter
    from corpuskit.segment.scoring import score_segmentation

    texts = ["".join(words) for words in lines]
    rows = ["development    precision   recall       F1   OOV recall"]
    for name, cutter in (("model", model), ("jieba", Segmenter())):
        score = score_segmentation(lines, [cutter.cut(text) for text in texts], known)
        rows.append(
            f"{name:<15}{score.precision:>9.4f}{score.recall:>9.4f}{score.f1:>9.4f}{_share(score.oov_recall):>13}"
        )
    return "\n".join(rows)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _words_table(rows: list[dict[str, Any]]) -> str:
    """The words of the highest score; a Han character takes two columns."""
    if not rows:
        return "no new words"
    lines = ["word              count  cohesion   left  right  aligned  score"]
    for row in rows:
        pad = " " * max(1, 16 - 2 * len(row["word"]))
        lines.append(
            f"{row['word']}{pad}{row['count']:>7,}{row['cohesion']:>10.1f}{row['left_entropy']:>7.1f}"
            f"{row['right_entropy']:>7.1f}{row['aligned']:>9.2f}{row['score']:>7.0f}"
        )
    return "\n".join(lines)
