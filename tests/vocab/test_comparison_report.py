"""A comparison as a whole: one set of numbers, in JSON and on a page that needs nothing else."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser

import pyarrow as pa
import pytest
import sentencepiece

from corpuskit import vocab
from corpuskit.documents import document_batch
from corpuskit.errors import ConfigError, InputError
from corpuskit.vocab import comparison_report, comparison_run
from corpuskit.vocab.comparison_measures import MEASURES, format_share, format_value
from corpuskit.vocab.comparison_run import Options, compare, open_all, sample_batches

HOSTILE = "<script>alert('坏')</script>"


@pytest.fixture(scope="module")
def sources(tmp_path_factory, chinese):
    """A byte-level vocabulary of Chinese, and a SentencePiece model that knows English only."""
    root = tmp_path_factory.mktemp("compared")
    vocab.train(chinese, vocab_size=600).save(root / "zh")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the cat sat on the mat and read a book", "a dog ran to the house"] * 40),
        model_writer=model,
        vocab_size=24,
        num_threads=1,
        minloglevel=2,
    )
    (root / "en.model").write_bytes(model.getvalue())
    return [str(root / "zh"), f"<b>en={root / 'en.model'}"]


@pytest.fixture(scope="module")
def sample(chinese):
    texts = [*chinese[:60], HOSTILE]
    return sample_batches([document_batch([str(i) for i in range(len(texts))], texts)], Options())


@pytest.fixture(scope="module")
def comparison(sources, sample):
    options = Options(sentences=("我们喜欢看书" + HOSTILE, "國家的書"))
    return compare(
        open_all(sources), sample, options, inputs=["texts <1>"], translation=["we like to read books"]
    )


def test_the_tokenizer_that_loses_text_does_not_win(comparison):
    zh, en = comparison.judgements
    assert en.values["bytes_per_token"] > zh.values["bytes_per_token"]
    assert en.lost > 0.8 and zh.lost == 0
    assert en.values["known_bytes_per_token"] < zh.values["known_bytes_per_token"]
    by_key = {measure.key: measure for measure in MEASURES}
    assert comparison.best(by_key["bytes_per_token"]) == set()  # only one is left to be compared
    assert en.is_doubtful(by_key["bytes_per_token"]) and not zh.is_doubtful(by_key["bytes_per_token"])
    (warning,) = [w for w in comparison.warnings if "loses" in w]
    assert warning.startswith("<b>en loses ") and f"{en.values['bytes_per_token']:.2f}" in warning


def test_every_measure_is_taken(comparison):
    assert comparison.measures == list(MEASURES)
    for judged in comparison.judgements:
        assert set(judged.values) == {measure.key for measure in MEASURES} | {"tokens"}
        assert all(0 <= judged.values[m.key] <= 1 for m in MEASURES if m.form == "share")


def test_numbers_agree_with_the_tokenizer(comparison, sources, sample):
    tokenizer = vocab.load(sources[0])
    tokens = sum(map(len, tokenizer.encode_batch(pa.array(sample.texts)).to_pylist()))
    zh = comparison.judgements[0]
    assert zh.values["tokens"] == tokens
    assert zh.values["bytes_per_token"] == sample.text_bytes / tokens
    assert zh.values["characters_per_token"] == sample.characters / tokens
    assert zh.values["vocab_size"] == tokenizer.vocab_size
    english = len(tokenizer.encode("we like to read books"))
    assert zh.values["parity"] == tokens / english
    single = sum(len(tokenizer.encode(c)) == 1 for c in vocab.training.gb2312_level1())
    assert zh.values["gb2312_1"] == single / 3755 > 0


def test_traditional_text_costs_more_where_only_simplified_was_seen(comparison):
    zh = comparison.judgements[0].values
    assert zh["traditional_premium"] > 1.1
    assert zh["traditional_bytes_per_token"] < zh["simplified_bytes_per_token"]
    assert comparison.judgements[1].values["traditional_premium"] == pytest.approx(1, abs=0.05)


def test_pieces_join_to_the_sentence(comparison):
    for judged in comparison.judgements:
        for sentence, pieces in zip(comparison.sentences, judged.sentences):
            assert "".join(piece.text for piece in pieces) == sentence
    kinds = {piece.kind for piece in comparison.judgements[1].sentences[0]}
    assert "unknown" in kinds
    assert {piece.kind for piece in comparison.judgements[0].sentences[1]} >= {"split"}


def test_a_cut_character_counts_its_tokens(comparison, sources):
    tokenizer = vocab.load(sources[0])
    for sentence, pieces in zip(comparison.sentences, comparison.judgements[0].sentences):
        assert [i for piece in pieces for i in piece.ids] == tokenizer.encode(sentence)


def test_the_same_again_is_the_same(comparison, sources, sample):
    options = Options(sentences=comparison.sentences)
    again = compare(
        open_all(sources), sample, options, inputs=["texts <1>"], translation=["we like to read books"]
    )
    assert again.to_dict() == comparison.to_dict()
    assert comparison_report.to_html(again) == comparison_report.to_html(comparison)


def test_json_holds_everything(comparison):
    stored = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    assert stored["format"] == "corpuskit-vocab-comparison"
    assert [t["name"] for t in stored["tokenizers"]] == ["zh", "<b>en"]
    assert stored["tokenizers"][0]["values"] == comparison.judgements[0].values
    assert [m["key"] for m in stored["measures"]] == [m.key for m in MEASURES]
    assert stored["sample"]["sample_text_bytes"] > 0 and stored["warnings"] == comparison.warnings
    assert {f["kind"] for f in stored["tokenizers"][0]["findings"]} >= {"spam", "urls", "repeats", "unused"}


class Outline(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.addresses, self.words = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "srcset", "action", "data", "poster"):
                self.addresses.append(value)

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_shows_every_number_and_loads_nothing(comparison):
    html = comparison_report.to_html(comparison)
    outline = Outline(html)
    assert "script" not in outline.tags and "b>en" not in outline.tags and "link" not in outline.tags
    assert all(address.startswith("#") for address in outline.addresses)
    assert {address[1:] for address in outline.addresses} == set(outline.ids)
    assert not re.search(r"url\(|@import|https?://(?!\S*www\.w3)", html.split("</style>")[0])
    text = " ".join(outline.words)
    for measure in comparison.measures:
        assert measure.title in text and measure.explanation in text
        for judged in comparison.judgements:
            assert format_value(measure, judged.values[measure.key]) in text
    assert all(warning in text for warning in comparison.warnings)
    assert html.count('class="piece unknown') > 2 and html.count('class="piece split') > 2


def test_bars_stay_inside_their_plots(comparison):
    html = comparison_report.to_html(comparison)
    widths = [float(width) for width in re.findall(r"width:([\d.]+)%", html)]
    assert widths and all(0 <= width <= 100 for width in widths)


def test_one_tokenizer_alone_is_judged_too(sources, sample):
    alone = compare(open_all(sources[:1]), sample)
    assert all(alone.best(measure) == set() for measure in alone.measures)
    assert alone.judgements[0].values["parity"] is None
    assert "parity" not in {measure.key for measure in alone.measures}
    assert alone.sentences[0] == comparison_run.SENTENCE
    assert comparison_report.to_html(alone)


def test_a_sentence_of_the_text_is_neither_short_nor_long():
    sentence = "他们在图书馆里读了一整天的书，傍晚才沿着河边慢慢走回学校。"
    texts = ["短。", "The cat sat on the mat and read a long book.", "长" * 300, f"好。{sentence}再见。"]
    assert comparison_run._typical_sentence(texts) == [sentence]
    assert comparison_run._typical_sentence(texts[:3]) == []


def test_text_without_chinese_has_numbers(sources):
    batch = document_batch(["a"], ["the cat sat on the mat"])
    found = compare(open_all(sources), sample_batches([batch], Options()))
    assert [judged.values["boundary_precision"] for judged in found.judgements] == [0, 0]
    assert comparison_report.to_html(found)


def test_the_sample_is_limited_and_seeded(chinese):
    batch = document_batch([str(i) for i in range(len(chinese))], chinese)
    first = sample_batches([batch], Options(sample_bytes=2000, seed=1))
    assert first.text_bytes <= 2000 < first.bytes_seen
    assert first == sample_batches([batch], Options(sample_bytes=2000, seed=1))
    assert first != sample_batches([batch], Options(sample_bytes=2000, seed=2))


@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_empty_text_is_an_error(texts):
    with pytest.raises(InputError, match="no text to compare on"):
        sample_batches([document_batch([str(i) for i in range(len(texts))], texts)], Options())


def test_two_tokenizers_of_one_name_are_an_error(sources):
    with pytest.raises(ConfigError, match="two tokenizers are called 'zh'") as caught:
        open_all([sources[0], sources[0]])
    assert "NAME=PATH" in caught.value.hint
    named = open_all([sources[0], f"again={sources[0]}"])
    assert [subject.name for subject in named] == ["zh", "again"]


def test_nothing_to_compare_is_an_error():
    with pytest.raises(ConfigError, match="no tokenizer"):
        open_all([])


@pytest.mark.parametrize("options", [{"sample_bytes": 0}, {"sentences": (" ",)}])
def test_impossible_options_are_errors(options):
    with pytest.raises(ConfigError):
        Options(**options)


def test_a_page_that_cannot_be_written_is_an_error(comparison, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        comparison_report.save(comparison, tmp_path / "file" / "page.html")


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0.0%"), (0.0001, "<0.1%"), (0.5, "50.0%"), (0.99951, ">99.9%"), (1, "100.0%")]
)
def test_a_small_share_does_not_look_like_none(value, shown):
    assert format_share(value) == shown


def test_white_space_is_shown():
    assert comparison_report.visible(" 我\n\u3000") == "␣我⏎□"
    assert comparison_report.shortened("=" * 64) == "==…(×64)"
    assert comparison_report.shortened("哈哈哈") == "哈哈哈"
