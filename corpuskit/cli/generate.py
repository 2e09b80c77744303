"""`corpuskit generate`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from corpuskit.generate import Chat, Generator


def generate(
    model: Annotated[Path, typer.Argument(help="A model directory.")],
    prompt: Annotated[list[str] | None, typer.Option(help="Text to go on from. May be repeated.")] = None,
    prompts_file: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="File with a prompt a line, or JSON Lines with input."
        ),
    ] = None,
    chat: Annotated[bool, typer.Option("--chat", help="Talk: a question a line, until the end.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write JSON Lines with prompt and text there.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 100,
    nsamples: Annotated[int, typer.Option(min=1, help="Texts a prompt.")] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts that are written at a time.")] = 16,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy.")] = 0.7,
    top_k: Annotated[int | None, typer.Option(min=1, help="Only the k most likely tokens.")] = None,
    top_p: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Only the likely tokens of this total share.")
    ] = None,
    min_p: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Only tokens this share as likely as the likeliest."),
    ] = None,
    repetition_penalty: Annotated[float, typer.Option(min=0.0)] = 1.0,
    no_repeat_ngram: Annotated[
        int, typer.Option(min=0, help="Let no sequence of so many tokens occur twice.")
    ] = 0,
    beams: Annotated[int, typer.Option(min=1, help="Search with so many beams instead of drawing.")] = 1,
    length_penalty: Annotated[float, typer.Option(help="With beams: above 0 favours longer texts.")] = 1.0,
    stop: Annotated[
        list[str] | None, typer.Option(help="End a text before this string. May be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option()] = 0,
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
    from corpuskit.cli.outputs import require_writable
    from corpuskit.cli.parameters import options_named
    from corpuskit.errors import ConfigError
    from corpuskit.generate import Chat, Dialogue, Generator

    options: dict[str, Any] = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "no_repeat_ngram": no_repeat_ngram,
        "beams": beams,
        "length_penalty": length_penalty,
        "seed": seed,
    }
    if chat and (prompt or prompts_file or output or nsamples > 1 or stop):
        raise ConfigError(
            "takes its questions from the terminal or a pipe, and answers each once",
            where="--chat",
            hint="leave out --prompt, --prompts-file, --output, --nsamples and --stop",
        )
    if output is not None:
        require_writable(output)
    with options_named({"device": "--device"}):
        generator = Generator.load(model, device, dtype)
    if chat:
        form = Dialogue(user=user, assistant=assistant, escape=escape)
        _talk(Chat(generator, form), max_new_tokens, options)
        return
    prompts = _prompts(prompt, prompts_file)
    options |= {"stop": tuple(stop or ()), "overlong": overlong}
    if output is None and len(prompts) == nsamples == 1 and sys.stdout.isatty():
        _show(generator, prompts[0], max_new_tokens, options)
        return
    texts = generator.generate(
        prompts, max_new_tokens, num_samples=nsamples, batch_size=batch_size, **options
    )
    if output is None:
        for text in texts:
            print(text)
        return
    _save(output, [item for item in prompts for _ in range(nsamples)], list(texts))


def _prompts(given: list[str] | None, file: Path | None) -> list[str]:
    """The prompts of the options, else of the pipe, else an empty one for a new document."""
    from corpuskit.cli.records import read_text, texts_under
    from corpuskit.ingest.records import holds_records

    prompts = list(given or [])
    if file is not None and holds_records(file):
        prompts += texts_under(file, "input")
    elif file is not None:
        prompts += _lines(read_text(file))
    elif not prompts and not sys.stdin.isatty():
        prompts = _lines(sys.stdin.read())
    return prompts or [""]


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
    terminal = sys.stdin.isatty()
    while True:
        try:
            question = input("> " if terminal else "")
        except EOFError:
            return
        if not question.strip():
            continue
        for piece in chat.stream(question, max_new_tokens, **options):
            print(piece, end="", flush=True)
        print(flush=True)


def _save(output: Path, prompts: list[str], texts: list[str]) -> None:
    from corpuskit.files import atomic_path

    with atomic_path(output) as part, part.open("w", encoding="utf-8") as handle:
        for prompt, text in zip(prompts, texts, strict=True):
            handle.write(json.dumps({"prompt": prompt, "text": text}, ensure_ascii=False) + "\n")
    print(f"{output}: {len(texts):,} texts")
