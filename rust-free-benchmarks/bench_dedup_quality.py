"""Near-duplicates: what is found and what is wrongly removed, beside datasketch and datatrove.

    .venv/bin/python rust-free-benchmarks/bench_dedup_quality.py            # everything but --choose
    .venv/bin/python rust-free-benchmarks/bench_dedup_quality.py --choose   # n, bands and rows, as Markdown

* *Clusters* on the gold set of `dedup_gold.py`: a document counts as rightly removed if a version of its work
  stays. Gold is either the labels, or the components of all pairs whose exact Jaccard similarity of
  5-character shingles is at least 0.8.
* *Estimates*: error of the share of equal slots against MinHash's ``sqrt(J (1 - J) / slots)``.
* *Recall*: pairs of known exact similarity that share a band, against ``1 - (1 - s**rows)**bands``.
* *Edges*: every pair accepted by the job, measured again from its texts by other means.

datasketch gets the same shingles, bands and rows; datatrove its defaults for Chinese (5 words of jieba), in
an environment of its own.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasketch import MinHash, MinHashLSH
from dedup_gold import Gold, Score, ShingleSets, build, components, edited, score
from dedup_texts import pool, to_arrow
from harness import HERE, machine_line, save, version
from peers import DATATROVE_NAME, datatrove_python
from pyarrow import ipc

import corpuskit as ck
from corpuskit.dedup import MinHashDeduplicator, Sketcher, jaccard, shingles
from corpuskit.dedup.signatures import band_hashes
from corpuskit.documents import document_batch
from corpuskit.jobs import Slice, outputs_of

NGRAM, BANDS, ROWS = 5, 14, 8
THRESHOLD = 0.8
SETTINGS = (
    (5, 14, 8, 0.85),
    (5, 14, 8, 0.7),
    (5, 20, 6, 0.7),
    (5, 20, 6, 0.6),
    (3, 20, 6, 0.8),
    (3, 20, 6, 0.7),
    (3, 28, 4, 0.6),
    (8, 20, 6, 0.6),
    (13, 28, 4, 0.4),
)
"""n, bands, rows and threshold worth comparing on the gold set."""

Partition = np.ndarray


def ours(texts: list[str], config: MinHashDeduplicator) -> Partition:
    """For each text the number of the one that its cluster keeps."""
    batch = document_batch([f"{i:08d}" for i in range(len(texts))], texts)
    kept = np.arange(len(texts))
    for rows in config.deduplicate([batch]).dropped:
        removed = [int(i) for i in rows.column("id").to_pylist()]
        kept[removed] = [int(i) for i in rows.column("document").field("duplicate_of").to_pylist()]
    return kept


def datasketch_clusters(texts: list[str]) -> Partition:
    """Components of what datasketch's LSH index returns for each text."""
    index = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    left, right = [], []
    for number, text in enumerate(texts):
        minhash = MinHash(num_perm=BANDS * ROWS, seed=1)
        minhash.update_batch([shingle.encode() for shingle in set(shingles(text, NGRAM))])
        for other in index.query(minhash):
            left.append(int(other))
            right.append(number)
        index.insert(number, minhash)
    return components(len(texts), np.array(left, int), np.array(right, int))


def datatrove_clusters(texts: list[str]) -> Partition | None:
    """datatrove's clusters; None where its environment cannot be made."""
    python = datatrove_python()
    if python is None:
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.writelines(json.dumps(text, ensure_ascii=False) + "\n" for text in texts)
        file.flush()
        command = [str(python), str(HERE / "dedup_datatrove.py"), "clusters", file.name]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return np.array([len(texts) + c if c is not None else i for i, c in enumerate(found)])


