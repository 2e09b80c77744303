"""The kernel encoder against plain BPE, Hugging Face tokenizers and tiktoken."""

import random
from collections import Counter
from functools import cache
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
import tiktoken
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from corpuskit import vocab
from corpuskit.errors import InputError
from corpuskit.kernels import encode, encode_tables
from corpuskit.vocab.bytelevel import (
    CHINESE_PATTERN,
    CL100K_PATTERN,
    GPT2_PATTERN,
    O200K_PATTERN,
    ByteLevelBPE,
    from_merged_bytes,
)
from corpuskit.vocab.encoder import Encoder

TEXTS = [
    "",
    "我们在北京，学习自然语言处理。",
    "Hello,  world's 12345\n\n\t",
    "龍😀 zebra 中国 café\u0301 ñandú",
    "　　全角　ＡＢＣ１２３",
    "naïve déjà-vu Русский текст ひらがな カタカナー 한국어",
    "x" * 500 + "的" * 300 + " " * 400 + "\n" * 200,
]
LETTERS = "的的的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以ーア"
MIXED = LETTERS + "  ,.。，éèüßñжя한😀😁\U00020000abcabc''st12\n"


def plain_bpe(vocabulary: ByteLevelBPE, piece: bytes) -> list[int]:
    """The definition: join the two neighbours of the lowest merge, leftmost first, until none is left."""
    ranks = {pair: rank for rank, pair in enumerate(vocabulary.merges)}
    parts = [vocabulary.ids[piece[i : i + 1]] for i in range(len(piece))]
    while True:
        found = [(ranks[pair], i) for i, pair in enumerate(pairwise(parts)) if pair in ranks]
        if not found:
            return parts
        rank, i = min(found)
        a, b = vocabulary.merges[rank]
        parts[i : i + 2] = [vocabulary.ids[vocabulary.tokens[a] + vocabulary.tokens[b]]]


def reference(vocabulary: ByteLevelBPE, text: str) -> list[int]:
    split = pre_tokenizers.Split(tokenizers.Regex(vocabulary.pattern), "isolated")
    pieces = [piece.encode() for piece, _ in split.pre_tokenize_str(text)]
    return [i for piece in pieces for i in plain_bpe(vocabulary, piece)]


@cache
def careless(seed: int, num_merges: int, pattern: str) -> ByteLevelBPE:
    """BPE trained on bytes without any regard for characters, so that many tokens straddle them.

    On text drawn from few characters by a skewed law; some merges are taken at random, not by count.
    """
    chooser = random.Random(seed)
    alphabet = [*chooser.sample(sorted(set(MIXED) - set("\n ")), 14), " "]
    text = "".join(chooser.choice(alphabet[: chooser.randint(1, len(alphabet))]) for _ in range(1500))
    split = pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
    words = [[bytes([b]) for b in piece.encode()] for piece, _ in split.pre_tokenize_str(text)]
    merges, made = [], set()
    while len(merges) < num_merges:
        counts = Counter(pair for word in words for pair in pairwise(word))
        choices = sorted(counts, key=lambda pair: (-counts[pair], pair))
        choices = [pair for pair in choices if pair[0] + pair[1] not in made]
        if not choices:
            break
        left, right = choices[0] if chooser.random() < 0.5 else chooser.choice(choices)
        merges.append((left, right))
        made.add(left + right)
        for word in words:
            i = 0
            while i < len(word) - 1:
                if word[i] == left and word[i + 1] == right:
                    word[i : i + 2] = [left + right]
                i += 1
    return from_merged_bytes(merges, ("<|endoftext|>",), pattern)


