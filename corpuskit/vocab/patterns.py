"""Pre-tokenisation by kernels: which patterns they know, and their class tables.

Any other pattern needs a regex engine; see `corpuskit.vocab.pretokens` and `corpuskit.vocab.encoder` for who
takes over then.
"""

from __future__ import annotations

import gzip
import importlib.resources
from collections.abc import Iterator
from functools import cache
from typing import Literal, NamedTuple

import numpy as np

from corpuskit.vocab.bytelevel import (
    CHINESE_PATTERN,
    CL100K_PATTERN,
    CL100K_TIKTOKEN_PATTERN,
    GPT2_PATTERN,
    O200K_PATTERN,
)

_CODE_POINTS_A_BLOCK = 64
_PRETOKENS_A_CALL = 1 << 13  # their ends stay in the cache until they are used


class Rules(NamedTuple):
    """A pattern as `corpuskit.kernels.pretokenize` takes it: the kernel, and what varies in a family."""

    family: Literal["gpt2", "cl100k", "o200k", "chinese"]
    digits: int = 3
    whole_end: bool = False


PATTERNS: dict[str, Rules] = {
    GPT2_PATTERN: Rules("gpt2"),
    CL100K_PATTERN: Rules("cl100k"),
    CL100K_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}"): Rules("cl100k", digits=1),  # Qwen 2
    CL100K_TIKTOKEN_PATTERN: Rules("cl100k", whole_end=True),
    O200K_PATTERN: Rules("o200k"),
    CHINESE_PATTERN: Rules("chinese"),
}


def cut_texts(rules: Rules, data: np.ndarray, offsets: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Cut consecutive texts into pre-tokens.

    Parameters
    ----------
    rules : Rules
    data : numpy.ndarray[uint8]
        Valid UTF-8.
    offsets : numpy.ndarray[int64], length n + 1
        Text ``i`` is ``data[offsets[i]:offsets[i + 1]]``.

    Yields
    ------
    (int, numpy.ndarray[uint64])
        Where some pre-tokens begin, and the end of each, where the next one begins, across texts too. The
        array is written anew for the next ones.
    """
    from corpuskit.kernels import pretokenize

    kernels = {
        "gpt2": pretokenize.cut_gpt2,
        "cl100k": pretokenize.cut_cl100k,
        "o200k": pretokenize.cut_o200k,
        "chinese": pretokenize.cut_chinese,
    }
    cut = kernels[rules.family]
    index, blocks = unicode_classes()
    begin, stop, row = int(offsets[0]), int(offsets[-1]), 0
    ends = np.empty(min(stop - begin, _PRETOKENS_A_CALL), np.uint64)
    while begin < stop:
        count, row = cut(
            data, offsets, row, np.uint64(begin), index, blocks, ends, rules.digits, rules.whole_end
        )
        yield begin, ends[:count]
        begin = int(ends[count - 1])


@cache
def unicode_classes() -> tuple[np.ndarray, np.ndarray]:
    """`index` and `blocks` of the kernels of `corpuskit.kernels.pretokenize`."""
    packed = importlib.resources.files("corpuskit.vocab") / "unicode_classes.gz"
    classes = np.frombuffer(gzip.decompress(packed.read_bytes()), np.uint8)
    numbers: dict[bytes, int] = {}
    index = np.array(
        [
            numbers.setdefault(classes[start : start + _CODE_POINTS_A_BLOCK].tobytes(), len(numbers))
            for start in range(0, classes.size, _CODE_POINTS_A_BLOCK)
        ],
        np.uint16,
    )
    return index, np.frombuffer(b"".join(numbers), np.uint8)
