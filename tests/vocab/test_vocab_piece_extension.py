"""What continued BPE promises about a SentencePiece base, asked of the sentencepiece library itself."""

import io
import itertools
import random

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit import vocab
from corpuskit.errors import ArtifactError, ConfigError, InputError
from corpuskit.vocab.continuation import character_structure
from corpuskit.vocab.model_proto import PieceType, read_model, with_pieces, without_dummy_prefix
from corpuskit.vocab.piece_extension import scores_below
from corpuskit.vocab.pieces import SentencePieceModel

NUM_NEW = 150

ENGLISH = [
    "The committee will meet again on Tuesday to discuss the new library and its opening hours.",
    "People create small programs, test them, and throw most of them away after a few weeks.",
    "There were 24 chairs, 3 tables and 1 lamp in the room; nobody knew where the keys had gone.",
    "She asked whether the train to the city was late, and why the station clock had stopped.",
]

MIXED = st.one_of(
    st.text(max_size=40),
    st.text("我们的朋友正在学习自然语言处理，。！？ＡＢＣ２３　 abc's 12\n▁<s>", max_size=60),
).map(lambda text: text.encode("utf-8", "ignore").decode())


def train_base(chinese: list[str], **changes) -> bytes:
    """A model like LLaMA's: BPE, byte fallback, a space before every text, few Chinese characters."""
    settings = {
        "model_type": "bpe",
        "vocab_size": 440,
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "split_digits": True,
        "character_coverage": 0.98,
        "minloglevel": 2,
        "num_threads": 1,
    }
    lines = [line for text in chinese[:8] for line in text.split("\n")]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(ENGLISH * 20 + lines), model_writer=model, **(settings | changes)
    )
    return model.getvalue()


@pytest.fixture(scope="module")
def base(chinese) -> vocab.Tokenizer:
    return vocab.Tokenizer(SentencePieceModel.from_bytes(train_base(chinese)))


@pytest.fixture(scope="module")
def longer(base, chinese) -> vocab.Tokenizer:
    return vocab.extend(base, chinese, NUM_NEW)


@pytest.fixture(scope="module", params=["trained", "llama"])
def pair(request, chinese) -> tuple[vocab.Tokenizer, vocab.Tokenizer]:
    """A base and its extension: one of the library's, and LLaMA."""
    if request.param == "trained":
        return request.getfixturevalue("base"), request.getfixturevalue("longer")
    llama = request.getfixturevalue("llama")
    return llama, vocab.extend(llama, chinese, NUM_NEW)


@pytest.fixture(scope="module")
def llama(shared_data) -> vocab.Tokenizer:
    return vocab.load(shared_data / "tokenizers" / "llama" / "tokenizer.model")


def processor(tokenizer) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_proto=tokenizer.vocabulary.model)


def boundaries(library, text: str) -> set[int]:
    """Ends of the pieces in bytes of the text as the library normalised it."""
    ends, position = {0}, 0
    for token_id in library.encode(text):
        piece = library.id_to_piece(token_id)
        position += 1 if library.is_byte(token_id) else len(piece.encode())
        ends.add(position)
    return ends


def check_invariants(old: vocab.Tokenizer, new: vocab.Tokenizer, num_new: int) -> None:
    before, after = read_model(old.vocabulary.model), read_model(new.vocabulary.model)
    size = len(before.pieces)
    assert after.pieces[:size] == before.pieces
    assert len(after.pieces) == size + num_new
    assert new.special_tokens == old.special_tokens
    added = after.pieces[size:]
    assert {piece.type for piece in added} == {PieceType.NORMAL}
    assert len({piece.text for piece in after.pieces}) == size + num_new
    scores = [piece.score for piece in added]
    assert max(scores) < min(piece.score for piece in before.pieces)
    assert all(later < earlier for earlier, later in itertools.pairwise(scores))
    alone = sentencepiece.SentencePieceProcessor(model_proto=without_dummy_prefix(new.vocabulary.model))
    for token_id, piece in enumerate(added, size):
        assert character_structure(piece.text.encode()) == (0, 1, 0)
        assert alone.encode(piece.text) == [token_id]


def test_old_pieces_stay_and_new_ones_are_new_reachable_and_rank_below(pair):
    check_invariants(*pair, NUM_NEW)


@given(text=st.text(st.characters(max_codepoint=127), max_size=80))
def test_ascii_text_encodes_identically(pair, text):
    base, longer = pair
    assert longer.vocabulary.processor.encode(text) == base.vocabulary.processor.encode(text)


@settings(max_examples=150)
@given(text=MIXED)
def test_every_new_boundary_is_an_old_one_and_text_survives(pair, text):
    base, longer = pair
    old, new = base.vocabulary.processor, longer.vocabulary.processor
    assert boundaries(new, text) <= boundaries(old, text)
    assert new.decode(new.encode(text)) == old.decode(old.encode(text))
    if "▁" not in text and "\0" not in text:  # the library's own two losses
        assert new.decode(new.encode(text)) == text


def test_text_gets_shorter_and_bytes_become_characters(base, longer, chinese):
    old, new = base.vocabulary.processor, longer.vocabulary.processor
    text = chinese[3]
    assert 2 * len(new.encode(text)) < len(old.encode(text))
    assert sum(map(old.is_byte, old.encode(text))) > sum(map(new.is_byte, new.encode(text)))


def test_new_pieces_do_not_mix_scripts_or_run_across_punctuation(longer, base):
    for piece in read_model(longer.vocabulary.model).pieces[base.vocab_size :]:
        letters = any("一" <= c <= "鿿" for c in piece.text)
        assert not (letters and any(c in "，。！？（）、…" or "０" <= c <= "ｚ" for c in piece.text))


