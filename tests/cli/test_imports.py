"""What loading costs: the package nothing, a core command no torch."""

import json
import os
import subprocess
import sys

import pytest


def python(code, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    ).stdout


def test_importing_the_package_loads_the_standard_library_only():
    code = (
        "import sys; before = set(sys.modules); import corpuskit; "
        "print('\\n'.join(set(sys.modules) - before))"
    )
    loaded = {name.split(".")[0] for name in python(code).split()}
    assert loaded - set(sys.stdlib_module_names) == {"corpuskit"}


def test_every_public_name_resolves():
    code = "import corpuskit; print([getattr(corpuskit, name) is None for name in corpuskit.__all__])"
    assert "True" not in python(code)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(subprocess.CalledProcessError) as caught:
        python("import corpuskit; corpuskit.nothing")
    assert "has no attribute 'nothing'" in caught.value.stderr


EACH = """
import json, sys
from corpuskit.cli import main
statuses = []
for command in json.loads(sys.argv[1]):
    sys.argv = ["corpuskit", *command]
    try:
        main()
    except SystemExit as end:
        statuses.append(end.code)
print(json.dumps(statuses))
"""
"""The commands one after the other in one process: starting it costs more than most of them."""


@pytest.fixture(scope="module")
def without_torch(tmp_path_factory):
    """An environment in which importing torch ends the program."""
    root = tmp_path_factory.mktemp("no-torch")
    (root / "torch.py").write_text("raise SystemExit('torch was imported')\n")
    return {"PYTHONPATH": str(root)}


def test_core_commands_never_load_torch(tmp_path, without_torch):
    from corpuskit.pipeline.demo.build import articles

    text = [{"text": "\n".join(a.paragraphs)} for a in articles() if a.name[0] in "ab"][:30]
    documents = tmp_path / "in.jsonl"
    documents.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in text), "utf-8")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"output: {tmp_path / 'run'}\ninput: {{paths: [{documents}]}}\n"
        "vocabularies: [{name: zh, vocab_size: 600}]\nshards: {tokenizer: zh}\n"
    )
    zh, shards = tmp_path / "zh", tmp_path / "shards"
    commands = (
        ["--help"],
        ["clean", documents, "-o", tmp_path / "clean", "-w", "1"],
        ["dedup", documents, "-o", tmp_path / "dedup", "-w", "1"],
        ["vocab", "train", documents, "-o", zh, "--size", "600"],
        ["vocab", "encode", zh, "我想"],
        ["shards", "write", documents, "-o", shards, "--tokenizer", zh],
        ["shards", "info", shards],
        ["shards", "verify", shards],
        ["run", recipe, "--dry-run"],
        ["run", recipe, "-w", "1"],
        ["rescue", tmp_path / "run", "--reason", "dedup", "--to", tmp_path / "rescued.arrow"],
    )
    said = python(EACH, json.dumps(commands, default=str), **without_torch)
    statuses = json.loads(said.splitlines()[-1])
    assert statuses[:-1] == [0] * (len(commands) - 1)
    assert statuses[-1] != "torch was imported"
