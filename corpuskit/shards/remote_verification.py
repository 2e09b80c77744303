"""Verifying a dataset behind a URL: each file fetched, checked as a local one, and removed again.

Not through the reader's cache, which takes no shard that is damaged, and so could not say what is wrong with
it. The room that is needed is that of the largest shard.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from corpuskit.errors import ArtifactError, InputError
from corpuskit.files import disk_full, require_free_space
from corpuskit.ingest.attempts import redact
from corpuskit.ingest.remote import find_remote
from corpuskit.shards.directories import TOKENIZER_NAME
from corpuskit.shards.manifest import MANIFEST_NAME, Manifest, ShardEntry, load_manifest
from corpuskit.shards.remote import fetch_file, fetch_manifest
from corpuskit.shards.verification import Problem, Report, report, tokenizer_problems, verify_shard
from corpuskit.vocab.artifact import METADATA

_TOKENIZER_FILES = (METADATA, "tokenizer.json", "spiece.model")  # those that decide its fingerprint
_WEB = ("http://", "https://")


def verify_remote(url: str) -> Report:
    """As `corpuskit.shards.verify`, for a URL."""
    url = url.rstrip("/")
    with tempfile.TemporaryDirectory(prefix="corpuskit-verify-") as temporary:
        directory = Path(temporary)
        fetch_manifest(url, directory)
        try:
            manifest = load_manifest(directory, allow_incomplete=True)
        except ArtifactError as error:
            return Report(redact(url), 0, 0, 0, (Problem("manifest", MANIFEST_NAME, error.what),))
        found = [verify_remote_shard(url, directory, entry, manifest) for entry in manifest.shards]
    return report_of_remote(url, manifest, found)


def report_of_remote(
    url: str, manifest: Manifest, found: Sequence[tuple[tuple[int, int] | None, list[Problem]]]
) -> Report:
    """The report on a dataset behind a URL, given what was found of each of its shards."""
    url = url.rstrip("/")
    with tempfile.TemporaryDirectory(prefix="corpuskit-verify-") as temporary:
        of_tokenizer = _of_tokenizer(url, Path(temporary), manifest)
    return report(redact(url), manifest, found, _shard_files(url), of_tokenizer)


def verify_remote_shard(
    url: str, directory: Path, entry: ShardEntry, manifest: Manifest
) -> tuple[tuple[int, int] | None, list[Problem]]:
    """`verify_shard` of a shard that is fetched into `directory` for it."""
    url, path = url.rstrip("/"), directory / entry.name
    require_free_space(directory, entry.bytes)
    try:
        try:
            fetch_file(f"{url}/{entry.name}", path)
        except InputError as error:
            if error.what != "no such file":
                raise
        except OSError as error:
            raise disk_full(path) from error
        return verify_shard(path, entry, manifest)
    finally:
        path.unlink(missing_ok=True)


def _shard_files(url: str) -> list[str]:
    if url.lower().startswith(_WEB):
        return []
    names = [file.url.removeprefix(f"{url}/") for file in find_remote(url)[1]]
    return [
        name for name in names if name.startswith("shard-") and name.endswith(".arrow") and "/" not in name
    ]


def _of_tokenizer(url: str, directory: Path, manifest: Manifest) -> list[Problem]:
    beside = directory / TOKENIZER_NAME
    beside.mkdir()
    for name in _TOKENIZER_FILES:
        try:
            fetch_file(f"{url}/{TOKENIZER_NAME}/{name}", beside / name)
        except InputError as error:
            if error.what != "no such file":
                raise
            if name == METADATA:
                return []
    return tokenizer_problems(directory, manifest)
