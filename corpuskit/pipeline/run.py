"""Runs a recipe: job after job on an engine, each skipped where the ledger says it is done.

The output directory::

    report.json           what happened
    recipe.json           the recipe with every default filled in
    cleaning.html         what cleaning kept and dropped, with a histogram for every rule
    work/                 documents between phases, dropped rows, quarantine, the ledger
    vocabularies/<name>/  tokenizer artifacts
    shards/               the token dataset
    model/                checkpoints, and the model in Hugging Face layout

The same under a prefix of an object store (``s3://bucket/prefix``), without the model.
"""

from __future__ import annotations

from corpuskit.engine import Engine, Local, ObjectStore, ShardOf
from corpuskit.engine.objects import is_store_url
from corpuskit.engine.protocol import Opened
from corpuskit.errors import ConfigError
from corpuskit.files import require_free_space
from corpuskit.ingest import expand_inputs
from corpuskit.pipeline.homes import open_home
from corpuskit.pipeline.recipe import Recipe
from corpuskit.pipeline.report import Report
from corpuskit.pipeline.stages import RunObserver, Stages

# Bytes of documents between phases, dropped rows and shards for each byte of decompressed input:
# 1.6 on laws + news, rounded up.
_WORK_BYTES_PER_INPUT_BYTE = 2.0
_FIXED_BYTES = 64e6  # vocabularies, reports
_ADAM_CHECKPOINT_BYTES_PER_PARAMETER = 12  # float32 weights and two moments


def estimate_disk_bytes(recipe: Recipe) -> int:
    """About how much disk the run will need, from the inputs' sizes and the model's shape."""
    inputs = expand_inputs(recipe.input.paths, recipe.input.root, recipe.input.options.format)
    needed = _FIXED_BYTES + _WORK_BYTES_PER_INPUT_BYTE * sum(file.content_bytes for file in inputs.files)
    if recipe.train is not None:
        shape = recipe.train.shape
        sizes = [s.vocab_size or 50_257 + (s.num_new_tokens or 0) for s in recipe.vocabularies]
        rows = max(sizes, default=65_536)
        parameters = rows * shape.width + 12 * shape.layers * shape.width**2
        copies = recipe.train.keep_checkpoints + 1
        needed += parameters * _ADAM_CHECKPOINT_BYTES_PER_PARAMETER * copies
    return int(needed)


def run_recipe(
    recipe: Recipe,
    *,
    workers: int = 1,
    engine: Engine | None = None,
    shard: ShardOf | None = None,
    verify: bool = False,
    check_disk: bool = True,
    observer: RunObserver | None = None,
    scratch: str | None = None,
) -> Report:
    """Run a recipe to its end, or resume it.

    Parameters
    ----------
    recipe : Recipe
    workers : int
        Worker processes; the result does not depend on it.
    engine : Engine, optional
        Another engine than the local one.
    shard : ShardOf, optional
        Run only this slice of each phase's tasks.
    verify : bool
        Compare checksums of everything made before.
    check_disk : bool
        Refuse to start when the disk looks too small.
    observer : RunObserver, optional
        Receives progress.
    scratch : str, optional
        Where the output is an object store: directory for temporary files, on each node's own disk.

    Raises
    ------
    corpuskit.errors.CorpuskitError
        What was wrong, where, and what to do; finished tasks are kept, and the same call resumes.
    """
    output = _output_of(recipe, scratch)
    if check_disk and not isinstance(output, ObjectStore):
        require_free_space(output, estimate_disk_bytes(recipe))
    engine = engine or Local(workers)
    # One session for all jobs: a cluster is joined once, and worker processes start once.
    with open_home(output, shard) as home, engine.session() as session:
        return Stages(recipe, home, Opened(session), shard, verify, observer or RunObserver()).execute()


def _output_of(recipe: Recipe, scratch: str | None) -> str | ObjectStore:
    if not is_store_url(recipe.output):
        return recipe.output
    if recipe.train is not None:
        raise ConfigError(
            "training needs shards on a disk, and this run's output is an object store",
            where="train",
            hint="leave the sections train and generate out, then: corpuskit train on the shards",
        )
    return ObjectStore(recipe.output, scratch)
