"""Creating, saving and loading language models, in the directory layout of Hugging Face.

What `save` writes is what `AutoModelForCausalLM` (or ``…Seq2SeqLM``, ``…MaskedLM``) and
`AutoTokenizer` load unchanged: config.json,
generation_config.json, model.safetensors and the tokenizer's files. Two entries carry our padding
of the vocabulary across: ``unpadded_vocab_size`` in config.json, and ``suppress_tokens`` in
generation_config.json, by which transformers' own `generate` never emits a padding row either.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    GenerationConfig,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES
from transformers.utils import logging

from corpuskit.errors import ArtifactError, ConfigError, InputError
from corpuskit.models.architectures import build
from corpuskit.models.configurations import Family, ModelConfig, padded_vocabulary
from corpuskit.models.hub import local_directory
from corpuskit.models.seeds import derive
from corpuskit.models.staging import staged_directory
from corpuskit.models.tokenizers import TextTokenizer, load_tokenizer

__all__ = ["WeightDtype", "create", "family_of", "load", "load_tokenizer", "save", "vocabulary_size"]

WeightDtype = Literal["float32", "bfloat16"]

_AUTO_CLASSES: dict[Family, Any] = {
    "causal": AutoModelForCausalLM,
    "seq2seq": AutoModelForSeq2SeqLM,
    "masked": AutoModelForMaskedLM,
}

# What safetensors calls them; masks of old checkpoints are of other types and do not count.
_STORED = {"float32": "F32", "bfloat16": "BF16"}
_FLOATS = {"F64", "F32", "F16", "BF16"}

# Heads that published encoders carry and no language model uses: BERT's next-sentence prediction.
_OTHER_HEADS = ("pooler.", "seq_relationship.")


def create(
    config: ModelConfig,
    vocab_size: int,
    seed: int,
    end_of_text_id: int | None = None,
    pad_id: int | None = None,
) -> PreTrainedModel:
    """A model with fresh weights.

    Parameters
    ----------
    config : ModelConfig
    vocab_size : int
        Tokens of the tokenizer, and ids above them that the training needs; the embedding gets
        `padded_vocabulary` rows. The output is tied to it, but for T5 as T5.1.1.
    seed : int
        The run's seed. The weights depend on it, the configuration and the torch version only;
        torch's global generator is left as it was.
    end_of_text_id : int, optional
        The token that ends a document; written to the configuration as bos and eos, and as pad
        for generation only: with a pad token in the model's configuration transformers warns that
        packed training batches, which end documents with it, might be padded.
    pad_id : int, optional
        What fills up the batches of T5 and BERT, and what T5's decoder starts from. Default: the
        end-of-text token, or 0.

    Raises
    ------
    ConfigError
        If the vocabulary is empty or an id lies outside it.
    """
    if vocab_size < 1:
        raise ConfigError(f"a model needs at least one token, not {vocab_size}", where="vocab_size")
    for name, token in (("end_of_text_id", end_of_text_id), ("pad_id", pad_id)):
        if token is not None and not 0 <= token < vocab_size:
            raise ConfigError(f"token {token} is not one of the {vocab_size} tokens", where=name)
    rows = padded_vocabulary(vocab_size)
    padding = pad_id if pad_id is not None else end_of_text_id or 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "initial weights"))
        model = build(config, rows, end_of_text_id, padding)
    model.config.unpadded_vocab_size = vocab_size
    if config.family != "masked":
        special = {"bos_token_id": end_of_text_id, "eos_token_id": end_of_text_id}
        decoder = {"decoder_start_token_id": padding} if config.family == "seq2seq" else {}
        model.generation_config = GenerationConfig(
            suppress_tokens=list(range(vocab_size, rows)) or None,
            pad_token_id=end_of_text_id if config.family == "causal" else padding,
            **special,
            **decoder,
        )
    return model


def family_of(model: PreTrainedModel) -> Family:
    """What a model is trained for: ``causal``, ``seq2seq`` or ``masked``."""
    return _family(model.config)


def _family(config: Any) -> Family:
    if getattr(config, "is_encoder_decoder", False):
        return "seq2seq"
    names = getattr(config, "architectures", None) or []
    if any(name.endswith(("ForMaskedLM", "ForPreTraining")) for name in names):
        return "masked"
    if any(name.endswith(("LMHeadModel", "ForCausalLM")) for name in names):
        return "causal"
    encoder = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return "masked" if encoder and not getattr(config, "is_decoder", False) else "causal"


def vocabulary_size(model: PreTrainedModel) -> int:
    """Tokens that may be emitted: the rows of the output layer less the padding `create` added."""
    rows = model.get_output_embeddings().weight.shape[0]
    return min(rows, getattr(model.config, "unpadded_vocab_size", None) or rows)


def save(
    model: PreTrainedModel,
    directory: str | os.PathLike,
    tokenizer: TextTokenizer | None = None,
    weights: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write `model`, and `tokenizer` if given, so that transformers loads the directory.

    Every file appears whole, config.json last; other files in `directory` stay. `weights` take the place of
    the model's own, of which a process may have a share only.

    Raises
    ------
    ResourceError
        If the disk is full; what was there before is untouched.
    """
    with staged_directory(directory, last="config.json") as stage:
        with _quiet():
            model.save_pretrained(stage, state_dict=None if weights is None else dict(weights))
        if tokenizer is not None:
            for name, content in tokenizer.files().items():
                (stage / name).write_bytes(content)


