"""Leases under random schedules: whatever the order and the delays of requests, at most one run holds.

Runs are threads of which one moves at a time, chosen at random; clock and store are simulated. A request
takes effect somewhere between its beginning and its end. Some runs stall for minutes, some die, some writes
take effect a second time later, some take effect although the run was told that they failed.
"""

from __future__ import annotations

import contextlib
import math
import random
import threading

import pytest

from corpuskit.engine import ShardOf, leases
from corpuskit.errors import CorpuskitError, LedgerError, ResourceError


class Died(BaseException):
    """A run ends here, and cleans nothing up."""


class Simulation:
    """A store and a clock, and runs that use them in turns."""

    url = "s3://simulated/out"
    tries = 3

    def __init__(self, seed: int, calm: bool = False) -> None:
        self.random = random.Random(seed)
        self.calm = calm
        self.clock = 1000.0
        self.objects: dict[str, tuple[float, bytes]] = {}
        self.late: list[tuple[float, str, bytes]] = []
        self.leases: list[leases.Lease] = []
        self.entered = 0
        self._turns: dict[threading.Thread, tuple[float, threading.Event]] = {}
        self._moved = threading.Condition()

    # What a run does: each waits for its turn.

    def turn(self, seconds: float = 0.0) -> None:
        """Wait for `seconds` of the simulated clock, and then until it is this run's turn."""
        event = threading.Event()
        with self._moved:
            self._turns[threading.current_thread()] = self.clock + seconds, event
            self._moved.notify()
        event.wait()

    def request(self, action):
        chance = 0.5 if self.calm else self.random.random()
        self.turn(self.random.uniform(0, 90) if chance < 0.02 else self.random.uniform(0, 0.2))
        if chance > 0.997:
            raise Died
        result = action()
        self.turn(self.random.uniform(0, 90) if 0.02 < chance < 0.04 else self.random.uniform(0, 0.2))
        return result

    def write(self, key: str, content: bytes) -> None:
        def action():
            self._store(key, content)
            if not self.calm and self.random.random() < 0.05:
                self.late.append((self.clock + self.random.expovariate(0.2), key, content))

        self.request(action)
        if not self.calm and self.random.random() < 0.02:
            raise ResourceError("the object store failed 8 times")

    def read(self, key: str) -> bytes | None:
        return self.request(lambda: self.objects.get(key, (0, None))[1])

    def delete(self, key: str) -> None:
        self.request(lambda: self.objects.pop(key, None))

    def modified(self, prefix: str) -> dict[str, float]:
        """A listing that goes from key to key while others write: no snapshot."""
        found: dict[str, float] = {}

        def action():
            key = ""
            while following := [other for other in self.objects if other > key]:
                key = min(following)
                found[key] = self.objects[key][0]
                if self.random.random() < 0.2:
                    self.turn(self.random.uniform(0, 0.5))

        self.request(action)
        return found

    def url_of(self, key: str) -> str:
        return f"{self.url}/{key}"

    def _store(self, key: str, content: bytes) -> None:
        self.objects[key] = math.floor(self.clock), content  # stores count in whole seconds

    # What moves the runs.

    def play(self, run, count: int) -> None:
        threads = [
            threading.Thread(target=run, args=(self, number), name=f"run {number}", daemon=True)
            for number in range(count)
        ]
        for thread in threads:
            thread.start()
        while True:
            with self._moved:
                living = [thread for thread in threads if thread.is_alive()]
                if not living:
                    return
                if any(thread not in self._turns for thread in living):
                    self._moved.wait(timeout=0.001)
                    continue
                self._check()
                self._move()

    def _move(self) -> None:
        soonest = min(time for time, _ in self._turns.values())
        self.clock = max(self.clock, soonest)
        for due in [late for late in self.late if late[0] <= self.clock]:
            self.late.remove(due)
            self._store(due[1], due[2])
        ready = [thread for thread, (time, _) in self._turns.items() if time <= self.clock]
        thread = self.random.choice(sorted(ready, key=lambda thread: thread.name))
        self._turns.pop(thread)[1].set()

    def _check(self) -> None:
        holders = [lease for lease in self.leases if lease.is_fresh()]
        for i, one in enumerate(holders):
            for other in holders[:i]:
                assert not leases._conflict(one.shard, other.shard), (one, other)


def run(simulation: Simulation, number: int, shards) -> None:
    """Start a few times at random moments; hold for a while, renew, commit, and let go."""
    chooser = random.Random(simulation.random.random())
    with contextlib.suppress(Died):  # its lease may look fresh for a while, and must be respected as long
        for _ in range(simulation.tries):
            simulation.turn(chooser.choice((0, 0, 1, 30)) if simulation.tries > 1 else 0)
            lease = leases.Lease(simulation, shards[number % len(shards)])
            simulation.leases.append(lease)
            with contextlib.suppress(CorpuskitError):
                lease.take()
                simulation.entered += 1
                for _ in range(chooser.randrange(5)):
                    simulation.turn(chooser.choice((1, 14, 14, 14, 100)))
                    with contextlib.suppress(ResourceError):
                        lease._renew()
                    lease.require()
            lease.give_back()


