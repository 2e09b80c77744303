"""Language and script: accuracy beside peers on sentences of 20 characters or more, then speed.

Sentences are those of ``language/`` in the test data: four sentence lists, and the paragraphs of the
Universal Declaration in seven languages (Wu counts as Chinese). The lists are also converted by OpenCC, so
that Traditional is measured on more than one document. Peers know no script and no Cantonese, so they are
asked only for Chinese, Japanese, Korean, English or something else.

The rules were written with these sets in view; the trigrams of Latin letters come from other text. What
texts of other sources give is in ``docs/explanation/normalisation-and-language.md``.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from importlib import util
from pathlib import Path

import pyarrow as pa
from corpus import _SHARED, texts
from harness import Contender, compare, version

from corpuskit.clean.language import labels, script_of
from corpuskit.clean.variants import converter

MIN_CHARACTERS = 20
LISTS = {"zh": "zh-Hans", "ja": "ja", "ko": "ko", "en": "en"}
DECLARATIONS = {
    "cmn_hans": "zh-Hans",
    "cmn_hant": "zh-Hant",
    "wuu": "zh-Hans",
    "yue": "yue",
    "jpn": "ja",
    "kor": "ko",
    "eng": "en",
}
COARSE = {"zh-Hans": "zh", "zh-Hant": "zh", "zh-mixed": "zh", "yue": "zh"}


def sentences(directory: Path) -> dict[str, tuple[str, list[str]]]:
    """Name of each set to its label and its sentences."""
    sets: dict[str, tuple[str, list[str]]] = {}
    for code, label in LISTS.items():
        lines = (directory / f"sentences-{code}.txt").read_text(encoding="utf-8").splitlines()
        sets[f"sentences-{code}"] = label, lines
    for conversion in ("s2tw", "s2hk", "s2t"):
        convert = converter(conversion).convert
        sets[f"sentences-zh {conversion}"] = "zh-Hant", [convert(line) for line in sets["sentences-zh"][1]]
    for name, label in DECLARATIONS.items():
        xml = (directory / f"udhr_{name}.xml").read_text(encoding="utf-8")
        sets[f"udhr_{name}"] = label, [part.strip() for part in re.findall(r">([^<]+)<", xml)]
    return {
        name: (label, [line for line in lines if len(line) >= MIN_CHARACTERS])
        for name, (label, lines) in sets.items()
    }


def accuracy(sets: dict[str, tuple[str, list[str]]]) -> None:
    """Print what each set was taken for, and the share that was right."""
    print(f"Sentences of {MIN_CHARACTERS} characters or more: right, and what the rest was taken for")
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for name, (label, lines) in sets.items():
        found = labels(pa.array(lines, pa.large_string())).to_pylist()
        wrong = Counter(value for value in found if value != label)
        right[label] += found.count(label)
        total[label] += len(found)
        print(
            f"  {name:<20} {label:<8} {len(found):>5}  {found.count(label) / len(found):7.2%} "
            f" {dict(wrong) or ''}"
        )
    for label, count in total.items():
        print(f"  all {label:<24} {count:>5}  {right[label] / count:7.2%}")


def peers() -> dict[str, Callable[[str], str]]:
    """Name to a function from a text to a language code, of the peers that are installed."""
    found: dict[str, Callable[[str], str]] = {}
    for package in ("py3langid", "langid"):
        if util.find_spec(package):
            module = __import__(package)
            found[version(package)] = lambda text, classify=module.classify: classify(text)[0]
    if util.find_spec("pycld2"):
        import pycld2

        found[version("pycld2")] = lambda text: pycld2.detect(text)[2][0][1]
    return found


def compare_with_peers(sets: dict[str, tuple[str, list[str]]], contenders: dict[str, Callable]) -> None:
    """Print the accuracy of each contender on Chinese, Japanese, Korean and English."""
    print("\nCoarse accuracy (Chinese of any script and Cantonese are one)")
    for name, classify in {"corpuskit": script_of, **contenders}.items():
        right: Counter[str] = Counter()
        total: Counter[str] = Counter()
        for label, lines in sets.values():
            wanted = COARSE.get(label, label)
            for line in lines:
                code = classify(line)
                code = COARSE.get(code, code)
                total[wanted] += 1
                right[wanted] += code == wanted or code.lower().startswith(wanted + "-")
        print(f"  {name:<20} " + "  ".join(f"{key} {right[key] / total[key]:7.2%}" for key in total))


def main() -> None:
    """Accuracy where the test data is, then MB/s of Arrow text to labels."""
    contenders = peers()
    directory = _SHARED / "language"
    if directory.is_dir():
        sets = sentences(directory)
        accuracy(sets)
        compare_with_peers(sets, contenders)
    documents = texts("news", 1_000_000)
    array = pa.array(documents, pa.large_string())
    megabytes = sum(len(text.encode()) for text in documents) / 1e6
    small = documents[:: max(1, len(documents) // 200)]
    compare(
        "Language and script, news",
        [
            Contender("corpuskit", lambda: labels(array)),
            *(
                Contender(f"{name} (first {len(small)} scaled)", seconds=_scaled(classify, small, megabytes))
                for name, classify in contenders.items()
            ),
        ],
        megabytes,
        "MB",
        rounds=3,
    )
    started = time.process_time()
    labels(array)
    print(f"  corpuskit: {megabytes / (time.process_time() - started):.0f} MB/s of processor time")


def _scaled(classify: Callable[[str], str], documents: list[str], megabytes: float) -> Callable[[], float]:
    """Seconds a peer would take for `megabytes`, from a sample of the documents."""
    share = sum(len(text.encode()) for text in documents) / 1e6 / megabytes

    def seconds() -> float:
        started = time.perf_counter()
        for text in documents:
            classify(text)
        return (time.perf_counter() - started) / share

    return seconds


if __name__ == "__main__":
    main()
