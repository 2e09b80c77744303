"""Scores of documents by either kind of trained model, as lines to read and sort."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from corpuskit.clean import classifier, modelfile, perplexity
from corpuskit.clean.classifier import QualityModel
from corpuskit.clean.perplexity import PerplexityModel
from corpuskit.clean.steps import texts
from corpuskit.documents import DocumentBatch

OPENING_CHARACTERS = 30
"""What a line shows of its document."""


def load_model(path: str | os.PathLike) -> QualityModel | PerplexityModel:
    """The model in a file, whichever of the two kinds it is.

    Raises
    ------
    ArtifactError
        If the file is missing, damaged, no model, or made by a newer version.
    """
    header = modelfile.read_header(path, classifier.KIND, perplexity.KIND)
    if header["kind"] == classifier.KIND:
        return QualityModel.load(path)
    return PerplexityModel.load(path)


def score_lines(model: QualityModel | PerplexityModel, batches: Iterable[DocumentBatch]) -> Iterator[str]:
    """One line a document, tab-separated, after a line of names.

    Yields
    ------
    str
        ``score id opening`` for a classifier, ``perplexity bucket id opening`` for a language
        model; ``source_id`` stands for ``id`` where the data has one.
    """
    ranked = isinstance(model, PerplexityModel)
    yield "perplexity\tbucket\tid\topening" if ranked else "score\tid\topening"
    for batch in batches:
        text = texts(batch)
        if isinstance(model, PerplexityModel):
            values = model.perplexities(text)
            measured = [f"{v:.2f}\t{bucket}" for v, bucket in zip(values, model.buckets(values))]
        else:
            measured = [f"{v:.4f}" for v in model.scores(text)]
        name = "source_id" if "source_id" in batch.schema.names else "id"
        for value, identity, content in zip(measured, batch.column(name), text):
            opening = "".join(content.as_py()[: 4 * OPENING_CHARACTERS].split())[:OPENING_CHARACTERS]
            yield f"{value}\t{identity.as_py()}\t{opening}"


def describe(model: PerplexityModel) -> str:
    """What training a language model measured, as lines of text."""
    report = model.report
    sizes = ", ".join(f"{kept:,}" for kept in report["kept_ngrams"])
    lines = [
        f"{report['train_documents']:,} documents; n-grams of 1 to {model.order} characters: {sizes}",
        f"percentiles of {report['measured_documents']:,} documents ({report['percentiles_of']}):",
        "percentile  perplexity",
    ]
    lines += [f"{p:10d}  {model.threshold(p):10.2f}" for p in (5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95)]
    if report["held_out_perplexity"] is not None:
        lines.insert(1, f"perplexity of held-out reference text: {report['held_out_perplexity']:.2f}")
    return "\n".join(lines)
