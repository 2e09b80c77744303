"""The artifact directory: which files, written whole, and as one tar for a run's outputs.

A run publishes single files, so a vocabulary travels as an uncompressed tar without times, owners
or directories: the same vocabulary is the same bytes. `unpack_artifact` puts it in its place.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpuskit.errors import ArtifactError, ConfigError, InputError
from corpuskit.files import disk_full, is_disk_full, sync_directory
from corpuskit.vocab import exports, huggingface, piece_json
from corpuskit.vocab.bytelevel import ByteLevelBPE
from corpuskit.vocab.pieces import SentencePieceModel

if TYPE_CHECKING:
    from corpuskit.vocab.tokenizer import Tokenizer

FORMAT_VERSION = 1
METADATA = "corpuskit.json"
_PIECE_KINDS = ("sentencepiece-unigram", "sentencepiece-bpe")


def files(tokenizer: Tokenizer) -> dict[str, bytes]:
    """Name and content of every file of the artifact."""
    vocabulary = tokenizer.vocabulary
    metadata = {
        "format": "corpuskit-tokenizer",
        "format_version": FORMAT_VERSION,
        "kind": tokenizer.kind,
        "vocab_size": tokenizer.vocab_size,
        "pattern": vocabulary.pattern,
        "normaliser": vocabulary.normaliser,
        "special_tokens": tokenizer.special_tokens,
        "end_of_text": tokenizer.end_of_text,
        "fingerprint": tokenizer.fingerprint,
        "provenance": tokenizer.provenance,
    }
    text = json.dumps(metadata, ensure_ascii=False, indent=2, sort_keys=True, allow_nan=False) + "\n"
    content = {METADATA: text.encode()}
    if isinstance(vocabulary, SentencePieceModel):
        content["spiece.model"] = vocabulary.model
        converted = piece_json.to_json(vocabulary.model)
        if converted is not None:  # else transformers would cut text otherwise than the model does
            content["tokenizer.json"] = converted.encode()
            content["tokenizer_config.json"] = exports.transformers_configuration(tokenizer).encode()
    else:
        content["tokenizer.json"] = vocabulary.to_json().encode()
        content["tokenizer_config.json"] = exports.transformers_configuration(tokenizer).encode()
    return content


def read(directory: Path) -> tuple[ByteLevelBPE | SentencePieceModel, dict[str, Any]]:
    """The vocabulary and the metadata of an artifact directory."""
    path = directory / METADATA
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtifactError(
            f"no tokenizer here: {METADATA} is missing",
            where=str(directory),
            hint="name a directory that Tokenizer.save wrote; corpuskit.vocab.load reads other formats",
        ) from error
    except (OSError, ValueError) as error:
        raise ArtifactError(f"unreadable: {error}", where=str(path)) from error
    if not isinstance(stored, dict) or stored.get("format") != "corpuskit-tokenizer":
        raise ArtifactError("not the description of a tokenizer", where=str(path))
    if stored.get("format_version") != FORMAT_VERSION:
        raise ArtifactError(
            f"format version {stored.get('format_version')}, and this corpuskit reads {FORMAT_VERSION}",
            where=str(path),
            hint="install a corpuskit that knows it",
        )
    kind = stored.get("kind")
    if kind == "byte-bpe":
        return huggingface.read_tokenizer_json(directory / "tokenizer.json"), stored
    if kind in _PIECE_KINDS:
        special = stored.get("special_tokens")
        if not isinstance(special, dict):
            raise ArtifactError("special_tokens is missing or no object", where=str(path))
        return SentencePieceModel(kind, _model_bytes(directory), special), stored
    raise ArtifactError(f"unknown kind {kind!r}", where=str(path))


def _model_bytes(directory: Path) -> bytes:
    try:
        return (directory / "spiece.model").read_bytes()
    except OSError as error:
        raise ArtifactError(f"unreadable: {error}", where=str(directory / "spiece.model")) from error


def require_place(directory: Path) -> None:
    """Make the directory that an artifact will stand in; to be asked before long work, too.

    Raises
    ------
    ConfigError
        If something that is no artifact is in its place.
    InputError
        If the directory cannot be made.
    """
    ours = not directory.exists() or (directory / METADATA).exists()
    if not ours and (not directory.is_dir() or any(directory.iterdir())):
        raise ConfigError(
            "would replace something that is not a tokenizer",
            where=str(directory),
            hint="choose a new or empty directory",
        )
    try:
        directory.absolute().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"no directory can be made there: {error.strerror}",
            where=str(directory),
            hint="choose a directory that can be written",
        ) from error


def write_directory(directory: Path, content: Mapping[str, bytes]) -> Path:
    """Write files as `directory`, whole or not at all, replacing an older artifact."""
    directory = directory.absolute()
    require_place(directory)
    replaces = directory.exists()
    partial = directory.with_name(f".{directory.name}.{os.getpid()}.partial")
    old = directory.with_name(f".{directory.name}.{os.getpid()}.replaced")
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        partial.mkdir()
        for name, data in content.items():
            with open(partial / name, "wb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
        sync_directory(partial)
        if replaces:
            directory.rename(old)
        partial.rename(directory)
        sync_directory(directory.parent)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        if old.exists() and not directory.exists():
            old.rename(directory)
        if is_disk_full(error):
            raise disk_full(directory) from error
        raise InputError(
            f"the tokenizer cannot be written: {error.strerror}",
            where=str(directory),
            hint="choose a directory that can be written",
        ) from error
    shutil.rmtree(old, ignore_errors=True)
    return directory


def pack_artifact(content: Mapping[str, bytes]) -> bytes:
    """The files as one uncompressed tar whose bytes depend on nothing else."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(content):
            member = tarfile.TarInfo(name)
            member.size = len(content[name])
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(content[name]))
    return buffer.getvalue()


def unpack_artifact(tar_path: str | os.PathLike, directory: str | os.PathLike) -> Path:
    """Write the artifact inside a vocabulary job's output as `directory`, whole or not at all.

    Parameters
    ----------
    tar_path : path-like
        An output of kind ``vocabulary``.
    directory : path-like
        Where it goes; an older artifact there is replaced.

    Raises
    ------
    ArtifactError
        If the file is not such a tar.
    ConfigError
        If `directory` holds something that is not a tokenizer artifact.
    """
    content = {}
    try:
        with tarfile.open(tar_path, mode="r:") as archive:
            for member in archive:
                handle = archive.extractfile(member)
                if handle is None or Path(member.name).name != member.name:
                    raise ArtifactError(f"unexpected member {member.name!r}", where=str(tar_path))
                content[member.name] = handle.read()
    except (OSError, tarfile.TarError) as error:
        raise ArtifactError(f"not a packed tokenizer: {error}", where=str(tar_path)) from error
    if METADATA not in content:
        raise ArtifactError(f"{METADATA} is missing", where=str(tar_path))
    return write_directory(Path(directory), content)
