"""``s3://`` through pyarrow, for where s3fs is not installed.

s3fs brings botocore, whose pins other packages' often contradict; pyarrow is here anyway. s3fs, where it is
installed, knows more ways to be configured (buckets without credentials, other regions by themselves).
"""

from __future__ import annotations

from typing import Any

from fsspec.implementations.arrow import ArrowFSWrapper
from pyarrow.fs import FileInfo, FileSelector, FileType

from corpuskit.files import s3_file_system


class ArrowS3(ArrowFSWrapper):
    """pyarrow's S3 as an fsspec file system; endpoint, region and credentials from the environment."""

    cachable = False  # the environment may have changed

    def __init__(self) -> None:
        super().__init__(s3_file_system())

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        """`path` itself: a key may hold any character, also those that end a path in a URL."""
        return path.rstrip("/")

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **_: Any
    ) -> Any:
        """What lies below `path`; `glob` uses it too.

        fsspec's own passes over what it cannot list, and pyarrow says so in no other way than by `OSError`:
        with a store that fails for a moment, inputs would be missing and nobody told.
        """
        path = self._strip_protocol(path)
        found = [self.fs.get_file_info(path)]
        if found[0].type is not FileType.File:
            found = self._below(path, maxdepth)
        entries = {e["name"]: e for e in map(self._make_entry, found)}
        wanted = {name: e for name, e in sorted(entries.items()) if withdirs or e["type"] == "file"}
        return wanted if detail else list(wanted)

    def _below(self, path: str, maxdepth: int | None) -> list[FileInfo]:
        if maxdepth is None:
            return self.fs.get_file_info(FileSelector(path, recursive=True, allow_not_found=True))
        found: list[FileInfo] = []
        level = [path]
        for _ in range(maxdepth):
            below = [self.fs.get_file_info(FileSelector(d, allow_not_found=True)) for d in level]
            level = [info.path for infos in below for info in infos if info.type is FileType.Directory]
            found += [info for infos in below for info in infos]
        return found

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        """The bytes of an object from `start` to `end`; `ArrowFSWrapper`'s own fails where `start` is 0."""
        with self.fs.open_input_file(self._strip_protocol(path)) as file:
            size, first = file.size(), start or 0
            return file.read_at(max(min(size if end is None else end, size) - first, 0), first)
