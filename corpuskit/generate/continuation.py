"""The loop: logits, a token for each row, the cache one longer, until every row has ended.

Each prompt is read once, however many samples continue it. Rows that have ended leave the batch when
they are half of it: leaving costs a copy of the cache, staying costs their share of every step. When
a row has filled the context, the window slides: the row goes on from the newer half of its context,
and the batch is read again once, so a text of any length costs about two forward passes a token.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor

from corpuskit.generate.decoding import Decoder
from corpuskit.generate.lookahead import Choose, Lookahead
from corpuskit.generate.sampling import Sampling, require_numbers
from corpuskit.models.seeds import derive


class Continuation:
    """Rows of tokens that grow together.

    Parameters
    ----------
    decoder : Decoder
    prompts : sequence of sequences of int
        Not empty, each within the context and the vocabulary.
    said : sequence of sequences of int
        For each prompt, the tokens the penalties look back on: the prompt where the model continues
        it, what answers begin with where it answers.
    sampling : Sampling
    vocab_size : int
        Logits above are padding.
    context_length : int or None
        None: the model has no limit.
    end_ids : collection of int
        Tokens that end a row.
    """

    def __init__(
        self,
        decoder: Decoder,
        prompts: Sequence[Sequence[int]],
        said: Sequence[Sequence[int]],
        sampling: Sampling,
        vocab_size: int,
        context_length: int | None,
        end_ids: Collection[int],
        device: torch.device,
    ) -> None:
        self._decoder, self._sampling, self._device = decoder, sampling, device
        self._vocab_size, self._context_length = vocab_size, context_length
        self._end_ids = frozenset(end_ids)
        self._prompts, self._said = prompts, said
        self._finished: set[int] = set()

    def finish(self, row: int) -> None:
        """Let a row end here, for a reason the tokens do not show."""
        self._finished.add(row)

    @torch.inference_mode()
    def steps(self, max_new_tokens: int, seed: int, samples: range) -> Iterator[list[tuple[int, int]]]:
        """Again and again the new tokens, as (row, token) of the rows that have not ended.

        Rows are numbered prompt by prompt, all `samples` of a prompt together; what a sample draws
        depends on its number. The token that ends a row is left out.
        """
        prompt_of = [place for place in range(len(self._prompts)) for _ in samples]
        generators = [
            torch.Generator().manual_seed(derive(seed, f"sample {sample}"))
            for _ in self._prompts
            for sample in samples
        ]
        windows = [list(self._prompts[place]) for place in prompt_of]
        rows = list(range(len(windows)))  # those the decoder still holds
        history = self._sampling.history(
            [self._said[place] for place in prompt_of], self._vocab_size, self._device
        )

        def foresee() -> Choose:
            """How the tokens of the one row will be chosen from here on, if the logits are these."""
            generator = torch.Generator()
            generator.set_state(generators[rows[0]].get_state())
            past = history.copy()

            def choose(logits: Tensor) -> Tensor:
                constrained = past.constrain(logits[:, : self._vocab_size].float())
                tokens = self._sampling.next_tokens(constrained, [generator])
                past.extend(tokens)
                return tokens

            return choose

        if isinstance(self._decoder, Lookahead):
            self._decoder.foresee = foresee
        logits = self._decoder.start(self._prompts, self._room(windows, max_new_tokens))
        if len(samples) > 1:
            self._decoder.select(torch.tensor(prompt_of, device=self._device))
            logits = logits[prompt_of]
        for count in range(1, max_new_tokens + 1):
            constrained = history.constrain(logits[:, : self._vocab_size].float())
            chosen = self._sampling.next_tokens(constrained, [generators[row] for row in rows])
            require_numbers(constrained, chosen if self._sampling.temperature == 0 else None)
            tokens = chosen.tolist()
            new = []
            for row, token in zip(rows, tokens, strict=True):
                if token in self._end_ids:
                    self._finished.add(row)
                elif row not in self._finished:
                    new.append((row, token))
            yield new
            staying = [place for place, row in enumerate(rows) if row not in self._finished]
            if count == max_new_tokens or not staying:
                return
            history.extend(chosen)
            slid = self._extend(windows, rows, tokens)
            if slid or 2 * len(staying) <= len(rows):
                kept = torch.tensor(staying, device=self._device)
                history.select(kept)
                rows = [rows[place] for place in staying]
                chosen = chosen[kept]
                if not slid:
                    self._decoder.select(kept)
            if slid:
                read = [windows[row] for row in rows]
                logits = self._decoder.start(read, self._room(read, max_new_tokens - count))
            else:
                logits = self._decoder.step(chosen)

    def _extend(self, windows: list[list[int]], rows: Sequence[int], tokens: Sequence[int]) -> bool:
        """Add the tokens to their windows; whether a window had to slide."""
        slid = False
        for row, token in zip(rows, tokens, strict=True):
            windows[row].append(token)
            limit = self._context_length
            # A row that has ended may still be in the batch, and must not run out of positions.
            if limit is not None and len(windows[row]) > limit:
                del windows[row][: -max(1, limit // 2)]
                slid = True
        return slid

    def _room(self, windows: Sequence[Sequence[int]], max_new_tokens: int) -> int:
        """How many tokens may follow before the batch is read again."""
        if self._context_length is None:
            return max_new_tokens
        return min(max_new_tokens, self._context_length - max(map(len, windows)))
