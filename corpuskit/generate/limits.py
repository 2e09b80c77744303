"""Where texts end: what a model's configuration says of its context and of the tokens that end a text.

Each family of transformers has its own names for it, and some say it in two places.
"""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from corpuskit.errors import ArtifactError
from corpuskit.models.tokenizers import TextTokenizer


def context_length_of(model: PreTrainedModel) -> int | None:
    """Tokens that a model has positions for; None where they are relative."""
    for name in ("max_position_embeddings", "max_seq_len"):  # the second is MPT's
        positions = getattr(model.config, name, None)
        if isinstance(positions, int) and positions > 0:  # XLNet says -1
            return positions
    return None


def end_of_text_of(model: PreTrainedModel, tokenizer: TextTokenizer | None) -> int | None:
    """The tokenizer's end-of-text id, or without a tokenizer the configuration's."""
    if tokenizer is not None:
        try:
            return tokenizer.end_of_text_id
        except ArtifactError:  # a vocabulary without special tokens
            return None
    found: Any = model.config.eos_token_id
    return found if isinstance(found, int) else None


def end_ids_of(model: PreTrainedModel, end_of_text_id: int | None) -> frozenset[int]:
    """The end-of-text token, and what else generation_config.json names as ends (chat models do)."""
    listed: Any = getattr(model.generation_config, "eos_token_id", None)
    others = listed if isinstance(listed, list) else [] if listed is None else [listed]
    return frozenset([*others, *([] if end_of_text_id is None else [end_of_text_id])])
