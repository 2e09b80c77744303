"""Training GPT-2: our loop beside a plain one in nanoGPT's style, in one run.

The plain loop is what one writes first: a memory map of tokens, random windows of it, the logits of every
place, `cross_entropy`, clipping, fused AdamW with decay on matrices only. Model class, first weights, batch
size and precision are the same. Before the timing the loss and the gradient of one batch are compared.

Tokens a second are those of the median update; stall is the share of the time that is spent waiting for
batches. MFU counts ``6 N + 12 layers width length`` operations a token (Chowdhery et al. 2022, appendix
B), against the data sheet's bfloat16 peak on a GPU that is known, else against what one large matrix
product reaches here, in the same precision.

    python bench_training.py [--size toy] [--batch 8] [--length 64] [--steps 12] [--rounds 3] [--compile]

On a CPU seconds are processor time of one thread, and toy size takes some ten; with CUDA the default is
124M parameters, bfloat16, sequence 1,024.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from harness import machine_line, save, version

from corpuskit import shards
from corpuskit.models import ModelConfig, create
from corpuskit.train import TrainConfig, fit
from corpuskit.train.losses import TokenLoss
from corpuskit.train.throughput import Meter
from corpuskit.vocab.bytelevel import ByteLevelBPE
from corpuskit.vocab.tokenizer import Tokenizer

TOY = ModelConfig(layers=2, width=64, heads=2, context_length=128)
WARM_UP = 3  # updates that are not counted; compiling happens in them


class Speed(NamedTuple):
    """Of one run: seconds of each counted update, the share of waiting, the last loss."""

    seconds: list[float]
    stall: float
    loss: float


def tokenizer_of(size: int) -> Tokenizer:
    """One with `size` tokens, of which only the number matters here."""
    tokens = [bytes([i]) for i in range(256)]
    merges: list[tuple[int, int]] = []
    for left in range(256):
        for right in range(256):
            if len(tokens) == size - 1:
                return Tokenizer(ByteLevelBPE((*tokens, None), tuple(merges), {"<|endoftext|>": size - 1}))
            tokens.append(bytes([left, right]))
            merges.append((left, right))
    raise ValueError(f"{size} tokens are too many")


def write_tokens(directory: Path, tokenizer: Tokenizer, count: int) -> None:
    """Random documents of about a thousand tokens, frequencies as Zipf has them."""
    random = np.random.default_rng(0)
    ids = np.minimum(random.zipf(1.2, count), tokenizer.vocab_size - 2).astype(np.uint32)
    offsets = np.append(np.arange(0, count, 1000), count)
    rows = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), pa.array(ids))
    names = pa.array([f"{i:032x}" for i in range(len(rows))])
    with shards.Writer(directory / "data", tokenizer=tokenizer) as writer:
        writer.write_tokens(pa.record_batch([names, rows], names=["id", "tokens"]))
    stored = np.concatenate([document.tokens for document in shards.open(directory / "data")])
    stored.astype(np.uint16).tofile(directory / "tokens.bin")


def clock_of(device: torch.device) -> Callable[[], float]:
    """Seconds; on a CPU the process's own, which leave out what other programs did meanwhile."""
    return time.perf_counter if device.type == "cuda" else time.process_time


def precision(device: torch.device) -> Any:
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()


def plain_loop(path: Path, config: TrainConfig, vocab_size: int, device: torch.device) -> Speed:
    """The loop that one writes first."""
    tokens = np.memmap(path, np.uint16, "r")
    model: Any = create(config.shape, vocab_size, config.seed, vocab_size - 1)
    model.to(device)
    run = torch.compile(model) if config.compile else model
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        betas=config.betas,
        fused=True,
    )
    random = np.random.default_rng(0)
    length = config.sequence_length
    seconds, waited, loss, now = [], 0.0, math.nan, clock_of(device)
    model.train()
    for step in range(config.steps):
        started = now()
        places = random.integers(0, len(tokens) - length, config.batch_size)
        rows = torch.from_numpy(np.stack([tokens[p : p + length + 1].astype(np.int64) for p in places]))
        if device.type == "cuda":
            rows = rows.pin_memory().to(device, non_blocking=True)
        stalled = now() - started
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate_at(step)
        with precision(device):
            logits = run(input_ids=rows[:, :-1], use_cache=False).logits
            total = torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss = total.item()
        if step >= WARM_UP:
            seconds.append(now() - started)
            waited += stalled
    return Speed(seconds, waited / sum(seconds), loss)


def our_loop(directory: Path, config: TrainConfig) -> Speed:
    """`fit`; an update lasts from one call of `on_step` to the next, so nothing of the loop is left out."""
    times, stalls, now = [], [], clock_of(torch.device(config.device))

    def on_step(step: Any) -> None:
        times.append(now())
        stalls.append(step.data_stall)

    with tempfile.TemporaryDirectory(dir=directory) as output:
        result = fit(directory / "data", config, output, on_step=on_step)
    seconds = [after - before for before, after in zip(times[WARM_UP - 1 :], times[WARM_UP:], strict=False)]
    # The last update's call comes after the checkpoint of the end is written.
    return Speed(seconds[:-1], statistics.fmean(stalls[WARM_UP:]), result.loss)


