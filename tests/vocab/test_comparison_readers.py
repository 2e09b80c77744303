"""Every form of tokenizer: the ids are the library's own, and tokens lie where they should."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import sentencepiece
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from corpuskit import vocab
from corpuskit.errors import ArtifactError, InputError
from corpuskit.vocab.bytelevel import GPT2_PATTERN, ByteLevelBPE, from_merged_bytes
from corpuskit.vocab.comparison import Role, describe_text
from corpuskit.vocab.readers import open_tokenizer
from corpuskit.vocab.subjects import ByteLevelSubject, LibrarySubject

TRICKY = ["我想看书。", "龘龘😀 龍", " 我 们", "", "Ａｂｃ１２３，①", "a\n\n我\t书", "Open AI 的 café", "𠀀"]
WORDS = ("[PAD]", "[UNK]", "[unused1]", "我", "们", "看", "书", "##书", "a", "##b", "##ing", "，")


def spm(texts, **options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, minloglevel=2, num_threads=1, **options
    )
    return model.getvalue()


@pytest.fixture(scope="module")
def lines():
    return [f"我们在第{n}天看了{n}本书，还想去图书馆 read book {n}。" for n in range(300)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, lines):
    """One tokenizer of each form, trained here."""
    root = tmp_path_factory.mktemp("tokenizers")
    byte_level = vocab.train(lines, vocab_size=330, pattern=GPT2_PATTERN)
    byte_level.save(root / "ours")
    byte_level.export("gpt2", root / "gpt2-files")
    byte_level.export("tokenizer.json", root / "hub" / "tokenizer.json")
    byte_level.export("tiktoken", root / "ranks.tiktoken")
    (root / "llama3").mkdir()
    (root / "llama3" / "tokenizer.model").write_bytes((root / "ranks.tiktoken").read_bytes())
    fallback = spm(lines, vocab_size=320, byte_fallback=True, normalization_rule_name="identity")
    (root / "llama").mkdir()
    (root / "llama" / "tokenizer.model").write_bytes(fallback)
    (root / "t5.model").write_bytes(spm(lines, vocab_size=70, normalization_rule_name="nmt_nfkc"))
    vocab.train(lines, algorithm="sentencepiece-bpe", vocab_size=320).save(root / "pieces")
    (root / "bert").mkdir()
    (root / "bert" / "vocab.txt").write_text("\n".join(WORDS) + "\n", "utf-8")
    llama_json(lines).save(str(root / "llama.json"))
    return root


def llama_json(lines):
    """A BPE with byte fallback and a space before the text, as Llama 2's tokenizer.json has it."""
    built = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    built.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    built.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    built.train_from_iterator(
        lines, trainers.BpeTrainer(vocab_size=340, special_tokens=special[:2], show_progress=False)
    )
    content = json.loads(built.to_str())
    vocabulary = content["model"]["vocab"]
    for name in special[2:]:
        vocabulary.setdefault(name, len(vocabulary))
    return tokenizers.Tokenizer.from_str(json.dumps(content))


FORMS = [
    "ours",
    "gpt2-files",
    "hub",
    "ranks.tiktoken",
    "llama3",
    "llama",
    "t5.model",
    "pieces",
    "bert",
    "llama.json",
]


@pytest.mark.parametrize("form", FORMS)
def test_tokens_lie_in_order_inside_their_document(folder, form):
    subject = open_tokenizer(str(folder / form))
    text = describe_text(TRICKY)
    encoding = subject.encode(TRICKY, text)
    assert encoding.ids.size and encoding.ids.min() >= 0 and encoding.ids.max() < subject.vocab_size
    assert (encoding.begins <= encoding.ends).all()
    assert (encoding.begins[1:] >= encoding.ends[:-1]).all()
    assert encoding.ends[-1] <= text.num_bytes
    ids = np.concatenate(subject.ids(TRICKY))
    assert encoding.ids.tolist() == ids.tolist()


@pytest.mark.parametrize(
    "form", ["ours", "gpt2-files", "hub", "ranks.tiktoken", "llama3", "llama", "llama.json", "pieces"]
)
def test_the_tokens_of_a_lossless_tokenizer_are_the_text(folder, form):
    subject = open_tokenizer(str(folder / form))
    text = describe_text(TRICKY)
    encoding = subject.encode(TRICKY, text)
    data = text.data.tobytes()
    shown = [data[begin:end] for begin, end in zip(encoding.begins, encoding.ends)]
    assert b"".join(shown) == data
    assert not encoding.changed.any()
    for token_id, span in zip(encoding.ids, shown):
        token = subject.tokens[token_id]
        assert token is not None and token.removeprefix(b" ") == span.removeprefix(b" ")


