"""Finding and reading any tokenizer people have, to look at it.

`corpuskit.vocab.formats` reads what corpuskit can train on and export; what it refuses is read here through
the library it belongs to. No code of a model's directory is run and transformers is not needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import tokenizers

from corpuskit.errors import ArtifactError, InputError
from corpuskit.vocab import artifact, formats
from corpuskit.vocab.bytelevel import CL100K_PATTERN
from corpuskit.vocab.huggingface import read_json
from corpuskit.vocab.pieces import SentencePieceModel
from corpuskit.vocab.subjects import ByteLevelSubject, LibrarySubject, PieceSubject, Subject
from corpuskit.vocab.tokenizer import Tokenizer

_MODEL_NAMES = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
_GENERIC_NAMES = ("tokenizer", "spiece", "vocab", "encoder", "merges", "sentencepiece.bpe")
_FORMATS = "a corpuskit artifact, tokenizer.json, *.model, vocab.txt, vocab.json + merges.txt, *.tiktoken"

QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Of qwen.tiktoken (`tokenization_qwen.py` of Qwen-7B): cl100k's, with single digits."""


def open_tokenizer(source: str, name: str | None = None) -> Subject:
    """Read a tokenizer in any form.

    Parameters
    ----------
    source : str
        ``gpt2`` (see `corpuskit.vocab.load`), a file, or a directory: our artifact, a transformers
        directory, or one that holds a single tokenizer file.
    name : str, optional
        What to call it; by default the file's name, or its directory's where that says nothing.

    Raises
    ------
    InputError
        If there is nothing at `source`.
    ArtifactError
        If no tokenizer is there, several are, or it is damaged.
    """
    path = Path(source)
    name = name or _name_of(path)
    if source == "gpt2" and not path.exists():
        return ByteLevelSubject(name, source, formats.load(source))
    if not path.exists():
        raise InputError(
            "no such file or directory", where=source, hint="name a tokenizer's file or directory, or gpt2"
        )
    if path.is_dir() and (path / artifact.METADATA).exists():
        return _ours(name, source, Tokenizer.load(path))
    file = _file_in(path) if path.is_dir() else path
    if file.name == "vocab.txt" or (file.suffix == ".txt" and file.name != "merges.txt"):
        return _wordpiece(name, source, file)
    if file.suffix == ".model":
        return _model(name, source, file)
    if file.suffix == ".tiktoken":
        pattern = QWEN_PATTERN if file.stem == "qwen" else None
        return ByteLevelSubject(name, source, formats.load(file, pattern=pattern))
    if file.suffix == ".json" and file.name not in ("vocab.json", "encoder.json"):
        return _json(name, source, file)
    return _ours(name, source, formats.load(file))


def _name_of(path: Path) -> str:
    stem = path.name if path.is_dir() else path.name.removesuffix(path.suffix)
    if stem in _GENERIC_NAMES and not path.is_dir():
        return path.absolute().parent.name
    return stem or path.absolute().name


def _candidates(directory: Path) -> Iterator[list[Path]]:
    """Files that may be the tokenizer, best first; of each group there must be one."""
    yield [directory / "tokenizer.json"]
    for model in _MODEL_NAMES:
        yield [directory / model]
    yield sorted(directory.glob("*.model"))
    yield sorted(directory.glob("*.tiktoken"))
    yield [directory / "vocab.json"]
    yield [directory / "encoder.json"]
    yield [directory / "vocab.txt"]


def _file_in(directory: Path) -> Path:
    for group in _candidates(directory):
        there = [path for path in group if path.is_file()]
        if len(there) == 1:
            return there[0]
        if there:
            raise ArtifactError(
                f"{len(there)} tokenizers in one directory: {', '.join(path.name for path in there)}",
                where=str(directory),
                hint="name one of the files",
            )
    raise ArtifactError("no tokenizer in this directory", where=str(directory), hint=f"expected {_FORMATS}")


def _ours(name: str, source: str, tokenizer: Tokenizer) -> Subject:
    if isinstance(tokenizer.vocabulary, SentencePieceModel):
        return PieceSubject(name, source, tokenizer.vocabulary.model)
    return ByteLevelSubject(name, source, tokenizer)


def _json(name: str, source: str, file: Path) -> Subject:
    try:
        content = read_json(file)
    except ArtifactError as error:
        raise ArtifactError(error.what, where=error.where, hint="download or save the file again") from error
    if not isinstance(content, dict) or "model" not in content:
        raise ArtifactError(
            "not a tokenizer.json: it has no model", where=str(file), hint=f"expected {_FORMATS}"
        )
    try:
        return ByteLevelSubject(name, source, formats.load(file))
    except ArtifactError:  # not what corpuskit can train on and export, but perhaps a tokenizer
        pass
    try:
        built = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the binding raises plain Exception
        raise ArtifactError(
            f"not a tokenizer that the tokenizers library reads: {error}",
            where=str(file),
            hint="save it again with the library it came from",
        ) from error
    return LibrarySubject(name, source, built)


def _model(name: str, source: str, file: Path) -> Subject:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ArtifactError(f"unreadable: {error.strerror}", where=str(file)) from error
    if re.match(rb"[A-Za-z0-9+/]+={0,2} \d+\r?\n", data):  # Llama 3: tiktoken's ranks under this name
        vocabulary = formats.read_tiktoken(file, CL100K_PATTERN)
        return ByteLevelSubject(name, source, Tokenizer(vocabulary))
    return PieceSubject(name, source, data)


def _wordpiece(name: str, source: str, file: Path) -> Subject:
    """BERT's list of word pieces, with what `tokenizer_config.json` beside it says."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ArtifactError(f"unreadable: {error}", where=str(file)) from error
    vocabulary = {token.rstrip("\r"): i for i, token in enumerate(lines)}
    if "[UNK]" not in vocabulary:
        raise ArtifactError(
            "not a WordPiece vocabulary: it has no [UNK]", where=str(file), hint=f"expected {_FORMATS}"
        )
    config = file.with_name("tokenizer_config.json")
    stored = read_json(config) if config.exists() else {}
    lower = bool(stored.get("do_lower_case", True))
    built = tokenizers.Tokenizer(
        tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100)
    )
    built.normalizer = tokenizers.normalizers.BertNormalizer(
        lowercase=lower,
        handle_chinese_chars=bool(stored.get("tokenize_chinese_chars", True)),
        strip_accents=stored.get("strip_accents"),
    )
    built.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    built.add_special_tokens([t for t in ("[PAD]", "[CLS]", "[SEP]", "[MASK]") if t in vocabulary])
    note = "lower-cases" if lower else "keeps case"
    return LibrarySubject(name, source, built, [f"{note}, as {config.name} says" if stored else note])
