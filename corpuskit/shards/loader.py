"""Batches for training: any number of ranks, exact resume, no state but one integer.

The sequence of samples is one and the same for every number of ranks (see `schedule`), so the number of
samples consumed by all ranks says where a run stands, also for a run that goes on with other
ranks or another batch size. Workers change nothing either: they are handed the indices of a
batch, and batches come out in order. What they made ahead is not part of the state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from corpuskit.errors import ArtifactError, ConfigError, MismatchError
from corpuskit.shards.samples import SampleSource, make_fields, require_fields
from corpuskit.shards.schedule import Batching, Schedule, Step
from corpuskit.shards.shardfile import require_choice
from corpuskit.shards.workers import InTurn, WorkerProcesses, WorkerThreads

Framework = Literal["torch", "numpy"]
WorkerKind = Literal["thread", "process"]


class Loader:
    """Iterate over batches ``{"input_ids": int64 array [batch_size, sequence_length], …}``.

    The loader is its own iterator: a second ``for`` goes on where the first stopped. Without
    `epochs` it never ends. A batch owns its memory.

    Parameters
    ----------
    samples : SampleSource
        `TokenDataset.windows`, `TokenDataset.packed`, a `Mixture` or `Stages`.
    batch_size : int
        Samples a batch on this rank.
    seed : int
        Chooses the order; every epoch has its own.
    rank, world_size : int
        This process and how many there are.
    shuffle : bool
        If False, samples come in stored order.
    shuffle_window : int, optional
        Mix the samples of so many shards at a time (see `ShardOrder`), for data behind a network.
        Default: of all.
    epochs : int, optional
        Stop after this many passes.
    drop_last : bool
        At the end (and where stages change the sequence length): leave out the samples after the
        last whole global batch (the same number of batches on every rank), or hand them out as a
        shorter batch, which the last ranks may not get.
    fields : sequence of str
        Arrays to add to a batch: ``cu_seqlens``, ``position_ids``, ``segment_ids``, ``labels`` (see
        `corpuskit.shards.samples`), or parallel columns of the dataset such as ``loss_mask``.
    cu_seqlens_size : int, optional
        Fixed length of ``cu_seqlens``, filled up with its last value: compiled models compile once.
    workers : int
        Make batches ahead in so many threads or processes. 0: when they are asked for.
    worker_kind : {"thread", "process"}
        Threads share the mapped files and suffice for ids (the copy releases the interpreter
        lock); processes are for many `fields`. They are spawned, so a script needs
        ``if __name__ == "__main__":``.
    state : Mapping, optional
        A `state_dict` to go on from.

    Raises
    ------
    ConfigError
        If a parameter is impossible.
    MismatchError
        If `state` belongs to other data, another sequence length, seed or order.
    """

    def __init__(
        self,
        samples: SampleSource,
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
        shuffle_window: int | None = None,
        epochs: int | None = None,
        drop_last: bool = True,
        fields: Sequence[str] = (),
        cu_seqlens_size: int | None = None,
        workers: int = 0,
        worker_kind: WorkerKind = "thread",
        state: Mapping[str, Any] | None = None,
    ) -> None:
        for name, value, least in [
            ("batch_size", batch_size, 1), ("world_size", world_size, 1), ("rank", rank, 0),
            ("seed", seed, 0), ("workers", workers, 0), ("epochs", epochs, 1),
            ("shuffle_window", shuffle_window, 1), ("cu_seqlens_size", cu_seqlens_size, 2),
        ]:  # fmt: skip
            if value is not None or name in ("batch_size", "world_size", "rank", "seed", "workers"):
                _require_at_least(name, value, least)
        if rank >= world_size:
            raise ConfigError(f"{rank} is not below world_size {world_size}", where="rank")
        require_choice("worker_kind", worker_kind, get_args(WorkerKind))
        require_fields(samples, fields)
        self._samples, self._seed = samples, int(seed)
        self._fields, self._cu_seqlens_size = tuple(fields), cu_seqlens_size
        batching = Batching(int(batch_size), int(rank), int(world_size), drop_last)
        self._schedule = Schedule(samples, batching, self._seed, shuffle, shuffle_window, epochs)
        self._consumed = 0
        self._planned: int | None = 0
        self._makers: InTurn | WorkerThreads | WorkerProcesses
        if workers == 0:
            self._makers = InTurn(self._make)
        elif worker_kind == "thread":
            self._makers = WorkerThreads(self._make, workers)
        else:
            self._makers = WorkerProcesses((samples, self._fields, cu_seqlens_size), workers)
        if state is not None:
            self.load_state_dict(state)

    @property
    def samples_consumed(self) -> int:
        """Samples handed out on all ranks, over all epochs."""
        return self._consumed

    @property
    def epoch(self) -> int:
        """Whole passes finished; of a mixture, over as many samples as its sources have together."""
        return self._consumed // len(self._samples)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        while self._planned is not None and self._makers.wants_more:
            step = self._schedule.step(self._planned)
            self._planned = None if step is None else step.consumed
            if step is not None:
                self._makers.submit(step)
        if self._makers.idle:
            raise StopIteration
        consumed, arrays = self._makers.take()
        batch = self._finish(arrays)
        self._consumed = consumed
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Where the run stands after the batches handed out so far: plain JSON values."""
        return {
            "samples_consumed": self._consumed,
            "fingerprint": self._schedule.fingerprint,
            "policy": self._schedule.policy,
            "seed": self._seed,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`; ranks, workers and batch size may differ from when it was saved.

        Raises
        ------
        MismatchError
            If it belongs to another dataset, sequence length, order or seed.
        ArtifactError
            If it is not a loader's state.
        """
        if not isinstance(state, Mapping):
            raise ArtifactError(
                f"it is {type(state).__name__}, not a mapping",
                where="loader state",
                hint="give a loader's state_dict()",
            )
        consumed = state.get("samples_consumed")
        whole = isinstance(consumed, (int, np.integer)) and not isinstance(consumed, bool)
        if consumed is None or not whole or not 0 <= consumed < 1 << 62:
            raise ArtifactError(
                f"samples_consumed is {consumed!r}", where="loader state", hint="give a loader's state_dict()"
            )
        for field, name, expected in [
            ("fingerprint", "dataset", self._schedule.fingerprint),
            ("policy", "sequence policy", self._schedule.policy),
            ("seed", "seed", self._seed),
        ]:
            if state.get(field) != expected:
                raise MismatchError(
                    f"the state was saved with {name} {state.get(field)!r}; this loader has {expected!r}",
                    where="loader state",
                    hint="open the data with the same settings, or start without a state",
                )
        self._makers.discard()
        self._consumed = int(consumed)
        self._planned = self._consumed

    def close(self) -> None:
        """Stop the workers. A loader that is deleted does so too."""
        self._makers.close()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _make(self, step: Step) -> dict[str, Any]:
        batch, buffer = self._allocate((len(step.indices), step.sequence_length), np.dtype(np.int64))
        self._samples.gather(step.indices, buffer)
        fields = make_fields(self._samples, step.indices, buffer, self._fields, self._cu_seqlens_size)
        return {"input_ids": batch, **fields}

    def _finish(self, arrays: dict[str, Any]) -> dict[str, Any]:
        """What is handed out, of what a maker made."""
        return arrays

    def _allocate(self, shape: tuple[int, ...], dtype: np.dtype) -> tuple[Any, np.ndarray]:
        """Memory to hand out, and a NumPy view of it to fill."""
        array = np.empty(shape, dtype)
        return array, array


def make_loader(
    samples: SampleSource, batch_size: int, *, framework: str = "torch", **options: Any
) -> Loader:
    """A `Loader` whose batches are torch tensors or NumPy arrays (``numpy`` never imports torch)."""
    require_choice("framework", framework, get_args(Framework))
    if framework == "numpy":
        return Loader(samples, batch_size, **options)
    from corpuskit.shards.torch import TorchLoader

    return TorchLoader(samples, batch_size, **options)


def _require_at_least(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ConfigError(f"{value!r} is not a whole number of at least {least}", where=name)
