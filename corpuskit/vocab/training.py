"""Training a vocabulary from text: our own byte-level BPE, and the field's trainers made safe for Chinese.

``bpe`` is `corpuskit.vocab.merge_training`. ``huggingface-bpe`` gives the same merges by Hugging Face's
trainer, in many times the time and memory: the whole byte alphabet from the start (without it, unseen
bytes vanish in encoding). For both, Han runs stand alone and have bounded length. SentencePiece:
`identity` normaliser (its default, NFKC, erases ，！？：), byte fallback, digits and other scripts apart from
Han, documents cut into sentences at punctuation (the trainer drops whole lines above 4,192 bytes: 95%
of a corpus with one document a line), and a fixed thread count, on which unigram's result depends.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from typing import Any, Literal, cast, get_args

import pyarrow as pa
import pyarrow.compute as pc
import regex
import sentencepiece
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from corpuskit.errors import ConfigError, InputError
from corpuskit.vocab.bytelevel import (
    CHINESE_PATTERN,
    CL100K_PATTERN,
    GPT2_PATTERN,
    O200K_PATTERN,
    ByteLevelBPE,
    from_characters,
    from_merged_bytes,
)
from corpuskit.vocab.merge_training import learn_merges
from corpuskit.vocab.pieces import PieceKind, SentencePieceModel
from corpuskit.vocab.pretokens import MAX_PRETOKEN_BYTES, count_pretokens, split_by
from corpuskit.vocab.sampling import Sample, Texts, is_reserved, sample_texts, sentences
from corpuskit.vocab.tokenizer import Tokenizer

Algorithm = Literal["bpe", "huggingface-bpe", "sentencepiece-unigram", "sentencepiece-bpe"]

PATTERNS = {
    "chinese": CHINESE_PATTERN,
    "gpt2": GPT2_PATTERN,
    "cl100k": CL100K_PATTERN,
    "o200k": O200K_PATTERN,
}
"""Names for pre-tokenisation patterns. All but ``chinese`` put a Han run and adjoining letters in one."""

NUM_THREADS = 4
MAX_SENTENCE_BYTES = 4192
_REQUIRED_CHARACTERS_FROM = 8_000
_DEFAULT_SAMPLE_BYTES = {"bpe": 100_000_000}
_OTHERS_SAMPLE_BYTES = 16_000_000

# Positions are 32-bit, and so are the pair counts of Hugging Face's trainer (huggingface/tokenizers#2058).
_MAX_SAMPLE_BYTES = (1 << 31) - 1

_SEGMENT_CHUNK = 2_000  # sentences segmented at once
_PRIVATE_USE = range(0xE000, 0xF900)


def default_sample_bytes(algorithm: str) -> int:
    """100 MB for ``bpe``, 16 MB for the others, which hold their sample in memory many times over."""
    return _DEFAULT_SAMPLE_BYTES.get(algorithm, _OTHERS_SAMPLE_BYTES)


@dataclass(frozen=True)
class TrainingOptions:
    """How to train; see `train` for each."""

    algorithm: Algorithm
    vocab_size: int
    special_tokens: tuple[str, ...]
    pattern: str
    pre_segment: bool
    min_count: int
    max_token_bytes: int | None
    required_characters: str | None
    user_defined_symbols: tuple[str, ...]
    require_chinese: bool

    def __post_init__(self) -> None:
        known = get_args(Algorithm)
        if self.algorithm not in known:
            raise ConfigError(
                f"unknown algorithm {self.algorithm!r}", where="algorithm", hint=f"one of {', '.join(known)}"
            )
        pieces = self.algorithm.startswith("sentencepiece")
        for field in ("special_tokens", "user_defined_symbols"):
            texts = getattr(self, field)
            if isinstance(texts, str) or not all(isinstance(text, str) and text for text in texts):
                raise ConfigError("must be a sequence of non-empty texts", where=field)
        spaced = [symbol for symbol in self.user_defined_symbols if " " in symbol or "\u2581" in symbol]
        if spaced:
            raise ConfigError(
                f"{spaced[0]!r} holds a space",
                where="user_defined_symbols",
                hint="SentencePiece turns spaces into U+2581 first, and would not find it",
            )
        symbols = [*self.special_tokens, *self.user_defined_symbols]
        twice = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
        if twice:
            raise ConfigError(f"the same token twice: {twice[0]!r}", where="special_tokens")
        ordinary = [name for name in self.special_tokens if len(name.encode("utf-8", "replace")) == 1]
        if pieces:
            bytes_and_unknown = {"<unk>", *(f"<0x{byte:02X}>" for byte in range(256))}
            ordinary = [name for name in symbols if name in bytes_and_unknown]
            ordinary += [name for name in self.special_tokens if name in (self.required_characters or "")]
        if ordinary:
            raise _ordinary(ordinary[0])
        for field, unused, belongs in (
            ("user_defined_symbols", not self.user_defined_symbols, pieces),
            ("required_characters", self.required_characters is None, pieces),
            ("pattern", self.pattern in ("chinese", CHINESE_PATTERN), not pieces),
            ("max_token_bytes", self.max_token_bytes is None, self.algorithm == "bpe"),
            ("pre_segment", not self.pre_segment, self.algorithm != "huggingface-bpe"),
        ):
            if not unused and not belongs:
                raise ConfigError(f"not used by the algorithm {self.algorithm!r}", where=field)
        least = 257 + len(symbols)
        if self.vocab_size < least:
            raise ConfigError(
                f"{self.vocab_size} is less than the 256 bytes, the special tokens and one more",
                where="vocab_size",
                hint=f"at least {least}",
            )
        if self.min_count < 1:
            raise ConfigError(f"{self.min_count} is less than 1", where="min_count")
        if self.max_token_bytes is not None and self.max_token_bytes < 2:
            raise ConfigError(f"{self.max_token_bytes} is less than 2", where="max_token_bytes")
        if not pieces:
            split_by(self.regular_expression)

    @property
    def regular_expression(self) -> str:
        """`pattern`, by its name or as it is."""
        return PATTERNS.get(self.pattern, self.pattern)


def check_sample_bytes(sample_bytes: int) -> None:
    """Refuse a sample that a trainer cannot take."""
    if not 1 <= sample_bytes <= _MAX_SAMPLE_BYTES:
        raise ConfigError(
            f"{sample_bytes} is outside 1 to {_MAX_SAMPLE_BYTES}",
            where="sample_bytes",
            hint="trainers count positions or pairs in 32 bits",
        )


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
    sample_bytes: int | None = None,
    pattern: str = "chinese",
    pre_segment: bool = False,
    min_count: int = 2,
    max_token_bytes: int | None = None,
    required_characters: str | None = None,
    user_defined_symbols: Sequence[str] = (),
    require_chinese: bool = True,
) -> Tokenizer:
    """Train a vocabulary.

    Parameters
    ----------
    texts : iterable of str, of Arrow string arrays, or of RecordBatch with `text`
        The corpus; read once.
    algorithm : {"bpe", "huggingface-bpe", "sentencepiece-unigram", "sentencepiece-bpe"}
        The first two are byte-level BPE and give the same merges, unless a pre-token has over 1,024 bytes
        (which the first cuts there); the first counts in 64 bits.
    vocab_size : int
        Number of ids, the 256 bytes and the special tokens included.
    special_tokens : sequence of str
        Never produced from text unless asked for.
    seed : int
        Chooses the sample.
    sample_bytes : int, optional
        UTF-8 bytes of text to train on, chosen by `corpuskit.vocab.sampling.Sampler`; by default 100 MB for
        ``bpe`` and 16 MB for the others. Memory is at most 10 times as much for ``bpe``, 25 times for
        SentencePiece, 90 times for ``huggingface-bpe``.
    pattern : str
        Pre-tokenisation of byte-level BPE, stored in the artifact: ``chinese`` (Han runs alone and at most
        16 characters long), ``gpt2``, ``cl100k``, ``o200k``, or a regular expression.
    pre_segment : bool
        Let no token of the training cross a border between words of `corpuskit.segment.Segmenter`: tokens
        are words and parts of words, at about 10% more tokens for a text. Not for ``huggingface-bpe``.
    min_count : int
        Byte-level BPE merges no pair that is seen fewer times.
    max_token_bytes : int, optional
        ``bpe`` makes no longer token.
    required_characters : str, optional
        Characters that SentencePiece must give a token each, besides those of GB 2312 level 1, which
        vocabularies of 8,000 tokens and more always have; "" asks for none at all.
    user_defined_symbols : sequence of str
        Texts that SentencePiece always keeps in one piece.
    require_chinese : bool
        Refuse a corpus without a Chinese character.

    Raises
    ------
    ConfigError
        An unknown algorithm, an option that it does not have, an impossible size, more tokens than the
        sample holds, or a special token that is an ordinary one already.
    InputError
        No text, or none in Chinese.
    """
    options = TrainingOptions(
        algorithm,
        vocab_size,
        special_tokens if isinstance(special_tokens, str) else tuple(special_tokens),  # type: ignore[arg-type]
        pattern,
        pre_segment,
        min_count,
        max_token_bytes,
        required_characters,
        tuple(user_defined_symbols),
        require_chinese,
    )
    limit = default_sample_bytes(algorithm) if sample_bytes is None else sample_bytes
    check_sample_bytes(limit)
    sample = sample_texts(texts, limit, seed)
    return train_on_sample(sample, options, provenance=sample.provenance(limit, seed))


def train_on_sample(sample: Sample, options: TrainingOptions, *, provenance: dict[str, Any]) -> Tokenizer:
    """`train` on a sample that is already chosen; `provenance` is stored with the artifact."""
    if options.require_chinese and not any(regex.search(r"\p{Han}", text) for text in sample.texts):
        raise InputError(
            "the corpus has no Chinese character",
            where=f"{len(sample.texts)} documents sampled",
            hint="check the encoding; for another language pass require_chinese=False (--any-language)",
        )
    provenance = {**provenance, "algorithm": options.algorithm, "pre_segment": options.pre_segment}
    if options.algorithm in ("bpe", "huggingface-bpe"):
        provenance["min_count"] = options.min_count
        if options.algorithm == "bpe":
            provenance.update(
                trainer="corpuskit",
                max_pretoken_bytes=MAX_PRETOKEN_BYTES,
                max_token_bytes=options.max_token_bytes,
            )
            pairs = _merge_bytes(sample, options)
        else:
            provenance["trainer"] = f"tokenizers {version('tokenizers')}"
            pairs = _merge_by_library(sample, options)
        return Tokenizer(_vocabulary(pairs, sample, options), provenance)
    required = options.required_characters
    if required != "" and options.vocab_size >= _REQUIRED_CHARACTERS_FROM:
        required = "".join(dict.fromkeys(gb2312_level1() + (required or "")))
    required = required or ""
    model, given, withheld = _train_pieces(sample, options, required)
    provenance.update(
        trainer=f"sentencepiece {version('sentencepiece')}",
        num_threads=NUM_THREADS,
        max_sentence_bytes=MAX_SENTENCE_BYTES,
        required_characters=required,
        user_defined_symbols=list(options.user_defined_symbols),
        trained_bytes=given,
        reserved_bytes=withheld,
    )
    return Tokenizer(model, provenance)


def _merge_bytes(sample: Sample, options: TrainingOptions) -> list[tuple[bytes, bytes]]:
    segmenter = None
    if options.pre_segment:
        from corpuskit.segment import Segmenter

        segmenter = Segmenter()
    pretokens = count_pretokens(sample.texts, options.regular_expression, segmenter)
    num_new = options.vocab_size - 256 - len(options.special_tokens)
    return learn_merges(
        pretokens, num_new, min_count=options.min_count, max_token_bytes=options.max_token_bytes
    )


def _merge_by_library(sample: Sample, options: TrainingOptions) -> list[tuple[bytes, bytes]]:
    trained = tokenizers.Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [
            split_by(options.regular_expression),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=options.vocab_size - len(options.special_tokens),
        min_frequency=options.min_count,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained.train_from_iterator(sample.texts, trainer)
    return _merged_bytes(trained)


def _vocabulary(pairs: list[tuple[bytes, bytes]], sample: Sample, options: TrainingOptions) -> ByteLevelBPE:
    tokens = {left + right for left, right in pairs}
    for name in options.special_tokens:
        if name.encode() in tokens or from_characters(name) in tokens:
            raise _ordinary(name)
    reached = 256 + len(tokens) + len(options.special_tokens)
    if reached < options.vocab_size:
        raise ConfigError(
            f"the sample ({sample.text_bytes} bytes) holds only {reached} tokens, not {options.vocab_size}",
            where="vocab_size",
            hint=f"set vocab_size to {reached} or less, or give more text",
        )
    return from_merged_bytes(pairs, options.special_tokens, options.regular_expression)


def _ordinary(name: str) -> ConfigError:
    return ConfigError(
        f"the special token {name!r} is an ordinary token already",
        where="special_tokens",
        hint="choose a text that no training makes, such as '<|name|>'",
    )


def _merged_bytes(trained: tokenizers.Tokenizer) -> list[tuple[bytes, bytes]]:
    merges = json.loads(trained.to_str())["model"]["merges"]
    return [(from_characters(left) or b"", from_characters(right) or b"") for left, right in merges]


def _train_pieces(
    sample: Sample, options: TrainingOptions, required_characters: str
) -> tuple[SentencePieceModel, int, int]:
    """The model, and the bytes it was given and those withheld (reserved characters)."""
    kind = cast(PieceKind, options.algorithm)
    for name in options.special_tokens:
        # The library would make no piece that holds such a word, and encode it as bytes.
        if name.isalnum() and any(name in text for text in sample.texts):
            raise _ordinary(name)
    given = withheld = 0

    def pieces() -> Iterator[str]:
        nonlocal given, withheld
        for text in sample.texts:
            for sentence in sentences(text, MAX_SENTENCE_BYTES):
                size = len(sentence.encode())
                if is_reserved(sentence):
                    withheld += size
                else:
                    given += size
                    yield sentence

    delimiter = _absent_character(sample) if options.pre_segment else ""
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_segmented(pieces(), delimiter) if delimiter else pieces(),
            model_writer=model,
            model_type=kind.removeprefix("sentencepiece-"),
            vocab_size=options.vocab_size,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            byte_fallback=True,
            split_by_unicode_script=True,
            split_by_number=True,
            split_digits=True,
            pretokenization_delimiter=delimiter,
            # A corpus without a space would leave U+2581, which stands for one, to the byte
            # fallback, and a space would decode as that character.
            required_chars="\u2581" + required_characters,
            # A delimiter after every character is the most that segmentation adds.
            max_sentence_length=MAX_SENTENCE_BYTES * (4 if delimiter else 1),
            input_sentence_size=0,
            num_threads=NUM_THREADS,
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            control_symbols=list(options.special_tokens),
            user_defined_symbols=list(options.user_defined_symbols),
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        raise _size_error(str(error), sample, options.vocab_size) from error
    if given + withheld != sample.text_bytes:
        raise RuntimeError(f"{sample.text_bytes} bytes sampled, {given} given and {withheld} withheld")
    special = {name: 1 + i for i, name in enumerate(options.special_tokens)}
    return SentencePieceModel(kind, model.getvalue(), special), given, withheld


def _absent_character(sample: Sample) -> str:
    """A private-use character that the sample does not hold, to write between words."""
    for code_point in _PRIVATE_USE:
        character = chr(code_point)
        if not any(character in text for text in sample.texts):
            return character
    raise InputError("the sample holds every private-use character", where="pre_segment")


def _segmented(pieces: Iterator[str], delimiter: str) -> Iterator[str]:
    """Sentences with the delimiter between their words."""
    from corpuskit.segment import Segmenter

    segmenter = Segmenter()
    while chunk := list(islice(pieces, _SEGMENT_CHUNK)):
        words = segmenter.words_batch(pa.array(chunk, pa.large_string()))
        yield from pc.binary_join(words, pa.scalar(delimiter, pa.large_string())).to_pylist()


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
    defined = re.search(r"(\S+) (?:is|must not be) already defined|same piece.*?: ?(\S+)", message)
    if defined:
        return _ordinary(defined[1] or defined[2])
    return ConfigError(f"SentencePiece refused to train: {message}", where="vocabulary")
