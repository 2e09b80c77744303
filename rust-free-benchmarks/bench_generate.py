"""Greedy generation with GPT-2 124M on the CPU: ours beside transformers' `generate`, float32.

Random weights (generation costs the same whatever they are), twice as large as at initialisation, so
that the best two logits are rarely close. Before the timing the tokens of both are compared: where two
texts part, the logits of the two tokens must lie within the tolerance that float32 leaves
(`corpuskit.generate.ties`). Batches of different lengths are measured as well: transformers pads them on
the left, as ours does.

A single row drafts (`corpuskit.generate.lookahead`): how many passes through the model its tokens took is
printed, and it is timed with drafts and without. Random weights write the hardest text to guess; a text of
a trained model repeats itself more.

On a machine that others use, threads wait for each other and throughput says little. So the time between
tokens is measured too, and the quickest tenth of the steps of both are compared: those that nothing
disturbed; with one thread in processor time.

    python bench_generate.py [--batch 1 16] [--new 128] [--rounds 5] [--layers 12] [--ragged] [--factor 2]
    python bench_generate.py --temperatures 0.1 0.2 0.3
    python bench_generate.py --t5 [--new 64]

The second form draws tokens, one row, with drafts and without: random weights have flat distributions, so
temperatures lower than usual give the entropies of a trained model's. The third makes a T5 of the size of
T5.1.1 large with random weights, and says how much memory a process needs at most that loads it and
answers a question of 768 tokens.
"""

from __future__ import annotations

import argparse
import copy
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path

import torch
from harness import Contender, compare, version
from transformers import GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

from corpuskit.generate import Generator, Sampling
from corpuskit.generate.continuation import Continuation
from corpuskit.generate.decoding import decoder_for
from corpuskit.generate.gpt2 import GPT2Decoder, RoughWeights, arrange
from corpuskit.generate.screening import Screen, can_screen
from corpuskit.generate.ties import tie_tolerance

PROMPT = 32


