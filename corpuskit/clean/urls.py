"""Documents whose address is on a list of the user's.

Lists of unwanted domains are long (the UT1 lists of Toulouse name millions), so they are kept as
sorted 64-bit hashes, 8 bytes an entry, and a batch asks only for its distinct hosts. A domain blocks
all hosts below it, an address all pages below its path. With ten million entries a host that is not
listed passes for one with a chance of 3e-12.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import xxhash

from corpuskit.clean.steps import Judged, Step, at_most
from corpuskit.documents import DocumentBatch
from corpuskit.errors import ConfigError, InputError

_UT1_FILES = ("domains", "urls", "domains.gz", "urls.gz")
_SCHEME = re.compile("^[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_HOST = re.compile(r"[^\s/?#@:]+\Z")
_DOMAIN = re.compile(rb"[a-z0-9_-]+(?:\.[a-z0-9_-]+)+")
_BOM = b"\xef\xbb\xbf"


class Blocklist(NamedTuple):
    """Sorted, distinct uint64 hashes of blocked domains and of blocked addresses."""

    domains: np.ndarray
    addresses: np.ndarray


@dataclass(frozen=True)
class Urls(Step):
    """Drop documents whose `url` is blocked (``clean/url_blocklist``, value 1, threshold 0).

    Documents without an address pass, and so does every batch without a `url` column.

    Attributes
    ----------
    blocklists : tuple of str
        Files, gzipped or not, with one domain (``example.com``) or address (``example.com/shop``) a
        line, # for comments; or directories in the layout of UT1, a folder for each category with
        files `domains` and `urls`.
    categories : tuple of str or None
        Which categories of the directories to use; None for all.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    blocklists: tuple[str, ...] = ()
    categories: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not all(self.blocklists):
            raise ConfigError("a path is empty", where="blocklists", hint="name a file or a directory")

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(self.blocklists)

    def judge(self, batch: DocumentBatch) -> Judged:
        blocked = np.zeros(batch.num_rows)
        if self.blocklists and "url" in batch.schema.names:
            categories = None if self.categories is None else tuple(self.categories)
            blocklist = load_blocklist(tuple(self.blocklists), categories)
            blocked[:] = _blocked(batch.column("url").cast(pa.string()).to_pylist(), blocklist)
        return Judged(batch, [at_most("url_blocklist", blocked, 0.0)])


@cache
def load_blocklist(paths: tuple[str, ...], categories: tuple[str, ...] | None = None) -> Blocklist:
    """Read lists of domains and addresses; see `Urls` for their layout. Once a process.

    Raises
    ------
    InputError
        If a list is missing, unreadable or has a line that is no address (named as file:line), or
        a directory has none of the categories.
    """
    domains: list[np.ndarray] = []
    addresses: list[np.ndarray] = []
    for file in (file for path in paths for file in _files(Path(path), categories)):
        found: tuple[list[int], list[int]] = ([], [])
        for name, is_address in _entries(file):
            found[is_address].append(xxhash.xxh3_64_intdigest(name))
        domains.append(np.array(found[0], np.uint64))
        addresses.append(np.array(found[1], np.uint64))
    none = np.zeros(0, np.uint64)
    return Blocklist(
        np.unique(np.concatenate([none, *domains])), np.unique(np.concatenate([none, *addresses]))
    )


def is_blocked(url: str, blocklist: Blocklist) -> bool:
    """Whether one address is on the list."""
    return bool(_blocked([url], blocklist)[0])


def _blocked(urls: Sequence[str | None], blocklist: Blocklist) -> np.ndarray:
    parts = [None if url is None else split_address(url) for url in urls]
    hosts = {part[0] for part in parts if part is not None and part[0]}
    blocked_hosts = _listed({host: domains_above(host) for host in hosts}, blocklist.domains)
    blocked = np.array([part is not None and part[0] in blocked_hosts for part in parts], bool)
    if blocklist.addresses.size:
        asked = {part for part, done in zip(parts, blocked) if part is not None and part[0] and not done}
        listed = _listed({part: paths_above(*part) for part in asked}, blocklist.addresses)
        blocked |= np.array([part is not None and part in listed for part in parts], bool)
    return blocked