@given(st.lists(st.text(alphabet="我们看书龘😀a b，\n　É", max_size=12), min_size=1, max_size=4))
def test_places_agree_with_the_library_wherever_both_know(folder, texts):
    """For tokens of whole characters, the lengths of tokens and the library's offsets say the same."""
    if not any(texts):
        return
    subject = open_tokenizer(str(folder / "llama"))
    encoding = subject.encode(texts, describe_text(texts))
    at = 0
    start = 0
    for text in texts:
        ids, begins, ends = subject.spans(text)
        for i, token_id in enumerate(ids):
            if subject.roles[token_id] == Role.ORDINARY and ends[i] > begins[i]:
                assert (encoding.begins[at + i], encoding.ends[at + i]) == (
                    start + begins[i],
                    start + ends[i],
                )
        at += ids.size
        start += len(text.encode())


def test_ids_are_those_of_the_library(folder, lines):
    texts = [*TRICKY, *lines[:20]]
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "llama" / "tokenizer.model"))
    assert [x.tolist() for x in open_tokenizer(str(folder / "llama")).ids(texts)] == processor.encode(texts)
    library = tokenizers.Tokenizer.from_file(str(folder / "llama.json"))
    expected = [library.encode(text, add_special_tokens=False).ids for text in texts]
    assert [x.tolist() for x in open_tokenizer(str(folder / "llama.json")).ids(texts)] == expected


def test_special_tokens_in_text_are_text(folder):
    for form in ("ours", "llama.json", "llama"):
        subject = open_tokenizer(str(folder / form))
        ids = subject.ids(["<|endoftext|><s></s>"])[0]
        assert (subject.roles[ids] != Role.SPECIAL).all(), form


def test_wordpiece_loses_and_changes_text(folder):
    subject = open_tokenizer(str(folder / "bert"))
    assert subject.notes == ("lower-cases",) and subject.kind == "WordPiece"
    text = describe_text(["我 A书龘"])
    encoding = subject.encode(["我 A书龘"], text)
    assert encoding.ids.tolist() == [WORDS.index(w) for w in ("我", "a", "书", "[UNK]")]
    assert encoding.begins.tolist() == [0, 4, 5, 8] and encoding.ends.tolist() == [3, 5, 8, 11]
    assert encoding.changed.tolist() == [False, True, False, False]
    assert subject.roles[1] == Role.UNKNOWN and subject.roles[2] == Role.SPECIAL


def test_continuing_pieces_are_reached_behind_a_letter_and_those_of_han_are_not(folder):
    """BERT cuts Chinese into characters first, so ##书 can never come out."""
    subject = open_tokenizer(str(folder / "bert"))
    assert subject.unreachable() == [WORDS.index("##书")]


def test_the_configuration_beside_a_word_list_counts(tmp_path):
    (tmp_path / "vocab.txt").write_text("[UNK]\nA\na\n", "utf-8")
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}', "utf-8")
    subject = open_tokenizer(str(tmp_path))
    assert subject.ids(["A"])[0].tolist() == [1]
    assert subject.notes == ("keeps case, as tokenizer_config.json says",)


def test_nfkc_changes_and_unknown_text_is_one_token(folder):
    subject = open_tokenizer(str(folder / "t5.model"))
    text = describe_text(["我们，龘龘"])
    encoding = subject.encode(["我们，龘龘"], text)
    unknown = subject.roles[encoding.ids] == Role.UNKNOWN
    assert unknown.sum() == 1 and encoding.ends[unknown] - encoding.begins[unknown] == [6]
    comma = (encoding.begins <= 6) & (encoding.ends > 6)
    assert encoding.changed[comma].all()


def test_an_unknown_start_is_whole_behind_the_space_before_it(folder):
    subject = open_tokenizer(str(folder / "t5.model"))
    encoding = subject.encode(["龘龘"], describe_text(["龘龘"]))
    assert list(zip(encoding.begins.tolist(), encoding.ends.tolist()))[-1] == (0, 6)
    assert not encoding.changed.any()


def test_a_character_alone_has_no_space_before_it(folder):
    for form in ("llama", "llama.json"):
        subject = open_tokenizer(str(folder / form))
        (ids,) = subject.alone(["我"])
        assert [subject.tokens[i] for i in ids] == ["我".encode()], form


def test_a_dead_merge_is_found():
    """bc is merged before ab can be, so abc never comes out."""
    vocabulary = from_merged_bytes([(b"b", b"c"), (b"a", b"b"), (b"ab", b"c")], (), GPT2_PATTERN)
    subject = ByteLevelSubject("x", "x", vocab.Tokenizer(vocabulary))
    assert [subject.tokens[i] for i in subject.unreachable()] == [b"abc"]