def random_model(layers: int, factor: float = 2) -> GPT2LMHeadModel:
    """GPT-2 with random weights from a fixed seed, `factor` times as large as at initialisation."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(n_layer=layers)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(factor)
    return model


@lru_cache(maxsize=1)
def screen_of(model: GPT2LMHeadModel) -> Screen | None:
    """What `Generator` makes for the first long greedy text."""
    weight = model.lm_head.weight.detach()
    return Screen(weight) if can_screen(weight) else None


def rough_of(model: GPT2LMHeadModel) -> RoughWeights | None:
    """What `Generator` makes for the first long text of one row."""
    screen = screen_of(model)
    return RoughWeights(model, screen.approximate) if screen is not None else None


def without_drafts(generator: Generator, rows: list[list[int]], new: int) -> list[list[int]]:
    """Our greedy tokens, one pass through the model each."""
    found: list[list[int]] = [[] for _ in rows]
    for tokens in plain_steps(generator, rows, new):
        for row, token in tokens:
            found[row].append(token)
    return found


def plain_steps(generator: Generator, rows: list[list[int]], new: int) -> Iterator[list[tuple[int, int]]]:
    """The tokens of each step, without drafts."""
    continuation = Continuation(
        GPT2Decoder(generator.model, screen_of(generator.model)), rows, rows, Sampling(temperature=0),
        generator.vocab_size, generator.context_length, frozenset(), generator.model.device,
    )  # fmt: skip
    return continuation.steps(new, 0, range(1))


def passes_of(generator: Generator, row: list[int], new: int) -> str:
    """How many passes through the model the tokens after the first take with drafts."""
    model = generator.model
    decoder = decoder_for(model, screen_of(model), rough_of(model))
    continuation = Continuation(
        decoder, [row], [row], Sampling(temperature=0), generator.vocab_size, generator.context_length,
        frozenset(), generator.model.device,
    )  # fmt: skip
    for _ in continuation.steps(new, 0, range(1)):
        pass
    return f"{decoder.steps} tokens in {decoder.passes} passes"


def drawn(generator: Generator, temperatures: list[float], new: int, rounds: int) -> None:
    """Print what drafts gain where tokens are drawn, and the entropy of what they are drawn from."""
    (row,) = prompts(1, False)
    plain = Generator(generator.model)
    plain._shortcuts.rough = lambda new_tokens: None  # type: ignore[method-assign]
    for temperature in temperatures:
        sampling = Sampling(temperature)
        texts, best = [[], []], [float("inf"), float("inf")]
        for _ in range(rounds + 1):  # the first makes the copy
            for which, writer in enumerate((generator, plain)):
                started = time.perf_counter()
                (texts[which],) = writer.generate_ids([row], new, sampling, seed=3, stop_at_end=False)
                best[which] = min(best[which], time.perf_counter() - started)
        with torch.inference_mode():
            logits = generator.model(torch.tensor([row + texts[0]])).logits[0, len(row) - 1 : -1]
        entropy = torch.distributions.Categorical(logits=logits / temperature).entropy().mean()
        same = "the same text" if texts[0] == texts[1] else "texts part"
        print(
            f"temperature {temperature}: {entropy:.2f} nats a token, {new / best[0]:.1f} tokens/s, "
            f"without drafts {new / best[1]:.1f}, {best[1] / best[0]:.2f}x, {same}",
            flush=True,
        )


def prompts(rows: int, ragged: bool) -> list[list[int]]:
    """Random tokens; ragged: of lengths between a half and the whole of `PROMPT`."""
    random = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 50257, (rows, PROMPT), generator=random).tolist()
    return [row[(7 * place) % (PROMPT // 2) if ragged else 0 :] for place, row in enumerate(ids)]


class Clock:
    """Notes when tokens come; transformers calls it a streamer."""

    def __init__(self) -> None:
        self.times: list[float] = []
        # one thread does not wait, so its processor time leaves out what other programs did
        self._now = time.process_time if torch.get_num_threads() == 1 else time.perf_counter

    def put(self, tokens: object) -> None:
        self.times.append(self._now())

    def end(self) -> None:
        """Nothing: the last token has been put."""

    def quickest_tenth(self) -> float:
        """Seconds of a step that nothing disturbed: the lowest decile of the later intervals."""
        gaps = [after - before for before, after in zip(self.times[2:], self.times[3:], strict=False)]
        return statistics.quantiles(gaps, n=10)[0]


def step_times(
    generator: Generator, model: GPT2LMHeadModel, rows: list[list[int]], new: int, rounds: int
) -> tuple[float, float]:
    """Undisturbed seconds of a step, ours and theirs, the best of interleaved rounds."""
    best = [float("inf"), float("inf")]
    for _ in range(rounds):
        ours, other = Clock(), Clock()
        for tokens in plain_steps(generator, rows, new):
            ours.put(tokens)
        theirs(model, rows, new, other)
        best = [min(a, clock.quickest_tenth()) for a, clock in zip(best, (ours, other), strict=True)]
    return best[0], best[1]


def theirs(
    model: GPT2LMHeadModel, rows: list[list[int]], new: int, streamer: Clock | None = None
) -> list[list[int]]:
    """transformers' greedy tokens."""
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    with torch.inference_mode():
        found = model.generate(
            ids, attention_mask=mask, max_new_tokens=new, do_sample=False, eos_token_id=None, pad_token_id=0,
            streamer=streamer,
        )  # fmt: skip
    return found[:, longest:].tolist()


@torch.no_grad()
def require_same(
    model: GPT2LMHeadModel, rows: list[list[int]], ours: list[list[int]], others: list[list[int]]
) -> int:
    """The number of rows that part at a tie; raises if one parts elsewhere."""
    ties = 0
    for row, mine, other in zip(rows, ours, others, strict=True):
        parted = [place for place, (a, b) in enumerate(zip(mine, other, strict=True)) if a != b]
        if not parted:
            continue
        logits = model(torch.tensor([row + mine[: parted[0]]])).logits[0, -1]
        gap = float((logits[mine[parted[0]]] - logits[other[parted[0]]]).abs())
        if gap > tie_tolerance(model):
            raise RuntimeError(f"token {parted[0]} differs although the logits are {gap} apart")
        ties += 1
    return ties


