"""A recipe: the whole road as typed YAML.

Unknown keys, wrong types and impossible values are refused before anything runs, each with the
field's path and what is allowed there. Sections that configure a room are that room's own
dataclasses, so a recipe can say exactly what the Python interface can.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_type_hints

import pydantic

from corpuskit.clean import BoilerplateRemover, Cleaner
from corpuskit.clean.cleaner import step_kinds
from corpuskit.dedup import (
    Decontaminator,
    ExactDeduplicator,
    LineDeduplicator,
    MinHashDeduplicator,
    SubstringDeduplicator,
)
from corpuskit.documents import DroppedText
from corpuskit.errors import ConfigError, CorpuskitError, InputError
from corpuskit.ingest import DEFAULT_TASK_BYTES, ReadOptions
from corpuskit.parts import DEFAULT_PART_BYTES
from corpuskit.pipeline.yaml12 import load_yaml
from corpuskit.train.config import TrainConfig
from corpuskit.vocab import VocabularySpec


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class InputSection(_Section):
    """What comes in.

    Attributes
    ----------
    paths : tuple of str
        Files, directories or globs; relative ones count from the current directory.
    root : str, optional
        Directory that document ids are relative to; by default the inputs' common parent.
    limit : int, optional
        Read at most this many records (one task, for trying things out).
    options : ReadOptions
        Format (``auto`` decides by file name), text column, batch size, largest document ….
    task_bytes : int
        Decompressed input size of one task, about.
    part_bytes : int
        Uncompressed size of a document part; after each an interrupted task can go on.
    rescued : tuple of str
        Files written by `corpuskit rescue`; they join after cleaning.
    """

    paths: tuple[str, ...] = pydantic.Field(min_length=1)
    root: str | None = None
    limit: int | None = pydantic.Field(default=None, ge=1)
    options: ReadOptions = pydantic.Field(default_factory=ReadOptions)
    task_bytes: int = pydantic.Field(default=DEFAULT_TASK_BYTES, ge=1)
    part_bytes: int = pydantic.Field(default=DEFAULT_PART_BYTES, ge=1)
    rescued: tuple[str, ...] = ()


class DeduplicateSection(_Section):
    """What is removed as a duplicate, in this order; ``null`` turns one off.

    Attributes
    ----------
    exact, near : ExactDeduplicator, MinHashDeduplicator or None
        Documents.
    index : str, optional
        Directory of an index of earlier crawls, for `near`: this crawl is compared with it and added.
    lines, substrings : LineDeduplicator, SubstringDeduplicator or None
        Lines and passages that occur earlier in the corpus; off by default.
    """

    exact: ExactDeduplicator | None = pydantic.Field(default_factory=ExactDeduplicator)
    near: MinHashDeduplicator | None = pydantic.Field(default_factory=MinHashDeduplicator)
    index: str | None = None
    lines: LineDeduplicator | None = None
    substrings: SubstringDeduplicator | None = None


class DecontaminateSection(_Section):
    """Removal of documents that overlap evaluation sets.

    Attributes
    ----------
    against : tuple of str
        Evaluation files, directories or patterns: JSON Lines, text, Parquet.
    background : tuple of str
        Documents whose phrases do not count.
    rules : Decontaminator
        What counts as an overlap.
    """

    against: tuple[str, ...] = pydantic.Field(min_length=1)
    background: tuple[str, ...] = ()
    rules: Decontaminator = pydantic.Field(default_factory=Decontaminator)


class ShardsSection(_Section):
    """Token shards.

    Attributes
    ----------
    tokenizer : str
        Name of one of the recipe's vocabularies, or the path of a saved tokenizer.
    shard_tokens : int
        Target size of a shard, in tokens (2^27).
    end_of_document : {"end_of_text", "none"}
        Whether each document is closed by the tokenizer's end-of-text token.
    word_starts : str or None
        ``jieba``, or the file of a trained segmenter: mark the tokens that begin a word.
    group_bytes : int
        Size on disk of the document parts that one task encodes.
    """

    tokenizer: str
    shard_tokens: int = pydantic.Field(default=1 << 27, ge=1)
    end_of_document: Literal["end_of_text", "none"] = "end_of_text"
    word_starts: str | None = None
    group_bytes: int = pydantic.Field(default=192 << 20, ge=1)


class GenerateSection(_Section):
    """Texts to write at the end, as a first look at the model."""

    prompts: tuple[str, ...] = ("",)
    max_new_tokens: int = pydantic.Field(default=100, ge=1)
    temperature: float = pydantic.Field(default=0.7, ge=0)
    top_k: int | None = pydantic.Field(default=None, ge=1)
    top_p: float | None = pydantic.Field(default=None, gt=0, le=1)
    repetition_penalty: float = pydantic.Field(default=1.0, gt=0)


class Recipe(_Section):
    """The whole road; sections that are left out are not run.

    Attributes
    ----------
    output : str
        Directory for everything the run makes.
    input : InputSection
    clean : dict
        ``preset`` and any of the Cleaner's parameters.
    boilerplate : BoilerplateRemover or None
        Removal of lines that a site or the corpus repeats; off by default.
    deduplicate : DeduplicateSection or None
    decontaminate : DecontaminateSection or None
    vocabularies : tuple of VocabularySpec
    shards : ShardsSection or None
    train : TrainConfig or None
    generate : GenerateSection or None
    seed : int
        The run's one seed.
    dropped_text : {"full", "sample", "none"}
    """

    output: str = "out"
    input: InputSection
    clean: dict[str, Any] = {"preset": "zh-web"}
    boilerplate: BoilerplateRemover | None = None
    deduplicate: DeduplicateSection | None = DeduplicateSection()
    decontaminate: DecontaminateSection | None = None
    vocabularies: tuple[VocabularySpec, ...] = ()
    shards: ShardsSection | None = None
    train: TrainConfig | None = None
    generate: GenerateSection | None = None
    seed: int = pydantic.Field(default=0, ge=0)
    dropped_text: DroppedText = "full"

    def cleaner(self) -> Cleaner:
        """The configured cleaner."""
        settings = dict(self.clean)
        preset = settings.pop("preset", "zh-web")
        return Cleaner.preset(preset, **settings)


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file.

    Parameters
    ----------
    path : path-like
        YAML 1.2.
    overrides : sequence of str
        ``section.field=value`` with a YAML value, applied on top.

    Raises
    ------
    InputError
        If the file cannot be read.
    ConfigError
        Naming every field that is wrong.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the recipe cannot be read: {error}", where=str(path)) from error
    data = load_yaml(text, str(path))
    return parse_recipe(data, overrides, where=str(path))


def parse_recipe(data: Any, overrides: Sequence[str] = (), where: str = "recipe") -> Recipe:
    """Validate a recipe given as plain data; see `load_recipe`."""
    if not isinstance(data, Mapping):
        raise ConfigError("a recipe is a mapping of sections", where=where, hint=_sections())
    data = json.loads(json.dumps(data))
    for override in overrides:
        _apply_override(data, override)
    try:
        # JSON mode is strict about scalars ("5" is not 5) yet takes lists for tuples.
        recipe = Recipe.model_validate_json(json.dumps(data), strict=True)
    except pydantic.ValidationError as error:
        raise _config_error(error, where) from error
    _check_references(recipe, where)
    return recipe


def parse_train_config(overrides: Sequence[str]) -> TrainConfig:
    """A `TrainConfig` from ``field=value`` strings, as a recipe's train section."""
    data: dict = {}
    for override in overrides:
        _apply_override(data, override)
    try:
        return pydantic.TypeAdapter(TrainConfig).validate_json(json.dumps(data), strict=True)
    except pydantic.ValidationError as error:
        raise _config_error(error, "--set", ("train",)) from error


