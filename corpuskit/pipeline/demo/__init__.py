"""The demo: the whole road on a small bundled crawl, in a few minutes on two CPU cores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from corpuskit.pipeline.recipe import Recipe, load_recipe

RECIPE = Path(__file__).with_name("recipe.yaml")
CRAWL = Path(__file__).with_name("crawl.warc.gz")


def demo_recipe(
    output: str, inputs: Sequence[str] = (), gpt2: str = "gpt2", overrides: Sequence[str] = ()
) -> Recipe:
    """The demo's recipe on the bundled crawl, or on `inputs`.

    Parameters
    ----------
    output : str
        Directory for everything the demo makes.
    inputs : sequence of str
        Real input instead of the bundled crawl.
    gpt2 : str
        Path of GPT-2's vocabulary, or ``gpt2`` for the one the `demo` extra brings.
    overrides : sequence of str
        ``section.field=value``, as for `corpuskit run --set`.
    """
    paths = list(inputs) or [str(CRAWL)]
    settings = [
        f"output={json.dumps(output)}",
        f"input.paths={json.dumps(paths)}",
        f"vocabularies.2.base={json.dumps(gpt2)}",
        *overrides,
    ]
    return load_recipe(RECIPE, settings)
