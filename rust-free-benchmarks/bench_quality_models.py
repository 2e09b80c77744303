"""Scoring with trained quality models: ours beside scikit-learn and fastText, one core.

Every contender scores the same news documents from memory (ours from the Arrow array a reader would
hand it, the peers from Python strings) with a model of the same task: laws against news. Ours and
scikit-learn's use character n-grams of 1 to 3 in 2**20 buckets; fastText gets its words as single
characters, word n-grams of 1 to 3, as many buckets, and 16 dimensions. The language
model has no peer that installs without a compiler (KenLM comes as source).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from corpus import texts
from harness import Contender, compare, version
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression

from corpuskit.clean.classifier import QualityModel
from corpuskit.clean.classifier_training import train_quality_model
from corpuskit.clean.folding import fold
from corpuskit.clean.perplexity import PerplexityModel
from corpuskit.clean.perplexity_training import train_perplexity_model
from corpuskit.documents import document_batch

TRAINING_CHARACTERS, SCORED_CHARACTERS = 2_000_000, 3_000_000
LONG = 20_000_000  # for the language model, whose speed depends on its size


def main() -> None:
    """Train each contender, then score with all in turn."""
    good, news = texts("laws", TRAINING_CHARACTERS), texts("news", TRAINING_CHARACTERS + SCORED_CHARACTERS)
    scored, raw = news[: len(news) // 2], news[len(news) // 2 :]
    array = pa.array(scored, pa.large_string())
    with tempfile.TemporaryDirectory() as directory:
        classifier, language = Path(directory) / "quality.ckq", Path(directory) / "lm.ckq"
        train_quality_model(batches(good), batches(raw)).save(classifier)
        train_perplexity_model(batches([*texts("laws", LONG // 2), *texts("broadcast", LONG // 2)])).save(
            language
        )
        quality, perplexity = QualityModel.load(classifier), PerplexityModel.load(language)
        contenders = [
            Contender("corpuskit quality score", lambda: quality.scores(array)),
            sklearn_contender(good, raw, scored),
        ]
        fasttext = fasttext_contender(good, raw, scored, Path(directory))
        if fasttext is not None:
            contenders.append(fasttext)
        megabytes = sum(len(text.encode()) for text in scored) / 1e6

        def complete(name: str, value: object) -> None:
            check(name, value, len(scored))

        compare("Quality scores of documents", contenders, megabytes, "MB", check=complete)
        print(f"\nthe language model has {perplexity.slots.nbytes / 1e6:,.0f} MB of n-grams")
        ours = Contender("corpuskit perplexity", lambda: perplexity.perplexities(array))
        compare("Perplexities of documents", [ours], megabytes, "MB", check=complete)


def batches(documents: list[str]) -> list[pa.RecordBatch]:
    """One batch of documents."""
    return [document_batch([str(i) for i in range(len(documents))], documents)]


def check(name: str, value: object, expected: int) -> None:
    """Raise unless there is a score for every document."""
    if len(value) != expected:  # type: ignore[arg-type]
        raise ValueError(f"{name} made {len(value)} scores of {expected}")  # type: ignore[arg-type]


def sklearn_contender(good: list[str], raw: list[str], scored: list[str]) -> Contender:
    """HashingVectorizer and the linear model's probability."""
    vectorizer = HashingVectorizer(analyzer="char", ngram_range=(1, 3), n_features=1 << 20, lowercase=True)
    features = vectorizer.transform([text[:1000] for text in (*good, *raw)])
    model = LogisticRegression(solver="liblinear").fit(features, np.repeat([1, 0], [len(good), len(raw)]))
    return Contender(
        f"{version('scikit-learn')}, hashed n-grams",
        lambda: model.predict_proba(vectorizer.transform(scored))[:, 1],
    )


def fasttext_contender(
    good: list[str], raw: list[str], scored: list[str], directory: Path
) -> Contender | None:
    """fastText's supervised classifier, where one of its wheels is installed (fasttext-wheel)."""
    try:
        import fasttext
    except ImportError:
        print("fastText is not installed; left out (pip install fasttext-wheel)")
        return None
    path = directory / "train.txt"
    with path.open("w", encoding="utf-8") as file:
        for label, documents in (("good", good), ("raw", raw)):
            file.writelines(f"__label__{label} {' '.join(fold(text))}\n" for text in documents)
    model = fasttext.train_supervised(
        str(path), wordNgrams=3, dim=16, bucket=1 << 20, lr=0.02, epoch=3, thread=1, verbose=0
    )
    return Contender(
        "fastText, characters as words",
        lambda: model.predict([" ".join("".join(text.split())) for text in scored])[1],
    )


if __name__ == "__main__":
    main()
