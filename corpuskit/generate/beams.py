"""Beam search as transformers 5 does it: the same candidates, scores and stopping rule.

For every prompt the `beams` most likely unfinished texts are kept, and the best finished ones by
``log probability / length ** length_penalty``. Of the continuations of all beams the best
``(1 + end tokens) * beams`` are looked at, so that enough unfinished ones are among them; a finished
one counts only if it is among the first `beams` (transformers.generation.utils, `_beam_search`). The
penalties are applied to log probabilities, as there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import torch

from corpuskit.generate.decoding import Decoder
from corpuskit.generate.sampling import Sampling, require_numbers

_NEVER = -1e9


@dataclass
class _Search:
    """One prompt: its finished texts with their scores, and whether it is still worth going on."""

    beams: int
    finished: list[tuple[float, list[int]]] = field(default_factory=list)
    open: bool = True

    def add(self, score: float, text: list[int]) -> None:
        self.finished.append((score, text))
        self.finished.sort(key=lambda item: -item[0])
        del self.finished[self.beams :]

    @property
    def full(self) -> bool:
        return len(self.finished) == self.beams


@torch.inference_mode()
def search(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    said: Sequence[Sequence[int]],
    sampling: Sampling,
    vocab_size: int,
    max_new_tokens: int,
    end_ids: Collection[int],
    device: torch.device,
) -> list[list[list[int]]]:
    """The best continuations of each prompt, best first.

    Parameters
    ----------
    decoder, prompts, said, sampling, vocab_size, end_ids, device
        As for `corpuskit.generate.continuation.Continuation`.
    max_new_tokens : int
        A text that has not ended then counts as finished.

    Returns
    -------
    list of list of list of int
        For each prompt `sampling.beams` texts, new tokens only, without the token that ended them.
    """
    beams, ends = sampling.beams, frozenset(end_ids)
    searches = [_Search(beams) for _ in prompts]
    texts: list[list[int]] = [[] for _ in prompts for _ in range(beams)]
    # Only the first of the equal beams counts in the first step.
    scores = torch.full((len(prompts), beams), _NEVER, device=device)
    scores[:, 0] = 0
    copies = torch.arange(len(prompts), device=device).repeat_interleave(beams)
    history = sampling.history([said[place] for place in copies.tolist()], vocab_size, device)
    logits = decoder.start(prompts, max_new_tokens)
    decoder.select(copies)
    logits = logits[copies]
    candidates = min(max(2, 1 + len(ends)) * beams, beams * vocab_size)
    for length in range(1, max_new_tokens + 1):
        require_numbers(logits[:, :vocab_size])
        likely = history.constrain(logits[:, :vocab_size].float().log_softmax(1))
        total = likely.view(len(prompts), beams, vocab_size) + scores[:, :, None]
        best, places = total.view(len(prompts), -1).topk(candidates)
        parents, tokens, kept_scores = [], [], []
        for number, place in enumerate(searches):
            ranked = [
                (score, number * beams + index // vocab_size, index % vocab_size)
                for score, index in zip(best[number].tolist(), places[number].tolist(), strict=True)
            ]
            going = _rank(place, ranked, texts, ends, sampling, length, length == max_new_tokens)
            for score, parent, token in going:
                parents.append(parent)
                tokens.append(token)
                kept_scores.append(score)
        if length == max_new_tokens or not any(place.open for place in searches):
            break
        texts = [[*texts[parent], token] for parent, token in zip(parents, tokens, strict=True)]
        scores = torch.tensor(kept_scores, device=device).view(len(prompts), beams)
        rows, chosen = torch.tensor(parents, device=device), torch.tensor(tokens, device=device)
        history.select(rows)
        history.extend(chosen)
        decoder.select(rows)
        logits = decoder.step(chosen)
    return [[text for _, text in place.finished] for place in searches]


def _rank(
    search: _Search,
    ranked: Sequence[tuple[float, int, int]],
    texts: Sequence[list[int]],
    ends: Collection[int],
    sampling: Sampling,
    length: int,
    last: bool,
) -> list[tuple[float, int, int]]:
    """Take finished candidates into `search`; the (score, row, token) of those that go on."""
    going: list[tuple[float, int, int]] = []
    full = search.full and sampling.early_stopping
    for place, (score, parent, token) in enumerate(ranked):
        ended = token in ends
        if not (ended or last):
            if len(going) < search.beams:
                going.append((score, parent, token))
            continue
        if search.open and not full and place < search.beams:
            text = [*texts[parent]] if ended else [*texts[parent], token]
            search.add(score / length**sampling.length_penalty, text)
    while len(going) < search.beams:  # a vocabulary of hardly more than end tokens
        going.append((_NEVER, ranked[0][1], ranked[0][2]))
    if sampling.early_stopping and search.full:
        search.open = False
    elif search.full:
        # The best that a running text could score now; once it is worse, transformers looks no further.
        search.open &= going[0][0] / length**sampling.length_penalty > search.finished[-1][0]
    return going
