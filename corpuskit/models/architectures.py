"""Hugging Face models of a shape: which of their many settings are ours, and which are theirs."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
)

from corpuskit.errors import ConfigError
from corpuskit.models.configurations import ModelConfig

_LARGEST_ROBERTA_PAD = 255
_T5_HEAD_WIDTH = 64  # d_kv of every T5.1.1; narrow models divide their width instead


def build(config: ModelConfig, rows: int, end_of_text_id: int | None, pad_id: int) -> PreTrainedModel:
    """A model with weights from torch's current random state.

    Parameters
    ----------
    config : ModelConfig
    rows : int
        Of the embedding, padding included.
    end_of_text_id, pad_id : int
        For the model's configuration.
    """
    make: Any = {"gpt2": _gpt2, "t5": _t5, "bert": _bert, "roberta": _roberta, "distilbert": _distilbert}
    return make[config.architecture](config, rows, end_of_text_id, pad_id)


def _gpt2(config: ModelConfig, rows: int, end_of_text_id: int | None, pad_id: int) -> PreTrainedModel:
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=rows,
            n_positions=config.context_length,
            n_embd=config.width,
            n_layer=config.layers,
            n_head=config.heads,
            n_inner=config.feed_forward,
            initializer_range=config.initializer_range,
            embd_pdrop=config.dropout,
            attn_pdrop=config.dropout,
            resid_pdrop=config.dropout,
            bos_token_id=end_of_text_id,
            eos_token_id=end_of_text_id,
        )
    )


def _t5(config: ModelConfig, rows: int, end_of_text_id: int | None, pad_id: int) -> PreTrainedModel:
    """T5.1.1: gated GELU, no scaling of the decoder's output, an output layer of its own."""
    make: Any = T5Config  # its fields of the base class are not in its signature
    settings = make(
        vocab_size=rows,
        d_model=config.width,
        d_kv=min(_T5_HEAD_WIDTH, max(1, config.width // config.heads)),
        d_ff=config.inner_width,
        num_layers=config.layers,
        num_decoder_layers=config.layers,
        num_heads=config.heads,
        dropout_rate=config.dropout,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        pad_token_id=pad_id,
        eos_token_id=end_of_text_id,
        decoder_start_token_id=pad_id,
        n_positions=config.context_length,
    )
    model = T5ForConditionalGeneration(settings)
    # transformers 5 ties the output of every new T5, which with unscaled outputs of width d makes logits
    # of deviation sqrt(d). T5.1.1 has an output layer of its own, of deviation 1 / sqrt(d) (fan-in).
    weight = torch.empty_like(model.shared.weight).normal_(0.0, config.width**-0.5)
    model.lm_head.weight = torch.nn.Parameter(weight)
    model.config.tie_word_embeddings = False
    return model


def _encoder_settings(config: ModelConfig, rows: int, pad_id: int) -> dict[str, Any]:
    return {
        "vocab_size": rows,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.inner_width,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.dropout,
        "max_position_embeddings": config.context_length,
        "initializer_range": config.initializer_range,
        "pad_token_id": pad_id,
    }


def _bert(config: ModelConfig, rows: int, end_of_text_id: int | None, pad_id: int) -> PreTrainedModel:
    return BertForMaskedLM(BertConfig(**_encoder_settings(config, rows, pad_id)))


def _roberta(config: ModelConfig, rows: int, end_of_text_id: int | None, pad_id: int) -> PreTrainedModel:
    """RoBERTa counts positions from ``pad_id + 1``, so its table is that much longer."""
    if pad_id > _LARGEST_ROBERTA_PAD:
        raise ConfigError(
            f"RoBERTa numbers its positions from the pad token's id, and that is {pad_id}",
            where="model.architecture",
            hint='take "bert", which is the same network, or a tokenizer whose <pad> is among the first ids',
        )
    settings = _encoder_settings(config, rows, pad_id)
    settings |= {"max_position_embeddings": config.context_length + pad_id + 1, "type_vocab_size": 1}
    return RobertaForMaskedLM(RobertaConfig(**settings))


def _distilbert(config: ModelConfig, rows: int, end_of_text_id: int | None, pad_id: int) -> PreTrainedModel:
    return DistilBertForMaskedLM(
        DistilBertConfig(
            vocab_size=rows,
            dim=config.width,
            n_layers=config.layers,
            n_heads=config.heads,
            hidden_dim=config.inner_width,
            dropout=config.dropout,
            attention_dropout=config.dropout,
            max_position_embeddings=config.context_length,
            initializer_range=config.initializer_range,
            pad_token_id=pad_id,
        )
    )
