"""Verifying a dataset behind a URL: each file fetched, checked as a local one, and removed again.

Not through the reader's cache, which takes no shard that is damaged, and so could not say what is wrong with
it. The room that is needed is that of the largest shard.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from corpuskit.errors import InputError
from corpuskit.files import disk_full, require_free_space
from corpuskit.ingest.attempts import redact
from corpuskit.ingest.remote import find_remote
from corpuskit.shards.directories import TOKENIZER_NAME
from corpuskit.shards.manifest import Manifest, ShardEntry
from corpuskit.shards.remote import fetch_file, fetch_manifest
from corpuskit.shards.verification import Found, Problem, read_manifest, tokenizer_problems, verify_shard
from corpuskit.vocab.artifact import METADATA

_TOKENIZER_FILES = (METADATA, "tokenizer.json", "spiece.model")  # those that decide its fingerprint
_WEB = ("http://", "https://")


class RemoteSuspect:
    """As `corpuskit.shards.verification.Suspect` says, for a URL."""

    def __init__(self, url: str) -> None:
        self._url, self.name = url.rstrip("/"), redact(url.rstrip("/"))

    def manifest(self) -> Manifest | Problem:
        """Fetched each time."""
        with _temporary() as directory:
            fetch_manifest(self._url, directory)
            return read_manifest(directory)

    def shard(self, entry: ShardEntry, manifest: Manifest) -> Found:
        """Of the shard's file, fetched into a directory of its own."""
        with _temporary() as directory:
            path = directory / entry.name
            require_free_space(directory, entry.bytes)
            try:
                fetch_file(f"{self._url}/{entry.name}", path)
            except InputError as error:
                if error.what != "no such file":
                    raise
            except OSError as error:
                raise disk_full(path) from error
            return verify_shard(path, entry, manifest)

    def shard_names(self) -> list[str]:
        """None of a web server's, which need not list."""
        if self._url.lower().startswith(_WEB):
            return []
        names = [file.url.removeprefix(f"{self._url}/") for file in find_remote(self._url)[1]]
        return [name for name in names if fnmatchcase(name, "shard-*.arrow") and "/" not in name]

    def tokenizer_problems(self, manifest: Manifest) -> list[Problem]:
        """Of the files that decide its fingerprint."""
        with _temporary() as directory:
            beside = directory / TOKENIZER_NAME
            beside.mkdir()
            for name in _TOKENIZER_FILES:
                try:
                    fetch_file(f"{self._url}/{TOKENIZER_NAME}/{name}", beside / name)
                except InputError as error:
                    if error.what != "no such file":
                        raise
                    if name == METADATA:
                        return []
            return tokenizer_problems(directory, manifest)


@contextmanager
def _temporary() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="corpuskit-verify-") as directory:
        yield Path(directory)
