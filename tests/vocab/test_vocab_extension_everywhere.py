"""An extension gives the same ids in every program, and keeps its promises on real text.

By default on a few hundred lines and small bases; the slow tests take 60,000 lines of real text and GPT-2,
cl100k and LLaMA.
"""

import io
import json
import os
import random
import subprocess
import sys
from itertools import accumulate

import pyarrow as pa
import pytest
import zstandard

from corpuskit import vocab
from corpuskit.vocab.bytelevel import CL100K_PATTERN, GPT2_PATTERN
from corpuskit.vocab.continuation import character_structure

tiktoken = pytest.importorskip("tiktoken")
load_tiktoken_bpe = pytest.importorskip("tiktoken.load").load_tiktoken_bpe
transformers = pytest.importorskip("transformers")

ODD_LINES = [
    "",
    " ",
    "　　第一条　为了规范，",
    "龍馬が行く、東京タワー。한국어 텍스트",
    "T恤２３元（约US$3.20）……😀👩‍👩‍👧",
    "create people  don't\tstop\r\n",
    "é我é ＡＢＣ公司ａｂｃ",
    "\u2028\ufeff\u200b中\u0301文\U0002a6d6\U0010ffff\0",
    "中" * 300,
]
ENGLISH = "The committee doesn't meet on Tuesday; people create 24 new programs a year.\n"


def real_lines(shared_data, count: int) -> list[str]:
    """Lines of news (all of it, if it has too few), broadcasts and laws, as equally as they allow."""
    lines: list[str] = []
    sources = ("news", "broadcast", "laws")
    for number, source in enumerate(sources):
        enough = len(lines) + (count - len(lines)) // (len(sources) - number)
        with (shared_data / "text" / f"{source}.jsonl.zst").open("rb") as raw:
            for record in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), encoding="utf-8"):
                lines += [line for line in json.loads(record)["text"].split("\n") if line]
                if len(lines) >= enough:
                    break
        del lines[enough:]
    assert len(lines) == count
    return lines


def tiktoken_encoding(tokenizer: vocab.Tokenizer, directory) -> tiktoken.Encoding:
    path = tokenizer.export("tiktoken", directory / "ranks.tiktoken")
    stored = json.loads(path.with_name(path.name + ".json").read_text(encoding="utf-8"))
    ranks = load_tiktoken_bpe(str(path))
    return tiktoken.Encoding("extended", mergeable_ranks=ranks, **stored)


def check_programs(tokenizer: vocab.Tokenizer, lines: list[str], directory) -> list[list[int]]:
    """Ids of every line, the same from ours, tokenizers, transformers and tiktoken."""
    ids = tokenizer.encode_batch(pa.array(lines, pa.large_string())).to_pylist()
    saved = tokenizer.save(directory / "saved")
    assert vocab.Tokenizer.load(saved).fingerprint == tokenizer.fingerprint
    library = [
        e.ids for e in tokenizer.vocabulary.backend().encode_batch_fast(lines, add_special_tokens=False)
    ]
    assert library == ids
    auto = transformers.AutoTokenizer.from_pretrained(saved)
    for first in range(0, len(lines), 4096):
        loaded = auto(lines[first : first + 4096], split_special_tokens=True)["input_ids"]
        assert loaded == ids[first : first + 4096]
    encoding = tiktoken_encoding(tokenizer, directory)
    assert encoding.encode_ordinary_batch(lines, num_threads=1) == ids
    return ids


def check_promises(base: vocab.Tokenizer, extended: vocab.Tokenizer, lines, ids) -> None:
    size = base.vocab_size
    tokens = extended.vocabulary.tokens
    assert tokens[:size] == base.vocabulary.tokens
    assert extended.vocabulary.merges[: len(base.vocabulary.merges)] == base.vocabulary.merges
    assert extended.special_tokens == base.special_tokens
    assert len(set(tokens[size:]) | set(base.vocabulary.ids)) == len(base.vocabulary.ids) + len(tokens) - size
    assert extended.vocabulary.unreachable(size) == []
    for token in tokens[size:]:
        lead, whole, missing = character_structure(token)
        assert lead == 0 and not (whole and missing)
    lengths = [len(token or b"") for token in tokens]
    old_ids = base.encode_batch(pa.array(lines, pa.large_string())).to_pylist()
    for line, old, new in zip(lines, old_ids, ids):
        if line.isascii():
            assert old == new
        assert set(accumulate(lengths[i] for i in new)) <= set(accumulate(lengths[i] for i in old))
        assert b"".join(tokens[i] for i in new) == line.encode()


@pytest.mark.parametrize("pattern", [GPT2_PATTERN, CL100K_PATTERN], ids=["gpt2", "cl100k"])
def test_a_trained_base_and_one_from_ranks(chinese, tmp_path, pattern):
    base = vocab.train([ENGLISH * 3, *chinese[:50]], vocab_size=400, pattern=pattern)
    lines = [line for text in chinese[::4] for line in text.split("\n")] + ODD_LINES + [ENGLISH]
    base.export("tiktoken", tmp_path / "base.tiktoken")
    from_ranks = vocab.load(tmp_path / "base.tiktoken")
    assert from_ranks.vocabulary.ignore_merges
    for number, old in enumerate((base, from_ranks)):
        extended = vocab.extend(old, chinese, 80)
        (tmp_path / str(number)).mkdir()
        check_promises(old, extended, lines, check_programs(extended, lines, tmp_path / str(number)))


