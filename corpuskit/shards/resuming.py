"""The documents that an interrupted writer has stored, to pass over when they are given again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from corpuskit.errors import MismatchError
from corpuskit.shards.manifest import Manifest, ShardEntry
from corpuskit.shards.shardfile import open_shard


class KnownDocuments:
    """The documents that are in already, in order, to compare with those that are given."""

    def __init__(self, directory: Path, manifest: Manifest, entries: Sequence[ShardEntry]) -> None:
        self._directory, self._manifest = directory, manifest
        self._entries = [entry for entry in entries if entry.rows]
        self._row = 0
        self._ids: pa.StringArray | None = None
        self.remaining = sum(entry.rows for entry in entries)

    def first_id(self) -> str | None:
        return self._shard()[0].as_py() if self.remaining else None

    def skip(self, count: int) -> None:
        self.remaining -= count
        while count:
            step = min(count, self._entries[0].rows - self._row)
            self._advance(step)
            count -= step

    def pass_over(self, ids: pa.StringArray) -> int:
        passed = 0
        while self.remaining and passed < len(ids):
            stored = self._shard()
            count = min(len(stored) - self._row, len(ids) - passed)
            expected, given = stored.slice(self._row, count), ids.slice(passed, count)
            if not expected.equals(given):
                self._refuse(expected, given)
            self._advance(count)
            self.remaining -= count
            passed += count
        return passed

    def _advance(self, count: int) -> None:
        self._row += count
        while self._entries and self._row == self._entries[0].rows:
            self._entries.pop(0)
            self._ids, self._row = None, 0

    def _shard(self) -> pa.StringArray:
        if self._ids is None:
            self._ids = open_shard(self._directory, self._entries[0], self._manifest, "fast").ids
        return self._ids

    def _refuse(self, expected: pa.StringArray, given: pa.StringArray) -> None:
        pairs = zip(expected.to_pylist(), given.to_pylist())
        mine, theirs = next((a, b) for a, b in pairs if a != b)
        raise MismatchError(
            f"other documents are given than before: {theirs} stands where {mine} is in already",
            where=str(self._directory / self._entries[0].name),
            hint="give the same documents in the same order, or choose another directory",
        )