def compare_clusters(gold: Gold) -> dict:
    """Precision, recall and F1 of every contender, and how often each kind of copy was found."""
    config = MinHashDeduplicator(ngram=NGRAM, bands=BANDS, rows=ROWS)
    sets = ShingleSets(gold.texts, NGRAM)
    left, right, _ = sets.similar_pairs(THRESHOLD)
    exact = components(len(gold.texts), left, right)
    contenders: dict[str, Callable[[], Partition | None]] = {"exact Jaccard >= 0.8": lambda: exact}
    for scheme in ("fss", "affine32"):
        for threshold in (THRESHOLD, 0.7, None):
            settings = MinHashDeduplicator(NGRAM, BANDS, ROWS, scheme=scheme, verify_threshold=threshold)
            checked = "unchecked" if threshold is None else f"checked at {threshold}"
            contenders[f"corpuskit {scheme}, {checked}"] = lambda s=settings: ours(gold.texts, s)
    contenders[f"{version('datasketch')} LSH"] = lambda: datasketch_clusters(gold.texts)
    contenders[f"{DATATROVE_NAME}, 5 words"] = lambda: datatrove_clusters(gold.texts)
    made = np.flatnonzero(gold.origins != np.arange(len(gold.texts)))
    similarity = sets.jaccard(gold.origins[made], made)
    promised = 1 - (1 - similarity**ROWS) ** BANDS
    kinds = np.array(gold.kinds)
    rows = []
    for name, run in contenders.items():
        found = run()
        if found is None:
            continue
        together = found[made] == found[gold.origins[made]]
        _, inverse, sizes = np.unique(found, return_inverse=True, return_counts=True)
        joined = sizes[inverse] > 1
        templates = {k: float(joined[kinds == k].mean()) for k in kinds if k.startswith("template")}
        rows.append(
            {
                "name": name,
                "labels": _plain(score(found, gold.labels)),
                "jaccard": _plain(score(found, exact)),
                "kinds": {k: float(together[kinds[made] == k].mean()) for k in sorted(set(kinds[made]))},
                "templates": templates,
            }
        )
    summary = {
        kind: {
            "documents": int((kinds[made] == kind).sum()),
            "median_similarity": float(np.median(similarity[kinds[made] == kind])),
            "promised": float(promised[kinds[made] == kind].mean()),
        }
        for kind in sorted(set(kinds[made]))
    }
    _print_clusters(gold, rows, summary, config)
    return {"documents": len(gold.texts), "rows": rows, "kinds": summary}


def _plain(found: Score) -> dict:
    return {**found.__dict__, "precision": found.precision, "recall": found.recall, "f1": found.f1}


def _print_clusters(gold: Gold, rows: list[dict], summary: dict, config: MinHashDeduplicator) -> None:
    characters = sum(map(len, gold.texts))
    print(f"\nClusters: {len(gold.texts):,} documents, {characters / 1e6:.1f} Mchar, {config.tag}")
    width = max(len(row["name"]) for row in rows)
    head = "precision recall   F1 "
    print(f"  {'':<{width}}  labels: {head}  Jaccard >= 0.8: {head}")
    for row in rows:
        cells = [
            f"{row[g]['precision']:>9.3f} {row[g]['recall']:>6.3f} {row[g]['f1']:>5.3f}"
            for g in ("labels", "jaccard")
        ]
        print(f"  {row['name']:<{width}}          {cells[0]}                  {cells[1]}")
    print("\nShare of copies in the cluster of their origin")
    names = [row["name"] for row in rows]
    for number, name in enumerate(names):
        print(f"  ({number}) {name}")
    print(
        f"  {'':<22}{'n':>5} {'median J':>9} {'bands':>6} "
        + " ".join(f"{f'({i})':>5}" for i in range(len(names)))
    )
    for kind, facts in summary.items():
        cells = " ".join(f"{row['kinds'][kind]:>5.2f}" for row in rows)
        print(
            f"  {kind:<22}{facts['documents']:>5} {facts['median_similarity']:>9.3f} "
            f"{facts['promised']:>6.2f} {cells}"
        )
    print("Share of documents of a template that were joined to another document")
    for kind in rows[0]["templates"]:
        cells = " ".join(f"{row['templates'][kind]:>5.2f}" for row in rows)
        print(f"  {kind:<22}{'':>5} {'':>9} {'':>6} {cells}")