def test_a_dead_merge_of_bytes_is_found():
    han = "我".encode()
    merges = [(han[1:2], han[2:3]), (han[0:1], han[1:2]), (b"\xe6\x88", b"\xe6")]
    vocabulary = from_merged_bytes(merges, (), GPT2_PATTERN)
    subject = ByteLevelSubject("x", "x", vocab.Tokenizer(vocabulary))
    assert subject.unreachable() == []
    merges = [(b"\x88\x91"[:1], b"\x91"), (b"\xe6", b"\x88"), (b"\xe6\x88", b"\x91")]
    vocabulary = from_merged_bytes(merges, (), GPT2_PATTERN)
    subject = ByteLevelSubject("x", "x", vocab.Tokenizer(vocabulary))
    assert [subject.tokens[i] for i in subject.unreachable()] == [han]


def test_a_token_that_needs_its_neighbour_is_reachable():
    """o200k's pattern lets \\n// stand only behind a punctuation mark."""
    merges = [(b"/", b"/"), (b"\n", b"//")]
    pattern = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\p{L}+|\s+"
    subject = ByteLevelSubject("x", "x", vocab.Tokenizer(from_merged_bytes(merges, (), pattern)))
    assert subject.ids(["\n//"])[0].tolist() != [257]
    assert subject.unreachable() == []


def test_own_vocabularies_have_no_dead_token(folder, gpt2):
    assert open_tokenizer(str(folder / "ours")).unreachable() == []
    assert ByteLevelSubject("gpt2", "gpt2", gpt2).unreachable() == []


def test_a_normalising_byte_level_vocabulary_is_placed_by_its_library(folder):
    stored = vocab.load(folder / "ours").vocabulary
    nfc = ByteLevelBPE(stored.tokens, stored.merges, stored.special_tokens, stored.pattern, normaliser="nfc")
    subject = ByteLevelSubject("nfc", "nfc", vocab.Tokenizer(nfc))
    text = "e\u0301我"
    encoding = subject.encode([text], describe_text([text]))
    assert encoding.ends[-1] == len(text.encode())
    assert (encoding.begins[1:] >= encoding.ends[:-1]).all() and encoding.changed.any()


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("ours", "ours"),
        ("hub/tokenizer.json", "hub"),
        ("llama/tokenizer.model", "llama"),
        ("t5.model", "t5"),
        ("ranks.tiktoken", "ranks"),
        ("bert/vocab.txt", "bert"),
        ("llama.json", "llama"),
    ],
)
def test_names_are_those_that_say_something(folder, form, name):
    assert open_tokenizer(str(folder / form)).name == name


def test_gpt2_is_known_by_name(gpt2, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_tokenizer("gpt2").vocab_size == 50257


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ({}, "no tokenizer in this directory"),
        ({"readme.md": "x"}, "no tokenizer in this directory"),
        ({"tokenizer.json": "{broken"}, "unreadable"),
        ({"tokenizer.json": "[]"}, "has no model"),
        ({"tokenizer.json": '{"model": {"type": "Nonsense", "vocab": {}}}'}, "not a tokenizer"),
        ({"tokenizer.model": "not a model"}, "not a SentencePiece model"),
        ({"vocab.txt": "a\nb\n"}, r"it has no \[UNK\]"),
        ({"a.model": "x", "b.model": "y"}, "2 tokenizers in one directory: a.model, b.model"),
        ({"vocab.json": '{"a": 0}'}, "no merges"),
        ({"x.tiktoken": "IQ== 0\n"}, "pattern"),
    ],
)
def test_a_directory_without_a_whole_tokenizer_is_an_error(tmp_path, files, what):
    for name, content in files.items():
        (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(ArtifactError, match=what) as caught:
        open_tokenizer(str(tmp_path))
    assert str(tmp_path) in (caught.value.where or "")


def test_a_path_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        open_tokenizer(str(tmp_path / "nothing"))


def test_pre_tokenised_text_keeps_its_places():
    """A Metaspace tokenizer of words, with an unknown one between."""
    built = tokenizers.Tokenizer(models.WordLevel({"▁我": 0, "▁书": 1, "<unk>": 2}, unk_token="<unk>"))
    built.pre_tokenizer = pre_tokenizers.Metaspace()
    subject = LibrarySubject("words", "words", built)
    encoding = subject.encode(["我 龘 书"], describe_text(["我 龘 书"]))
    assert encoding.ids.tolist() == [0, 2, 1]
    assert encoding.ends.tolist() == [3, 7, 11] and not encoding.changed.any()
