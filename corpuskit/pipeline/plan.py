"""What a recipe would do, in words: `corpuskit run --dry-run`."""

from __future__ import annotations

from collections import Counter

from corpuskit.ingest import expand_inputs
from corpuskit.pipeline.recipe import Recipe
from corpuskit.pipeline.run import estimate_disk_bytes
from corpuskit.pipeline.stages import ingest_job


def describe_plan(recipe: Recipe) -> str:
    """The plan of a run, one line a stage; reads the inputs' names and sizes, nothing else."""
    files = expand_inputs(recipe.input.paths, recipe.input.root, recipe.input.options.format).files
    formats = Counter(file.format for file in files)
    listed = ", ".join(f"{count} {name}" for name, count in sorted(formats.items()))
    job = ingest_job(recipe)
    tasks = sum(len(job.plan(phase, {})) for phase in job.phases)
    size = sum(file.bytes for file in files)
    lines = [
        f"input         {_count(len(files), 'file')} ({listed}), {size / 1e6:,.1f} MB",
        f"clean         preset {recipe.clean.get('preset', 'zh-web')}, {_count(tasks, 'task')}",
    ]
    if recipe.input.limit is not None:
        lines.append(f"              at most {recipe.input.limit:,} records")
    if recipe.deduplicate is not None:
        if recipe.deduplicate.exact is not None:
            lines.append("dedup-exact   by 128-bit hash of the normalised text")
        near = recipe.deduplicate.near
        if near is not None:
            lines.append(
                f"dedup-near    {near.ngram}-character shingles, {near.bands} bands of {near.rows} rows"
            )
    for spec in recipe.vocabularies:
        size_text = (
            f"{spec.base} + {spec.num_new_tokens:,} tokens"
            if spec.algorithm == "extend"
            else f"{spec.vocab_size:,} tokens"
        )
        lines.append(f"vocabulary    {spec.name}: {spec.algorithm}, {size_text}")
    if recipe.shards is not None:
        lines.append(f"shards        with {recipe.shards.tokenizer}")
    if recipe.train is not None:
        train = recipe.train
        tokens = train.steps * train.batch_size * train.sequence_length
        lines.append(f"train         {train.model}, {train.steps:,} steps, {tokens:,} tokens")
    if recipe.generate is not None:
        lines.append(f"generate      from {_count(len(recipe.generate.prompts), 'prompt')}")
    lines.append(f"output        {recipe.output} (about {estimate_disk_bytes(recipe) / 1e9:.2f} GB of disk)")
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