def pairs_about(
    similarity: tuple[float, float], characters: int, count: int, seed: int
) -> tuple[pa.Array, pa.Array, np.ndarray]:
    """Pairs of texts whose exact similarity lies in a range.

    Half of them are one window of real text and the same moved along (documents cut elsewhere), half differ
    in single characters all over the text.

    Returns
    -------
    left, right : pyarrow.Array of large_string
    exact : float64 array
    """
    rng = np.random.default_rng(seed)
    width = characters + characters
    windows = len(pool()) // width
    found: list[tuple[pa.Array, pa.Array, np.ndarray]] = []
    have, order = 0, rng.permutation(windows)
    while have < count:
        if not len(order):  # the demo's articles are few: go over them again, elsewhere
            order = rng.permutation(windows)
        chosen, order = order[:2000], order[2000:]
        starts = chosen * width + rng.integers(0, characters // 4 + 1, len(chosen))
        target = rng.uniform(*similarity, len(chosen))
        distance = (characters - NGRAM + 1) * (1 - target) / (1 + target)
        scattered = rng.random(len(chosen)) < 0.5
        moved = np.where(scattered, 0, np.round(distance).astype(int))
        left = pool()[starts[:, None] + np.arange(characters)]
        right = pool()[starts[:, None] + moved[:, None] + np.arange(characters)]
        for row in np.flatnonzero(scattered):
            edits = max(1, round(distance[row] / NGRAM))
            places = rng.choice(characters, edits, replace=False)
            right[row, places] = pool()[rng.integers(0, len(pool()), edits)]
        lengths = np.full(len(chosen), characters)
        one, other = to_arrow(left.ravel(), lengths), to_arrow(right.ravel(), lengths)
        numbers = np.arange(len(chosen))
        exact = jaccard(pa.concat_arrays([one, other]), numbers, numbers + len(chosen), NGRAM)
        good = pa.array((exact >= similarity[0]) & (exact <= similarity[1]))
        found.append((one.filter(good), other.filter(good), exact[good.to_numpy(zero_copy_only=False)]))
        have += len(found[-1][2])
    ones, others, values = zip(*found)
    return (
        pa.concat_arrays(ones).slice(0, count),
        pa.concat_arrays(others).slice(0, count),
        np.concatenate(values)[:count],
    )


def compare_estimates(pairs: int) -> list[dict]:
    """RMSE of the similarity as signatures estimate it, over MinHash's standard error."""
    print(f"\nEstimates: RMSE over MinHash theory (in brackets: bias), {pairs:,} pairs each")
    rows = []
    for characters in (30, 100, 300, 1000, 3000):
        for middle in (0.5, 0.8, 0.9):
            left, right, exact = pairs_about(
                (middle - 0.05, middle + 0.05), characters, pairs, seed=characters
            )
            row: dict = {"characters": characters, "similarity": float(exact.mean()), "schemes": {}}
            for scheme in ("fss", "affine32"):
                for slots in (112, 128):
                    sketcher = Sketcher(slots, NGRAM, scheme=scheme)
                    error = (sketcher(left) == sketcher(right)).mean(axis=1) - exact
                    theory = np.sqrt((exact * (1 - exact) / slots).mean())
                    row["schemes"][f"{scheme} {slots}"] = {
                        "rmse": float(np.sqrt((error**2).mean())),
                        "theory": float(theory),
                        "bias": float(error.mean()),
                    }
            rows.append(row)
            cells = "  ".join(
                f"{name}: {v['rmse'] / v['theory']:.3f} ({v['bias']:+.4f})"
                for name, v in row["schemes"].items()
            )
            print(f"  {characters:>5} characters, J {row['similarity']:.3f}   {cells}", flush=True)
    return rows


def compare_recall(pairs: int, close_pairs: int) -> dict:
    """Pairs of exact similarity 0.795 to 0.805 that share a band; pairs above 0.95 that share none."""
    print("\nRecall: share of pairs that meet in a band")
    result: dict = {}
    for name, similarity, count in (
        ("0.8", (0.795, 0.805), pairs),
        ("above 0.95", (0.95, 0.9999), close_pairs),
    ):
        left, right, exact = pairs_about(similarity, 1000, count, seed=7)
        sample = np.arange(min(count, 1000))
        both = [text for side in (left, right) for text in side.slice(0, len(sample)).to_pylist()]
        difference = ShingleSets(both, NGRAM).jaccard(sample, sample + len(sample)) - exact[sample]
        if np.abs(difference).max() > 1e-12:
            raise ValueError("the similarity from hashes is not that of the sets")
        promised = 1 - (1 - exact**ROWS) ** BANDS
        for scheme in ("fss", "affine32", "affine64"):
            sketcher = Sketcher(BANDS * ROWS, NGRAM, scheme=scheme)
            hashes = [band_hashes(sketcher(side), BANDS, ROWS, sketcher.key) for side in (left, right)]
            met = (hashes[0] == hashes[1]).any(axis=1)
            spread = float(np.sqrt((promised * (1 - promised)).sum())) / count
            result[f"{scheme} {name}"] = {
                "pairs": count,
                "found": float(met.mean()),
                "promised": float(promised.mean()),
                "standard_error": spread,
                "missed": int((~met).sum()),
            }
            print(
                f"  J {name:<11} {scheme:<9} {count:,} pairs: found {met.mean():.4f}, promised "
                f"{promised.mean():.4f} (standard error {spread:.4f}); {int((~met).sum())} missed",
                flush=True,
            )
        texts = [t for side in (left, right) for t in side.to_pylist()]
        kept = ours(texts, MinHashDeduplicator(NGRAM, BANDS, ROWS))
        together = kept[:count] == kept[count:]
        result[f"deduplicated {name}"] = {"pairs": count, "found": float(together.mean())}
        print(f"  J {name:<11} deduplicated together, with the check: {together.mean():.4f} in one cluster")
    return result


def check_edges(gold: Gold) -> dict:
    """Run the job on the gold set; measure every accepted pair again from its texts."""
    print("\nEdges accepted by the job, measured again from the texts")
    sets = ShingleSets(gold.texts, NGRAM)
    result = {}
    for threshold in (0.7, THRESHOLD):
        config = MinHashDeduplicator(NGRAM, BANDS, ROWS, verify_threshold=threshold)
        with tempfile.TemporaryDirectory() as directory:
            slices, first = [], []
            for number, start in enumerate(range(0, len(gold.texts), 1000)):
                texts = gold.texts[start : start + 1000]
                batch = document_batch([f"{start + i:08d}" for i in range(len(texts))], texts)
                path = Path(directory) / f"part{number}.arrow"
                with ipc.new_file(str(path), batch.schema) as writer:
                    writer.write_batch(batch)
                slices.append(Slice(str(path), relative_path=path.name))
                first.append(start)
            done = ck.run(config.job(slices), Path(directory) / "out")
            tables = []
            for output in outputs_of(done.entries["verify"], "similarities"):
                with ipc.open_file(output.path) as reader:
                    tables.append(reader.read_all())
        table = pa.concat_tables(tables)
        starts = np.array(first)
        pair = [
            starts[(table[side].to_numpy() >> np.uint64(32)).astype(int)]
            + (table[side].to_numpy() & np.uint64(0xFFFFFFFF)).astype(int)
            for side in ("left", "right")
        ]
        measured = table["similarity"].to_numpy()
        exact = sets.jaccard(*pair)
        accepted = measured >= threshold
        result[str(threshold)] = {
            "candidates": len(measured),
            "accepted": int(accepted.sum()),
            "precision": float((exact[accepted] >= threshold).mean()),
            "largest_difference": float(np.abs(measured - exact).max()),
        }
        print(
            f"  threshold {threshold}: {len(measured):,} candidates, {int(accepted.sum()):,} accepted, "
            f"of them {(exact[accepted] >= threshold).mean():.4f} at or above it; largest difference to the "
            f"exact similarity {np.abs(measured - exact).max():.1e}"
        )
    return result


def choose(gold: Gold) -> None:
    """Tables for the choice of n, bands and rows, in Markdown."""
    kinds = np.array(gold.kinds)
    made = np.flatnonzero(gold.origins != np.arange(len(gold.texts)))
    shown = sorted(set(kinds[made]))
    print("\n| copies: median exact similarity | " + " | ".join(f"n = {n}" for n in (3, 5, 8, 13)) + " |")
    print("|---|" + "---|" * 4)
    table: dict[str, list[str]] = defaultdict(list)
    for n in (3, 5, 8, 13):
        sets = ShingleSets(gold.texts, n)
        similarity = sets.jaccard(gold.origins[made], made)
        for kind in shown:
            table[kind].append(f"{np.median(similarity[kinds[made] == kind]):.2f}")
        for kind in sorted({k for k in gold.kinds if k.startswith("template")}):
            documents = np.flatnonzero(kinds == kind)
            a, b = np.triu_indices(len(documents), 1)
            values = sets.jaccard(documents[a], documents[b])
            table[f"{kind} (median, largest)"].append(f"{np.median(values):.2f}, {values.max():.2f}")
        bases = np.flatnonzero(kinds == "base")
        rng = np.random.default_rng(1)
        a, b = rng.choice(bases, 20_000), rng.choice(bases, 20_000)
        values = sets.jaccard(a[a != b], b[a != b])
        table["unrelated texts (99.9 %, largest)"].append(
            f"{np.quantile(values, 0.999):.3f}, {values.max():.2f}"
        )
    for name, cells in table.items():
        print(f"| {name} | " + " | ".join(cells) + " |")

    told_apart = np.flatnonzero(kinds != "template form letter")
    texts, labels = [gold.texts[i] for i in told_apart], gold.labels[told_apart]
    print(
        "\n| n | bands x rows | bytes | s at 50 % | 0.7 | 0.8 | 0.9 "
        "| recall | precision | F1 | checked at 0.7: recall | precision | F1 |"
    )
    print("|" + "---|" * 13)
    for n in (3, 5, 8, 13):
        for bands, rows in ((9, 13), (14, 8), (16, 8), (20, 6), (8, 16)):
            half = (1 - 0.5 ** (1 / bands)) ** (1 / rows)
            cells = [f"{1 - (1 - s**rows) ** bands:.3f}" for s in (0.7, 0.8, 0.9)]
            for threshold in (None, 0.7):
                settings = MinHashDeduplicator(n, bands, rows, verify_threshold=threshold)
                found = score(ours(texts, settings), labels)
                cells += [f"{found.recall:.3f}", f"{found.precision:.3f}", f"{found.f1:.3f}"]
            print(
                f"| {n} | {bands} x {rows} | {8 * bands} | {half:.2f} | " + " | ".join(cells) + " |",
                flush=True,
            )
    print("\n| n | bands x rows | threshold | recall | precision | F1 | wrongly removed | templates joined |")
    print("|" + "---|" * 8)
    templates = np.char.startswith(kinds[told_apart], "template")
    for n, bands, rows, threshold in SETTINGS:
        kept = ours(texts, MinHashDeduplicator(n, bands, rows, verify_threshold=threshold))
        found = score(kept, labels)
        _, inverse, sizes = np.unique(kept, return_inverse=True, return_counts=True)
        joined = int(((sizes[inverse] > 1) & templates).sum())
        print(
            f"| {n} | {bands} x {rows} | {threshold} | {found.recall:.3f} | {found.precision:.3f} "
            f"| {found.f1:.3f} | {found.wrong} | {joined} |",
            flush=True,
        )
    choose_for_short_texts([text for text, kind in zip(gold.texts, gold.kinds) if kind == "base"])


def choose_for_short_texts(bases: list[str]) -> None:
    """20 to 60 characters out of the middle of each base, and a copy of each with one edit."""
    rng = random.Random(1)
    texts, labels = [], []
    for number, text in enumerate(bases):
        start = rng.randrange(len(text))
        short = "".join(text.split())[start : start + rng.randrange(20, 61)]
        if len(short) >= 20:
            texts += [short, edited(short, 1, rng)]
            labels += [number, number]
    print(f"\n{len(texts):,} texts of 20 to 60 characters, every second with one edit")
    print("| n | bands x rows | threshold | recall | precision | F1 |\n|---|---|---|---|---|---|")
    for n in (2, 3, 5):
        for bands, rows in ((14, 8), (20, 6), (28, 4)):
            for threshold in (0.6, 0.7, 0.8):
                settings = MinHashDeduplicator(n, bands, rows, verify_threshold=threshold)
                found = score(ours(texts, settings), np.array(labels))
                print(
                    f"| {n} | {bands} x {rows} | {threshold} | {found.recall:.3f} | {found.precision:.3f} | "
                    f"{found.f1:.3f} |"
                )


def main() -> None:
    """All parts, and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--choose", action="store_true", help="only the tables on n, bands and rows")
    parser.add_argument("--pairs", type=int, default=5000, help="pairs at similarity 0.8")
    parser.add_argument("--close-pairs", type=int, default=10_000, help="pairs above 0.95")
    parser.add_argument("--estimates", type=int, default=2000, help="pairs for each length and similarity")
    arguments = parser.parse_args(sys.argv[1:] if Path(sys.argv[0]).name == Path(__file__).name else [])
    print(f"\nNear-duplicates, quality\n{machine_line()}")
    gold = build()
    if arguments.choose:
        choose(gold)
        return
    result = {
        "title": "near-duplicate quality",
        "machine": machine_line(),
        "clusters": compare_clusters(gold),
        "edges": check_edges(gold),
        "recall": compare_recall(arguments.pairs, arguments.close_pairs),
        "estimates": compare_estimates(arguments.estimates),
    }
    save(result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
