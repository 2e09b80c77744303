"""Ways to give GPT-2 Chinese tokens, side by side on the same text.

    python bench_extension.py [--sample-mb 30] [--new-tokens 10000]

Every way adds as many tokens from the same sample and is measured on the same held-out documents (one in
twenty of laws, news and broadcasts, by a hash of their id). ``unused`` tokens occur neither in the sample
nor in held-out text; ``unreachable`` ones do not come out even where their own text is encoded; ``English``
counts lines that get other ids than GPT-2 gives them; ``torn`` counts held-out lines with a border where
GPT-2 has none. Text that an unchanged GPT-2 would cut elsewhere is text the model has never seen cut so.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import corpus
import tokenizers
import xxhash
from harness import machine_line, save

from corpuskit import vocab
from corpuskit.segment import Segmenter
from corpuskit.vocab.bytelevel import GPT2_PATTERN, ByteLevelBPE, to_characters
from corpuskit.vocab.sampling import sample_texts
from corpuskit.vocab.word_list import add_words

SOURCES = ("laws", "news", "broadcast")


@dataclass
class Extended:
    """A way's outcome: a Hugging Face tokenizer, what its new ids stand for, and the seconds it took."""

    name: str
    built: tokenizers.Tokenizer
    new: dict[int, bytes]
    seconds: float


def split() -> tuple[list[str], list[str]]:
    """Training and held-out documents."""
    train, held = [], []
    for source in SOURCES:
        for record in corpus.records(source):
            chosen = xxhash.xxh3_64_intdigest(f"{source}{record['id']}".encode()) % 20
            (train if chosen else held).append(record["text"])
    return train, held


def english_lines() -> list[str]:
    """Lines of ASCII in the read-me files and licences of the installed packages."""
    lines: set[str] = set()
    for path in sorted(Path(tokenizers.__file__).parent.parent.glob("*.dist-info/METADATA")):
        for line in path.read_text(encoding="utf-8", errors="ignore").splitlines():
            if len(line) > 40 and line.isascii():
                lines.add(line)
    return sorted(lines)


def ours(base: vocab.Tokenizer, texts: list[str], count: int) -> tuple[tokenizers.Tokenizer, dict]:
    """Continued BPE."""
    extended = vocab.extend(base, texts, count, sample_bytes=1 << 30).vocabulary
    return extended.backend(), dict(enumerate(extended.tokens[base.vocab_size :], base.vocab_size))


def word_counts(texts: Iterable[str]) -> Counter[str]:
    """Words without ASCII; the segmenter cuts exactly as jieba does, without its minutes."""
    counts: Counter[str] = Counter()
    segmenter = Segmenter()
    for text in texts:
        counts.update(word for word in segmenter.lcut(text) if min(word) >= "\x80" and word.strip())
    return counts


def added_tokens(base: vocab.Tokenizer, words: list[str]) -> tuple[tokenizers.Tokenizer, dict]:
    """`add_tokens` with the most frequent jieba words."""
    built = base.vocabulary.backend()
    built.add_tokens(words)
    return built, {built.token_to_id(word): word.encode() for word in words}


