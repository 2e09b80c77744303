"""The lease by which one run at a time holds an object store's prefix.

An object store has no locks. Some have conditional writes (S3 since August 2024), but `pyarrow.fs` cannot
send them (apache/arrow#44281), nor does every S3-compatible server know them; so here nothing is compared and
swapped. Every run writes objects of its own only, and the runs queue as in a bakery (Lamport, CACM 17(8),
1974): a run writes that it is *choosing*, lists what others have written, writes a *ticket* with a number
above all of theirs, and lists again. It waits for those that are choosing; if one has a smaller ticket, it
withdraws and names that one; otherwise it holds the output. Equal numbers are ordered by a random token.

What is guaranteed, on a store whose reads and listings show every finished write (S3 since December 2020,
Google Cloud Storage, Azure, MinIO, Ceph):

- Of any number of runs that start at any moments, and whatever single requests take, at most one holds the
  output at a time; if none of them dies or is cut off while starting, one does.
- A ticket is written again every 15 s. One that is older than 60 s by the store's own clock, or whose process
  has ended on this same machine, counts no longer. A run that has not renewed its own for 45 s (a stopped
  process, a suspended machine, a cut network) commits nothing before it has queued again. So clocks need
  not agree; they must run equally fast (15 s of 60).

What is not: a write that a run began while it held the output, and that reaches the store more than 15 s
after it may have lost it, is not stopped, because no write depends on the ticket. Such a write is a whole
ledger entry that names whole files: a task's result does not depend on who runs it. Stores that are reached
through fsspec packages without modification times are judged by the machines' clocks, which must then agree
within 10 s.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from corpuskit.engine.objects import ObjectStore
from corpuskit.engine.shard import ShardOf
from corpuskit.errors import CorpuskitError, LedgerError, ResourceError

RENEW_S, EXPIRE_S, SAFE_S = 15.0, 60.0, 45.0
PATIENCE_S, POLL_S = 20.0, 0.25
LEASES = "leases"
_KEY = re.compile(rf"{LEASES}/(\d+)-of-(\d+)/([0-9a-f]{{16}})\.(choosing|\d+)")


@dataclass(frozen=True)
class _Claim:
    """What a run has written: that it is choosing (number 0), or its ticket."""

    token: str
    shard: ShardOf
    number: int
    modified_s: float | None

    @property
    def place(self) -> tuple[int, str]:
        return self.number, self.token


@dataclass
class Lease:
    """One run's place in the queue for an output; see the module."""

    store: ObjectStore
    shard: ShardOf
    token: str = ""
    number: int = 0
    holds: bool = False
    written_s: float = 0.0
    lost: LedgerError | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> None:
        """Queue, and hold the output or raise."""
        self.token, self.number, self.holds = os.urandom(8).hex(), 0, False
        try:
            self._write(first=True)
            self.number = _next_number(self._claims())
            self._write()
            self._wait_for_turn()
        except BaseException:
            self.give_back()
            raise
        self.holds = True

    def _wait_for_turn(self) -> None:
        deadline = now_s() + PATIENCE_S
        while True:
            rivals = self._rivals()
            for claim in rivals:
                if claim.number and claim.place < (self.number, self.token):
                    raise self._held(claim)
            if all(claim.number for claim in rivals):
                self._require_fresh()
                return
            if now_s() > deadline:
                raise self._held(next(claim for claim in rivals if not claim.number))
            time.sleep(POLL_S)
            self._write()

    def keep(self, stop: threading.Event) -> None:
        """Renew until `stop` is set."""
        while not stop.wait(RENEW_S):
            try:
                self._renew()
            except LedgerError as error:
                self.lost = error
                return
            except CorpuskitError:  # `require` says so when it lasts
                continue

    def require(self) -> None:
        """Raise unless this run holds the output now."""
        if self.lost is None and not self.is_fresh():
            try:
                self._renew()
            except LedgerError as error:
                self.lost = error
        if self.lost is not None:
            raise LedgerError(self.lost.what, where=self.lost.where, hint=self.lost.hint)

    def is_fresh(self) -> bool:
        """Whether this run holds the output, and nobody else may believe that its ticket has run out."""
        return self.holds and now_s() - self.written_s <= SAFE_S

    def give_back(self) -> None:
        """Let others have it."""
        self.holds = False
        # That it is choosing stays as long as the ticket: a listing that is no snapshot may miss a ticket
        # that is being written, and must not miss both.
        for number in (self.number, 0):
            with contextlib.suppress(CorpuskitError):  # it counts no longer after a minute
                self.store.delete(_key(self.shard, self.token, number))

    def _renew(self) -> None:
        with self._lock:
            if self.is_fresh():
                with contextlib.suppress(_Lapsed):
                    self._write()
                    return
            # Others may have passed over the old ticket: only a new one, behind theirs, says that none did.
            self.give_back()
            self.take()

    def _write(self, *, first: bool = False) -> None:
        """Write this run's claim; again, before what stands there has grown too old."""
        started = now_s()
        content = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "machine": _machine(),
            "written": time.time(),
        }
        self.store.write(_key(self.shard, self.token, self.number), json.dumps(content).encode())
        if not first:
            self._require_fresh()
        self.written_s = started

    def _require_fresh(self) -> None:
        if now_s() - self.written_s > SAFE_S:
            raise _Lapsed(
                f"the object store took more than {SAFE_S:.0f} s, and other runs wait no longer than that",
                where=self.store.url,
                hint="the same command resumes",
            )

    def _claims(self) -> dict[str, _Claim]:
        """What all runs have written, this one too, by token; a ticket stands for its run."""
        deadline = now_s() + PATIENCE_S
        while True:
            found: dict[str, _Claim] = {}
            for key, modified_s in self.store.modified(LEASES).items():
                claim = _claim(key, modified_s)
                if claim is not None and (claim.number or claim.token not in found):
                    found[claim.token] = claim
            if self.token in found:
                return found
            if now_s() > deadline:
                raise ResourceError(
                    "the object store does not list what has just been written there",
                    where=self.store.url_of(LEASES),
                    hint="use a store with consistent listings, or a shared directory",
                )
            time.sleep(POLL_S)
            self._write()

    def _rivals(self) -> list[_Claim]:
        """Living claims of runs that this one must not run beside, in the order of their tickets."""
        claims = self._claims()
        mine = claims.pop(self.token)
        found = []
        for claim in sorted(claims.values(), key=lambda claim: claim.place):
            if not _conflict(self.shard, claim.shard):
                continue
            stored = self.store.read(_key(claim.shard, claim.token, claim.number))
            if stored is None:
                # Given back, or no longer choosing but with a ticket that the listing did not show yet.
                found.append(replace(claim, number=0))
            elif _is_alive(claim, mine, _parsed(stored)):
                found.append(claim)
            else:
                for number in (claim.number, 0):
                    with contextlib.suppress(CorpuskitError):
                        self.store.delete(_key(claim.shard, claim.token, number))
        return found

    def _held(self, claim: _Claim) -> LedgerError:
        holder = _parsed(self.store.read(_key(claim.shard, claim.token, claim.number)) or b"")
        who = f"process {holder['process']} on {holder['host']}" if holder else "unknown process"
        return LedgerError(
            f"another run holds this output ({who})",
            where=self.store.url,
            hint="wait for it, or choose another output; a run that was killed lets go after "
            f"{EXPIRE_S:.0f} s",
        )


