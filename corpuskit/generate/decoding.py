"""One interface to every model that writes: read prompts, add a token a row, go on with other rows.

GPT-2 is written out (`corpuskit.generate.gpt2`). Any other causal model of transformers runs its own
forward pass with the cache it makes itself, and an encoder-decoder model reads the prompt once: its
encoder's output and the keys and values of cross-attention are computed in `start` and kept.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache, DynamicLayer
from transformers.modeling_outputs import BaseModelOutput

from corpuskit.errors import ArtifactError
from corpuskit.generate.gpt2 import GPT2Decoder, RoughWeights, supports
from corpuskit.generate.lookahead import Lookahead
from corpuskit.generate.padding import Padded, pad_left
from corpuskit.generate.screening import Screen


class Decoder(Protocol):
    """The state of a batch that is being continued."""

    def start(self, windows: Sequence[Sequence[int]], room: int) -> Tensor:
        """Read the windows, for at most `room` tokens to follow; the logits after each one."""
        ...

    def step(self, tokens: Tensor) -> Tensor:
        """Add one token a row (int64, shape (rows,)); the logits (rows, outputs) after it."""
        ...

    def select(self, rows: Tensor) -> None:
        """Go on with these rows (int64), in this order; a row may be taken more than once."""
        ...


def decoder_for(
    model: PreTrainedModel, screen: Screen | None = None, rough: RoughWeights | None = None
) -> Decoder:
    """A decoder that fits the model; causal ones draft while they have a single row.

    With a `screen` of GPT-2's output layer only the largest logits are right, the others minus infinity.
    With its weights in 8 bits (`rough`) the model itself makes the drafts.
    """
    if model.config.is_encoder_decoder:
        return Seq2SeqDecoder(model)
    if not supports(model):
        return Lookahead(CausalDecoder(model))
    decoder = GPT2Decoder(model, screen, rough)
    return Lookahead(decoder, decoder if rough is not None else None)


class CausalDecoder:
    """Any causal model of transformers, through its own forward pass and cache."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._counts_positions = "position_ids" in inspect.signature(model.forward).parameters
        self._padded: Padded
        self._cache: Any = None
        self._length = 0

    def start(self, windows: Sequence[Sequence[int]], room: int) -> Tensor:
        self._padded, self._cache = pad_left(windows, self._model.device), None
        self._length = self._padded.ids.shape[1]
        return self._forward(self._padded.ids, self._padded.positions())[:, 0]

    def step(self, tokens: Tensor) -> Tensor:
        return self.extend(tokens[:, None])[:, 0]

    def extend(self, tokens: Tensor) -> Tensor:
        """Add tokens (int64, (rows, new)); the logits after each, (rows, new, outputs)."""
        starts, new = self._padded.starts, tokens.shape[1]
        positions = torch.arange(self._length, self._length + new, device=tokens.device)
        self._length += new
        return self._forward(tokens, positions if starts is None else positions - starts[:, None], new)

    @property
    def rewinds(self) -> bool:
        """Whether the cache can be cut back: a state-space model's or a sliding window's cannot."""
        return type(self._cache) is DynamicCache and all(type(x) is DynamicLayer for x in self._cache.layers)

    def rewind(self, length: int) -> None:
        """Forget all but the first `length` tokens of each row, padding included."""
        if length < self._length:
            self._cache.crop(length - self._length)
            self._length = length

    def select(self, rows: Tensor) -> None:
        self._padded = self._padded.select(rows)
        self._cache.reorder_cache(rows)

    def _forward(self, ids: Tensor, positions: Tensor, last: int = 1) -> Tensor:
        mask = self._padded.mask(self._length)
        if mask is None:
            every = torch.ones(len(ids), self._length, dtype=torch.int64, device=ids.device)
        else:
            every = mask[:, 0, 0].long()
        output: Any = self._model(
            input_ids=ids,
            attention_mask=every,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=last,
            **({"position_ids": positions.expand(len(ids), -1)} if self._counts_positions else {}),
        )
        self._cache = getattr(output, "past_key_values", None)
        if self._cache is None:
            raise ArtifactError(f"{type(self._model).__name__} keeps no keys and values to continue from")
        return output.logits[:, -last:]


class Seq2SeqDecoder:
    """An encoder-decoder model of transformers: T5, BART and their kin."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._first = first_token(model)
        self._cache: Any = None

    def start(self, windows: Sequence[Sequence[int]], room: int) -> Tensor:
        """Encode the windows; the logits of the first token of each answer."""
        device = self._model.device
        longest = max(map(len, windows))
        ids = torch.zeros(len(windows), longest, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, window in enumerate(windows):
            ids[row, : len(window)] = torch.as_tensor(window)
            mask[row, : len(window)] = 1
        self._mask, self._cache = mask.to(device), None
        encoder: Any = self._model.get_encoder()
        encoded = encoder(input_ids=ids.to(device), attention_mask=self._mask)
        self._encoded = encoded.last_hidden_state
        return self.step(torch.full((len(windows),), self._first, device=device))

    def step(self, tokens: Tensor) -> Tensor:
        output: Any = self._model(
            decoder_input_ids=tokens[:, None],
            encoder_outputs=BaseModelOutput(last_hidden_state=self._encoded),
            attention_mask=self._mask,
            past_key_values=self._cache,
            use_cache=True,
        )
        self._cache = output.past_key_values
        return output.logits[:, -1]

    def select(self, rows: Tensor) -> None:
        self._mask, self._encoded = self._mask[rows], self._encoded[rows]
        self._cache.reorder_cache(rows)


def first_token(model: PreTrainedModel) -> int:
    """What the decoder starts from: the configuration's token, else T5's choice, the padding."""
    for settings in (model.generation_config, model.config):
        for name in ("decoder_start_token_id", "bos_token_id", "pad_token_id"):
            token = getattr(settings, name, None)
            if isinstance(token, int):
                return token
    raise ArtifactError(
        "the configuration names no token for the decoder to start from",
        where="config.json",
        hint="set decoder_start_token_id",
    )
