"""What parameters of the library are called on the command line, in errors (`corpuskit.errors.renamed`)."""

from __future__ import annotations

VOCABULARY = {
    "algorithm": "--algorithm",
    "base": "--base",
    "max_token_bytes": "--max-token-bytes",
    "min_count": "--min-count",
    "num_new_tokens": "--num-new-tokens",
    "pattern": "--pattern",
    "pre_segment": "--pre-segment",
    "required_characters": "--required-characters",
    "sample_bytes": "--sample-mb",
    "seed": "--seed",
    "special_tokens": "--special-token",
    "user_defined_symbols": "--user-defined-symbol",
    "vocab_size": "--size",
}
"""Options of `corpuskit vocab`."""
