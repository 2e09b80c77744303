"""`corpuskit judge`: perplexity of a model, scores of answers, passages learned by heart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from corpuskit.cli.records import read_text, texts_under

judge = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Predictions = Annotated[
    Path, typer.Argument(help="Answers: a line each, or JSON Lines with target or text.", show_default=False)
]


@judge.command("perplexity")
def judge_perplexity(
    model: Annotated[Path, typer.Argument(help="A causal model's directory.")],
    inputs: Annotated[list[str], typer.Argument(help="Files, directories or globs with documents.")],
    context_length: Annotated[
        int | None, typer.Option(min=2, help="Tokens of a window; by default the model's context.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 8,
    json_: AsJson = False,
) -> None:
    """How likely a model finds texts: perplexity a token, bits a character and byte."""
    from corpuskit.errors import ConfigError, InputError
    from corpuskit.ingest import read
    from corpuskit.models import load, load_tokenizer
    from corpuskit.train.judging import Likelihood, likelihood

    loaded, tokenizer = load(model), load_tokenizer(model)
    if tokenizer is None:
        raise ConfigError(
            "there is no tokenizer beside the model",
            where=str(model),
            hint="put the files of the tokenizer it was trained with into its directory",
        )
    total = Likelihood(0.0, 0, 0, 0)
    for batch in read(inputs):
        if not batch.num_rows:
            continue
        texts = batch.column("text").to_pylist()
        total = sum(
            likelihood(loaded, tokenizer, texts, context_length=context_length, batch_size=batch_size), total
        )
    if not total.tokens:
        raise InputError(
            "there is no document to judge",
            where=", ".join(inputs),
            hint="give texts, or JSON Lines with the key text",
        )
    _show(
        {
            "perplexity": total.perplexity,
            "bits_per_token": total.bits_per_token,
            "bits_per_character": total.bits_per_character,
            "bits_per_byte": total.bits_per_byte,
            "tokens": total.tokens,
            "characters": total.characters,
            "bytes": total.bytes,
        },
        json_,
    )


@judge.command("answers")
def judge_answers(
    predictions: Predictions,
    references: Annotated[Path, typer.Argument(help="What they should be, in the same order and form.")],
    unit: Annotated[
        Literal["characters", "words"], typer.Option(help="What ROUGE, F1 and distinct-n count.")
    ] = "characters",
    json_: AsJson = False,
) -> None:
    """BLEU, ROUGE, exact match and F1 of answers, and how varied they are."""
    from corpuskit.train.judging import bleu, distinct_ngrams, exact_match, f1, rouge

    answers, wanted = _answers(predictions), _answers(references)
    _show(
        {
            "exact_match": exact_match(answers, wanted),
            "f1": f1(answers, wanted, unit),
            "bleu": bleu(answers, wanted),
            **rouge(answers, wanted, unit),
            "distinct1": distinct_ngrams(answers, 1, unit),
            "distinct2": distinct_ngrams(answers, 2, unit),
            "pairs": len(answers),
        },
        json_,
    )


@judge.command("pclue")
def judge_pclue(
    predictions: Predictions,
    targets: Annotated[Path, typer.Argument(help="pCLUE's records: JSON Lines with target and type.")],
    mode: Annotated[
        Literal["strict", "published"], typer.Option(help="published: as its script computes it.")
    ] = "strict",
    json_: AsJson = False,
) -> None:
    """The pCLUE score."""
    from corpuskit.ingest.records import read_records
    from corpuskit.train.judging import score_pclue

    records = [record.value for record in read_records(targets)]
    found = asdict(score_pclue(_answers(predictions), records, mode))
    counts = found.pop("counts")
    _show({**found, **{f"{part}_tasks": count for part, count in counts.items()}}, json_)


@judge.command("memorisation")
def judge_memorisation(
    texts: Annotated[
        Path, typer.Argument(help="Generated texts: a line each, or JSON Lines with target or text.")
    ],
    shards: Annotated[Path, typer.Argument(help="The token dataset that the model was trained on.")],
    ngram: Annotated[int, typer.Option(min=2, max=64, help="Characters of an n-gram.")] = 13,
    json_: AsJson = False,
) -> None:
    """How much of generated texts stands in the training data."""
    from corpuskit.shards import open as open_dataset
    from corpuskit.train.judging import memorisation
    from corpuskit.vocab import Tokenizer

    answers = _answers(texts)
    data = open_dataset(shards)
    found = memorisation(answers, data, Tokenizer.load(shards / "tokenizer"), ngram=ngram)
    if json_:
        print(json.dumps([asdict(one) for one in found], ensure_ascii=False, indent=2))
        return
    for text, one in zip(answers, found, strict=True):
        share = "  —  " if one.share is None else f"{one.share:5.0%}"
        print(f"{share}  longest {one.longest:4}  {_short(text)}")
        if one.longest:
            print(f"       {one.document}: {_short(one.passage)}")
    known = [one.share for one in found if one.share is not None]
    if known:
        longest = max(one.longest for one in found)
        print(f"mean share {sum(known) / len(known):.1%}, longest run {longest} characters")


def _answers(path: Path) -> list[str]:
    """A text a line, or of each JSON record the `target`, or the `text` that `generate` wrote."""
    from corpuskit.ingest.records import holds_records

    if not holds_records(path):
        return read_text(path).splitlines()
    return texts_under(path, "target", "text")


def _show(facts: Mapping[str, Any], json_: bool) -> None:
    if json_:
        print(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        if value is not None:
            shown = f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
            print(f"{name.replace('_', ' '):20} {shown}")


def _short(text: str, width: int = 60) -> str:
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= width else one_line[: width - 1] + "…"
