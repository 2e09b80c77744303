"""Writing a vocabulary in the formats of other programs, where the ids stay the same.

A format is listed only where the ids are provably equal for every text; see
`ByteLevelBPE.ranks_agree` for tiktoken's case.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

from corpuskit.errors import UnsupportedExport
from corpuskit.files import atomic_path, write_text
from corpuskit.vocab.bytelevel import GPT2_PATTERN, ByteLevelBPE
from corpuskit.vocab.pieces import SentencePieceModel

if TYPE_CHECKING:
    from corpuskit.vocab.tokenizer import Tokenizer

FORMATS = ("tokenizer.json", "gpt2", "tiktoken", "spiece.model")


def formats_of(vocabulary: ByteLevelBPE | SentencePieceModel) -> tuple[str, ...]:
    """The formats among `FORMATS` that give the same ids for every text."""
    if isinstance(vocabulary, SentencePieceModel):
        return ("spiece.model",)
    formats = ["tokenizer.json"]
    if vocabulary.normaliser != "identity":
        return tuple(formats)
    if vocabulary.pattern == GPT2_PATTERN and not vocabulary.ignore_merges:
        formats.append("gpt2")  # programs that read it know no other pattern
    if vocabulary.ranks_agree():
        formats.append("tiktoken")
    return tuple(formats)


def export(tokenizer: Tokenizer, format: str, path: Path) -> Path:
    """Write `tokenizer` as `format`; see `Tokenizer.export`."""
    vocabulary = tokenizer.vocabulary
    available = tokenizer.exportable_formats
    if format not in available:
        reason = "would change ids" if format in FORMATS else "is not a format corpuskit knows"
        raise UnsupportedExport(
            f"writing a {tokenizer.kind} tokenizer as {format!r} {reason}",
            where=str(path),
            hint=f"this one can be exported as {', '.join(available)}",
        )
    if isinstance(vocabulary, SentencePieceModel):
        with atomic_path(path) as temporary:
            temporary.write_bytes(vocabulary.model)
    elif format == "tokenizer.json":
        write_text(path, vocabulary.to_json())
    elif format == "gpt2":
        content = vocabulary.to_huggingface()["model"]
        write_text(path / "vocab.json", json.dumps(content["vocab"], ensure_ascii=False))
        lines = ["#version: 0.2", *(f"{left} {right}" for left, right in content["merges"])]
        write_text(path / "merges.txt", "\n".join(lines) + "\n")
    else:
        write_text(path.with_name(path.name + ".json"), _tiktoken_sidecar(vocabulary))
        write_text(path, "".join(_tiktoken_lines(vocabulary)))
    return path


def _tiktoken_lines(vocabulary: ByteLevelBPE) -> list[str]:
    return [
        f"{base64.b64encode(token).decode()} {rank}\n"
        for rank, token in enumerate(vocabulary.tokens)
        if token is not None
    ]


def _tiktoken_sidecar(vocabulary: ByteLevelBPE) -> str:
    content = {"pat_str": vocabulary.pattern, "special_tokens": dict(vocabulary.special_tokens)}
    return json.dumps(content, ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def transformers_configuration(tokenizer: Tokenizer) -> str:
    """`tokenizer_config.json` for `AutoTokenizer`.

    As is usual in transformers, text that looks like a special token is one there: its ids are
    those of ``encode(text, allow_special=True)``; ``split_special_tokens=True`` gives the others.
    """
    content: dict[str, object] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1_000_000_000,
    }
    if tokenizer.end_of_text is not None:
        content["bos_token"] = content["eos_token"] = content["pad_token"] = tokenizer.end_of_text
    others = [name for name in tokenizer.special_tokens if name != tokenizer.end_of_text]
    if others:
        content["additional_special_tokens"] = others
    return json.dumps(content, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
