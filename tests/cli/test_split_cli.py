"""`corpuskit split`."""

from __future__ import annotations

import json

import pytest

import corpuskit as ck
from corpuskit.cli.split import split
from corpuskit.errors import ConfigError


@pytest.fixture
def articles(tmp_path):
    with open(tmp_path / "articles.jsonl", "w", encoding="utf-8") as file:
        for n in range(400):
            record = {"text": f"第{n}篇：天气很好。", "url": f"https://h{n % 30}.cn/{n}"}
            file.write(json.dumps(record if n % 100 else {**record, "url": ""}, ensure_ascii=False) + "\n")
        file.write("{bad\n")
    return tmp_path / "articles.jsonl"


def texts(paths):
    return [text for batch in ck.read(paths) for text in batch.column("text").to_pylist()]


def test_it_says_how_large_the_sides_are_and_where(articles, tmp_path, capsys):
    split([str(articles)], tmp_path / "out", held_out=0.1, workers=1)
    printed = capsys.readouterr().out.splitlines()
    held, training = (texts(line) for line in printed[-2:])
    assert printed[0] == "quarantined 1: ingest/bad-json"
    for line, name, side in zip(printed[1:3], ("held-out", "training"), (held, training), strict=True):
        characters = sum(map(len, side))
        assert line == f"{name}: {len(side)} documents ({len(side) / 400:.2%}), {characters:,} characters"
    assert sorted(held + training) == sorted(f"第{n}篇：天气很好。" for n in range(400))


def test_a_key_keeps_documents_together_and_bad_ones_are_refused(articles, tmp_path, capsys):
    split([str(articles)], tmp_path / "out", held_out=0.3, key="url", seed=7, workers=1)
    assert "without url, each by its id: 4 documents" in capsys.readouterr().out
    split([str(articles)], tmp_path / "out", held_out=0.3, key="site", workers=1)
    sides = []
    for line in capsys.readouterr().out.splitlines()[-2:]:
        urls = [u for b in ck.read(line) for u in b.column("url").to_pylist()]
        sides.append({url.split("/")[2] for url in urls if url})
    assert sides[0] and sides[1] and not sides[0] & sides[1]
    with pytest.raises(ConfigError, match="--key: no document has a value"):
        split([str(articles)], tmp_path / "out", key="sites", workers=1)
    with pytest.raises(ConfigError, match="--held-out: must be between 0 and 1"):
        split([str(articles)], tmp_path / "out", held_out=1, workers=1)