class _Lapsed(ResourceError):
    pass


def now_s() -> float:
    """Seconds that also pass while the machine is suspended, where the system counts them."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _key(shard: ShardOf, token: str, number: int) -> str:
    return f"{LEASES}/{shard.number}-of-{shard.count}/{token}.{number or 'choosing'}"


def _claim(key: str, modified_s: float | None) -> _Claim | None:
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    number = 0 if match[4] == "choosing" else int(match[4])
    return _Claim(match[3], ShardOf(int(match[1]), int(match[2])), number, modified_s)


def _next_number(claims: Mapping[str, _Claim]) -> int:
    return 1 + max(claim.number for claim in claims.values())


def _is_alive(claim: _Claim, mine: _Claim, holder: dict) -> bool:
    """Whether a claim counts at the moment at which `mine` was written."""
    if claim.modified_s is None or mine.modified_s is None:
        age = time.time() - holder.get("written", time.time())
    else:
        age = mine.modified_s - claim.modified_s
    if age > EXPIRE_S:
        return False
    if holder.get("machine") and holder["machine"] == _machine():
        return _process_exists(holder["process"])
    return True


def _conflict(mine: ShardOf, other: ShardOf) -> bool:
    return mine.count == 1 or other.count == 1 or mine == other


def _parsed(stored: bytes) -> dict:
    """Who wrote a claim; empty where that cannot be read."""
    try:
        holder = json.loads(stored)
        return {
            "host": str(holder["host"]),
            "process": int(holder["process"]),
            "machine": str(holder["machine"]),
            "written": float(holder["written"]),
        }
    except (ValueError, KeyError, TypeError):
        return {}


def _machine() -> str:
    """Where process numbers mean the same: a host since its boot, a namespace of processes; or empty."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _process_exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