def test_gpt2_in_its_own_files(gpt2, extended, chinese, tmp_path):
    lines = [line for text in chinese[:60] for line in text.split("\n")] + ODD_LINES + [ENGLISH]
    check_promises(gpt2, extended, lines, check_programs(extended, lines, tmp_path))
    extended.export("gpt2", tmp_path / "files")
    assert vocab.load(tmp_path / "files").vocabulary == extended.vocabulary


def test_scripts_are_not_mixed(gpt2, extended):
    for token in extended.vocabulary.tokens[gpt2.vocab_size :]:
        text = token.decode("utf-8", "ignore")
        han = any("一" <= c <= "鿿" for c in text)
        assert not (han and any("Ａ" <= c <= "ｚ" or "À" <= c <= "ɏ" for c in text))


def test_threads_and_order_of_documents_change_no_byte(small, chinese, tmp_path):
    """In processes of their own, with another hash seed and another number of threads each."""
    (tmp_path / "base").mkdir()
    small.save(tmp_path / "base")
    program = (
        "import json, sys; from corpuskit import vocab; from pathlib import Path\n"
        "texts = json.loads(Path(sys.argv[1]).read_text(encoding='utf-8'))\n"
        "vocab.extend(sys.argv[2], texts, 60).save(sys.argv[3])\n"
    )
    saved = []
    for threads in (1, 3):
        shuffled = list(chinese)
        random.Random(threads).shuffle(shuffled)
        (tmp_path / "texts.json").write_text(json.dumps(shuffled), encoding="utf-8")
        environment = os.environ | {
            "RAYON_NUM_THREADS": str(threads),
            "NUMBA_NUM_THREADS": str(threads),
            "PYTHONHASHSEED": str(threads),
        }
        target = tmp_path / f"out{threads}"
        subprocess.run(
            [sys.executable, "-c", program, tmp_path / "texts.json", tmp_path / "base", target],
            check=True,
            env=environment,
        )
        saved.append({path.name: path.read_bytes() for path in target.iterdir()})
    assert saved[0] == saved[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt2", "cl100k_base.tiktoken", "trained"])
def test_sixty_thousand_real_lines_in_every_program(shared_data, tmp_path, name):
    lines = real_lines(shared_data, 60_000)
    if name == "trained":
        base = vocab.train(lines[::10], vocab_size=3000)
    else:
        base = vocab.load(shared_data / "tokenizers" / name)
    extended = vocab.extend(base, lines[::3], 5000)
    lines += [*ODD_LINES, ENGLISH]
    check_promises(base, extended, lines, check_programs(extended, lines, tmp_path))


@pytest.mark.slow
def test_sixty_thousand_real_lines_of_llama(shared_data, tmp_path):
    base = vocab.load(shared_data / "tokenizers" / "llama" / "tokenizer.model")
    lines = real_lines(shared_data, 60_000)
    extended = vocab.extend(base, lines[::3], 5000)
    lines += [*ODD_LINES[:-2], ODD_LINES[-1], ENGLISH]  # without the one with NUL
    old, new = base.vocabulary.processor, extended.vocabulary.processor
    lengths = [1 if new.is_byte(i) else len(new.id_to_piece(i).encode()) for i in range(extended.vocab_size)]
    ids = new.encode(lines)
    for line, before, after in zip(lines, old.encode(lines), ids):
        if line.isascii():
            assert before == after
        assert set(accumulate(lengths[i] for i in after)) <= set(accumulate(lengths[i] for i in before))
    # The library itself loses some of the white space that a line begins with.
    assert new.decode(ids) == old.decode(old.encode(lines))
    lossy = sum(text != line for text, line in zip(new.decode(ids), lines))
    assert lossy <= sum(line[:1].isspace() for line in lines)
    pytest.importorskip("google.protobuf")
    # transformers cuts runs of spaces otherwise than sentencepiece, in LLaMA itself (its U+2581 U+2581
    # has the score -1e9); everywhere else both give the same ids.
    programs = []
    for name, tokenizer in (("base", base), ("extended", extended)):
        (tmp_path / name).mkdir()
        tokenizer.export("spiece.model", tmp_path / name / "tokenizer.model")
        loaded = transformers.LlamaTokenizer.from_pretrained(tmp_path / name, add_bos_token=False)
        programs.append(loaded(lines)["input_ids"])
    agree = [i for i, (theirs, ours) in enumerate(zip(programs[0], old.encode(lines))) if theirs == ours]
    assert len(agree) > 0.9 * len(lines)
    assert [programs[1][i] for i in agree] == [ids[i] for i in agree]
