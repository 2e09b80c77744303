"""The model a run begins with: fresh, or from a directory, with rows for every id the run will see."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from transformers import PreTrainedModel

from corpuskit.errors import ArtifactError, ConfigError, CorpuskitError, MismatchError
from corpuskit.models.hub import local_directory
from corpuskit.models.loading import create, family_of, load, load_tokenizer, vocabulary_size
from corpuskit.models.tokenizers import HuggingFaceTokenizer, TextTokenizer
from corpuskit.train.config import TrainConfig
from corpuskit.train.objectives import SpecialTokens
from corpuskit.vocab import formats
from corpuskit.vocab.embeddings import constituent_ids, resize
from corpuskit.vocab.pieces import SentencePieceModel
from corpuskit.vocab.tokenizer import Tokenizer


class Beginning(NamedTuple):
    """What a run begins with.

    Attributes
    ----------
    model : PreTrainedModel
    old_rows : int or None
        Rows that it came with. None: all weights are fresh.
    special : SpecialTokens
        With what the model's own configuration says: what it pads with, what its decoder starts from.
    """

    model: PreTrainedModel
    old_rows: int | None
    special: SpecialTokens


def first_model(
    config: TrainConfig, special: SpecialTokens, tokenizer: TextTokenizer | None, fingerprint: str
) -> Beginning:
    """Make or load the model of a run.

    Parameters
    ----------
    config : TrainConfig
    special : SpecialTokens
        The ids that the run needs.
    tokenizer : TextTokenizer or None
        Of the shards.
    fingerprint : str
        Of the tokenizer that wrote the shards.

    Raises
    ------
    ConfigError
        If the model is of another kind than the objective trains, or its context is too short.
    ArtifactError
        If the shards' vocabulary is larger than the model's embedding.
    MismatchError
        If the model was trained with a tokenizer that the shards' one does not extend.
    """
    if config.source is None:
        model = create(config.shape, special.num_ids, config.seed, special.end_of_text, special.pad)
        return Beginning(model, None, special)
    model = load(config.source)
    _require_fit(model, config)
    old_rows = _apply_vocabulary(model, config, special, tokenizer, fingerprint)
    if family_of(model) != "causal" and model.config.pad_token_id is not None:
        special = replace(special, pad=int(model.config.pad_token_id))
    if family_of(model) == "seq2seq":
        if model.config.decoder_start_token_id is None:
            model.config.decoder_start_token_id = special.pad
        special = replace(special, decoder_start=int(model.config.decoder_start_token_id))
    return Beginning(model, old_rows, special)


def _require_fit(model: PreTrainedModel, config: TrainConfig) -> None:
    objective, family = config.objective_of(None), family_of(model)
    if family != objective.family:
        raise ConfigError(
            f"{objective.name} trains {objective.family} models, and {config.source} is {family}",
            where="train.objective",
            hint="choose another objective or another model",
        )
    if family == "seq2seq":
        return
    context = getattr(model.config, "max_position_embeddings", None)
    longest = max([config.sequence_length, *(length for length, _ in config.stages)])
    if context is not None and longest > context:
        raise ConfigError(
            f"the model's context is {context} tokens, and a sequence has {longest}",
            where="train.sequence_length",
            hint=f"choose at most {context}",
        )


def _apply_vocabulary(
    model: PreTrainedModel,
    config: TrainConfig,
    special: SpecialTokens,
    tokenizer: TextTokenizer | None,
    fingerprint: str,
) -> int:
    """Give the model rows for the run's ids; returns how many rows are old."""
    own = _own_tokenizer(str(config.source))
    old_size = own.vocab_size if own is not None else vocabulary_size(model)
    embedding: Any = model.get_input_embeddings()
    rows = int(embedding.weight.shape[0])
    same = own is not None and (own.fingerprint == fingerprint or _begins_with(own, tokenizer))
    wanted = special.num_ids
    if config.embedding_init is None and not same:
        if special.vocab_size > rows:
            raise ArtifactError(
                f"the shards' tokenizer has {special.vocab_size} tokens, the model's embedding {rows} rows",
                where=str(config.source),
                hint="set embedding_init (constituents) to give the model rows for the new tokens",
            )
        if own is not None:
            raise MismatchError(
                f"the shards were written with another tokenizer (fingerprint {fingerprint}) than the "
                f"model's (fingerprint {own.fingerprint})",
                where=str(config.source),
                hint="write the shards with the model's tokenizer, or set embedding_init if the shards' one "
                "extends it",
            )
    new: list[list[int]] = [[] for _ in range(max(0, wanted - old_size))]
    if not same and config.embedding_init == "constituents" and own is not None and tokenizer is not None:
        known = _constituents(config, own, tokenizer)
        new[: len(known)] = known
    if wanted > old_size and (wanted > rows or config.embedding_init is not None):
        init = config.embedding_init or "mean"
        resize(model, old_size, new, init=init, seed=config.seed)
    return min(old_size, rows)


def _own_tokenizer(source: str) -> TextTokenizer | None:
    """The tokenizer beside a model: as corpuskit reads it, so that fingerprints compare, or transformers'."""
    try:
        return formats.load(local_directory(source))
    except CorpuskitError:
        return load_tokenizer(source)


def _begins_with(own: TextTokenizer, tokenizer: TextTokenizer | None) -> bool:
    """Whether transformers' tokenizer has the shards' SentencePiece pieces, and others only behind them.

    T5's has: the sentinels stand behind the model file's pieces, where `special_tokens` puts ours too.
    """
    vocabulary = getattr(tokenizer, "vocabulary", None)
    if not isinstance(own, HuggingFaceTokenizer) or not isinstance(vocabulary, SentencePieceModel):
        return False
    ids = range(vocabulary.vocab_size)
    return len(ids) <= own.vocab_size and own.wrapped.convert_ids_to_tokens(list(ids)) == [
        vocabulary.processor.id_to_piece(i) for i in ids
    ]


def _constituents(config: TrainConfig, own: TextTokenizer, tokenizer: TextTokenizer) -> list[list[int]]:
    if not isinstance(own, Tokenizer):
        raise MismatchError(
            "the model's tokenizer is of a kind whose tokens cannot be compared with the shards' ones",
            where=str(config.source),
            hint="set embedding_init to mean",
        )
    try:
        return constituent_ids(own, tokenizer)
    except ConfigError as error:
        raise MismatchError(
            "the shards' tokenizer does not extend the model's",
            where=str(config.source),
            hint="extend the model's tokenizer (`corpuskit vocab extend --base`) and write the shards anew",
        ) from error
