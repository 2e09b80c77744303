"""`corpuskit generate`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from corpuskit.generate import Chat, Generator

_OPTIONS = {
    "device": "--device",
    "dialogue.assistant": "--assistant",
    "dialogue.user": "--user",
    "max_new_tokens": "--max-new-tokens",
    "num_samples": "--nsamples",
    "stop": "--stop",
    **{
        name: "--" + name.replace("_", "-")
        for name in ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "no_repeat_ngram",
                     "beams", "length_penalty")
    },
}  # fmt: skip
_INTERVAL_S = 10.0
_CONVERT = "convert it first, for example with iconv -f GB18030 -t UTF-8"


def generate(
    model: Annotated[Path, typer.Argument(help="A model directory.")],
    prompt: Annotated[list[str] | None, typer.Option(help="Text to go on from. May be repeated.")] = None,
    prompts_file: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="UTF-8 file with a prompt a line, or JSON Lines with input."
        ),
    ] = None,
    chat: Annotated[bool, typer.Option("--chat", help="Talk: a question a line, until the end.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write JSON Lines with prompt and text there.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest text or answer, in tokens.")] = 100,
    nsamples: Annotated[int, typer.Option(min=1, help="Texts a prompt.")] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts that are written at a time.")] = 16,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="Above 1 more varied, below 1 less; 0 takes the likeliest.")
    ] = 0.7,
    top_k: Annotated[int | None, typer.Option(min=1, help="Only the k most likely tokens.")] = None,
    top_p: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Only the likely tokens of this total share.")
    ] = None,
    min_p: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Only tokens this share as likely as the likeliest."),
    ] = None,
    repetition_penalty: Annotated[
        float, typer.Option(min=0.0, help="Above 1 makes tokens that have occurred less likely.")
    ] = 1.0,
    no_repeat_ngram: Annotated[
        int, typer.Option(min=0, help="Let no sequence of so many tokens occur twice.")
    ] = 0,
    beams: Annotated[int, typer.Option(min=1, help="Search with so many beams instead of drawing.")] = 1,
    length_penalty: Annotated[float, typer.Option(help="With beams: above 0 favours longer texts.")] = 1.0,
    stop: Annotated[
        list[str] | None, typer.Option(help="End a text before this string. May be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same texts.")] = 0,
    overlong: Annotated[
        Literal["error", "window"],
        typer.Option(help="Prompts longer than the context: refuse, or read their end only."),
    ] = "error",
    user: Annotated[str, typer.Option(help="With --chat: what a question begins with.")] = "用户：",
    assistant: Annotated[str, typer.Option(help="With --chat: what an answer begins with.")] = "小元：",
    escape: Annotated[
        bool, typer.Option(help="With --chat: newlines are written as \\n, as ChatYuan does.")
    ] = True,
    dtype: Annotated[
        Literal["float32", "bfloat16"], typer.Option(help="bfloat16 converts the weights on loading.")
    ] = "float32",
    device: Annotated[
        str, typer.Option(help="A torch device; auto takes a GPU where there is one.")
    ] = "auto",
) -> None:
    """Write text with a trained model, answer prompts, or talk; prompts may come from a pipe."""
    from corpuskit.cli.outputs import require_distinct
    from corpuskit.errors import ConfigError, renamed
    from corpuskit.files import require_writable
    from corpuskit.generate import Chat, Dialogue, Generator, Sampling
    from corpuskit.generate.stops import StopStrings

    settings: dict[str, Any] = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "no_repeat_ngram": no_repeat_ngram,
        "beams": beams,
        "length_penalty": length_penalty,
    }
    if chat and (prompt or prompts_file or output or nsamples > 1 or stop):
        raise ConfigError(
            "takes its questions from the terminal or a pipe, and answers each once",
            where="--chat",
            hint="leave out --prompt, --prompts-file, --output, --nsamples and --stop",
        )
    if output is not None:
        require_distinct([output], [prompts_file])
        require_writable(output)
    with renamed(_OPTIONS):
        # What can be wrong without the model is found before it is loaded.
        Sampling.of(settings)
        StopStrings(stop or ())
        form = Dialogue(user=user, assistant=assistant, escape=escape)
        prompts = [] if chat else _prompts(prompt, prompts_file)
        generator = Generator.load(model, device, dtype)
        options = settings | {"seed": seed}
        if chat:
            _talk(Chat(generator, form), max_new_tokens, options)
            return
        options |= {"stop": tuple(stop or ()), "overlong": overlong}
        if output is None and len(prompts) == nsamples == 1 and sys.stdout.isatty():
            _show(generator, prompts[0], max_new_tokens, options)
            return
        options |= {"num_samples": nsamples, "batch_size": batch_size}
        if output is None:
            generator.generate(prompts, max_new_tokens, on_texts=_print, **options)
        else:
            _save(output, generator, prompts, max_new_tokens, options)


def _prompts(given: list[str] | None, file: Path | None) -> list[str]:
    """The prompts of the options, else of the pipe, else an empty one for a new document."""
    from corpuskit.cli.records import read_text, texts_under
    from corpuskit.errors import InputError
    from corpuskit.ingest.records import holds_records

    prompts = [_require_utf8(text, "--prompt") for text in given or []]
    if file is not None:
        found = texts_under(file, "input") if holds_records(file) else _lines(read_text(file))
        if not found:
            raise InputError(
                "there is no prompt in it", where=str(file), hint='for an empty prompt use --prompt ""'
            )
        prompts += found
    elif not prompts and not sys.stdin.isatty():
        with _reading_stdin():
            prompts = _lines(_require_utf8(sys.stdin.read(), "standard input"))
    return prompts or [""]


def _require_utf8(text: str, where: str) -> str:
    """Bytes that are not UTF-8 come from the system as lone surrogates."""
    from corpuskit.errors import InputError

    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError("not UTF-8", where=where, hint=_CONVERT)
    return text


@contextmanager
def _reading_stdin() -> Iterator[None]:
    from corpuskit.errors import InputError

    try:
        yield
    except UnicodeDecodeError as error:
        raise InputError(f"not {error.encoding}", where="standard input", hint=_CONVERT) from error


def _lines(text: str) -> list[str]:
    return [line for line in text.removeprefix("\ufeff").split("\n") if line.strip()]


def _show(generator: Generator, prompt: str, max_new_tokens: int, options: dict[str, Any]) -> None:
    """Print a text while it is written."""
    if not generator.answers:
        print(prompt, end="", flush=True)
    for piece in generator.stream(prompt, max_new_tokens, **options):
        print(piece, end="", flush=True)
    print()


def _talk(chat: Chat, max_new_tokens: int, options: dict[str, Any]) -> None:
    """Answer line by line; on a terminal with a prompt, from a pipe just the answers."""
    from corpuskit.cli import print_error
    from corpuskit.errors import CorpuskitError

    terminal = sys.stdin.isatty()
    while True:
        try:
            with _reading_stdin():
                question = _require_utf8(input("> " if terminal else ""), "standard input")
        except EOFError:
            if terminal:
                print()
            return
        if not question.strip():
            continue
        try:
            for piece in chat.stream(question, max_new_tokens, **options):
                print(piece, end="", flush=True)
        except CorpuskitError as error:
            if not terminal:
                raise
            print_error(error)  # a question that is too long is no reason to forget the others
            continue
        print(flush=True)


@contextmanager
def _counted(total: int) -> Iterator[Callable[[int], None]]:
    """Show how many texts are written: a bar on a terminal, else a line every ten seconds."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if console.is_terminal:
        columns = (TextColumn("texts"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            bar = progress.add_task("", total=total)
            yield lambda done: progress.update(bar, completed=done)
        return
    last = time.monotonic()

    def tell(done: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _INTERVAL_S:
            last = time.monotonic()
            print(f"{done:,} of {total:,} texts", file=sys.stderr, flush=True)

    yield tell


def _print(texts: list[str]) -> None:
    for text in texts:
        print(text, flush=True)


def _save(
    output: Path, generator: Generator, prompts: list[str], max_new_tokens: int, options: dict[str, Any]
) -> None:
    """Write the texts as they come; the file appears whole."""
    from corpuskit.files import atomic_path

    total = len(prompts) * options["num_samples"]
    with atomic_path(output) as part, part.open("w", encoding="utf-8") as handle, _counted(total) as tell:
        done = 0

        def write(texts: list[str]) -> None:
            nonlocal done
            for place, text in enumerate(texts, done):
                record = {"prompt": prompts[place // options["num_samples"]], "text": text}
                handle.write(json.dumps(record, ensure_ascii=False) + "\n")
            done += len(texts)
            tell(done)

        generator.generate(prompts, max_new_tokens, on_texts=write, **options)
    print(f"{output}: {total:,} texts")