def _listed(names: dict, hashes: np.ndarray) -> set:
    """The keys of which at least one name is in the sorted `hashes`."""
    if not names or not hashes.size:
        return set()
    keys = [key for key, values in names.items() for _ in values]
    asked = np.array([_hash(value) for values in names.values() for value in values], np.uint64)
    places = np.minimum(np.searchsorted(hashes, asked), hashes.size - 1)
    return {keys[i] for i in np.flatnonzero(hashes[places] == asked)}


def split_address(url: str) -> tuple[str, str]:
    """Host in small ASCII letters without ``www.``, port and user; and path with query.

    ``("", …)`` where there is no host.
    """
    address = _SCHEME.sub("", url.strip(), count=1).removeprefix("//")
    cut = min((place for mark in "/?#" if (place := address.find(mark)) >= 0), default=len(address))
    host, rest = address[:cut], address[cut:].partition("#")[0]
    host = host.rpartition("@")[2]
    if not host.startswith("["):
        host = host.partition(":")[0]
    host = host.strip(".").lower()
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            pass  # a host that no name server knows; it can still be listed as it is
    if host.startswith("www.") and "." in host[4:]:
        host = host[4:]
    return host, rest.rstrip("/")


def domains_above(host: str) -> list[str]:
    """The host and every domain that it lies in; of a numeric address only itself."""
    labels = host.split(".")
    if host.startswith("[") or all(label.isdigit() for label in labels):
        return [host]
    return [".".join(labels[i:]) for i in range(len(labels))]


def paths_above(host: str, rest: str) -> list[str]:
    """The address and what it lies below: ``h/a/b?q``, ``h/a/b``, ``h/a``."""
    path, query, _ = rest.partition("?")
    cuts = [place for place, mark in enumerate(path) if mark == "/" and place]
    found = [host + path[:cut] for cut in cuts] + [host + path]
    return [*found, host + rest] if query else found


def _hash(name: str) -> int:
    return xxhash.xxh3_64_intdigest(_encode(name))


def _encode(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


def _files(path: Path, categories: Sequence[str] | None) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(
            "the blocklist does not exist", where=str(path), hint="a file of domains, or a UT1 directory"
        )
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir())
    chosen = [folder for folder in folders if categories is None or folder.name in categories]
    missing = set(categories or ()) - {folder.name for folder in chosen}
    files = [folder / name for folder in (path, *chosen) for name in _UT1_FILES if (folder / name).is_file()]
    if missing or not files:
        raise InputError(
            f"there is no category {sorted(missing)[0]!r}"
            if missing
            else "there is no list in this directory",
            where=str(path),
            hint="categories here: " + (", ".join(folder.name for folder in folders) or "none"),
        )
    return files


def _entries(path: Path) -> Iterator[tuple[bytes, bool]]:
    """Every entry as it is hashed, and whether it is more than a domain."""
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                line = raw.removeprefix(_BOM).strip() if number == 1 else raw.strip()
                if _DOMAIN.fullmatch(line) and not line.startswith(b"www."):
                    yield line, False  # nearly all lines of the long lists, at a fifth of the time
                    continue
                if not line or line.startswith(b"#"):
                    continue
                host, rest = split_address(line.decode("utf-8"))
                if not _HOST.match(host) and not host.startswith("["):
                    raise InputError(
                        f"{line[:80].decode('utf-8')!r} is neither a domain nor an address",
                        where=f"{path}:{number}",
                        hint="one domain or address a line, # for comments",
                    )
                yield _encode(host + rest), bool(rest)
    except UnicodeDecodeError as error:
        raise InputError(
            "an entry is not UTF-8", where=f"{path}:{number}", hint="save the list as UTF-8"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"the blocklist cannot be read: {error}", where=f"{path}:{number}") from error
