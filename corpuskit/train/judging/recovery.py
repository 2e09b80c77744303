"""How well a masked model finds hidden words: its loss, and the share of tokens and of words it gets right.

In training a tenth of the chosen tokens stay as they are and a tenth become others; copying the first
would count as a guess here. So every chosen token is hidden (`HIDE_ALL`). A word counts as
right if all its tokens are: where words are hidden whole, guessing one means guessing its length's worth of
tokens at once, each without seeing the others.

The same words are hidden for every model that is judged with the same seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from corpuskit.errors import ArtifactError, ConfigError, InputError
from corpuskit.train.objectives import MaskedLM, Sample

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from corpuskit.models.tokenizers import TextTokenizer
    from corpuskit.shards import TokenDataset

HIDE_ALL = MaskedLM(mask_share=1.0, random_share=0.0)


@dataclass(frozen=True)
class Recovery:
    """What became of the hidden tokens.

    Attributes
    ----------
    nats : float
        Minus the sum of the logarithms of the probabilities that the model gave the hidden tokens.
    tokens, right_tokens : int
        Hidden, and those of them that the model found likeliest.
    words, right_words : int
        Hidden, and those all of whose tokens are right; tokens are words if the objective hides no words.
    """

    nats: float
    tokens: int
    right_tokens: int
    words: int
    right_words: int

    @property
    def loss(self) -> float:
        """Nats a hidden token."""
        return self.nats / self.tokens

    @property
    def token_accuracy(self) -> float:
        return self.right_tokens / self.tokens

    @property
    def word_accuracy(self) -> float:
        return self.right_words / self.words


def recovery(
    model: PreTrainedModel,
    data: TokenDataset,
    tokenizer: TextTokenizer | None = None,
    *,
    objective: MaskedLM = HIDE_ALL,
    sequence_length: int = 128,
    sequences: int | None = None,
    batch_size: int = 16,
    seed: int = 0,
) -> Recovery:
    """Hide words of a dataset, and let a masked model guess them.

    Parameters
    ----------
    model : PreTrainedModel
        Masked; it is put into evaluation mode.
    data : TokenDataset
        With the column ``word_starts``, unless the objective hides tokens.
    tokenizer : TextTokenizer, optional
        Of the shards, if it has a mask token; otherwise it is the one that training gave the model.
    objective : MaskedLM
        What is hidden.
    sequence_length : int
        Tokens of a window over the stream; what is left at its end is not used.
    sequences : int, optional
        So many windows, evenly spread over the dataset; by default all.
    batch_size : int
        Windows in a forward pass.
    seed : int
        Chooses the words, with a window's number among those judged.

    Raises
    ------
    ConfigError
        If the model is not a masked one or too short, the dataset has no ``word_starts``, or a number is
        impossible.
    ArtifactError
        If the model has no row for the mask token.
    InputError
        If no token could be hidden.
    """
    import torch

    from corpuskit.models.loading import family_of, vocabulary_size
    from corpuskit.models.packed import forward_inputs
    from corpuskit.models.seeds import derive
    from corpuskit.train.data import Source, special_tokens
    from corpuskit.train.judging.logits import logits_at

    if family_of(model) != "masked":
        raise ConfigError("only a masked model guesses hidden words", where="model")
    longest = getattr(model.config, "max_position_embeddings", sequence_length)
    for name, value, most in (
        ("sequence_length", sequence_length, longest),
        ("batch_size", batch_size, None),
        ("sequences", sequences, None),
    ):
        if value is not None and (value < 1 or (most is not None and value > most)):
            wanted = "at least 1" if most is None else f"from 1 to {most}"
            raise ConfigError(f"must be {wanted}, not {value}", where=name)
    record = data.manifest.tokenizer
    special = special_tokens(
        tokenizer, record.vocab_size, record.end_of_text_id, [objective], sequence_length
    )
    _require_row(special.mask, vocabulary_size(model))
    windows = data.windows(sequence_length)
    source = Source(windows, objective, sequence_length, 0, len(windows), whole=True)
    if sequences is not None:
        source = source.spread(sequences)
    nats, totals = 0.0, np.zeros(4, np.int64)
    model.eval()
    with torch.inference_mode():
        for begin in range(0, len(source), batch_size):
            numbers = np.arange(begin, min(begin + batch_size, len(source)))
            samples = source.samples(numbers)
            examples = [
                objective(sample, derive(seed, f"judged {number}"), special)
                for number, sample in zip(numbers.tolist(), samples)
            ]
            ids = torch.from_numpy(np.stack([example.input_ids for example in examples]))
            labels = np.stack([example.labels for example in examples])
            rows, places = np.nonzero(labels >= 0)
            inputs = forward_inputs(model, {"input_ids": ids.to(model.device)})
            hidden = torch.from_numpy(rows * sequence_length + places).to(model.device)
            targets = torch.from_numpy(labels[rows, places]).to(model.device)
            guesses, done = [], 0
            for logits in logits_at(model, inputs, hidden, record.vocab_size):
                truth = targets[done : done + len(logits)]
                nats += float(torch.nn.functional.cross_entropy(logits, truth, reduction="sum").double())
                guesses.append(logits.argmax(1))
                done += len(logits)
            right = np.zeros(labels.shape, np.bool_)
            right[rows, places] = (torch.cat(guesses) == targets).cpu().numpy()
            for label, good, sample in zip(labels, right, samples):
                totals += _counts(label, good, _words(sample, objective))
    if not totals[0]:
        raise InputError(
            "no token could be hidden",
            where=str(data.directory),
            hint="give a dataset of at least one sequence_length",
        )
    return Recovery(nats, *totals.tolist())


def _require_row(mask: int | None, rows: int) -> None:
    if mask is None or mask >= rows:
        raise ArtifactError(
            f"the mask token is {mask}, and the model has {rows} rows",
            where="model",
            hint="give the model and the tokenizer it was trained with",
        )


def _words(sample: Sample, objective: MaskedLM) -> np.ndarray:
    """The number of the word that each token belongs to."""
    if not objective.whole_words:
        return np.arange(len(sample.tokens))
    first = sample.columns["word_starts"] != 0
    first[sample.starts] = True
    return np.cumsum(first) - 1


def _counts(labels: np.ndarray, right: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Hidden tokens, right ones, hidden words, right ones."""
    hidden = labels >= 0
    of_word = np.bincount(words, hidden), np.bincount(words, right)
    whole = of_word[0] > 0
    return np.array(
        [hidden.sum(), right.sum(), whole.sum(), (of_word[0] == of_word[1])[whole].sum()], np.int64
    )
