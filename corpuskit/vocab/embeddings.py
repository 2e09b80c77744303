"""Rows for new tokens in a model's input and output embeddings.

Old rows keep their bits, a tied output stays tied, and the number of rows is padded for the matrix
hardware. Where a new row starts decides how much a pre-trained model forgets at once. Let p be the
model's distribution over the V old tokens at some place, n the new rows (padding included), and the
output linear in its rows, biases among them:

- ``constituents``: the mean of the rows of the old tokens that the new one was cut into ("fast vocabulary
  transfer", Gee et al. 2022). A new logit is then the mean of its constituents' logits, and by Jensen its
  exponential at most the mean of theirs. So the loss on old text grows by at most log(1 + sum_v p(v) w(v)),
  w(v) being v's share in all new tokens together: next to nothing on English, where the bytes of Chinese
  characters have no probability, and less than log(1 + max w) anywhere.
- ``mean``: the mean of all old rows. By the same step the loss grows by at most log(1 + n/V) everywhere
  (Hewitt 2021), 0.18 nats for 10,000 tokens on GPT-2; but all new rows are one, and training has to tell
  them apart.
- ``multivariate``: drawn from the normal distribution with the mean and covariance of the old rows; on par
  with far more complex methods in Mundra et al. (2024). No bound.
- ``zero``: new logits are 0 (with an output bias, its mean). No bound: where old logits lie far below 0,
  nearly all probability goes to the new tokens.

A measured comparison is in docs/explanation/extending-vocabularies.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from corpuskit.errors import ConfigError
from corpuskit.vocab.bytelevel import ByteLevelBPE
from corpuskit.vocab.model_proto import without_dummy_prefix
from corpuskit.vocab.pieces import SentencePieceModel

if TYPE_CHECKING:
    import torch

Initialiser = Literal["constituents", "mean", "multivariate", "zero"]


def resize(
    model: Any,
    old_size: int,
    constituents: Sequence[Sequence[int]],
    *,
    init: Initialiser = "constituents",
    multiple: int = 64,
    seed: int = 0,
) -> int:
    """Give `model` rows for new tokens, in place.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        Its embeddings may have more rows than `old_size` (padding); those are set anew and are never
        taken away. The output may be tied to them or not, and may have a bias.
    old_size : int
        Number of ids of the old vocabulary.
    constituents : sequence of sequences of int
        For each new token, in id order, the old ids of its bytes (`constituent_ids`). Without any
        (a special token), the row starts as the mean.
    init : {"constituents", "mean", "multivariate", "zero"}
        How new rows start. Padding rows start as the mean.
    multiple : int
        Rows are padded up to a multiple of this.
    seed : int
        Of ``multivariate``.

    Returns
    -------
    int
        Number of rows now, padding included. The number without is written to the configuration as
        ``unpadded_vocab_size``, which corpuskit's generator obeys, and padding rows are among the
        ``suppress_tokens`` of transformers' own.

    Raises
    ------
    ConfigError
        If `init` is unknown, the model has fewer rows than `old_size` or rows that are no floating-point
        numbers, or a constituent is no old id.
    """
    import torch

    if init not in get_args(Initialiser):
        raise ConfigError(
            f"unknown initialiser {init!r}", where="init", hint=f"one of {', '.join(get_args(Initialiser))}"
        )
    if multiple < 1:
        raise ConfigError(f"{multiple} is not positive", where="multiple")
    weight = model.get_input_embeddings().weight
    rows = weight.shape[0]
    if not weight.is_floating_point():
        raise ConfigError(
            f"the embeddings hold {weight.dtype}",
            where="model",
            hint="load the model unquantised, resize it, and quantise the result",
        )
    if old_size < 1 or rows < old_size:
        raise ConfigError(f"the model has {rows} rows, fewer than old_size {old_size}", where="old_size")
    for index, ids in enumerate(constituents):
        if ids and not 0 <= min(ids) <= max(ids) < old_size:
            raise ConfigError(
                f"the constituents {list(ids)} are not ids below {old_size}", where=f"new token {index}"
            )
    size = -(-max(rows, old_size + len(constituents)) // multiple) * multiple
    fill = _Filler(old_size, constituents, init, seed)
    with torch.no_grad():
        old = {name: tensor[..., :old_size].clone() for name, tensor in _biases(model, rows).items()}
        old_input = weight[:old_size].clone()
        output = model.get_output_embeddings()
        tied = output is None or output.weight is weight
        old_output = None if tied else output.weight[:old_size].clone()
        model.resize_token_embeddings(size, mean_resizing=False)
        fill.rows(model.get_input_embeddings().weight, old_input)
        if old_output is not None:
            fill.rows(model.get_output_embeddings().weight, old_output)
        for name, tensor in _biases(model, size).items():
            fill.rows(tensor.view(-1), old[name].reshape(-1))
    _mask_padding(model, old_size, old_size + len(constituents), size)
    return size


def _biases(model: Any, rows: int) -> dict[str, torch.Tensor]:
    """The output's bias, and where BART, Marian and mBART keep theirs; all with `rows` entries."""
    output = model.get_output_embeddings()
    found = {
        "bias": getattr(output, "bias", None),
        "final_logits_bias": getattr(model, "final_logits_bias", None),
    }
    return {name: tensor for name, tensor in found.items() if tensor is not None and tensor.shape[-1] == rows}


