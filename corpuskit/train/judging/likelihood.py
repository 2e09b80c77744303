"""How likely a model finds a text: perplexity, and bits a character or byte.

Perplexity per token cannot be compared between vocabularies: one with longer tokens has fewer, harder ones.
Bits per character and per byte can. The text's likelihood is the product over all its tokens, each given
those before it, beginning from the end-of-text token as at the start of a document in training. Where a
tokenizer has no such token, the first token is given, and neither it nor its characters count.

A text longer than the context is scored in windows that overlap by half: a token is predicted from at
least half a context, except in the first window. Logits are made for the scored half alone, some 16 MB at a
time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from corpuskit.errors import ArtifactError, ConfigError, InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from corpuskit.models.tokenizers import TextTokenizer


@dataclass(frozen=True)
class Likelihood:
    """Total surprise of texts, and what it is spread over.

    Attributes
    ----------
    nats : float
        Minus the natural logarithm of the texts' probability.
    tokens, characters, bytes : int
        What was scored; bytes are UTF-8.
    """

    nats: float
    tokens: int
    characters: int
    bytes: int

    @property
    def perplexity(self) -> float:
        """Per token; infinite above e**709."""
        mean = self.nats / self.tokens
        return math.exp(mean) if mean < 709 else math.inf

    @property
    def bits_per_token(self) -> float:
        return self.nats / math.log(2) / self.tokens

    @property
    def bits_per_character(self) -> float:
        return self.nats / math.log(2) / self.characters

    @property
    def bits_per_byte(self) -> float:
        return self.nats / math.log(2) / self.bytes

    def __add__(self, other: Likelihood) -> Likelihood:
        return Likelihood(
            self.nats + other.nats,
            self.tokens + other.tokens,
            self.characters + other.characters,
            self.bytes + other.bytes,
        )


@dataclass(frozen=True)
class _Window:
    """Ids of one forward pass of which those from `scored` on are predicted; `text` is whose they are."""

    text: int
    ids: Sequence[int]
    scored: int


def likelihood(
    model: PreTrainedModel,
    tokenizer: TextTokenizer,
    texts: Sequence[str],
    *,
    context_length: int | None = None,
    batch_size: int = 8,
) -> list[Likelihood]:
    """The likelihood of each text under a causal language model; `sum` them from ``Likelihood(0, 0, 0, 0)``.

    Parameters
    ----------
    model : PreTrainedModel
        Causal; it is put into evaluation mode. Sums are taken in float64 over float32 logarithms.
    tokenizer : TextTokenizer
    texts : sequence of str
        Empty ones score nothing.
    context_length : int, optional
        Tokens of a window; by default the model's own.
    batch_size : int
        Windows in a forward pass; the result depends on it in the last bits only.

    Raises
    ------
    ConfigError
        If a number is impossible, the model is not causal, or the tokenizer has more tokens than the model.
    InputError
        If no text has a token to score.
    """
    import torch

    from corpuskit.models.loading import vocabulary_size

    if model.config.is_encoder_decoder:
        raise ConfigError("an encoder-decoder model gives no likelihood to a text alone", where="model")
    if tokenizer.vocab_size > vocabulary_size(model):
        raise ConfigError(
            f"the tokenizer has {tokenizer.vocab_size} tokens, the model only {vocabulary_size(model)}",
            where="tokenizer",
        )
    most = getattr(model.config, "max_position_embeddings", None) or 2048
    length = most if context_length is None else context_length
    if not 2 <= length <= most:
        raise ConfigError(f"must be from 2 to {most}, not {length}", where="context_length")
    if batch_size < 1:
        raise ConfigError(f"must be at least 1, not {batch_size}", where="batch_size")
    start = _end_of_text(tokenizer)
    windows: list[_Window] = []
    sizes: list[tuple[int, int, int]] = []
    for number, text in enumerate(texts):
        ids = list(tokenizer.encode(text))
        given = "" if start is not None or not ids else tokenizer.decode(ids[:1])
        row = ids if start is None else [start, *ids]
        windows += [_Window(number, *window) for window in _cut(row, length)]
        sizes.append((max(0, len(row) - 1), len(text) - len(given), len(text.encode()) - len(given.encode())))
    if not windows:
        raise InputError("no text has a token to score", where="texts")
    nats = [0.0] * len(texts)
    model.eval()
    # Windows of one length together: no padding to compute. And those that are scored from one place on.
    windows.sort(key=lambda window: (-len(window.ids), window.scored, window.text))
    with torch.inference_mode():
        for begin in range(0, len(windows), batch_size):
            batch = windows[begin : begin + batch_size]
            for window, value in zip(batch, _surprise(model, batch, vocabulary_size(model)), strict=True):
                nats[window.text] += value
    return [Likelihood(value, *size) for value, size in zip(nats, sizes, strict=True)]


def _end_of_text(tokenizer: TextTokenizer) -> int | None:
    try:
        return tokenizer.end_of_text_id
    except ArtifactError:  # a vocabulary without special tokens
        return None


def _cut(row: Sequence[int], length: int) -> Iterator[tuple[Sequence[int], int]]:
    """Windows of at most `length` ids over `row`, and the first id in each that no earlier one predicts."""
    scored = 1
    begin = 0
    while scored < len(row):
        stop = min(begin + length, len(row))
        yield row[begin:stop], scored - begin
        scored = stop
        begin = max(0, min(stop - length // 2, len(row) - length))


def _surprise(model: PreTrainedModel, batch: Sequence[_Window], vocabulary: int) -> list[float]:
    """Minus the log-probability of each window's scored ids."""
    import torch

    from corpuskit.train.judging.logits import logits_at

    longest = max(len(window.ids) for window in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, window in enumerate(batch):
        ids[row, : len(window.ids)] = torch.tensor(window.ids)
        mask[row, : len(window.ids)] = 1
    device = model.device
    inputs = {"input_ids": ids.to(device), "attention_mask": mask.to(device), "use_cache": False}
    counts = [len(window.ids) - window.scored for window in batch]
    places = torch.cat(
        [
            torch.arange(window.scored - 1, len(window.ids) - 1) + row * longest
            for row, window in enumerate(batch)
        ]
    )
    targets = ids.view(-1)[places + 1].to(device)
    surprises = []
    done = 0
    for logits in logits_at(model, inputs, places.to(device), vocabulary):
        wanted = targets[done : done + len(logits), None]
        surprises.append((logits.logsumexp(1) - logits.gather(1, wanted)[:, 0]).double())
        done += len(logits)
    return [float(part.sum()) for part in torch.cat(surprises).split(counts)]