@pytest.mark.parametrize("pattern", [GPT2_PATTERN, CL100K_PATTERN, O200K_PATTERN, CHINESE_PATTERN])
def test_any_vocabulary_gives_the_ids_of_plain_bpe(pattern):
    used = straddling = 0
    for seed in range(0, 24, 2):
        vocabulary = careless(seed, 20 + 9 * seed, pattern)
        encoder = Encoder.of(vocabulary)
        if encoder is None:  # a token that another order of merges hides: the library's work
            continue
        used += 1
        kinds = np.empty(len(vocabulary.tokens), np.uint8)
        encode_tables.structures(encoder.tables.token_bytes, encoder.tables.token_starts, kinds)
        straddling += int((kinds == encode_tables.STRADDLING).sum())
        chooser = random.Random(seed)
        tokens = [t.decode(errors="ignore") for t in vocabulary.tokens[256:-1]]
        for _ in range(30):
            pool = chooser.sample(MIXED, chooser.randint(1, 12)) + chooser.sample(tokens, 3)
            text = "".join(chooser.choice(pool) for _ in range(chooser.choice([2, 5, 20, 60])))
            assert encoder.encode(text.encode()).tolist() == reference(vocabulary, text)
    assert used >= 6 and straddling >= 50


def test_long_pre_tokens_give_the_ids_of_plain_bpe():
    longest = 0
    for seed in range(0, 25, 4):
        vocabulary = careless(seed, 60 + 5 * seed, GPT2_PATTERN)
        encoder = Encoder.of(vocabulary)
        if encoder is None:
            continue
        chooser = random.Random(seed)
        for _ in range(4):
            pool = chooser.sample(sorted(set(LETTERS)), chooser.randint(1, 6))
            text = "".join(chooser.choice(pool) for _ in range(chooser.randint(129, 250)))
            longest = max(longest, len(text.encode()))
            assert encoder.encode(text.encode()).tolist() == plain_bpe(vocabulary, text.encode())
    assert longest > 2 * encode.SHORT


