"""A small road for tests: several tasks, parts and shards, no training; run as a script to be killed.

``python road.py INPUT_DIR OUTPUT_DIR WORKERS`` prints ``ready`` once everything is imported, so that
a test that kills it at a random moment strikes the work and not the imports.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from corpuskit.pipeline.demo.build import articles


def write_inputs(directory: Path) -> None:
    """Twelve files of demo articles, with exact and near duplicates among them."""
    directory.mkdir(parents=True)
    pages = [a for a in articles() if a.name[0] in "ab" and a.name[1].isdigit()]
    for number in range(12):
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


def main() -> None:
    from corpuskit.pipeline.recipe import parse_recipe
    from corpuskit.pipeline.run import run_recipe

    inputs, output, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    parsed = parse_recipe(recipe(inputs, output))
    print("ready", flush=True)
    run_recipe(parsed, workers=workers)


if __name__ == "__main__":
    main()
