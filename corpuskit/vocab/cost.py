"""What an extension buys and what it costs, measured on a text.

Bytes a token before and after say what it buys. It costs rows (those of new tokens that a text never uses
are wasted there) and, done carelessly, the base's own text: lines of English that are cut differently
are lines the model never saw cut so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from corpuskit.errors import InputError
from corpuskit.vocab.tokenizer import Tokenizer

ENGLISH_LINES = (
    "The committee did not meet on Tuesday, because most of its members were away.",
    "People create many small programs; few of them are still in use a year later.",
    "In 1998 the river rose by 3.2 metres and flooded the lower part of the town.",
    '"Well," she said, "I\'d rather we didn\'t talk about it until they\'re here."',
    "def mean(values): return sum(values) / len(values)  # fails on an empty list",
    "Please send your answer to the address below by 5 p.m. on Friday, 12 March.",
    "    for (int i = 0; i < n; ++i) { total += weights[i] * inputs[i]; }",
    "It's the third-largest city in the country and has its own symphony orchestra.",
    "SELECT name, COUNT(*) FROM visits WHERE year >= 2020 GROUP BY name;",
    "The results (see table 4) are consistent with those of earlier studies [12, 17].",
    "WARNING: the file was written by an older version and will be converted!",
    "After a long winter the garden came back to life, one green shoot at a time.",
)
"""English and code, written for this purpose."""

_BATCH_BYTES = 4 << 20


@dataclass(frozen=True)
class ExtensionCost:
    """Counts over one text.

    Attributes
    ----------
    num_new_tokens : int
        Ids the extension added.
    text_bytes, tokens_before, tokens_after : int
        UTF-8 bytes of the text, and its tokens under the base and under the extension.
    unused : int
        New tokens that do not occur in the text.
    ascii_lines, changed_lines : int
        Lines of ASCII, and how many of them get other ids than before.
    """

    num_new_tokens: int
    text_bytes: int
    tokens_before: int
    tokens_after: int
    unused: int
    ascii_lines: int
    changed_lines: int

    @property
    def bytes_per_token_before(self) -> float:
        return self.text_bytes / self.tokens_before

    @property
    def bytes_per_token_after(self) -> float:
        return self.text_bytes / self.tokens_after

    def __str__(self) -> str:
        return (
            f"bytes per token: {self.bytes_per_token_before:.3f} before, {self.bytes_per_token_after:.3f} "
            f"after ({self.tokens_before / self.tokens_after:.2f}x fewer tokens)\n"
            f"new tokens this text does not use: {self.unused:,} of {self.num_new_tokens:,}\n"
            f"English lines cut differently: {self.changed_lines:,} of {self.ascii_lines:,}"
        )


def extension_cost(
    base: Tokenizer,
    extended: Tokenizer,
    texts: Iterable[str],
    *,
    ascii_lines: Sequence[str] = ENGLISH_LINES,
) -> ExtensionCost:
    """Measure an extension.

    Parameters
    ----------
    base, extended : Tokenizer
        Before and after.
    texts : iterable of str
        Text of the kind the extension is for, best such as it was not made from.
    ascii_lines : sequence of str
        Text the base was made for; by default a few lines of English and code.

    Raises
    ------
    InputError
        If there is no text.
    """
    used = np.zeros(extended.vocab_size, bool)
    text_bytes = before = after = 0
    for batch in _batches(texts):
        array = pa.array(batch, pa.large_string())
        text_bytes += sum(len(text.encode()) for text in batch)
        before += len(base.encode_batch(array).values)
        ids = extended.encode_batch(array).values.to_numpy()
        after += len(ids)
        used[ids] = True
    if not after:
        raise InputError("no text to measure the extension on", where="texts")
    lines = pa.array(list(ascii_lines), pa.large_string())
    pairs = zip(base.encode_batch(lines).to_pylist(), extended.encode_batch(lines).to_pylist())
    return ExtensionCost(
        extended.vocab_size - base.vocab_size,
        text_bytes,
        before,
        after,
        int((~used[base.vocab_size :]).sum()),
        len(lines),
        sum(old != new for old, new in pairs),
    )


def _batches(texts: Iterable[str]) -> Iterable[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += 3 * len(text)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
