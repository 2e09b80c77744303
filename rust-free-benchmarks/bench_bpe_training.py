"""Byte-level BPE training: seconds, processor seconds and memory beside the peers, two threads.

Every contender trains in a process of its own, from the same documents, and reports its peak resident
memory; all are interleaved as in `harness.compare`. First, ours and Hugging Face's must make the same merges
on the first megabyte. The same pattern for all that take one (SentencePiece cuts by script instead).

    python bench_bpe_training.py --megabytes 100 --tokens 32000
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain, zip_longest

from corpus import available, records, texts
from harness import Contender, compare, version

THREADS = 2
SAMPLE_MB = 1


def documents(megabytes: float) -> list[str]:
    """Laws, news and broadcasts in turn, up to so many MB; the demo's articles where those are missing."""
    if available():
        groups = zip_longest(*(records(name) for name in ("laws", "news", "broadcast")))
        source: Iterator[str] = (record["text"] for record in chain.from_iterable(groups) if record)
    else:
        source = iter(texts(max_characters=int(megabytes * 1e6 / 2.8)))
    taken, size = [], 0
    for text in source:
        size += len(text.encode())
        if size > megabytes * 1e6:
            break
        taken.append(text)
    return taken


def train_ours(given: list[str], tokens: int) -> int:
    from corpuskit import vocab

    return vocab.train(given, vocab_size=tokens, special_tokens=(), sample_bytes=1 << 30).vocab_size


def train_huggingface(given: list[str], tokens: int) -> int:
    from corpuskit import vocab

    trained = vocab.train(
        given,
        algorithm="huggingface-bpe",
        vocab_size=tokens,
        special_tokens=(),
        sample_bytes=1 << 30,
    )
    return trained.vocab_size


def train_sentencepiece(given: list[str], tokens: int) -> int:
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(line for text in given for line in text.split("\n")),
        model_writer=model,
        model_type="bpe",
        vocab_size=tokens,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        byte_fallback=True,
        max_sentence_length=1 << 30,
        num_threads=THREADS,
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).vocab_size()


def train_rustbpe(given: list[str], tokens: int) -> int:
    import rustbpe

    from corpuskit.vocab.bytelevel import CL100K_PATTERN

    trainer = rustbpe.Tokenizer()
    # its engine does not know the set intersection of ours
    trainer.train_from_iterator(iter(given), tokens, pattern=CL100K_PATTERN)
    return len(trainer.get_mergeable_ranks())


TRAINERS: dict[str, Callable[[list[str], int], int]] = {
    "corpuskit": train_ours,
    "sentencepiece": train_sentencepiece,
    "rustbpe": train_rustbpe,
    "tokenizers": train_huggingface,
}


def worker(name: str, megabytes: float, tokens: int) -> None:
    """Train once, after a first small training that compiles kernels; print what it took."""
    given = documents(megabytes)
    if name == "corpuskit":
        train_ours(given[:40], 300)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, processor = time.perf_counter(), time.process_time()
    made = TRAINERS[name](given, tokens)
    result = {
        "seconds": time.perf_counter() - started,
        "processor_seconds": time.process_time() - processor,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "before_mb": before / 1e3,
        "text_mb": sum(len(text.encode()) for text in given) / 1e6,
        "tokens": made,
    }
    print(json.dumps(result))


def main() -> None:
    """One table of seconds, one line on processor time and memory for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--tokens", type=int, default=32_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--trainers", nargs="+", choices=list(TRAINERS), default=list(TRAINERS))
    parser.add_argument("--worker", choices=list(TRAINERS))
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker, arguments.megabytes, arguments.tokens)
        return
    check_merges(arguments.tokens)
    reports: dict[str, dict] = {}

    def seconds(name: str) -> float:
        command = [sys.executable, __file__, "--worker", name]
        command += ["--megabytes", str(arguments.megabytes), "--tokens", str(arguments.tokens)]
        environment = {**os.environ, "RAYON_NUM_THREADS": str(THREADS)}
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        reports[name] = json.loads(done.stdout.splitlines()[-1])
        return reports[name]["seconds"]

    contenders = [
        Contender(name if name == "corpuskit" else version(name), seconds=lambda name=name: seconds(name))
        for name in arguments.trainers
    ]
    compare(
        f"BPE training, {arguments.megabytes:g} MB to {arguments.tokens} tokens",
        contenders,
        sum(len(text.encode()) for text in documents(arguments.megabytes)) / 1e6,
        "MB",
        rounds=arguments.rounds,
    )
    for name, report in reports.items():
        print(
            f"  {name:<14} {report['processor_seconds']:7.1f} processor s  peak {report['peak_mb']:6,.0f} MB"
            f", {report['before_mb']:,.0f} MB before training  {report['text_mb']:.1f} MB of text"
        )


def check_merges(tokens: int) -> None:
    """Ours and Hugging Face's make the same merges."""
    from corpuskit import vocab

    given = documents(SAMPLE_MB)
    ours, theirs = (
        vocab.train(given, algorithm=algorithm, vocab_size=min(tokens, 4_000), special_tokens=())
        for algorithm in ("bpe", "huggingface-bpe")
    )
    if ours.vocabulary.merges != theirs.vocabulary.merges:
        raise ValueError("the merges are not those of Hugging Face's trainer")


if __name__ == "__main__":
    main()