class _Filler:
    """Writes old rows back bit for bit, then new and padding rows."""

    def __init__(
        self, old_size: int, constituents: Sequence[Sequence[int]], init: Initialiser, seed: int
    ) -> None:
        self._old_size = old_size
        self._constituents = constituents
        self._init = init
        self._seed = seed

    def rows(self, weight: torch.Tensor, old: torch.Tensor) -> None:
        """Fill one matrix (rows, width), or one bias (rows)."""
        precise = old.double()
        mean = precise.mean(dim=0)
        new = weight[self._old_size : self._old_size + len(self._constituents)]
        weight[: self._old_size] = old
        weight[self._old_size :] = mean.to(weight.dtype)
        if self._init == "constituents":
            for index, ids in enumerate(self._constituents):
                if ids:
                    new[index] = precise[list(ids)].mean(dim=0).to(weight.dtype)
        elif self._init == "zero" and old.dim() == 2:
            new.zero_()
        elif self._init == "multivariate" and len(new):
            new.copy_(_draw(precise, len(new), self._seed).to(weight))


def _draw(old: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    """Rows from the normal distribution with the mean and covariance of the old ones.

    The covariance's square root comes from its eigenvalues, as it has no Cholesky factor where there
    are fewer old rows than columns.
    """
    import torch

    table = old.reshape(len(old), -1).cpu()
    mean = table.mean(dim=0)
    centred = table - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(table))
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(count, table.shape[1], generator=generator, dtype=torch.float64)
    drawn = mean + (normal * values.clamp(min=0).sqrt()) @ vectors.T
    return drawn.reshape(count, *old.shape[1:])


def _mask_padding(model: Any, old_size: int, used: int, rows: int) -> None:
    model.config.unpadded_vocab_size = used
    generation = getattr(model, "generation_config", None)
    if generation is not None:
        kept = [token_id for token_id in generation.suppress_tokens or () if token_id < old_size]
        generation.suppress_tokens = [*kept, *range(used, rows)] or None


def constituent_ids(old: Any, new: Any) -> list[list[int]]:
    """For each token that `new` has beyond `old`, the old ids its bytes are encoded to.

    Parameters
    ----------
    old, new : Tokenizer
        `new` as `corpuskit.vocab.extend` or `add_words` made it from `old`.

    Raises
    ------
    ConfigError
        If `new` does not begin with the tokens of `old`.
    """
    before, after = old.vocabulary, new.vocabulary
    if isinstance(before, ByteLevelBPE) and isinstance(after, ByteLevelBPE):
        if after.tokens[: len(before.tokens)] == before.tokens:
            return _merged_constituents(before, after)
    elif isinstance(before, SentencePieceModel) and isinstance(after, SentencePieceModel):
        pieces = [after.processor.id_to_piece(i) for i in range(after.vocab_size)]
        if pieces[: before.vocab_size] == [before.processor.id_to_piece(i) for i in range(before.vocab_size)]:
            alone = SentencePieceModel(before.kind, without_dummy_prefix(before.model), before.special_tokens)
            return alone.encode_batch(pieces[before.vocab_size :])
    raise ConfigError(
        "the new vocabulary does not begin with the old one",
        where="new",
        hint="pass the base it was extended from",
    )


def _merged_constituents(before: ByteLevelBPE, after: ByteLevelBPE) -> list[list[int]]:
    parts: dict[int, list[int]] = {}
    for left, right in after.merges[len(before.merges) :]:
        made = after.ids[(after.tokens[left] or b"") + (after.tokens[right] or b"")]
        parts[made] = [i for token_id in (left, right) for i in parts.get(token_id, [token_id])]
    return [parts[token_id] for token_id in range(len(before.tokens), len(after.tokens))]