def require_equal(config: TrainConfig, vocab_size: int) -> None:
    """Loss and gradient of one batch in float32: ours are those of the plain loss.

    Sums of up to a thousand terms in another order differ by some 1000 * 2**-24 = 6e-5 of their size.
    """
    model: Any = create(config.shape, vocab_size, config.seed, vocab_size - 1)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(0, vocab_size, (2, 65), generator=generator)
    plain = torch.nn.functional.cross_entropy(
        model(input_ids=rows[:, :-1]).logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="sum"
    )
    plain.backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    batch = {
        "input_ids": rows[:, :-1],
        "segment_ids": torch.ones(2, 64, dtype=torch.int64),
        "position_ids": torch.arange(64).repeat(2, 1),
        "places": torch.arange(128),
        "targets": rows[:, 1:].flatten(),
    }
    ours = TokenLoss(model)(batch)
    ours.backward()
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=0)
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-4 * gradient.abs().max())
    print(f"loss and gradient of one batch agree ({ours.item() / 128:.6f} nats a token)")


def product_rate(device: torch.device) -> float:
    """Operations a second of a large matrix product, the best of several."""
    size, dtype = (8192, torch.bfloat16) if device.type == "cuda" else (1024, torch.float32)
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best, now = math.inf, clock_of(device)
    for _ in range(10):
        started = now()
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, now() - started)
    return 2 * size**3 / best


def main() -> None:
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--size", default="gpt2" if cuda else "toy", help="toy, nano, gpt2, medium, large, xl"
    )
    parser.add_argument("--batch", type=int, default=32 if cuda else 8)
    parser.add_argument("--length", type=int, default=1024 if cuda else 64)
    parser.add_argument(
        "--steps", type=int, default=40 if cuda else 12, help="a run; the first 3 do not count"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--vocabulary", type=int, default=50_257 if cuda else 1_000)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads() if cuda else 1)
    options = parser.parse_args()
    device = torch.device("cuda" if cuda else "cpu")
    torch.set_num_threads(options.threads)
    shape = TOY if options.size == "toy" else ModelConfig.preset(options.size)
    config = TrainConfig(
        model=shape, steps=options.steps, batch_size=options.batch, sequence_length=options.length,
        learning_rate=6e-4, warmup_steps=5, held_out=0.0, eval_every=0, checkpoint_every=0,
        compile=options.compile, threads=options.threads, device=device.type,
    )  # fmt: skip
    require_equal(config if options.size == "toy" else TrainConfig(model=TOY), options.vocabulary)
    model = create(shape, options.vocabulary, 0)
    meter = Meter(model, device, 1)
    per_token = meter.operations(1, options.length)
    peak = meter.peak or product_rate(device)
    parameters = sum(p.numel() for p in model.parameters())
    del model
    tokens = options.batch * options.length
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        write_tokens(directory, tokenizer_of(options.vocabulary), max(50_000, 20 * tokens))
        runs: dict[str, list[Speed]] = {"corpuskit": [], "plain loop": []}
        for _ in range(options.rounds):
            runs["corpuskit"].append(our_loop(directory, config))
            runs["plain loop"].append(
                plain_loop(directory / "tokens.bin", config, options.vocabulary, device)
            )
    print(f"\n{machine_line()}; {version('torch')}, {device}{torch.cuda.get_device_name() if cuda else ''}")
    print(
        f"{options.size}: {parameters / 1e6:.1f}M parameters, {options.batch} x {options.length} tokens an "
        f"update, peak {peak / 1e12:.3f} Tflop/s{'' if meter.peak else ' (a matrix product here)'}"
    )
    rows = []
    for name, speeds in runs.items():
        medians = [statistics.median(speed.seconds) for speed in speeds]
        ratios = [
            statistics.median(theirs.seconds) / statistics.median(ours.seconds)
            for ours, theirs in zip(runs["corpuskit"], speeds, strict=True)
        ]
        rate = tokens / statistics.median(medians)
        rows.append(
            {
                "name": name,
                "tokens_per_s": rate,
                "mfu": rate * per_token / peak,
                "data_stall": statistics.median(speed.stall for speed in speeds),
                "seconds": medians,
                "ratio": statistics.median(ratios),
                "loss": speeds[-1].loss,
            }
        )
        print(
            f"  {name:<11} {rate:>10,.0f} tokens/s  MFU {rows[-1]['mfu']:6.1%}  stall "
            f"{rows[-1]['data_stall']:6.2%}  last loss {rows[-1]['loss']:.3f}"
            + ("" if name == "corpuskit" else f"  ours is {rows[-1]['ratio']:.2f}x "
               f"({min(ratios):.2f} to {max(ratios):.2f})")
        )  # fmt: skip
    save({"title": f"Training {options.size} on {device.type}", "machine": machine_line(), "rows": rows})


if __name__ == "__main__":
    main()