def answer_with_t5(new: int, dtype: str) -> None:
    """Print the peak memory of a process that loads a large T5 and answers."""
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=32128, d_model=1024, d_kv=64, d_ff=2816, num_layers=24, num_heads=16,
        feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as directory:
        model = T5ForConditionalGeneration(config)
        print(f"T5 with {sum(p.numel() for p in model.parameters()) / 1e6:.0f}M parameters, {dtype}")
        model.save_pretrained(directory)
        del model
        process = multiprocessing.get_context("spawn").Process(
            target=_peak_of_an_answer, args=(directory, new, dtype)
        )
        process.start()
        process.join()


def _peak_of_an_answer(directory: str, new: int, dtype: str) -> None:
    started = time.perf_counter()
    generator = Generator.load(directory, "cpu", dtype)
    loaded = time.perf_counter()
    question = torch.randint(2, 32128, (768,), generator=torch.Generator().manual_seed(0)).tolist()
    sampling = Sampling(0.7, no_repeat_ngram=12, top_p=0.9)
    (answer,) = generator.generate_ids([question], new, sampling, stop_at_end=False)
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 2**20
    print(
        f"loaded in {loaded - started:.1f} s, {len(answer)} tokens in {time.perf_counter() - loaded:.1f} s, "
        f"peak {peak:.2f} GiB",
        flush=True,
    )


def main() -> None:
    """Print one table a batch size, and a summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--new", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--temperatures", type=float, nargs="+", default=[])
    parser.add_argument("--t5", action="store_true")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--factor", type=float, default=2, help="1: a text that repeats itself")
    parser.add_argument("--steps-only", action="store_true")
    parser.add_argument("--ragged", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.t5:
        answer_with_t5(options.new, options.dtype)
        return

    model = random_model(options.layers, options.factor)
    own = copy.deepcopy(model)
    arrange(own)  # what Generator.load does with a model it has read itself
    generator = Generator(own)
    lines = []
    if options.temperatures:
        drawn(generator, options.temperatures, options.new, options.rounds)
        return
    for batch in options.batch:
        rows = prompts(batch, options.ragged)
        mine = generator.generate_ids(rows, options.new, stop_at_end=False)
        ties = require_same(model, rows, mine, theirs(model, rows, options.new))
        step, other_step = step_times(generator, model, rows, options.new, options.rounds)
        lines.append(
            f"batch {batch:>3}: undisturbed step, ours {step * 1e3:.1f} ms, transformers "
            f"{other_step * 1e3:.1f} ms, ratio {other_step / step:.2f}"
        )
        print(lines[-1], flush=True)
        if options.steps_only:
            continue
        contenders = [
            Contender("corpuskit", partial(generator.generate_ids, rows, options.new, stop_at_end=False)),
            Contender(version("transformers"), partial(theirs, model, rows, options.new)),
        ]
        if batch == 1:
            lines.append(f"batch   1: {passes_of(generator, rows[0], options.new)}")
            contenders.append(Contender("no drafts", partial(without_drafts, generator, rows, options.new)))
        result = compare(
            f"generate GPT-2 {options.layers} layers, batch {batch}{', ragged' if options.ragged else ''}",
            contenders, amount=batch * options.new, unit="tokens", rounds=options.rounds,
        )  # fmt: skip
        ours, other, *plain = result["rows"]
        lines.append(
            f"batch {batch:>3}: ours {ours['throughput']:,.1f} tokens/s, transformers "
            f"{other['throughput']:,.1f}, ratio {other['ratio']:.2f} (median of {options.rounds} rounds), "
            f"{batch - ties} of {batch} texts the same, {ties} part at a tie"
        )
        lines += [f"batch   1: without drafts {row['throughput']:,.1f} tokens/s" for row in plain]
    print()
    print("\n".join(lines))


if __name__ == "__main__":
    main()
