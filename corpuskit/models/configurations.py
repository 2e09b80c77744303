"""The models we train from scratch, as plain data that needs no torch.

``gpt2`` to ``xl`` are the four published sizes (Radford et al. 2019, table 2; the heads follow the
released checkpoints). ``nano`` is for a first run on a CPU: with GPT-2's 50,257 tokens plus some
thousand Chinese ones the output layer is nine tenths of the work, so its cost is about
proportional to the width; 128 is the widest that two cores train in minutes. The T5 sizes are those
of T5.1.1 (gated GELU, output layer of its own; the large one has the 770M parameters of PromptCLUE
and ChatYuan), the encoders those of BERT, RoBERTa and DistilBERT as published.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, get_args

from corpuskit.errors import ConfigError, InputError

VOCABULARY_MULTIPLE = 64

Architecture = Literal["gpt2", "t5", "bert", "roberta", "distilbert"]
Family = Literal["causal", "seq2seq", "masked"]

_FAMILIES: dict[str, Family] = {"gpt2": "causal", "t5": "seq2seq"}


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a model.

    Attributes
    ----------
    layers, width, heads : int
        Transformer blocks (T5: in the encoder, and as many in the decoder), size of the residual
        stream, attention heads (`width` is a multiple of `heads`).
    context_length : int
        Longest sequence in tokens (learned positions; T5's are relative, and this is what it is
        trained and asked for).
    dropout : float
        Probability for embeddings, attention and residuals. 0 by default: pre-training sees each
        token about once, and there is nothing to overfit.
    initializer_range : float
        Standard deviation of fresh weights. GPT-2's 0.02 suits its width of 768 and starves narrow
        models; ``nano`` takes ``1 / sqrt(width)`` (LeCun et al. 1998, section 4.6): on 33,000 tokens
        of the demo crawl, 300 updates at 3e-3 end at a loss of 3.7 instead of 6.5. T5 scales its own
        initialisation by the width and ignores it.
    architecture : {"gpt2", "t5", "bert", "roberta", "distilbert"}
    feed_forward : int or None
        Inner size of the feed-forward layers; None: 4 times the width (T5: the multiple of 64 nearest
        to 8/3 of it, which as T5.1.1's is gated and so has as many parameters).
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    layers: int = 4
    width: int = 128
    heads: int = 4
    context_length: int = 256
    dropout: float = 0.0
    initializer_range: float = 0.02
    architecture: Architecture = "gpt2"
    feed_forward: int | None = None

    def __post_init__(self) -> None:
        if self.architecture not in get_args(Architecture):
            raise ConfigError(
                f"must be one of {', '.join(get_args(Architecture))}, not {self.architecture!r}",
                where="model.architecture",
            )
        if self.feed_forward is not None and self.feed_forward < 1:
            raise ConfigError(f"must be at least 1, not {self.feed_forward}", where="model.feed_forward")
        for name in ("layers", "width", "heads", "context_length"):
            if getattr(self, name) < 1:
                raise ConfigError(f"must be at least 1, not {getattr(self, name)}", where=f"model.{name}")
        if self.width % self.heads and self.architecture != "t5":  # T5's heads have a width of their own
            raise ConfigError(
                f"must be a multiple of heads ({self.heads}), not {self.width}", where="model.width"
            )
        if not 0 < self.initializer_range < 1:
            raise ConfigError(
                f"must lie in (0, 1), not {self.initializer_range}", where="model.initializer_range"
            )
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"must lie in [0, 1), not {self.dropout}", where="model.dropout")

    @property
    def family(self) -> Family:
        """What the model is trained for: next tokens, a target for an input, or hidden tokens."""
        return _FAMILIES.get(self.architecture, "masked")

    @property
    def inner_width(self) -> int:
        """Size of the feed-forward layers."""
        if self.feed_forward is not None:
            return self.feed_forward
        return max(64, round(self.width / 24) * 64) if self.architecture == "t5" else 4 * self.width

    @classmethod
    def of_directory(cls, directory: str | os.PathLike) -> ModelConfig:
        """About the shape of a model in a Hugging Face directory, from its config.json; needs no torch.

        Only sizes and kind are read, for estimates: other causal architectures count as GPT-2, other
        encoders as BERT.

        Raises
        ------
        InputError
            If there is no config.json, or it is no JSON object.
        """
        path = Path(directory) / "config.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            kind = str(found["model_type"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                "no model here: config.json is missing or damaged",
                where=str(directory),
                hint=f"give a model's directory, or one of {', '.join(_PRESETS)}",
            ) from error

        def first(names: tuple[str, ...], default: int) -> int:
            return next((int(found[name]) for name in names if isinstance(found.get(name), int)), default)

        other: Architecture = "t5" if found.get("is_encoder_decoder") else "gpt2"
        known: dict[str, Architecture] = {"bert": "bert", "roberta": "roberta", "distilbert": "distilbert"}
        width = first(("n_embd", "hidden_size", "d_model", "dim"), 768)
        heads = first(("n_head", "num_attention_heads", "num_heads", "n_heads"), 1)
        return cls(
            layers=first(("n_layer", "num_hidden_layers", "num_layers", "n_layers"), 12),
            width=width,
            heads=heads if width % heads == 0 else 1,
            context_length=first(("n_positions", "max_position_embeddings"), 2048),
            architecture=known.get(kind, other),
        )

    @classmethod
    def presets(cls) -> tuple[str, ...]:
        """The named sizes."""
        return tuple(_PRESETS)

    @classmethod
    def preset(cls, name: str) -> ModelConfig:
        """One of the named sizes.

        GPT-2: nano, gpt2 (124M), medium (355M), large (774M), xl (1.5B). T5.1.1: t5-nano, t5-small
        (77M), t5-base (248M), t5-large (783M). Encoders: bert-nano, bert-base (110M), roberta-base
        (125M), distilbert-base (67M). Counts are those of the published vocabularies.

        Raises
        ------
        ConfigError
            If there is no such size.
        """
        if name not in _PRESETS:
            raise ConfigError(
                f"no model size is called {name!r}",
                where="model",
                hint=f"one of {', '.join(_PRESETS)}, or layers, width, heads and context_length, or a "
                "model's directory or hub name (owner/model)",
            )
        return _PRESETS[name]


_PRESETS = {
    "nano": ModelConfig(layers=4, width=128, heads=4, context_length=256, initializer_range=128**-0.5),
    "gpt2": ModelConfig(layers=12, width=768, heads=12, context_length=1024),
    "medium": ModelConfig(layers=24, width=1024, heads=16, context_length=1024),
    "large": ModelConfig(layers=36, width=1280, heads=20, context_length=1024),
    "xl": ModelConfig(layers=48, width=1600, heads=25, context_length=1024),
    "t5-nano": ModelConfig(4, 128, 4, 256, architecture="t5", feed_forward=320),
    "t5-small": ModelConfig(8, 512, 6, 512, architecture="t5", feed_forward=1024),
    "t5-base": ModelConfig(12, 768, 12, 512, architecture="t5", feed_forward=2048),
    "t5-large": ModelConfig(24, 1024, 16, 512, architecture="t5", feed_forward=2816),
    "bert-nano": ModelConfig(4, 128, 4, 256, 0.0, 128**-0.5, architecture="bert"),
    "bert-base": ModelConfig(12, 768, 12, 512, 0.1, architecture="bert"),
    "roberta-base": ModelConfig(12, 768, 12, 512, 0.1, architecture="roberta"),
    "distilbert-base": ModelConfig(6, 768, 12, 512, 0.1, architecture="distilbert"),
}


def padded_vocabulary(vocab_size: int) -> int:
    """`vocab_size` rounded up to a multiple of 64.

    Tensor cores work on tiles; nanoGPT reports about 25 % faster steps for 50,304 rows instead of
    50,257. The added rows are never the target of a prediction and never sampled.
    """
    return -(-vocab_size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE
