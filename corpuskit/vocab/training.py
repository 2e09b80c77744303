"""Training a vocabulary from text with the field's own trainers, made safe for Chinese.

Byte-level BPE by Hugging Face tokenizers: the whole byte alphabet from the start (without it,
unseen bytes vanish in encoding), Han runs isolated and bounded in length. SentencePiece: `identity`
normaliser (its default, NFKC, erases ，！？：), byte fallback, documents cut into sentences at
punctuation (the trainer drops whole lines above 4,192 bytes: 95% of a corpus with one document
a line), and a fixed thread count, on which unigram's result depends.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Literal, get_args

import sentencepiece
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from corpuskit.errors import ConfigError
from corpuskit.vocab.bytelevel import CHINESE_PATTERN, ByteLevelBPE, from_characters, from_merged_bytes
from corpuskit.vocab.pieces import PieceKind, SentencePieceModel
from corpuskit.vocab.sampling import Sample, Texts, is_reserved, sample_texts, sentences
from corpuskit.vocab.tokenizer import Tokenizer

Algorithm = Literal["bpe", "sentencepiece-unigram", "sentencepiece-bpe"]

DEFAULT_SAMPLE_BYTES = 16_000_000
NUM_THREADS = 4
MAX_SENTENCE_BYTES = 4192
_REQUIRED_CHARACTERS_FROM = 8_000

# Hugging Face's trainer counts pairs in 32 bits (huggingface/tokenizers#2058).
_MAX_SAMPLE_BYTES = (1 << 31) - 1


def gb2312_level1() -> str:
    """The 3,755 characters of GB 2312 level 1 (rows 16 to 55), the common Chinese ones."""
    cells = (bytes([0xA0 + row, 0xA0 + cell]) for row in range(16, 56) for cell in range(1, 95))
    return "".join(cell.decode("gb2312", errors="ignore") for cell in cells)


def train(
    texts: Texts,
    *,
    algorithm: Algorithm = "bpe",
    vocab_size: int,
    special_tokens: Sequence[str] = ("<|endoftext|>",),
    seed: int = 0,
    sample_bytes: int = DEFAULT_SAMPLE_BYTES,
    pattern: str = CHINESE_PATTERN,
    required_characters: str | None = None,
) -> Tokenizer:
    """Train a vocabulary.

    Parameters
    ----------
    texts : iterable of str, of Arrow string arrays, or of RecordBatch with `text`
        The corpus; read once.
    algorithm : {"bpe", "sentencepiece-unigram", "sentencepiece-bpe"}
        ``bpe`` is byte-level BPE.
    vocab_size : int
        Number of ids, the 256 bytes and the special tokens included.
    special_tokens : sequence of str
    seed : int
        Chooses the sample.
    sample_bytes : int
        UTF-8 bytes of text to train on, chosen by `corpuskit.vocab.sampling.Sampler`. ``bpe``
        needs some 90 times as much memory.
    pattern : str
        Pre-tokenisation of ``bpe``; stored in the artifact.
    required_characters : str, optional
        Characters that SentencePiece must give a token each. By default GB 2312 level 1 for
        vocabularies of 8,000 tokens and more, none for smaller ones.

    Raises
    ------
    ConfigError
        An unknown algorithm, an impossible size, or more tokens than the sample holds.
    InputError
        No text.
    """
    check_training(algorithm, vocab_size, special_tokens, sample_bytes)
    sample = sample_texts(texts, sample_bytes, seed)
    return train_on_sample(
        sample,
        algorithm=algorithm,
        vocab_size=vocab_size,
        special_tokens=special_tokens,
        pattern=pattern,
        required_characters=required_characters,
        provenance=sample.provenance(sample_bytes, seed),
    )


def check_training(algorithm: str, vocab_size: int, special_tokens: Sequence[str], sample_bytes: int) -> None:
    """Refuse what can be refused without a corpus; see `train`."""
    if algorithm not in get_args(Algorithm):
        raise ConfigError(
            f"unknown algorithm {algorithm!r}",
            where="algorithm",
            hint=f"one of {', '.join(get_args(Algorithm))}",
        )
    if isinstance(special_tokens, str) or not all(special_tokens):
        raise ConfigError("must be a sequence of non-empty texts", where="special_tokens")
    if len(set(special_tokens)) != len(special_tokens):
        raise ConfigError("the same special token twice", where="special_tokens")
    least = 257 + len(special_tokens)
    if vocab_size < least:
        raise ConfigError(
            f"{vocab_size} is less than the 256 bytes, the special tokens and one more",
            where="vocab_size",
            hint=f"at least {least}",
        )
    if not 1 <= sample_bytes <= _MAX_SAMPLE_BYTES:
        raise ConfigError(
            f"{sample_bytes} is outside 1 to {_MAX_SAMPLE_BYTES}",
            where="sample_bytes",
            hint="the trainer counts pairs in 32 bits",
        )


def train_on_sample(
    sample: Sample,
    *,
    algorithm: Algorithm,
    vocab_size: int,
    special_tokens: Sequence[str],
    pattern: str = CHINESE_PATTERN,
    required_characters: str | None = None,
    provenance: dict[str, Any],
) -> Tokenizer:
    """`train` on a sample that is already chosen; `provenance` is stored with the artifact."""
    provenance = {**provenance, "algorithm": algorithm}
    if algorithm == "bpe":
        vocabulary = _train_bytes(sample, vocab_size, special_tokens, pattern)
        provenance["trainer"] = f"tokenizers {version('tokenizers')}"
        return Tokenizer(vocabulary, provenance)
    if required_characters is None:
        required_characters = gb2312_level1() if vocab_size >= _REQUIRED_CHARACTERS_FROM else ""
    model, given, withheld = _train_pieces(sample, algorithm, vocab_size, special_tokens, required_characters)
    provenance.update(
        trainer=f"sentencepiece {version('sentencepiece')}",
        num_threads=NUM_THREADS,
        max_sentence_bytes=MAX_SENTENCE_BYTES,
        required_characters=required_characters,
        trained_bytes=given,
        reserved_bytes=withheld,
    )
    return Tokenizer(model, provenance)


def _train_bytes(
    sample: Sample, vocab_size: int, special_tokens: Sequence[str], pattern: str
) -> ByteLevelBPE:
    try:
        split = pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
    except Exception as error:  # the binding raises plain Exception
        raise ConfigError(f"not a regular expression: {error}", where="pattern") from error
    trained = tokenizers.Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(special_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained.train_from_iterator(sample.texts, trainer)
    reached = trained.get_vocab_size() + len(special_tokens)
    if reached < vocab_size:
        raise ConfigError(
            f"the sample ({sample.text_bytes} bytes) holds only {reached} tokens, not {vocab_size}",
            where="vocab_size",
            hint=f"set vocab_size to {reached} or less, or give more text",
        )
    return from_merged_bytes(_merged_bytes(trained), special_tokens, pattern)


def _merged_bytes(trained: tokenizers.Tokenizer) -> list[tuple[bytes, bytes]]:
    merges = json.loads(trained.to_str())["model"]["merges"]
    return [(from_characters(left) or b"", from_characters(right) or b"") for left, right in merges]


def _train_pieces(
    sample: Sample,
    kind: PieceKind,
    vocab_size: int,
    special_tokens: Sequence[str],
    required_characters: str,
) -> tuple[SentencePieceModel, int, int]:
    """The model, and the bytes it was given and those withheld (reserved characters)."""
    given = withheld = 0

    def pieces():
        nonlocal given, withheld
        for text in sample.texts:
            for sentence in sentences(text, MAX_SENTENCE_BYTES):
                size = len(sentence.encode())
                if is_reserved(sentence):
                    withheld += size
                else:
                    given += size
                    yield sentence

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=pieces(),
            model_writer=model,
            model_type=kind.removeprefix("sentencepiece-"),
            vocab_size=vocab_size,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            byte_fallback=True,
            split_by_unicode_script=True,
            split_by_number=True,
            split_digits=True,
            # A corpus without a space would leave U+2581, which stands for one, to the byte
            # fallback, and a space would decode as that character.
            required_chars="\u2581" + required_characters,
            max_sentence_length=MAX_SENTENCE_BYTES,
            input_sentence_size=0,
            num_threads=NUM_THREADS,
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            control_symbols=list(special_tokens),
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        raise _size_error(str(error), sample, vocab_size) from error
    if given + withheld != sample.text_bytes:
        raise RuntimeError(f"{sample.text_bytes} bytes sampled, {given} given and {withheld} withheld")
    special = {name: 1 + i for i, name in enumerate(special_tokens)}
    return SentencePieceModel(kind, model.getvalue(), special), given, withheld


def _size_error(message: str, sample: Sample, vocab_size: int) -> ConfigError:
    too_high = re.search(r"set it to a value <= (\d+)", message)
    if too_high:
        return ConfigError(
            f"the sample ({sample.text_bytes} bytes) holds only {too_high[1]} tokens, not {vocab_size}",
            where="vocab_size",
            hint=f"set vocab_size to {too_high[1]} or less, or give more text",
        )
    too_low = re.search(r"required_chars\. (\d+) vs (\d+)", message)
    if too_low:
        return ConfigError(
            f"{vocab_size} tokens cannot hold the bytes, special tokens and required characters",
            where="vocab_size",
            hint=f"at least {int(too_low[2]) + 1}, or pass fewer required_characters",
        )
    return ConfigError(f"SentencePiece refused to train: {message}", where="vocabulary")