def parse_cleaner(preset: str, overrides: Sequence[str] = ()) -> Cleaner:
    """A `Cleaner` from ``step.field=value`` strings, as a recipe's clean section.

    Raises
    ------
    ConfigError
        For an unknown preset, step or field, or an impossible value.
    """
    settings: dict = {}
    try:
        for override in overrides:
            _apply_override(settings, override)
        _check_field_types(settings)
        return Cleaner.preset(preset, **settings)
    except ConfigError as error:
        option = (
            "--preset"
            if error.where == "preset"
            else f"--set {(error.where or '').removeprefix('--set')}".strip()
        )
        hint = error.hint or "for example: --set quality.min_characters=100"
        raise ConfigError(error.what, where=option, hint=hint) from error


def dump_recipe(recipe: Recipe) -> dict:
    """The recipe with every default filled in, as plain data."""
    return recipe.model_dump(mode="json")


def _apply_override(data: dict, override: str) -> None:
    key, separator, value = override.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise ConfigError(f"{override!r} is not of the form section.field=value", where="--set")
    section: Any = data
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        index: Any = part
        if isinstance(section, list):
            index = int(part) if part.isdecimal() else -1
            if not 0 <= index < len(section):
                raise ConfigError(
                    f"{part!r} is not one of the {len(section)} items", where=f"--set {override}"
                )
        elif not isinstance(section, dict):
            raise ConfigError(f"{parts[depth - 1]!r} holds a value, not a section", where=f"--set {override}")
        if last:
            section[index] = load_yaml(value, f"--set {key}")
        elif isinstance(section, dict) and section.get(index) is None:
            section[index] = {}
        section = section[index]


