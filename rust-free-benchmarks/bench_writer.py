"""Writing a token dataset beside the encoder alone, and beside how others write.

Every contender encodes the same text with corpuskit's encoder, on one thread, so that what differs is the
writing: shards with checksums, synced, listed (corpuskit); one array a document appended to a flat file and
an index (the pattern of Megatron's `IndexedDatasetBuilder`); `datasets.map` and `save_to_disk`; and, in an
environment of its own, MDSWriter on ids that are encoded already, to whose seconds the encoder's are added.
Batches are those of a reader: some 1,000 documents. Each contender syncs what it wrote, as data that is to
stay must be. After the table: the writer's speed in per cent of the encoder's, of alternating runs.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from corpus import texts
from harness import Contender, compare, peer_in_own_environment, version

from corpuskit import shards, vocab

_BATCH_ROWS = 1_000
_MOSAIC = "mosaicml-streaming==0.13.0"
_NUMBERS = itertools.count()


def _fresh(parent: Path) -> Path:
    """A directory that is not there yet; old ones stay, as removing them takes time too."""
    return parent / f"{next(_NUMBERS)}"


def _sync(directory: Path) -> None:
    for path in directory.rglob("*"):
        if path.is_file():
            with open(path, "rb+") as file:
                os.fsync(file.fileno())


def _encode_only(batches: list[pa.RecordBatch], tokenizer: vocab.Tokenizer) -> int:
    return sum(len(tokenizer.encode_batch(batch.column("text")).values) for batch in batches)


def _corpuskit(
    batches: list[pa.RecordBatch], tokenizer: vocab.Tokenizer, out: Path, shard_tokens: int, threads: int
) -> int:
    options = {"tokenizer": tokenizer, "shard_tokens": shard_tokens, "threads": threads}
    with shards.Writer(_fresh(out), **options) as writer:
        for batch in batches:
            writer.write(batch)
    return writer.manifest.num_tokens - writer.manifest.num_documents


def _megatron(batches: list[pa.RecordBatch], tokenizer: vocab.Tokenizer, out: Path) -> int:
    """`IndexedDatasetBuilder.add_document`: an array a document to the file, lengths in a list."""
    end = tokenizer.end_of_text_id
    directory = _fresh(out)
    directory.mkdir()
    lengths: list[int] = []
    with open(directory / "text.bin", "wb") as file:
        for batch in batches:
            for row in tokenizer.encode_batch(batch.column("text")).to_pylist():
                ids = np.array([*row, end], np.uint16)
                file.write(ids.tobytes(order="C"))
                lengths.append(len(ids))
    sizes = np.array(lengths, np.int32)
    pointers = np.concatenate([[0], np.cumsum(sizes.astype(np.int64) * 2)[:-1]])
    with open(directory / "text.idx", "wb") as file:
        file.write(sizes.tobytes() + pointers.tobytes() + np.arange(len(sizes) + 1).tobytes())
    _sync(directory)
    return sum(lengths) - len(lengths)


def _datasets(batches: list[pa.RecordBatch], tokenizer: vocab.Tokenizer, out: Path) -> int:
    import datasets

    datasets.disable_progress_bars()
    datasets.disable_caching()
    table = datasets.Dataset(pa.Table.from_batches(batches))

    def encode(part: pa.Table) -> pa.Table:
        ids = tokenizer.encode_batch(part.column("text"))
        return pa.table({"id": part.column("id"), "tokens": ids})

    directory = _fresh(out)
    mapped = table.with_format("arrow").map(
        encode, batched=True, batch_size=_BATCH_ROWS, remove_columns=["text"], keep_in_memory=False
    )
    mapped.save_to_disk(str(directory))
    _sync(directory)
    return sum(len(chunk.flatten()) for chunk in mapped.data.column("tokens").chunks)


def _mosaic(batches: list[pa.RecordBatch], tokenizer: vocab.Tokenizer, out: Path) -> list[Contender]:
    """MDSWriter where its environment can be made, else nothing."""
    encoded = [tokenizer.encode_batch(batch.column("text")) for batch in batches]
    ends = np.cumsum(np.concatenate([np.diff(rows.offsets.to_numpy()) for rows in encoded]))
    ids = np.concatenate([rows.values.to_numpy() for rows in encoded])
    np.save(out / "ids.npy", np.insert(ids, ends, tokenizer.end_of_text_id))  # it refuses empty documents
    np.save(out / "offsets.npy", np.concatenate([[0], ends + np.arange(1, len(ends) + 1)]))
    script = Path(__file__).parent / "writer_peer.py"
    arguments = (str(out / "ids.npy"), str(out / "offsets.npy"), str(out))
    try:
        peer = peer_in_own_environment(_MOSAIC.partition("==")[0], [_MOSAIC], script, *arguments)
        peer.measure()
    except (RuntimeError, OSError, subprocess.CalledProcessError, ValueError) as error:
        print(f"{_MOSAIC} is skipped: {error}")
        return []
    write = peer.seconds

    def seconds() -> float:
        started = time.perf_counter()
        _encode_only(batches, tokenizer)
        return time.perf_counter() - started + (0.0 if write is None else write())

    return [Contender(_MOSAIC.replace("==", " "), seconds=seconds)]


def _shares(
    batches: list[pa.RecordBatch], tokenizer: vocab.Tokenizer, out: Path, arguments: argparse.Namespace
) -> None:
    """The writer's speed in per cent of the encoder's, in alternation; wall and processor time."""
    for threads in dict.fromkeys([1, arguments.threads]):
        wall, processor, seconds = [], [], []
        for _ in range(arguments.rounds):
            times = []
            for run in (
                lambda: [tokenizer.encode_batch(batch.column("text"), threads=threads) for batch in batches],  # noqa: B023
                lambda: _corpuskit(batches, tokenizer, out, arguments.shard_tokens, threads),  # noqa: B023
            ):
                started = time.perf_counter(), time.process_time()
                run()
                times.append((time.perf_counter() - started[0], time.process_time() - started[1]))
            wall.append(times[0][0] / times[1][0])
            processor.append(times[0][1] / times[1][1])
            seconds.append([time[1] for time in times])
        for name, shares in (("wall", wall), ("processor", processor)):
            low, middle, high = np.percentile(shares, [0, 50, 100]) * 100
            print(
                f"  {threads} thread(s), {name} time: the writer has {middle:.0f} % of the encoder's speed "
                f"({low:.0f} to {high:.0f})"
            )
        encoder, writer = np.min(seconds, axis=0)
        print(f"  {threads} thread(s), least processor time of each: {100 * encoder / writer:.0f} %")


def main() -> None:
    """GPT-2 and GPT-2 extended on Chinese news."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--characters", type=int, default=8_000_000)
    parser.add_argument("--shard-tokens", type=int, default=1 << 21)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, help="where to write; by default a temporary directory")
    arguments = parser.parse_args()
    documents = texts("news", arguments.characters)
    whole = pa.table(
        {"id": [f"d{i}" for i in range(len(documents))], "text": pa.array(documents, pa.large_string())}
    )
    batches = whole.to_batches(max_chunksize=_BATCH_ROWS)
    megabytes = sum(len(text.encode()) for text in documents) / 1e6
    gpt2 = vocab.load("gpt2")
    for name, tokenizer in {
        "GPT-2": gpt2,
        "GPT-2 extended": vocab.extend(gpt2, texts("news", 1_500_000), 10_000),
    }.items():
        expected = _encode_only(batches, tokenizer)
        with tempfile.TemporaryDirectory(dir=arguments.output) as temporary:
            out = Path(temporary)

            def check(contender: str, value: object, expected: int = expected) -> None:
                if value != expected:
                    raise ValueError(f"{contender} wrote {value} tokens instead of {expected}")

            compare(
                f"Writing shards with {name}",
                [
                    Contender(
                        "corpuskit, with checksums",
                        lambda: _corpuskit(batches, tokenizer, out, arguments.shard_tokens, 1),  # noqa: B023
                    ),
                    Contender("its encoder alone", lambda: _encode_only(batches, tokenizer)),  # noqa: B023
                    Contender("Megatron's pattern", lambda: _megatron(batches, tokenizer, out)),  # noqa: B023
                    Contender(
                        version("datasets") + ", map and save_to_disk",
                        lambda: _datasets(batches, tokenizer, out),  # noqa: B023
                    ),
                    *_mosaic(batches, tokenizer, out),
                ],
                megabytes,
                "MB",
                rounds=arguments.rounds,
                check=check,
            )
            _shares(batches, tokenizer, out, arguments)


if __name__ == "__main__":
    main()
