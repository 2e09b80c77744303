"""Reading a byte-level BPE from `tokenizer.json`.

Only what the plain data can hold is accepted; anything else would be read with other ids than its
owner gets, so it is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from corpuskit.errors import ArtifactError
from corpuskit.vocab.bytelevel import GPT2_PATTERN, ByteLevelBPE, Normaliser, from_characters


def read_tokenizer_json(path: Path) -> ByteLevelBPE:
    """The byte-level BPE in a Hugging Face `tokenizer.json`.

    Raises
    ------
    ArtifactError
        If it is unreadable, is another kind of tokenizer, or uses a normaliser or pre-tokenizer
        that cannot be kept exactly.
    """
    where = str(path)
    try:
        return _byte_level_bpe(read_json(path), where)
    except (AttributeError, TypeError, KeyError, IndexError) as error:
        raise ArtifactError(
            f"not laid out as a tokenizer.json is: {error!r}", where=where, hint="was it cut or edited?"
        ) from error


def _byte_level_bpe(content: Any, where: str) -> ByteLevelBPE:
    model = content.get("model") or {}
    if model.get("type", "BPE") != "BPE" or "vocab" not in model:
        raise ArtifactError(f"a {model.get('type')} model, not a byte-level BPE", where=where)
    if not model.get("merges"):
        raise ArtifactError("the base has no merges", where=where, hint="a BPE needs its merges")
    if model.get("byte_fallback") or model.get("continuing_subword_prefix") or model.get("dropout"):
        raise ArtifactError(
            "a BPE, but not a byte-level one",
            where=where,
            hint="if it was made from a SentencePiece model, name that (tokenizer.model)",
        )
    special = {}
    for token in content.get("added_tokens") or []:
        if not token.get("special"):
            raise ArtifactError(
                f"the added token {token.get('content')!r} is not special",
                where=where,
                hint="tokens that are matched before BPE cannot be kept; remove them first",
            )
        special[token["content"]] = token["id"]
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
    return assemble(
        model["vocab"],
        merges,
        special,
        pattern=_pattern(content.get("pre_tokenizer"), where),
        normaliser=_normaliser(content.get("normalizer"), where),
        ignore_merges=bool(model.get("ignore_merges")),
        where=where,
    )


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"unreadable: {error}", where=str(path)) from error


def assemble(
    vocabulary: Mapping[str, int],
    merges: Sequence[tuple[str, ...]],
    special_tokens: Mapping[str, int],
    *,
    pattern: str,
    normaliser: Normaliser = "identity",
    ignore_merges: bool = False,
    where: str,
) -> ByteLevelBPE:
    """Plain data from tokens and merges written in GPT-2's printable alphabet.

    Parameters
    ----------
    vocabulary : mapping of str to int
        May name special tokens too.
    merges : sequence of (str, str)
    special_tokens : mapping of str to int
    where : str
        Named in errors.
    """
    ids = {name: i for name, i in vocabulary.items() if name not in special_tokens}
    size = len(ids) + len(special_tokens)
    tokens: list[bytes | None] = [None] * size
    for name, token_id in ids.items():
        token = from_characters(name)
        if token is None:
            raise ArtifactError(
                f"the token {name!r} is not written in byte characters",
                where=where,
                hint="not a byte-level BPE, or an added token that is not marked as special",
            )
        if not isinstance(token_id, int) or not 0 <= token_id < size or tokens[token_id] is not None:
            raise ArtifactError(
                f"id {token_id} of {name!r} leaves a hole or is used twice: {size} tokens need the "
                f"ids 0 to {size - 1}",
                where=where,
            )
        tokens[token_id] = token
    pairs = []
    for rank, pair in enumerate(merges):
        if len(pair) != 2 or any(part not in ids for part in pair):
            raise ArtifactError(
                f"merge {rank} ({' '.join(pair)!r}) does not match the vocabulary",
                where=where,
                hint="the merges belong to another vocabulary",
            )
        pairs.append((ids[pair[0]], ids[pair[1]]))
    try:
        return ByteLevelBPE(
            tuple(tokens), tuple(pairs), dict(special_tokens), pattern, normaliser, ignore_merges
        )
    except ArtifactError as error:
        raise ArtifactError(
            error.what, where=f"{where}: {error.where}" if error.where else where, hint=error.hint
        ) from error


def _pattern(before: Mapping[str, Any] | None, where: str) -> str:
    """The regular expression of a pre-tokenizer that is one pattern over bytes."""
    steps = [before or {}]
    if steps[0].get("type") == "Sequence":
        steps = list(steps[0].get("pretokenizers") or [])
    level = steps[-1] if steps else {}
    if level.get("type") == "ByteLevel" and not level.get("add_prefix_space"):
        if len(steps) == 1 and level.get("use_regex", True):
            return GPT2_PATTERN
        if len(steps) == 2 and not level.get("use_regex", True) and steps[0].get("type") == "Split":
            pattern = (steps[0].get("pattern") or {}).get("Regex")
            isolated = str(steps[0].get("behavior")).lower() == "isolated"
            if pattern is not None and isolated and not steps[0].get("invert"):
                return pattern
    names = "+".join(str(step.get("type")) for step in steps)
    raise ArtifactError(
        f"the pre-tokenizer {names} is not one pattern over bytes",
        where=where,
        hint="corpuskit reads ByteLevel, and Split(regex, isolated) followed by ByteLevel",
    )


def _normaliser(stored: Mapping[str, Any] | None, where: str) -> Normaliser:
    if not stored:
        return "identity"
    if stored.get("type") == "NFC":
        return "nfc"
    raise ArtifactError(f"the normaliser {stored.get('type')} cannot be kept", where=where)
