"""Which file is of which format: by extension; its compression: by its first bytes.

Extensions are what users choose by; compression is read from the file, because a `.jsonl` that is
in truth gzip is common and the first four bytes cannot lie.
"""

from __future__ import annotations

from typing import BinaryIO, Literal

from corpuskit.errors import InputError

Compression = Literal["gzip", "zstd", "lz4"]

FORMATS = ("warc", "html", "jsonl", "text", "csv", "parquet", "arrow")

_COMPRESSED = ("", ".gz", ".zst")
_EXTENSIONS = {
    "warc": [f"{base}{suffix}" for base in (".warc", ".wet") for suffix in ("", ".gz", ".lz4", ".zst")],
    "html": [".html", ".htm", ".xhtml"],
    "jsonl": [f"{base}{suffix}" for base in (".jsonl", ".ndjson", ".json") for suffix in _COMPRESSED],
    "text": [f".txt{suffix}" for suffix in _COMPRESSED],
    "csv": [f"{base}{suffix}" for base in (".csv", ".tsv") for suffix in _COMPRESSED],
    "parquet": [".parquet"],
    "arrow": [".arrow", ".feather", ".ipc"],
}

MAGIC: dict[Compression, bytes] = {
    "gzip": b"\x1f\x8b\x08",
    "zstd": b"\x28\xb5\x2f\xfd",
    "lz4": b"\x04\x22\x4d\x18",
}


def base_name(path: str) -> str:
    """The file's name in lower case; of a URL without its query, of a file in an archive the inner one."""
    if "://" in path:
        path = path.partition("::")[0].partition("?")[0]
    return path.rpartition("/")[2].lower()


def format_of(path: str) -> str | None:
    """The format that a file's name says, or None."""
    name = base_name(path)
    for format_name, extensions in _EXTENSIONS.items():
        if name.endswith(tuple(extensions)):
            return format_name
    return None


def require_format(path: str, format_name: str) -> str:
    """`format_name`, or the format of `path` where it is ``auto``.

    Raises
    ------
    InputError
        If the name tells no format.
    """
    if format_name != "auto":
        return format_name
    found = format_of(path)
    if found is None:
        known = ", ".join(extension for names in _EXTENSIONS.values() for extension in names)
        raise InputError(
            "its name tells no known format",
            where=path,
            hint=f"give format= one of {', '.join(FORMATS)}, or use one of the extensions {known}",
        )
    return found


def compression_of(file: BinaryIO) -> Compression | None:
    """How an open file is compressed; leaves it at its start."""
    head = file.read(4)
    file.seek(0)
    for compression, magic in MAGIC.items():
        if head.startswith(magic):
            return compression
    return None