PLAIN = (ShardOf(),)
SLICES = (ShardOf(0, 2), ShardOf(1, 2), ShardOf(), ShardOf(0, 2))


def simulate(seed: int, monkeypatch, shards=PLAIN, calm: bool = False) -> Simulation:
    simulation = Simulation(seed, calm)
    with monkeypatch.context() as patched:
        patched.setattr(leases, "now_s", lambda: simulation.clock)
        patched.setattr(leases.time, "sleep", simulation.turn)
        patched.setattr(leases, "_machine", lambda: "")  # all are of this process; none says who has died
        tokens = random.Random(seed)
        patched.setattr(leases.os, "urandom", lambda count: tokens.randbytes(count))
        simulation.play(lambda *arguments: run(*arguments, shards), 4)
    return simulation


@pytest.mark.parametrize("seeds", [range(30), pytest.param(range(100, 1000), marks=pytest.mark.slow)])
def test_at_most_one_run_holds_the_output_and_some_do(seeds, monkeypatch):
    entered = [simulate(seed, monkeypatch).entered for seed in seeds]
    assert sum(entered) > len(entered)
    for seed in seeds[::2]:
        simulate(seed, monkeypatch, SLICES)


def test_of_runs_that_start_at_once_and_are_not_disturbed_one_gets_in(monkeypatch):
    monkeypatch.setattr(Simulation, "tries", 1)
    for seed in range(40):
        assert simulate(seed, monkeypatch, calm=True).entered >= 1


@pytest.mark.parametrize(("skipped", "first"), [("waiting", 35), ("renewing", 220), ("order", 0)])
def test_the_simulation_notices_what_is_left_out(skipped, first, monkeypatch):
    """Each rule is needed: without it, some schedule lets two in."""
    if skipped == "waiting":
        rivals = leases.Lease._rivals
        monkeypatch.setattr(leases.Lease, "_rivals", lambda self: [c for c in rivals(self) if c.number])
    elif skipped == "renewing":
        monkeypatch.setattr(leases.Lease, "_require_fresh", lambda self: None)
    else:
        monkeypatch.setattr(leases, "_next_number", lambda claims: 1)
    with pytest.raises(AssertionError, match="Lease"):
        for seed in range(first, first + 300):
            simulate(seed, monkeypatch)


class Scanned:
    """A store whose listings go from key to key; `between` happens before one of them is reached, once."""

    url = "s3://scanned/out"

    def __init__(self, key_end: str) -> None:
        self.objects: dict[str, bytes] = {}
        self.key_end, self.between = key_end, lambda: None

    def write(self, key, content):
        self.objects[key] = content

    def read(self, key):
        return self.objects.get(key)

    def delete(self, key):
        self.objects.pop(key, None)

    def modified(self, prefix):
        found, key = {}, ""
        while following := [other for other in self.objects if other > key]:
            key = min(following)
            if key.endswith(self.key_end):
                between, self.between = self.between, lambda: None
                between()
            if key in self.objects:
                found[key] = 0.0
        return found


def test_a_run_that_takes_its_ticket_behind_a_listing_is_not_missed(monkeypatch):
    """The listing has passed the place of its ticket, not that of its choosing."""
    tokens = iter((bytes(8), bytes([255] * 8)))
    monkeypatch.setattr(leases.os, "urandom", lambda count: next(tokens))
    monkeypatch.setattr(leases.time, "sleep", lambda seconds: None)
    store = Scanned(f"{bytes(8).hex()}.choosing")
    first, second = leases.Lease(store, ShardOf()), leases.Lease(store, ShardOf())
    taken: list[leases.Lease] = []

    def the_other_takes_its_ticket(claims):
        """`first` has looked, and goes on while `second` looks at who is there."""
        number = next_number(claims)
        monkeypatch.setattr(leases, "_next_number", next_number)
        wait = leases.Lease._wait_for_turn

        def second_waits(self):
            store.between = first_goes_on
            monkeypatch.setattr(leases.Lease, "_wait_for_turn", wait)
            wait(self)

        def first_goes_on():
            first.number = number
            first._write()
            first._wait_for_turn()
            taken.append(first)

        monkeypatch.setattr(leases.Lease, "_wait_for_turn", second_waits)
        with pytest.raises(LedgerError):
            second.take()
        raise ResourceError("as far as this test goes")

    next_number = leases._next_number
    monkeypatch.setattr(leases, "_next_number", the_other_takes_its_ticket)
    with pytest.raises(ResourceError):
        first.take()
    assert taken == [first]
