"""Texts that a model writes while it is trained, so that a reader sees what the loss means.

A causal model goes on from ``sample_prompt``. An encoder-decoder answers it, or, where it is empty, two
held-out inputs, always the same, and what it should have answered stands beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from transformers import PreTrainedModel

from corpuskit.errors import ConfigError
from corpuskit.generate.sampler import Generator
from corpuskit.models.packed import masked_again
from corpuskit.models.tokenizers import TextTokenizer
from corpuskit.shards.samples import IGNORED_LABEL
from corpuskit.train.config import TrainConfig
from corpuskit.train.data import Source
from corpuskit.train.objectives import Example, SpecialTokens

_ANSWERS = 2


def require_samples(config: TrainConfig, tokenizer: TextTokenizer | None, held_out: Sequence[Source]) -> None:
    """Raise `ConfigError` if the samples that `config` wants cannot be written."""
    if not config.sample_every:
        return
    family = config.objective_of(None).family
    if tokenizer is None:
        raise ConfigError(
            "samples need a tokenizer",
            where="train.sample_every",
            hint="give the shards' tokenizer, or set sample_every to 0",
        )
    if family == "masked":
        raise ConfigError(
            "masked models write no samples", where="train.sample_every", hint="set it to 0 or leave it out"
        )
    if family == "seq2seq" and not config.sample_prompt and not any(map(len, held_out)):
        raise ConfigError(
            "there is no held-out input to answer",
            where="train.sample_every",
            hint="set held_out above 0, or give a sample_prompt",
        )


def write_sample(
    model: PreTrainedModel,
    tokenizer: TextTokenizer,
    config: TrainConfig,
    held_out: Sequence[Source],
    special: SpecialTokens,
) -> str:
    """A text by `model`; of an encoder-decoder inputs, answers and targets."""
    with masked_again(model):
        if config.objective_of(None).family == "causal" or config.sample_prompt:
            generator = Generator(model, tokenizer)
            prompt, length = config.sample_prompt, config.sample_tokens
            return str(generator.generate(prompt, max_new_tokens=length, seed=config.seed))
        generator = Generator(model)  # its ids may be above the tokenizer's: sentinels
        examples = _examples(held_out, special, config.seed)
        answers = generator.generate_ids([ids for ids, _ in examples], config.sample_tokens)
    return "\n\n".join(
        f"{_shown(ids, tokenizer, special)}\n→ {_shown(answer, tokenizer, special)}\n"
        f"= {_shown(target, tokenizer, special)}"
        for (ids, target), answer in zip(examples, answers)
    )


def _examples(
    held_out: Sequence[Source], special: SpecialTokens, seed: int
) -> list[tuple[list[int], list[int]]]:
    """Inputs and targets from all over what is held out, taken from each dataset in turn."""
    found = []
    spread = [source.spread(_ANSWERS) for source in held_out]
    for number in range(_ANSWERS):
        for source in spread:
            if number < len(source):
                (sample,) = source.samples(np.array([number]))
                example: Example = source.objective(sample, seed, special)
                target = example.labels[example.target_segments == 1]
                found.append(
                    (
                        example.input_ids[example.segments == 1].tolist(),
                        target[target != IGNORED_LABEL].tolist(),
                    )
                )
    return found[:_ANSWERS]


def _shown(ids: Sequence[int], tokenizer: TextTokenizer, special: SpecialTokens) -> str:
    """Text, with sentinels by their names and without the end-of-text token."""
    names = {token: f"<extra_id_{number}>" for number, token in enumerate(special.sentinels)}
    text = ""
    kept = [token for token in ids if token != special.end_of_text]
    for known, run in groupby(kept, lambda token: token < tokenizer.vocab_size and token not in names):
        tokens = list(run)
        text += (
            tokenizer.decode(tokens) if known else "".join(names.get(token, f"<{token}>") for token in tokens)
        )
    return text
