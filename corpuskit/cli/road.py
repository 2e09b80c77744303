"""`corpuskit run`, `demo` and `rescue`: the whole road."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corpuskit.errors import ConfigError
from corpuskit.jobs import usable_cores

if TYPE_CHECKING:
    from corpuskit.engine import Engine
    from corpuskit.pipeline.recipe import Recipe

EngineName = Annotated[
    str, typer.Option("--engine", help="What runs the tasks: local (processes of this machine) or ray.")
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address", help="Ray cluster to join: auto, host:6379, ray://host:10001. Without: one of its own."
    ),
]
Workers = Annotated[int, typer.Option("--workers", "-w", min=1, help="Worker processes.")]
Output = Annotated[
    str | None, typer.Option("--output", "-o", help="Output directory (instead of the recipe's).")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a field: section.field=value. May be given several times."),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Read at most this many records, for trying out.")]


DEFAULT_WORKERS = usable_cores()


def run(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.")],
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", help="Input path (instead of the recipe's). May be repeated."),
    ] = None,
    output: Output = None,
    set_: Set = None,
    workers: Workers = DEFAULT_WORKERS,
    limit: Limit = None,
    shard: Annotated[str, typer.Option(help="Run slice i of N of each phase's tasks, as i/N.")] = "0/1",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare checksums of all inputs and finished files.")
    ] = False,
    no_disk_check: Annotated[
        bool, typer.Option("--no-disk-check", help="Start even if the disk looks too small.")
    ] = False,
    engine: EngineName = "local",
    address: Address = None,
    scratch: Annotated[
        str | None,
        typer.Option(
            help="Directory for temporary files on each node (its variables count), if the output is s3://…"
        ),
    ] = None,
) -> None:
    """Run a recipe from crawl to model, or resume it."""
    from corpuskit.pipeline.recipe import load_recipe

    tasks_on = engine_of(engine, address, workers)
    overrides = list(set_ or [])
    if inputs:
        overrides.append(f"input.paths={json.dumps(inputs)}")
    if output is not None:
        overrides.append(f"output={json.dumps(output)}")
    if limit is not None:
        overrides.append(f"input.limit={limit}")
    loaded = load_recipe(recipe, overrides)
    if dry_run:
        from corpuskit.pipeline.plan import describe_plan

        print(describe_plan(loaded))
        return
    next_steps = [
        f"bring back documents:  corpuskit rescue {loaded.output} --reason REASON --to rescued.arrow"
    ]
    if loaded.shards is not None:
        next_steps.insert(0, f"look at the shards:    corpuskit shards info {loaded.output}/shards")
    if loaded.train is not None:
        next_steps.insert(1, f"write more text:       corpuskit generate {loaded.output}/model --prompt 我想")
    if "://" in loaded.output:
        next_steps = [f"remove what is left over:  corpuskit gc {loaded.output}"]
        if loaded.shards is not None:
            next_steps.insert(0, f"look at the shards:        corpuskit shards info {loaded.output}/shards")
    _run(loaded, tasks_on, shard, verify, not no_disk_check, next_steps, scratch)


def engine_of(name: str, address: str | None, workers: int) -> Engine:
    """The engine that the options ask for."""
    from corpuskit.engine import Local, Ray

    if name == "ray":
        return Ray(address, None if address else workers)
    if name != "local":
        raise ConfigError(f"{name!r} is no engine", where="--engine", hint="local or ray")
    if address is not None:
        raise ConfigError("only a Ray cluster has an address", where="--address", hint="add --engine ray")
    return Local(workers)


def gc(
    output: Annotated[str, typer.Argument(help="Output of a run: a directory, or s3://bucket/prefix.")],
    remove: Annotated[bool, typer.Option("--remove", help="Remove them; otherwise they are listed.")] = False,
) -> None:
    """List, or remove, files that no committed or interrupted task of a run names."""
    from corpuskit.engine import collect_garbage

    found = collect_garbage(output, remove=remove)
    for path in found.paths:
        print(path)
    what = "removed" if remove else "can be removed with --remove"
    print(f"{len(found.paths):,} files, {found.bytes / 1e6:,.1f} MB {what}", file=sys.stderr)


def demo(
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", help="Your own crawl instead of the bundled one. May be repeated."),
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="Output directory.")] = "corpuskit-demo",
    gpt2: Annotated[
        str, typer.Option(help="Path of GPT-2's vocabulary; 'gpt2' is the one of the demo extra.")
    ] = "gpt2",
    set_: Set = None,
    workers: Workers = DEFAULT_WORKERS,
) -> None:
    """Run the whole road on a small bundled crawl: clean, deduplicate, tokenize, train, generate."""
    from corpuskit.pipeline.demo import RECIPE, demo_recipe

    loaded = demo_recipe(output, inputs or (), gpt2, set_ or ())
    next_steps = [
        "the same on your own crawl:",
        f"  corpuskit demo --input 'PATH/*.warc.gz' --output {output}-mine",
        "then with a recipe of your own:",
        f"  cp {RECIPE} recipe.yaml",
        "  corpuskit run recipe.yaml --input 'PATH/*.warc.gz' --output out",
        "and more text from the model:",
        f"  corpuskit generate {output}/model --prompt 我想",
    ]
    _run(loaded, engine_of("local", None, workers), "0/1", False, True, next_steps)


def rescue(
    output: Annotated[Path, typer.Argument(help="Output directory of a run.")],
    reason: Annotated[
        list[str], typer.Option(help="Reason to rescue, e.g. clean/min_characters. May be repeated.")
    ],
    to: Annotated[Path, typer.Option(help="Arrow file to write.")] = Path("rescued.arrow"),
) -> None:
    """Turn documents that a run dropped back into input."""
    from corpuskit.pipeline.rescue import rescue as rescue_documents

    count = rescue_documents(output, reason, to)
    print(f"{count:,} documents written to {to}")
    print(f"use them: corpuskit run recipe.yaml --set 'input.rescued=[{to}]'")


def _run(
    recipe: Recipe,
    engine: Engine,
    shard: str,
    verify: bool,
    check_disk: bool,
    next_steps: list[str],
    scratch: str | None = None,
) -> None:
    from rich.console import Console

    from corpuskit.cli.progress import observer_for
    from corpuskit.cli.summary import print_summary
    from corpuskit.engine import ShardOf
    from corpuskit.pipeline.run import run_recipe

    piece = ShardOf.parse(shard)
    report = run_recipe(
        recipe,
        engine=engine,
        shard=piece,
        verify=verify,
        check_disk=check_disk,
        observer=observer_for(Console(stderr=True)),
        scratch=scratch,
    )
    if piece.number:
        print(f"slice {shard} has finished its part; slice 0/{piece.count} publishes the result")
    else:
        steps = [step.replace("corpuskit ", f"{_command()} ", 1) for step in next_steps]
        print_summary(report, Console(), steps)


def _command() -> str:
    """What to type for `corpuskit`: its path where the shell would not find it."""
    script = os.path.relpath(sys.argv[0])
    return "corpuskit" if shutil.which("corpuskit") or script.endswith(".py") else script