def test_order_of_documents_does_not_change_a_byte(base, longer, chinese):
    shuffled = list(chinese)
    random.Random(5).shuffle(shuffled)
    assert vocab.extend(base, shuffled, NUM_NEW).files() == longer.files()


def test_an_extension_can_be_saved_loaded_exported_and_extended(base, longer, chinese, tmp_path):
    again = vocab.Tokenizer.load(longer.save(tmp_path / "saved"))
    assert again.fingerprint == longer.fingerprint
    path = longer.export("spiece.model", tmp_path / "tokenizer.model")
    for source in (path, tmp_path, tmp_path / "saved"):
        assert vocab.load(source).vocabulary == longer.vocabulary
    check_invariants(longer, vocab.extend(longer, chinese, 20), 20)


def test_a_model_without_byte_fallback_gets_no_character_it_lacks(chinese):
    model = train_base(chinese, byte_fallback=False, vocab_size=200)
    old = vocab.Tokenizer(SentencePieceModel.from_bytes(model))
    new = vocab.extend(old, chinese, 20)
    check_invariants(old, new, 20)
    known = {c for piece in read_model(model).pieces for c in piece.text}
    for piece in read_model(new.vocabulary.model).pieces[old.vocab_size :]:
        assert set(piece.text) <= known


def test_a_normaliser_of_the_base_stays(chinese):
    model = train_base(chinese, normalization_rule_name="nmt_nfkc")
    old = vocab.Tokenizer(SentencePieceModel.from_bytes(model))
    check_invariants(old, vocab.extend(old, chinese, 60), 60)


def test_user_defined_pieces_are_left_alone(chinese):
    model = train_base(chinese, user_defined_symbols=["我们"])
    old = vocab.Tokenizer(SentencePieceModel.from_bytes(model))
    new = vocab.extend(old, chinese, 60)
    check_invariants(old, new, 60)
    assert not any("我们" in p.text for p in read_model(new.vocabulary.model).pieces[old.vocab_size :])


def test_unigram_models_are_refused_with_the_reason(chinese):
    unigram = vocab.train(chinese, algorithm="sentencepiece-unigram", vocab_size=400)
    with pytest.raises(ConfigError, match="unigram pieces compete"):
        vocab.extend(unigram, chinese, 10)


def test_impossible_requests_are_refused(base, chinese):
    with pytest.raises(InputError, match="ASCII"):
        vocab.extend(base, ENGLISH, 10)
    with pytest.raises(ConfigError, match=r"only (\d+) new tokens") as caught:
        vocab.extend(base, ["广场" * 30 + "。"], 1000)
    count = int(str(caught.value).split("only ")[1].split()[0])
    assert vocab.extend(base, ["广场" * 30 + "。"], count).vocab_size == base.vocab_size + count


def test_models_of_other_kinds_and_damaged_ones_are_refused(chinese, tmp_path):
    (tmp_path / "word.model").write_bytes(
        train_base(chinese, model_type="word", vocab_size=50, byte_fallback=False)
    )
    with pytest.raises(ArtifactError, match="word model"):
        vocab.load(tmp_path / "word.model")
    for name, content in (("empty", b""), ("text", b"not a model"), ("cut", train_base(chinese)[:3000])):
        (tmp_path / f"{name}.model").write_bytes(content)
        with pytest.raises(ArtifactError, match="not a SentencePiece model"):
            vocab.load(tmp_path / f"{name}.model")


def test_tokens_added_behind_the_model_are_not_lost_in_silence(base, tmp_path):
    base.export("spiece.model", tmp_path / "tokenizer.model")
    (tmp_path / "added_tokens.json").write_text('{"<|im_start|>": 440}')
    with pytest.raises(ArtifactError, match="im_start"):
        vocab.load(tmp_path)


def test_scores_fall_in_32_bits_below_any_old_score(base):
    model = with_pieces(base.vocabulary.model, [("很低", -1e9)])
    scores = scores_below(read_model(model), 3)
    stored = read_model(with_pieces(model, list(zip("甲乙丙", scores)))).pieces[-4:]
    assert [p.score for p in stored] == [-1e9, *scores]
    assert -1e9 > scores[0] > scores[1] > scores[2]
    with pytest.raises(ArtifactError, match="no room"):
        scores_below(read_model(with_pieces(model, [("最低", -3.4028234663852886e38)])), 1)


def test_adding_no_piece_changes_no_byte_of_a_model(base):
    model = base.vocabulary.model
    assert with_pieces(model, []) == model
    described = read_model(model)
    assert described.model_type == "bpe" and described.split_digits
    library = processor(base)
    assert [p.text for p in described.pieces] == [library.id_to_piece(i) for i in range(base.vocab_size)]
    assert [p.score for p in described.pieces] == [library.get_score(i) for i in range(base.vocab_size)]


def test_an_extended_llama_reads_through_transformers(llama, chinese, tmp_path):
    pytest.importorskip("google.protobuf")
    transformers = pytest.importorskip("transformers")
    extended = vocab.extend(llama, chinese, NUM_NEW)
    extended.export("spiece.model", tmp_path / "tokenizer.model")
    loaded = transformers.LlamaTokenizer.from_pretrained(tmp_path, add_bos_token=False)
    library = processor(extended)
    for text in [*chinese[:40], *ENGLISH, "我们create 12３　😀 　　龍é\n\n"]:
        assert loaded(text)["input_ids"] == library.encode(text)