@pytest.mark.parametrize("unit", ["a", "的", "ab", "é", " ", "\n", "😀", "ﷺ", "1", "!"])
def test_a_run_of_one_thing_takes_time_linear_in_its_length(gpt2, unit):
    """Quadratic merging of a megabyte would take hours."""
    text = unit * (1_000_000 // len(unit.encode()))
    ids = gpt2.encode(text)
    assert gpt2.decode(ids) == text
    beginning = unit * 2000
    assert gpt2.encode(beginning) == gpt2._backend.encode(beginning, add_special_tokens=False).ids


def test_known_vocabularies_use_the_kernels(gpt2, extended, small, chinese):
    trained = vocab.train(chinese, vocab_size=400)
    assert all(tokenizer._encoder is not None for tokenizer in (gpt2, extended, small, trained))


@pytest.mark.parametrize("which", ["gpt2", "extended", "small"])
def test_ids_are_those_of_tokenizers_and_tiktoken(which, request, chinese):
    tokenizer = request.getfixturevalue(which)
    backend = tokenizer.vocabulary.backend()
    encoding = tiktoken.Encoding(
        "x",
        pat_str=tokenizer.vocabulary.pattern,
        mergeable_ranks=tokenizer.vocabulary.ids,
        special_tokens=tokenizer.special_tokens,
    )

    @given(text=st.text(MIXED, max_size=40) | st.text(max_size=20) | st.sampled_from(TEXTS + chinese[:50]))
    def check(text):
        text = text.encode("utf-8", "ignore").decode()
        ids = tokenizer.encode(text)
        assert ids == encoding.encode_ordinary(text)
        assert ids == backend.encode(text, add_special_tokens=False).ids

    check()


def test_a_vocabulary_beyond_the_kernels_goes_through_the_library():
    tokens = tuple(bytes([b]) for b in range(256))
    odd = [
        ByteLevelBPE((*tokens, b"ab"), ((97, 98),), pattern=r"\w+|\W+"),
        ByteLevelBPE((*tokens, b"ab"), ((97, 98),), normaliser="nfc"),
        # Ids that fall with rank; and a token hidden by an earlier merge of its middle.
        ByteLevelBPE((*tokens, b"cd", b"ab"), ((97, 98), (99, 100))),
        ByteLevelBPE((*tokens, b"bc", b"ab", b"cd", b"abcd"), ((98, 99), (97, 98), (99, 100), (257, 258))),
    ]
    for vocabulary in odd:
        tokenizer = vocab.Tokenizer(vocabulary)
        assert tokenizer._encoder is None
        texts = ["abcd ab cd e\u0301", "", "我们abc"]
        expected = [vocabulary.backend().encode(text, add_special_tokens=False).ids for text in texts]
        assert tokenizer.encode_batch(pa.array(texts)).to_pylist() == expected
        assert [tokenizer.encode(text) for text in texts] == expected


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_do_not_change_the_result(gpt2, extended, chinese, threads):
    texts = pa.array([*TEXTS, *chinese, "", ""], pa.large_string())
    for tokenizer in (gpt2, extended):
        assert tokenizer.encode_batch(texts, threads=threads).equals(tokenizer.encode_batch(texts))
    one = pa.array(["我们"])
    assert gpt2.encode_batch(one, threads=threads).equals(gpt2.encode_batch(one))
    assert len(gpt2.encode_batch(one.slice(1), threads=threads)) == 0


def test_slices_of_larger_arrays_are_read_in_place(gpt2):
    for kind in (pa.string(), pa.large_string()):
        array = pa.array(["前面", *TEXTS, "后面"], kind)
        for start in range(len(array)):
            part = array.slice(start, 3)
            assert gpt2.encode_batch(part).to_pylist() == [gpt2.encode(t) for t in part.to_pylist()]


@pytest.mark.parametrize("damage", [b"\xff", b"\xe6\x88", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80"])
@pytest.mark.parametrize("which", ["gpt2", "sentencepiece"])
def test_bytes_that_are_not_utf8_are_named_by_row(gpt2, pieces, damage, which):
    tokenizer = gpt2 if which == "gpt2" else pieces
    content = "好".encode() + damage
    offsets = np.array([0, 3, 3, 3 + len(content)], np.int32)
    array = pa.Array.from_buffers(
        pa.string(), 3, [None, pa.py_buffer(offsets), pa.py_buffer("好".encode() + content)]
    )
    for part, row in ((array, 2), (array.slice(1), 1)):
        with pytest.raises(InputError, match=f"row {row}.*UTF-8 at byte 3"):
            tokenizer.encode_batch(part)
    assert len(tokenizer.encode_batch(array.slice(0, 2))) == 2


@pytest.fixture(scope="module")
def pieces(chinese):
    return vocab.train(chinese, algorithm="sentencepiece-bpe", vocab_size=600)


def test_nulls_are_named_by_row(gpt2):
    with pytest.raises(InputError, match="row 2"):
        gpt2.encode_batch(pa.array(["a", "b", None, None]))
    with pytest.raises(InputError, match="row 1"):
        gpt2.encode_batch(pa.chunked_array([["a"], [None]]))
    with pytest.raises(ValueError, match="threads"):
        gpt2.encode_batch(pa.array(["a"]), threads=0)


def test_big_vocabularies_give_tiktokens_ids_on_real_text(shared_data):
    import io
    import json

    import zstandard

    lines = []
    for name in ("news", "laws", "broadcast"):
        with (shared_data / "text" / f"{name}.jsonl.zst").open("rb") as raw:
            reader = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), encoding="utf-8")
            lines += [json.loads(reader.readline())["text"] for _ in range(25)]
    array = pa.array(lines)
    for name in ("gpt2", "cl100k_base.tiktoken"):
        tokenizer = vocab.load(shared_data / "tokenizers" / name)
        encoding = tiktoken.Encoding(
            "x",
            pat_str=tokenizer.vocabulary.pattern,
            mergeable_ranks=tokenizer.vocabulary.ids,
            special_tokens={},
        )
        assert tokenizer._encoder is not None
        expected = [encoding.encode_ordinary(line) for line in lines]
        assert tokenizer.encode_batch(array).to_pylist() == expected
