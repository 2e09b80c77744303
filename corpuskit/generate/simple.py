"""`generate` and `generate_to_file` for those who know gpt-2-simple: the same options, by the same names.

What is different: the model is loaded in each call (keep a `Generator` to write more than once), `seed`
is 0 unless given, so a call gives the same texts each time, and `nsamples` need not be a multiple of
`batch_size`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corpuskit.errors import ConfigError, renamed
from corpuskit.files import atomic_path, require_writable
from corpuskit.generate.sampler import Generator

SAMPLE_DELIMITER = "=" * 20 + "\n"

_NAMES = {"max_new_tokens": "length", "num_samples": "nsamples", "prompt": "prefix"}


def generate(
    run_name: str = "run1",
    checkpoint_dir: str | os.PathLike = "checkpoint",
    *,
    prefix: str | None = None,
    truncate: str | re.Pattern[str] | None = None,
    include_prefix: bool = True,
    length: int = 1023,
    nsamples: int = 1,
    batch_size: int = 1,
    temperature: float = 0.7,
    top_k: int = 0,
    top_p: float = 0.0,
    seed: int | None = None,
    return_as_list: bool = False,
    sample_delim: str = SAMPLE_DELIMITER,
    generator: Generator | None = None,
    **unknown: Any,
) -> list[str] | None:
    """Write texts with the model of a run, and print or return them.

    Parameters
    ----------
    run_name, checkpoint_dir : str, path-like
        The model lies in ``checkpoint_dir/run_name``.
    prefix : str, optional
        What the texts begin with. Default: the start of a document.
    truncate : str or re.Pattern, optional
        A string, or a compiled regular expression: a text ends before the first one after the prefix. An
        empty one truncates nothing.
    include_prefix : bool
        Whether the texts begin with the prefix.
    length : int
        Most new tokens of a text.
    nsamples, batch_size : int
        Texts, and how many of them are written at a time.
    temperature, top_k, top_p
        See `Sampling`; `top_k` and `top_p` 0 leave all tokens in.
    seed : int, optional
        Default 0.
    return_as_list : bool
        Return the texts instead of printing them.
    sample_delim : str
        Printed after each text.
    generator : Generator, optional
        Write with this one, and load nothing.

    Raises
    ------
    ConfigError
        If an option is unknown or impossible.
    InputError
        If the run has no model.
    """
    if unknown:
        raise ConfigError(
            "there is no such option",
            where=next(iter(unknown)),
            hint="see help(corpuskit.generate.simple.generate)",
        )
    pattern = re.compile(re.escape(truncate)) if isinstance(truncate, str) else truncate
    if pattern is not None and not pattern.pattern:
        pattern = None
    writer = generator or Generator.load(Path(checkpoint_dir) / run_name)
    with renamed(_NAMES):
        found = writer.generate(
            [prefix or ""],
            max_new_tokens=length,
            num_samples=nsamples,
            batch_size=batch_size,
            include_prompt=False,
            temperature=temperature,
            top_k=top_k or None,
            top_p=top_p or None,
            seed=seed or 0,
        )
    texts = [_shown(text, prefix or "", pattern, include_prefix) for text in found]
    if return_as_list:
        return texts
    for text in texts:
        print(f"{text}\n{sample_delim}", end="")
    return None


def generate_to_file(
    run_name: str = "run1",
    checkpoint_dir: str | os.PathLike = "checkpoint",
    *,
    destination_path: str | os.PathLike = "gpt_2_gen_texts.txt",
    sample_delim: str = SAMPLE_DELIMITER,
    nsamples: int = 20,
    batch_size: int = 1,
    **options: Any,
) -> Path:
    """Write texts into a file, `sample_delim` after each; the options are those of `generate`.

    Returns
    -------
    Path
        The file, which appears whole.

    Raises
    ------
    InputError
        If it cannot be written; nothing is generated then.
    """
    path = Path(destination_path)
    require_writable(path, option="destination_path=")
    texts = generate(
        run_name,
        checkpoint_dir,
        nsamples=nsamples,
        batch_size=batch_size,
        **{**options, "return_as_list": True},
    )
    with atomic_path(path) as part:
        written: Sequence[str] = texts or []
        part.write_text("".join(f"{text}\n{sample_delim}" for text in written), encoding="utf-8")
    return path


def _shown(text: str, prefix: str, pattern: re.Pattern[str] | None, include_prefix: bool) -> str:
    if pattern is not None and (match := pattern.search(text)):
        text = text[: match.start()]
    return prefix + text if include_prefix else text
