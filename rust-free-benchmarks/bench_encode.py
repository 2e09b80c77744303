"""Encoding: ours beside tiktoken and tokenizers, the same ids, one thread each.

Ours goes from an Arrow array to an Arrow array of ids, tiktoken (`encode_ordinary`, its fastest call) and
tokenizers (`encode_batch_fast`, and `encode_batch` as most call it) from Python strings to theirs.
"""

from __future__ import annotations

import os

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # before they are imported
os.environ["RAYON_NUM_THREADS"] = "1"

import sysconfig
from pathlib import Path

import pyarrow as pa
import tiktoken
from corpus import _SHARED, available, texts
from harness import Contender, compare, version

from corpuskit import vocab

CHARACTERS = 1_000_000
NEW_TOKENS = 10_000


def english(max_characters: int) -> list[str]:
    """Read-me files and licences of the installed packages, in the order of their paths."""
    taken, total = [], 0
    for path in sorted(Path(sysconfig.get_path("purelib")).glob("*.dist-info/**/*")):
        is_text = path.name == "METADATA" or path.name.startswith(("LICENSE", "COPYING", "README"))
        if is_text and path.is_file():
            taken.append(path.read_text(encoding="utf-8", errors="ignore"))
            total += len(taken[-1])
            if total >= max_characters:
                break
    return taken


def tokenizers_to_compare() -> dict[str, vocab.Tokenizer]:
    """GPT-2, GPT-2 extended by `NEW_TOKENS`, and OpenAI's larger ones where they lie in the data."""
    gpt2 = vocab.load("gpt2")
    sample = [*texts("news", 1_500_000), *texts("laws", 1_500_000)]
    found = {"GPT-2": gpt2, "GPT-2 extended": vocab.extend(gpt2, sample, NEW_TOKENS if available() else 100)}
    for name in ("cl100k_base", "o200k_base"):
        path = _SHARED / "tokenizers" / f"{name}.tiktoken"
        if path.exists():
            found[name] = vocab.load(path)
    return found


def measure(name: str, tokenizer: vocab.Tokenizer, kind: str, documents: list[str]) -> None:
    """One table."""
    array = pa.array(documents, pa.large_string())
    vocabulary = tokenizer.vocabulary
    encoding = tiktoken.Encoding(
        name, pat_str=vocabulary.pattern, mergeable_ranks=vocabulary.ids, special_tokens={}
    )
    backend = vocabulary.backend()
    expected = [encoding.encode_ordinary(text) for text in documents]

    def check(contender: str, value: object) -> None:
        if isinstance(value, pa.Array):
            value = value.to_pylist()
        elif "tokenizers" in contender:
            value = [encoding.ids for encoding in value]
        if value != expected:
            raise ValueError(f"{contender} gives other ids")

    compare(
        f"Encoding with {name}, {kind}",
        [
            Contender("corpuskit", lambda: tokenizer.encode_batch(array)),
            Contender(version("tiktoken"), lambda: [encoding.encode_ordinary(text) for text in documents]),
            Contender(
                version("tokenizers") + ", encode_batch",
                lambda: backend.encode_batch(documents, add_special_tokens=False),
            ),
            Contender(
                version("tokenizers") + ", encode_batch_fast",
                lambda: backend.encode_batch_fast(documents, add_special_tokens=False),
            ),
        ],
        sum(len(text.encode()) for text in documents) / 1e6,
        "MB",
        rounds=3,
        check=check,
    )


def main() -> None:
    """Chinese news and statutes, and English."""
    corpora = {
        "news": texts("news", CHARACTERS),
        "laws": texts("laws", CHARACTERS),
        "English": english(2 * CHARACTERS),
    }
    for name, tokenizer in tokenizers_to_compare().items():
        for kind, documents in corpora.items():
            measure(name, tokenizer, kind, documents)


if __name__ == "__main__":
    main()
