"""Where new embedding rows start, compared by training: English first, then Chinese.

A small GPT-2 learns the English of the standard library's docstrings with a byte-level BPE trained on it.
The vocabulary is extended with Chinese tokens, the model resized with each initialiser from the same
weights, and trained on Chinese. The table shows what the resizing itself costs on held-out English, how
fast Chinese is learned, and what is left of English afterwards.

    python compare_initialisers.py [--steps N] [--english-steps N] [--untied]

Some minutes on two cores. Beside ours stand transformers' own two: a random start, and its default
(`mean_resizing`), which draws from a normal distribution around the mean whose covariance is scaled by
1e-9.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import math
import sysconfig
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from corpus import texts
from harness import machine_line, save
from transformers import GPT2Config, GPT2LMHeadModel

from corpuskit import vocab
from corpuskit.vocab.bytelevel import GPT2_PATTERN
from corpuskit.vocab.embeddings import constituent_ids, resize

VOCABULARY, NEW_TOKENS = 4096, 2000
WIDTH, LAYERS = 64, 2
CONTEXT, BATCH = 64, 8
INITIALISERS = ("constituents", "mean", "multivariate", "zero")
PEERS = ("transformers, random", "transformers, mean_resizing")
CHECKPOINTS = (0, 10, 25, 50, 100, 200)


def docstrings() -> list[str]:
    """Docstrings of the standard library's modules (not of its packages), one text a module."""
    found = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError):
            continue
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        parts = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds)]
        if any(parts):
            found.append("\n\n".join(part for part in parts if part))
    return found


def stream(tokenizer: vocab.Tokenizer, documents: list[str]) -> torch.Tensor:
    """All documents as rows of `CONTEXT` + 1 ids."""
    ids = tokenizer.encode_batch(pa.array(documents, pa.large_string())).values.to_numpy().astype(np.int64)
    rows = len(ids) // (CONTEXT + 1)
    return torch.from_numpy(ids[: rows * (CONTEXT + 1)]).view(rows, CONTEXT + 1)


@torch.no_grad()
def loss(model: GPT2LMHeadModel, rows: torch.Tensor) -> float:
    """Mean nats a token; the softmax runs over every row, padding too."""
    model.eval()
    losses = [model(batch, labels=batch).loss.item() * len(batch) for batch in rows.split(64)]
    return sum(losses) / len(rows)


def train(
    model: GPT2LMHeadModel, rows: torch.Tensor, steps: int, rate: float, after=lambda step: None
) -> None:
    """Adam with a linear warm-up over a twentieth of the steps, then constant."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(1))
    for step in range(steps):
        after(step)
        model.train()
        chosen = order[torch.arange(step * BATCH, (step + 1) * BATCH) % len(rows)]
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / max(1, steps // 20))
        model(rows[chosen], labels=rows[chosen]).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
    after(steps)


def resized(model: GPT2LMHeadModel, name: str, parts: list[list[int]]) -> GPT2LMHeadModel:
    """A copy of the model with rows for the new tokens."""
    model = copy.deepcopy(model)
    torch.manual_seed(2)
    if name in INITIALISERS:
        resize(model, VOCABULARY, parts, init=name)
    else:
        rows = -(-(VOCABULARY + len(parts)) // 64) * 64
        model.resize_token_embeddings(rows, mean_resizing=name.endswith("mean_resizing"))
    return model


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--english-steps", type=int, default=400)
    options.add_argument("--steps", type=int, default=100)
    options.add_argument("--untied", action="store_true")
    chosen = options.parse_args()
    torch.manual_seed(0)

    english = docstrings()
    chinese = texts("news", 1_000_000)
    base = vocab.train(
        english, vocab_size=VOCABULARY, pattern=GPT2_PATTERN, special_tokens=(), require_chinese=False
    )
    extended = vocab.extend(base, chinese, NEW_TOKENS)
    parts = constituent_ids(base, extended)
    english_rows = stream(base, english[::-1])
    english_held, english_rows = english_rows[::20][:256], english_rows[1::20]
    held_texts, chinese_texts = chinese[::20], [text for i, text in enumerate(chinese) if i % 20]
    chinese_rows, chinese_held = stream(extended, chinese_texts), stream(extended, held_texts)[:256]
    held_bytes = len(extended.decode(chinese_held.flatten().tolist()).encode()) / chinese_held.numel()
    bits = 1 / math.log(2) / held_bytes

    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_positions=CONTEXT + 1,
            n_embd=WIDTH,
            n_layer=LAYERS,
            n_head=4,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            tie_word_embeddings=not chosen.untied,
        )
    )
    train(model, english_rows, chosen.english_steps, 1e-3)
    before = loss(model, english_held)
    print(machine_line())
    print(f"{'untied' if chosen.untied else 'tied'} output, {model.num_parameters() / 1e6:.1f} M parameters")
    print(f"English: {before:.3f} nats a token after {chosen.english_steps} steps of {BATCH} x {CONTEXT}")
    points = [point for point in CHECKPOINTS if point <= chosen.steps]
    print(f"{'rows start as':<28} English+  Chinese bits/byte at {points}  English after")
    results = []
    for name in (*INITIALISERS, *PEERS):
        start = resized(model, name, parts)
        jump = loss(start, english_held) - before
        curve: list[float] = []

        def measure(step: int, start=start, curve=curve) -> None:
            if step in points:
                curve.append(loss(start, chinese_held) * bits)

        train(start, chinese_rows, chosen.steps, 5e-4, measure)
        after = loss(start, english_held)
        results.append({"name": name, "english_jump": jump, "chinese": curve, "english_after": after})
        shown = "  ".join(f"{value:6.3f}" for value in curve)
        print(f"{name:<28} {jump:8.4f}  {shown}  {after:.3f}", flush=True)
    title = f"initialisers {'untied' if chosen.untied else 'tied'}"
    save({"title": title, "machine": machine_line(), "english": before, "points": points, "rows": results})
    print(json.dumps({"title": title, "best_at_end": min(results, key=lambda r: r["chinese"][-1])["name"]}))


if __name__ == "__main__":
    main()