def load(directory: str | os.PathLike, dtype: WeightDtype = "float32") -> PreTrainedModel:
    """Load a language model from a Hugging Face directory, or by its hub name.

    Weights that are stored in `dtype` stay mapped from their file. Others are read and converted one by one:
    a mapped page stays in memory beside its copy, which made a T5 of 750M parameters in bfloat16 take
    4.6 GiB while it was loaded; read so it takes 2.0.

    Parameters
    ----------
    directory : path-like
        What `save` wrote, or any other model that `AutoModelForCausalLM`, `AutoModelForSeq2SeqLM` or
        `AutoModelForMaskedLM` knows; its configuration says which. What is no directory and has the form
        ``owner/model`` is looked for in the hub's cache and on the hub (see `corpuskit.models.hub`). No
        code from the directory is run.
    dtype : {"float32", "bfloat16"}
        Of the weights. float16 is not offered: T5 overflows in it.

    Raises
    ------
    ConfigError
        If there is no such dtype.
    InputError
        If there is no such directory or it holds no config.json, or the hub's model cannot be had.
    ArtifactError
        If the configuration cannot be read, weights are missing, damaged, left over, or not of
        the configured shape.
    """
    if dtype not in get_args(WeightDtype):
        raise ConfigError(f"must be {' or '.join(get_args(WeightDtype))}, not {dtype!r}", where="dtype")
    path = local_directory(directory)
    if not (path / "config.json").is_file():
        raise InputError(
            "no model here: config.json is missing",
            where=str(path),
            hint="give a directory that corpuskit.train.fit or transformers' save_pretrained wrote",
        )
    try:
        with _quiet():
            config = AutoConfig.from_pretrained(path, local_files_only=True)
            model, report = _loaded(path, config, dtype)
    # transformers and safetensors raise whatever their parsers raise on damaged files
    except Exception as error:
        raise ArtifactError(
            f"the model cannot be loaded: {_first_line(error)}",
            where=str(path),
            hint="copy the directory again, or load an earlier checkpoint",
        ) from error
    for problem in ("missing_keys", "mismatched_keys", "unexpected_keys"):
        # those of another shape are tuples: name, shape in the file, shape by the configuration
        names = sorted(
            key if isinstance(key, str) else f"{key[0]} {tuple(key[1])} for {tuple(key[2])}"
            for key in report[problem]
        )
        if problem == "unexpected_keys":
            names = [name for name in names if not any(head in name for head in _OTHER_HEADS)]
        if names:
            kind = problem.removesuffix("_keys")
            raise ArtifactError(
                f"{len(names)} {kind} weights: {', '.join(names[:3])}{' …' if len(names) > 3 else ''}",
                where=str(path),
                hint="config.json and the weights do not belong together",
            )
    output = model.get_output_embeddings()
    if output is not None:
        # transformers 5 calls every T5 tied, also one whose weights are not; resizing would tie it.
        model.config.tie_word_embeddings = output.weight is model.get_input_embeddings().weight
    return cast(PreTrainedModel, model)


def _loaded(path: Path, config: Any, dtype: WeightDtype) -> tuple[Any, dict[str, Any]]:
    """The model, and transformers' report on its weights."""
    auto = _AUTO_CLASSES[_family(config)]
    options: dict[str, Any] = {
        "config": config,
        "dtype": getattr(torch, dtype),
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,  # the report has them by name
    }
    with ExitStack() as opened:
        weights = {}
        for file in _weight_files(path):
            content = opened.enter_context(safe_open(file, framework="pt", backend="pread"))
            names = content.keys()
            weights.update({name: content.get_slice(name) for name in names})
        stored = {weight.get_dtype() for weight in weights.values()} & _FLOATS
        if stored <= {_STORED[dtype]}:
            found: Any = auto.from_pretrained(path, local_files_only=True, **options)
            return cast(tuple[Any, dict[str, Any]], found)
        with torch.device("meta"):
            kind = type(auto.from_config(config))
        model, report = kind.from_pretrained(None, state_dict=weights, **options)
    if (path / "generation_config.json").is_file():  # what from_pretrained reads where it knows the path
        model.generation_config = GenerationConfig.from_pretrained(path, local_files_only=True)
    return model, report


def _weight_files(path: Path) -> list[Path]:
    """The safetensors files that transformers would read; none where there are other kinds only."""
    if (path / "model.safetensors").is_file():
        return [path / "model.safetensors"]
    index = path / "model.safetensors.index.json"
    if not index.is_file():
        return []
    return [path / name for name in sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' progress bars and load reports off the terminal; we report ourselves."""
    verbosity = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _first_line(error: Any) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
