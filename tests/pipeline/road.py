"""A small road for tests: several tasks, parts and shards, no training."""

from __future__ import annotations

import json
import os
from pathlib import Path

from corpuskit.pipeline.demo.build import articles


def write_inputs(directory: Path, files: int = 12) -> None:
    """Files of ten demo articles each, with exact and near duplicates among them."""
    directory.mkdir(parents=True)
    pages = [a for a in articles() if a.name[0] in "ab" and a.name[1].isdigit()]
    for number in range(files):
        rows = []
        for offset in range(10):
            article = pages[(number * 7 + offset) % len(pages)]
            text = "\n".join(article.paragraphs)
            if offset % 3 == 2:
                text = text.replace("，", "、", 1)
            rows.append({"text": text, "title": article.title, "n": number})
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (directory / f"{number:02d}.jsonl").write_text(lines, encoding="utf-8")


def recipe(inputs: Path, output: Path) -> dict:
    options = {"batch_rows": 3}
    return {
        "output": str(output),
        "input": {"paths": [str(inputs)], "task_bytes": 20_000, "part_bytes": 8_000, "options": options},
        "vocabularies": [{"name": "zh", "algorithm": "bpe", "vocab_size": 1500}],
        "shards": {"tokenizer": "zh", "shard_tokens": 2_000, "group_bytes": 10_000},
    }


def go(inputs: Path, output: Path, workers: int) -> None:
    """In a process of its own."""
    from corpuskit.pipeline.recipe import parse_recipe
    from corpuskit.pipeline.run import run_recipe

    os.fsync = lambda descriptor: None  # killing a process loses nothing that it has written
    run_recipe(parse_recipe(recipe(inputs, output)), workers=workers)
