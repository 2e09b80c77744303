"""Prompts in, continuations out: batches, the key-value cache, and what happens at the context's end.

Prompts of different lengths are padded on the left, with the padding masked and positions counted
from each prompt's first token, so a prompt continues in a batch as it would alone. Keys and values
of earlier tokens are cached. When a row has filled the context, the window slides: the row goes on
from the newer half of its context, recomputed once, so a text of any length costs about two
forward passes a token at most.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from corpuskit.errors import ArtifactError, ConfigError
from corpuskit.generate.sampling import Sampling
from corpuskit.generate.text import TextStream
from corpuskit.models.loading import load, load_tokenizer, vocabulary_size
from corpuskit.models.seeds import derive
from corpuskit.models.tokenizers import TextTokenizer


class Generator:
    """A causal language model that continues text.

    Parameters
    ----------
    model : PreTrainedModel
        Any causal model of transformers.
    tokenizer : TextTokenizer, optional
        Without one, only `generate_ids` works.

    Raises
    ------
    ArtifactError
        If the tokenizer has more tokens than the model's embedding has rows.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: TextTokenizer | None = None) -> None:
        self.model, self.tokenizer = model, tokenizer
        # Rows above this are padding: what `create` added, or rows no token of the tokenizer has.
        self.vocab_size = vocabulary_size(model)
        if tokenizer is not None:
            if tokenizer.vocab_size > self.vocab_size:
                raise ArtifactError(
                    f"the tokenizer has {tokenizer.vocab_size} tokens, the model only {self.vocab_size}",
                    hint="load the tokenizer the model was trained with, or resize the model's embedding",
                )
            self.vocab_size = tokenizer.vocab_size
        self.context_length = int(getattr(model.config, "max_position_embeddings", None) or 2048)
        self.end_of_text_id = _end_of_text(model, tokenizer)

    @classmethod
    def load(cls, directory: str | os.PathLike, device: str = "auto") -> Generator:
        """Load model and tokenizer from a local directory.

        Parameters
        ----------
        directory : path-like
            What `corpuskit.train.fit` wrote, or any causal model in Hugging Face layout. Nothing
            is downloaded.
        device : str
            A torch device; "auto" takes CUDA where there is one.

        Raises
        ------
        InputError
            If there is no model.
        ArtifactError
            If the model or its tokenizer is damaged, or they do not fit.
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(load(directory).to(device), load_tokenizer(directory))  # type: ignore[arg-type]

    def generate(
        self,
        prompt: str | Sequence[str] = "",
        max_new_tokens: int = 100,
        temperature: float = 0.7,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float = 1.0,
        seed: int = 0,
        num_samples: int = 1,
        include_prompt: bool = True,
    ) -> str | list[str]:
        """Continue one prompt or several.

        Parameters
        ----------
        prompt : str or sequence of str
            An empty one starts a new document, from the end-of-text token.
        max_new_tokens : int
            A text ends here or at the end-of-text token. A text that outgrows the context goes on
            from the newer half of it.
        temperature, top_k, top_p, repetition_penalty
            See `Sampling`; temperature 0 takes the most likely token each time.
        seed : int
            The same seed gives the same text, whatever else is in the batch.
        num_samples : int
            Texts a prompt.
        include_prompt : bool
            Whether the texts begin with their prompt.

        Returns
        -------
        str or list of str
            A text for one prompt and one sample; otherwise a list, all samples of the first
            prompt first.

        Raises
        ------
        ConfigError
            If a parameter is impossible, there is no tokenizer, a prompt is longer than the
            context, or it is empty and there is no end-of-text token.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        tokenizer, ids = self._encode(prompts)
        sampling = Sampling(temperature, top_k, top_p, repetition_penalty)
        streams = [TextStream(tokenizer, row) for row in ids for _ in range(num_samples)]
        texts = [text if include_prompt else "" for text in prompts for _ in range(num_samples)]
        for tokens in self._steps(ids, max_new_tokens, sampling, seed, num_samples):
            for row, token in enumerate(tokens):
                if token is not None:
                    texts[row] += streams[row].push(token)
        return texts[0] if isinstance(prompt, str) and num_samples == 1 else texts

    def stream(
        self,
        prompt: str = "",
        max_new_tokens: int = 100,
        temperature: float = 0.7,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float = 1.0,
        seed: int = 0,
    ) -> Iterator[str]:
        """The continuation that `generate` gives, piece by piece, each of whole characters."""
        tokenizer, ids = self._encode([prompt])
        sampling = Sampling(temperature, top_k, top_p, repetition_penalty)
        text = TextStream(tokenizer, ids[0])
        for (token,) in self._steps(ids, max_new_tokens, sampling, seed, 1):
            piece = "" if token is None else text.push(token)
            if piece:
                yield piece

    def generate_ids(
        self,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int = 100,
        sampling: Sampling | None = None,
        seed: int = 0,
        num_samples: int = 1,
        stop_at_end: bool = True,
    ) -> list[list[int]]:
        """Continue sequences of token ids; needs no tokenizer.

        Parameters
        ----------
        prompts : sequence of sequences of int
            Not empty, each within the context and the vocabulary.
        max_new_tokens, seed, num_samples
            As for `generate`.
        sampling : Sampling, optional
            Default: the most likely token each time.
        stop_at_end : bool
            Whether the end-of-text token ends a sequence. It is never part of the result then.

        Returns
        -------
        list of list of int
            The new tokens only; all samples of the first prompt first.
        """
        rows: list[list[int]] = [[] for _ in range(len(prompts) * num_samples)]
        greedy = sampling or Sampling(temperature=0)
        for tokens in self._steps(prompts, max_new_tokens, greedy, seed, num_samples, stop_at_end):
            for row, token in zip(rows, tokens, strict=True):
                if token is not None:
                    row.append(token)
        return rows

    def _encode(self, prompts: Sequence[str]) -> tuple[TextTokenizer, list[list[int]]]:
        if self.tokenizer is None:
            raise ConfigError(
                "this model has no tokenizer beside it",
                where="prompt",
                hint="use generate_ids, or put the tokenizer's files into the model's directory",
            )
        ids = [[int(token) for token in self.tokenizer.encode(text)] for text in prompts]
        for row in ids:
            if not row:
                if self.end_of_text_id is None:
                    raise ConfigError(
                        "is empty, and the tokenizer has no end-of-text token to start from", where="prompt"
                    )
                row.append(self.end_of_text_id)
        return self.tokenizer, ids

    @torch.inference_mode()
    def _steps(
        self,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        sampling: Sampling,
        seed: int,
        num_samples: int,
        stop_at_end: bool = True,
    ) -> Iterator[list[int | None]]:
        """The next token of every row, again and again; None once a row has ended."""
        self._check(prompts, max_new_tokens, num_samples)
        self.model.eval()
        device = self.model.device
        # What each row's next token is predicted from: its prompt and new tokens, within the context.
        windows = [list(prompt) for prompt in prompts for _ in range(num_samples)]
        generators = [
            torch.Generator().manual_seed(derive(seed, f"sample {sample}"))
            for _ in prompts
            for sample in range(num_samples)
        ]
        occurred = torch.zeros(len(windows), self.vocab_size, dtype=torch.bool, device=device)
        for row, window in enumerate(windows):
            occurred[row, window] = True
        running = [True] * len(windows)
        cache: _Cache | None = None
        for _ in range(max_new_tokens):
            if cache is None:
                cache, logits = _Cache.filled(self.model, windows)
            else:
                logits = cache.extended([window[-1] for window in windows])
            chosen = sampling.next_tokens(logits[:, : self.vocab_size].float(), occurred, generators)
            occurred.scatter_(1, chosen[:, None], True)
            tokens = chosen.tolist()
            if stop_at_end:
                running = [
                    going and token != self.end_of_text_id
                    for going, token in zip(running, tokens, strict=True)
                ]
            yield [token if going else None for going, token in zip(running, tokens, strict=True)]
            if not any(running):
                return
            for window, token in zip(windows, tokens, strict=True):
                window.append(token)
                if len(window) > self.context_length:
                    del window[: -max(1, self.context_length // 2)]
                    cache = None

    def _check(self, prompts: Sequence[Sequence[int]], max_new_tokens: int, num_samples: int) -> None:
        for name, value in (("max_new_tokens", max_new_tokens), ("num_samples", num_samples)):
            if value < 1:
                raise ConfigError(f"must be at least 1, not {value}", where=name)
        for number, prompt in enumerate(prompts):
            where = f"prompt {number}" if len(prompts) > 1 else "prompt"
            if not len(prompt):
                raise ConfigError("is empty: there is nothing to continue", where=where)
            if len(prompt) > self.context_length:
                raise ConfigError(
                    f"is {len(prompt)} tokens long; the model's context holds {self.context_length}",
                    where=where,
                    hint="keep the end of the prompt",
                )
            if not 0 <= min(prompt) <= max(prompt) < self.vocab_size:
                raise ConfigError(f"holds ids outside 0 … {self.vocab_size - 1}", where=where)


class _Cache:
    """The keys and values of a left-padded batch, with the mask and positions that belong to it."""

    def __init__(self, model: PreTrainedModel, mask: Tensor) -> None:
        self._model, self._mask, self._values = model, mask, None

    @classmethod
    def filled(cls, model: PreTrainedModel, windows: Sequence[Sequence[int]]) -> tuple[_Cache, Tensor]:
        """A cache of the windows, and the logits after each one's last token."""
        longest = max(map(len, windows))
        ids = torch.zeros(len(windows), longest, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, window in enumerate(windows):
            ids[row, longest - len(window) :] = torch.tensor(window)
            mask[row, longest - len(window) :] = 1
        cache = cls(model, mask.to(model.device))
        positions = (cache._mask.cumsum(1) - 1).clamp(min=0)
        return cache, cache._forward(ids.to(model.device), positions)

    def extended(self, tokens: Sequence[int]) -> Tensor:
        """Add one token a row; the logits after it."""
        ids = torch.tensor(tokens, device=self._mask.device)[:, None]
        self._mask = torch.cat([self._mask, torch.ones_like(ids)], 1)
        return self._forward(ids, self._mask.sum(1, keepdim=True) - 1)

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        output: Any = self._model(
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._values,
            use_cache=True,
            logits_to_keep=1,
        )
        self._values = output.past_key_values
        return output.logits[:, -1]


def _end_of_text(model: PreTrainedModel, tokenizer: TextTokenizer | None) -> int | None:
    """The tokenizer's end-of-text id, or without a tokenizer the configuration's."""
    if tokenizer is not None:
        try:
            return tokenizer.end_of_text_id
        except ArtifactError:  # a vocabulary without special tokens
            return None
    found = model.config.eos_token_id
    return found if isinstance(found, int) else None
