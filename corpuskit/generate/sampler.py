"""Prompts in, continuations or answers out, through one interface for causal and encoder-decoder models.

A batch gives each prompt what it would get alone: see `corpuskit.generate.padding` for lengths,
`corpuskit.generate.sampling` for draws, and `tie_tolerance` for what floating point leaves open.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from numbers import Integral
from typing import Literal, Unpack

from transformers import PreTrainedModel

from corpuskit.errors import ArtifactError, ConfigError
from corpuskit.generate.beams import search
from corpuskit.generate.continuation import Continuation
from corpuskit.generate.decoding import decoder_for, first_token
from corpuskit.generate.gpt2 import arrange, supports
from corpuskit.generate.limits import context_length_of, end_ids_of, end_of_text_of
from corpuskit.generate.sampling import Sampling, SamplingOptions
from corpuskit.generate.shortcuts import Shortcuts
from corpuskit.generate.stops import StopStrings, as_stops, texts_of
from corpuskit.generate.text import TextStream
from corpuskit.models.devices import device_of
from corpuskit.models.loading import WeightDtype, load, load_tokenizer, vocabulary_size
from corpuskit.models.tokenizers import TextTokenizer

Overlong = Literal["error", "window"]


class Generator:
    """A language model that continues prompts (causal) or answers them (encoder-decoder).

    Parameters
    ----------
    model : PreTrainedModel
        Any causal or encoder-decoder model of transformers.
    tokenizer : TextTokenizer, optional
        Without one, only `generate_ids` works.

    Attributes
    ----------
    answers : bool
        Whether the model is an encoder-decoder.
    vocab_size : int
        Tokens that can be emitted.
    context_length : int or None
        Tokens of prompt and continuation together (encoder-decoder: of either); None where positions
        are relative, as T5's.
    end_ids : frozenset of int
        Tokens that end a text.

    Raises
    ------
    ArtifactError
        If the tokenizer has more tokens than the model's embedding has rows.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: TextTokenizer | None = None) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.answers = bool(model.config.is_encoder_decoder)
        # Rows above this are padding: what `create` added, or rows no token of the tokenizer has.
        self.vocab_size = vocabulary_size(model)
        if tokenizer is not None:
            if tokenizer.vocab_size > self.vocab_size:
                raise ArtifactError(
                    f"the tokenizer has {tokenizer.vocab_size} tokens, the model only {self.vocab_size}",
                    hint="load the tokenizer the model was trained with, or resize the model's embedding",
                )
            self.vocab_size = tokenizer.vocab_size
        self.context_length = context_length_of(model)
        self.end_of_text_id = end_of_text_of(model, tokenizer)
        self.end_ids = end_ids_of(model, self.end_of_text_id)
        self._opening = [first_token(model)] if self.answers else []
        self._shortcuts = Shortcuts(model, self.vocab_size)

    @classmethod
    def load(
        cls, directory: str | os.PathLike, device: str = "auto", dtype: WeightDtype = "float32"
    ) -> Generator:
        """Load model and tokenizer from a local directory.

        Parameters
        ----------
        directory : path-like
            What `corpuskit.train.fit` wrote, or any causal or encoder-decoder model in Hugging Face
            layout; a hub name (owner/model) where there is no such directory.
        device : str
            A torch device; "auto" takes CUDA where there is one.
        dtype : {"float32", "bfloat16"}
            Weights that are stored so stay mapped from the file, others are converted one by one.
            bfloat16 needs half the memory; tokens may then differ.

        Raises
        ------
        InputError
            If there is no model.
        ArtifactError
            If the model or its tokenizer is damaged, they do not fit, or it is no model that writes.
        ConfigError
            If there is no such device or dtype.
        """
        place = device_of(device)
        model = load(directory, dtype)
        if not model.can_generate():
            raise ArtifactError(
                f"{type(model).__name__} does not write text",
                where=str(directory),
                hint="a causal or an encoder-decoder model does; this one fills in hidden tokens",
            )
        model.to(place)  # type: ignore[arg-type]
        if supports(model):
            arrange(model)
        try:
            return cls(model, load_tokenizer(directory))
        except ArtifactError as error:
            where = error.where or str(directory)
            raise type(error)(error.what, where=where, hint=error.hint) from error

    def generate(
        self,
        prompt: str | Sequence[str] = "",
        max_new_tokens: int = 100,
        *,
        seed: int = 0,
        num_samples: int = 1,
        include_prompt: bool | None = None,
        stop: str | Sequence[str] = (),
        overlong: Overlong = "error",
        batch_size: int | None = None,
        on_texts: Callable[[list[str]], None] | None = None,
        **options: Unpack[SamplingOptions],
    ) -> str | list[str]:
        """Continue or answer one prompt or several.

        Parameters
        ----------
        prompt : str or sequence of str
            An empty one starts a new document, from the end-of-text token.
        max_new_tokens : int
            A text ends here or at the end-of-text token. A text that outgrows the context goes on
            from the newer half of it.
        seed : int
            The same seed gives the same text, whatever else is in the batch.
        num_samples : int
            Texts a prompt; with beams the best so many.
        include_prompt : bool, optional
            Whether the texts begin with their prompt. Default: where the model continues it.
        stop : str or sequence of str
            A text ends before the first of these.
        overlong : {"error", "window"}
            What to do with a prompt longer than the context: refuse it, or read only its last
            `context_length` tokens.
        batch_size : int, optional
            Most texts that are written at a time. Default: all.
        on_texts : callable, optional
            Receives the texts that were written at a time, as soon as they are there, in order.
        **options
            The fields of `Sampling`: temperature, top_k, top_p, min_p, repetition_penalty,
            no_repeat_ngram, beams, length_penalty, early_stopping.

        Returns
        -------
        str or list of str
            A text for one prompt and one sample; otherwise a list, all samples of the first
            prompt first.

        Raises
        ------
        ConfigError
            If a parameter is unknown or impossible, there is no tokenizer, a prompt is longer than
            the context, or it is empty and there is no end-of-text token.
        """
        prompts = texts_of(prompt, "prompt")
        sampling = Sampling.of(options)
        _positive(max_new_tokens=max_new_tokens, num_samples=num_samples)
        if batch_size is not None:
            _positive(batch_size=batch_size)
        shown = not self.answers if include_prompt is None else include_prompt
        ids = [
            self.encode(text, f"prompt {number}" if len(prompts) > 1 else "prompt")
            for number, text in enumerate(prompts)
        ]
        self._check(ids, max_new_tokens, overlong)
        texts: list[str] = []
        for part, samples in _batches(ids, num_samples, batch_size or len(ids) * num_samples, sampling):
            new = self._texts(part, max_new_tokens, sampling, seed, samples, as_stops(stop))
            if shown:
                new = [prompts[at // num_samples] + text for at, text in enumerate(new, len(texts))]
            texts += new
            if on_texts is not None:
                on_texts(new)
        return texts[0] if isinstance(prompt, str) and num_samples == 1 else texts

    def stream(
        self,
        prompt: str | Sequence[int] = "",
        max_new_tokens: int = 100,
        *,
        seed: int = 0,
        stop: str | Sequence[str] = (),
        overlong: Overlong = "error",
        **options: Unpack[SamplingOptions],
    ) -> Iterator[str]:
        """The continuation that `generate` gives, piece by piece.

        Each piece is of whole characters, and none of them is part of a stop string. With beams the
        text comes in one piece. `prompt` may also be tokens.
        """
        ids = self.encode(prompt) if isinstance(prompt, str) else [int(token) for token in prompt]
        sampling = Sampling.of(options)
        _positive(max_new_tokens=max_new_tokens)
        self._check([ids], max_new_tokens, overlong)
        stops = StopStrings(as_stops(stop))
        if sampling.beams > 1:
            yield from self._texts([ids], max_new_tokens, sampling, seed, range(1), as_stops(stop))
            return
        text = self._text(ids)
        continuation = self._continuation([ids], sampling, self.end_ids, max_new_tokens)
        for new in continuation.steps(max_new_tokens, seed, range(1)):
            for _, token in new:
                piece = stops.push(text.push(token))
                if stops.stopped:
                    continuation.finish(0)
                if piece:
                    yield piece
        if rest := stops.finish():
            yield rest

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
        _positive(max_new_tokens=max_new_tokens, num_samples=num_samples)
        ids = [[int(token) for token in prompt] for prompt in prompts]
        self._check(ids, max_new_tokens, "error")
        chosen = sampling or Sampling(temperature=0)
        ends = self.end_ids if stop_at_end else frozenset[int]()
        if not ids:
            return []
        if chosen.beams > 1:
            return self._best(ids, max_new_tokens, chosen, num_samples, ends)
        rows: list[list[int]] = [[] for _ in range(len(ids) * num_samples)]
        continuation = self._continuation(ids, chosen, ends, max_new_tokens, num_samples)
        for new in continuation.steps(max_new_tokens, seed, range(num_samples)):
            for row, token in new:
                rows[row].append(token)
        return rows

    def encode(self, text: str, where: str = "prompt") -> list[int]:
        """The tokens of a prompt as the model expects them; a question to T5 ends with its end token.

        Raises
        ------
        ConfigError
            If there is no tokenizer, or the prompt is empty and there is no end-of-text token.
        """
        ids = [int(token) for token in self._require_tokenizer().encode(text)]
        if self.answers and self.end_of_text_id is not None and ids[-1:] != [self.end_of_text_id]:
            ids.append(self.end_of_text_id)
        if ids:
            return ids
        if self.end_of_text_id is None:
            raise ConfigError(
                "is empty, and the tokenizer has no end-of-text token to start from", where=where
            )
        return [self.end_of_text_id]

    def _require_tokenizer(self) -> TextTokenizer:
        if self.tokenizer is None:
            raise ConfigError(
                "this model has no tokenizer beside it",
                where="prompt",
                hint="use generate_ids, or put the tokenizer's files into the model's directory",
            )
        return self.tokenizer

    def _said(self, ids: list[int]) -> list[int]:
        """What the new tokens continue: the prompt, or where the model answers it what answers begin with."""
        return self._opening if self.answers else ids

    def _text(self, ids: list[int]) -> TextStream:
        return TextStream(self._require_tokenizer(), [] if self.answers else ids)

    def _continuation(
        self,
        ids: Sequence[list[int]],
        sampling: Sampling,
        ends: Collection[int],
        new_tokens: int,
        num_samples: int = 1,
    ) -> Continuation:
        self.model.eval()
        screen = self._shortcuts.screen(new_tokens) if sampling.is_greedy else None
        rough = self._shortcuts.rough(new_tokens) if len(ids) * num_samples == 1 else None
        return Continuation(
            decoder_for(self.model, screen, rough),
            ids,
            [self._said(row) for row in ids],
            sampling,
            self.vocab_size,
            None if self.answers else self.context_length,
            ends,
            self.model.device,
        )

    def _texts(
        self,
        ids: Sequence[list[int]],
        max_new_tokens: int,
        sampling: Sampling,
        seed: int,
        samples: range,
        stop: Sequence[str],
    ) -> list[str]:
        """The new text of each sample of each prompt."""
        streams = [self._text(row) for row in ids for _ in samples]
        stops = [StopStrings(stop) for _ in streams]
        texts = [""] * len(streams)
        if sampling.beams > 1:
            best = self._best(ids, max_new_tokens, sampling, len(samples), self.end_ids)
            for row, tokens in enumerate(best):
                for token in tokens:
                    texts[row] += stops[row].push(streams[row].push(token))
        else:
            continuation = self._continuation(ids, sampling, self.end_ids, max_new_tokens, len(samples))
            for new in continuation.steps(max_new_tokens, seed, samples):
                for row, token in new:
                    texts[row] += stops[row].push(streams[row].push(token))
                    if stops[row].stopped:
                        continuation.finish(row)
        return [text + rest.finish() for text, rest in zip(texts, stops, strict=True)]

    def _best(
        self,
        ids: Sequence[list[int]],
        max_new_tokens: int,
        sampling: Sampling,
        num_samples: int,
        ends: Collection[int],
    ) -> list[list[int]]:
        """The best `num_samples` results of beam search for each prompt."""
        if num_samples > sampling.beams:
            raise ConfigError(
                f"{sampling.beams} beams cannot give {num_samples} texts",
                where="num_samples",
                hint="more beams",
            )
        longest = max(map(len, ids))
        if not self.answers and self.context_length and longest + max_new_tokens > self.context_length:
            raise ConfigError(
                f"a prompt of {longest} tokens and {max_new_tokens} new ones do not fit the model's context "
                f"of {self.context_length}, and beams cannot slide it",
                where="max_new_tokens",
                hint="ask for fewer tokens, or sample without beams",
            )
        self.model.eval()
        said = [self._said(row) for row in ids]
        found = search(
            decoder_for(self.model), ids, said, sampling, self.vocab_size, max_new_tokens, ends,
            self.model.device,
        )  # fmt: skip
        return [text for texts in found for text in texts[:num_samples]]

    def _check(self, prompts: list[list[int]], max_new_tokens: int, overlong: Overlong) -> None:
        """Refuse impossible prompts and answers; with "window" keep the end of overlong prompts."""
        if self.answers and self.context_length is not None and max_new_tokens > self.context_length:
            raise ConfigError(
                f"must be at most {self.context_length}, this model's longest answer, not {max_new_tokens}",
                where="max_new_tokens",
            )
        if overlong not in ("error", "window"):
            raise ConfigError(f"must be error or window, not {overlong!r}", where="overlong")
        for number, prompt in enumerate(prompts):
            where = f"prompt {number}" if len(prompts) > 1 else "prompt"
            if not prompt:
                raise ConfigError("is empty: there is nothing to continue", where=where)
            if self.context_length is not None and len(prompt) > self.context_length:
                if overlong == "error":
                    raise ConfigError(
                        f"is {len(prompt)} tokens long; the model's context holds {self.context_length}",
                        where=where,
                        hint="shorten it, or let only its end be read, with overlong set to window",
                    )
                prompts[number] = prompt = prompt[-self.context_length :]
            if not 0 <= min(prompt) <= max(prompt) < self.vocab_size:
                raise ConfigError(f"holds ids outside 0 … {self.vocab_size - 1}", where=where)


def _batches(
    ids: list[list[int]], num_samples: int, batch_size: int, sampling: Sampling
) -> Iterator[tuple[list[list[int]], range]]:
    """Prompts and sample numbers that are written together, at most `batch_size` texts, in order."""
    if batch_size < num_samples and sampling.beams == 1:
        for row in ids:
            for first in range(0, num_samples, batch_size):
                yield [row], range(first, min(first + batch_size, num_samples))
        return
    together = max(1, batch_size // max(num_samples, sampling.beams))
    for first in range(0, len(ids), together):
        yield ids[first : first + together], range(num_samples)


def _positive(**values: int) -> None:
    for name, value in values.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"must be a whole number of at least 1, not {value!r}", where=name)