def word_list(base: vocab.Tokenizer, words: Counter[str], count: int) -> tuple[tokenizers.Tokenizer, dict]:
    """Our `add_words` with as many of the same words as `count` tokens hold."""
    taken = count
    while True:  # the parts of words cost tokens too
        chosen = dict(words.most_common(taken))
        extended = add_words(base, chosen, problems="skip").vocabulary
        added = extended.vocab_size - base.vocab_size
        if added <= count:
            break
        taken = min(taken - 1, taken * count // added)
    return extended.backend(), dict(enumerate(extended.tokens[base.vocab_size :], base.vocab_size))


def appended(base: vocab.Tokenizer, texts: list[str], count: int) -> tuple[tokenizers.Tokenizer, dict]:
    """A fresh BPE on the same text, its tokens and merges appended to GPT-2's."""
    old = base.vocabulary
    size = 256 + count * 2
    fresh = vocab.train(texts, vocab_size=size, pattern=GPT2_PATTERN, special_tokens=(), sample_bytes=1 << 30)
    tokens, merges = list(old.tokens), list(old.merges)
    ids = dict(old.ids)
    made = fresh.vocabulary.tokens
    for left, right in fresh.vocabulary.merges:
        joined = made[left] + made[right]
        if len(tokens) == base.vocab_size + count:
            break
        if joined not in ids and made[left] in ids and made[right] in ids:
            ids[joined] = len(tokens)
            tokens.append(joined)
            merges.append((ids[made[left]], ids[made[right]]))
    extended = ByteLevelBPE(tuple(tokens), tuple(merges), old.special_tokens, old.pattern)
    return extended.backend(), dict(enumerate(extended.tokens[base.vocab_size :], base.vocab_size))


def ids_of(built: tokenizers.Tokenizer, texts: list[str]) -> list[list[int]]:
    return [encoding.ids for encoding in built.encode_batch_fast(texts, add_special_tokens=False)]


def judge(
    way: Extended, base: vocab.Tokenizer, train: list[str], held: list[str], english: list[str]
) -> dict:
    """The row of the table."""
    tokens: dict[int, bytes] = {i: token or b"" for i, token in enumerate(base.vocabulary.tokens)} | way.new
    before = base.vocabulary.backend()
    lines = [line for text in held for line in text.split("\n") if line]
    used: set[int] = set()
    total = torn = 0
    for new, old in zip(ids_of(way.built, lines), ids_of(before, lines)):
        total += len(new)
        used.update(new)
        borders = set(accumulate(len(tokens[i]) for i in old))
        torn += any(end not in borders for end in accumulate(len(tokens[i]) for i in new))
    for ids in ids_of(way.built, train) if way.new else ():
        used.update(ids)
    unreachable = 0
    for token_id, token in way.new.items():
        try:
            unreachable += ids_of(way.built, [token.decode()]) != [[token_id]]
        except UnicodeDecodeError:  # part of a character: its bytes, merged
            merged = way.built.model.tokenize(to_characters(token))
            unreachable += [piece.id for piece in merged] != [token_id]
    changed = sum(a != b for a, b in zip(ids_of(way.built, english), ids_of(before, english)))
    return {
        "name": way.name,
        "bytes_per_token": sum(len(line.encode()) for line in lines) / total,
        "tokens": total,
        "unused": len(way.new.keys() - used),
        "unreachable": unreachable,
        "english_changed": changed,
        "torn": torn,
        "seconds": way.seconds,
    }


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--sample-mb", type=float, default=30.0)
    options.add_argument("--held-out-mb", type=float, default=6.0)
    options.add_argument("--new-tokens", type=int, default=10_000)
    chosen = options.parse_args()
    base = vocab.load("gpt2")
    everything, held_out = split()
    sample = sample_texts(everything, int(chosen.sample_mb * 1e6), 0)
    held = list(sample_texts(held_out, int(chosen.held_out_mb * 1e6), 0).texts)
    train, count = list(sample.texts), chosen.new_tokens
    english = english_lines()
    print(machine_line())
    held_mb = sum(len(text.encode()) for text in held) / 1e6
    print(
        f"{sample.text_bytes / 1e6:.1f} MB to learn from, {held_mb:.1f} MB held out, "
        f"{len(english):,} English lines, +{count:,} tokens"
    )
    vocab.extend(base, train[:20], 50)  # compiles the kernels

    rows = []

    def measure(name: str, make: Callable[[], tuple[tokenizers.Tokenizer, dict]]) -> None:
        started = time.process_time()
        built, new = make()
        way = Extended(name, built, new, time.process_time() - started)
        row = judge(way, base, train, held, english)
        rows.append(row)
        first = rows[0]["tokens"] / row["tokens"]
        print(
            f"{name:<44} {row['bytes_per_token']:6.3f} {first:6.2f}x {row['unused']:7,} "
            f"{row['unreachable']:11,} {row['english_changed']:8,} {row['torn']:7,} {row['seconds']:8.1f}",
            flush=True,
        )

    print(f"{'':<44} B/tok  fewer  unused unreachable  English    torn    CPU s")
    measure("GPT-2", lambda: (base.vocabulary.backend(), {}))
    measure("corpuskit extend", lambda: ours(base, train, count))
    words = word_counts(train)
    top = [word for word, _ in words.most_common(count)]
    measure("add_tokens, the most frequent jieba words", lambda: added_tokens(base, top))
    measure("corpuskit add_words, the same words", lambda: word_list(base, words, count))
    measure("fresh BPE, tokens and merges appended", lambda: appended(base, train, count))
    extension = rows[1]
    print(f"extend: {sample.text_bytes / 1e6 / extension['seconds']:.2f} MB a second of processor time")
    save(
        {
            "title": "extension of gpt2",
            "machine": machine_line(),
            "sample_bytes": sample.text_bytes,
            "rows": rows,
        }
    )


if __name__ == "__main__":
    main()