def _check_field_types(settings: Mapping[str, Any]) -> None:
    """Refuse values that are not of a field's type; unknown steps and fields are left to the cleaner."""
    kinds = step_kinds()
    hints = {name: get_type_hints(kind) for name, kind in kinds.items()}
    named: list[tuple[str, Any, Any]] = [
        (f"{step}.{key}", hints[step].get(key), value)
        for step, fields in settings.items()
        if step in kinds and isinstance(fields, Mapping)
        for key, value in fields.items()
    ]
    flat = {key: hint for step in reversed(list(kinds)) for key, hint in hints[step].items()}
    named += [(key, flat.get(key), value) for key, value in settings.items() if key not in kinds]
    for where, hint, value in named:
        if hint is None:
            continue
        try:
            pydantic.TypeAdapter(hint).validate_json(json.dumps(value), strict=True)
        except pydantic.ValidationError as error:
            message = error.errors()[0]["msg"]
            name = str(hint).removeprefix("<class '").removesuffix("'>")
            raise ConfigError(f"{message}, not {value!r}", where=where, hint=f"its type is {name}") from error


def _check_references(recipe: Recipe, where: str) -> None:
    try:
        recipe.cleaner()
    except ConfigError as error:
        field = "clean" if error.where is None else f"clean.{error.where}"
        raise ConfigError(error.what, where=f"{where}: {field}", hint=error.hint) from error
    except TypeError as error:
        raise ConfigError(str(error), where=f"{where}: clean") from error
    names = [spec.name for spec in recipe.vocabularies]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ConfigError(f"{sorted(repeated)} appear twice", where=f"{where}: vocabularies.name")
    if recipe.shards and recipe.shards.tokenizer not in names and not Path(recipe.shards.tokenizer).exists():
        raise ConfigError(
            f"{recipe.shards.tokenizer!r} is neither a vocabulary of this recipe nor a saved tokenizer",
            where=f"{where}: shards.tokenizer",
            hint=f"vocabularies: {', '.join(names) or 'none'}",
        )
    for section, needs in (("train", "shards"), ("generate", "train")):
        if getattr(recipe, section) is not None and getattr(recipe, needs) is None:
            raise ConfigError(
                f"needs the section {needs!r}", where=f"{where}: {section}", hint=f"add {needs}: …"
            )


def _config_error(error: pydantic.ValidationError, where: str, section: tuple[str, ...] = ()) -> ConfigError:
    lines = []
    for item in error.errors():
        location = (*section, *item["loc"])
        path = ".".join(str(part) for part in location if not _is_noise(part)) or "recipe"
        cause = item.get("ctx", {}).get("error")
        if item["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            lines.append(f"{path}: unknown key{_suggestion(location)}")
        elif isinstance(cause, CorpuskitError):
            field = _join_field(path, cause.where)
            hint = f" ({cause.hint})" if cause.hint else ""
            lines.append(f"{field}: {cause.what}{hint}")
        elif item["type"] in ("missing", "missing_argument"):
            lines.append(f"{path}: this field is required")
        else:
            lines.append(f"{path}: {item['msg']}, not {item['input']!r}")
    text = "\n  ".join(lines)
    return ConfigError(
        f"{len(lines)} field{'s' if len(lines) > 1 else ''} of the recipe cannot be used:\n  {text}",
        where=where,
        hint="nothing was run; every field is described in the recipe reference",
    )


def _join_field(path: str, where: str | None) -> str:
    """`where` as a room gives it, below the section's path; rooms may name the section themselves."""
    if where is None:
        return path
    return where if where.startswith(f"{path}.") else f"{path}.{where}"


def _is_noise(part: int | str) -> bool:
    """Union branches show up in pydantic's paths as class names."""
    return isinstance(part, str) and part[:1].isupper()


def _suggestion(location: tuple[int | str, ...]) -> str:
    allowed = _allowed_keys(tuple(part for part in location[:-1] if not _is_noise(part)))
    if not allowed:
        return ""
    close = difflib.get_close_matches(str(location[-1]), allowed, n=1)
    maybe = f"; did you mean {close[0]!r}?" if close else ""
    return f"{maybe} (allowed: {', '.join(allowed)})" if not close else maybe


_SECTION_TYPES: dict[str, Any] = {
    "": Recipe,
    "input": InputSection,
    "input.options": ReadOptions,
    "deduplicate": DeduplicateSection,
    "deduplicate.exact": ExactDeduplicator,
    "deduplicate.near": MinHashDeduplicator,
    "vocabularies": VocabularySpec,
    "shards": ShardsSection,
    "train": TrainConfig,
    "generate": GenerateSection,
}


def _allowed_keys(path: tuple[int | str, ...]) -> list[str]:
    kind = _SECTION_TYPES.get(".".join(str(part) for part in path if isinstance(part, str)))
    if kind is None:
        return []
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind) if field.init]
    return list(kind.model_fields)


def _sections() -> str:
    return f"sections: {', '.join(Recipe.model_fields)}"
