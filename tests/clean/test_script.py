"""Language and script from characters alone, and conversion to Simplified."""

import re
from collections import Counter

import pytest

from corpuskit.clean import Language, ToSimplified, script_of
from corpuskit.documents import document_batch
from corpuskit.errors import ConfigError

TEXTS = {
    "zh-Hans": "我们今天去图书馆看书，他说那里来了许多新书。",
    "zh-Hant": "我們今天去圖書館看書，他說那裡來了許多新書。",
    "zh": "山中一日，世上千年。",
    "ja": "私たちは今日図書館へ行って本を読みました。",
    "ko": "우리는 오늘 도서관에 가서 책을 읽었습니다.",
    "en": "We went to the library today and read one of the new books.",
    "other": "Сегодня мы пошли в библиотеку и читали книги.",
}


@pytest.mark.parametrize("label,text", TEXTS.items())
def test_labels(label, text):
    assert script_of(text) == label


@pytest.mark.parametrize(
    "label,text",
    [
        ("zh-Hans", "这家店叫「さくら」，我们常去那里吃饭，味道很好，价钱也公道，服务员都认识我们了。"),
        ("ja", "東京都渋谷区の図書館が新規開館、入館無料。"),
        ("zh-Hans", "我们用 PyTorch 2.0 和 CUDA 训练模型，显存占用降低了百分之三十。"),
        (
            "zh-Hans",
            "这本书的书名是《萬曆十五年》，我们读过许多遍，还写过书评，发表在报纸上，读者们来信说写得好。",
        ),
        ("other", "Le chat et le chien dorment dans la maison de ma grand-mère."),
        ("other", "12345 !!! 😀"),
        ("other", ""),
    ],
)
def test_near_misses(label, text):
    assert script_of(text) == label


def test_the_language_column_is_filled_and_the_rest_dropped():
    batch = document_batch(list(TEXTS), list(TEXTS.values()), {"language": ["xx"] * len(TEXTS)})
    kept, dropped = Language()(batch)
    assert (
        kept.column("language").to_pylist() == kept.column("id").to_pylist() == ["zh-Hans", "zh-Hant", "zh"]
    )
    assert set(dropped.column("reason").to_pylist()) == {"clean/language"}
    assert all(value < 0.5 for value in dropped.column("value").to_pylist()[1:])


def test_chinese_in_a_script_not_asked_for_is_dropped_by_script():
    batch = document_batch(["s", "t"], [TEXTS["zh-Hans"], TEXTS["zh-Hant"]])
    kept, dropped = Language(languages=("zh-Hans",))(batch)
    assert kept.column("id").to_pylist() == ["s"]
    assert dropped.column("reason").to_pylist() == ["clean/script"]
    assert dropped.column("value").to_pylist() == [0.0]


@pytest.mark.parametrize("languages", [(), ("chinese",), ("zh-Hans", "zh-hans")])
def test_unknown_languages_are_refused(languages):
    with pytest.raises(ConfigError, match="zh-Hant"):
        Language(languages=languages) if languages else Language(languages=("zh_CN",))
    with pytest.raises(ConfigError):
        Language(languages=())


def test_only_traditional_documents_are_converted():
    shared = "乾隆年间的瞭望塔，我们在这里说过许多话。"
    batch = document_batch(["t", "s"], [TEXTS["zh-Hant"], shared], {"language": ["zh-Hant", "zh-Hans"]})
    kept, dropped = ToSimplified()(batch)
    assert dropped is None
    assert kept.column("text").to_pylist() == [TEXTS["zh-Hans"].replace("那里", "那里"), shared]
    assert kept.column("language").to_pylist() == ["zh-Hans", "zh-Hans"]


def test_an_unknown_conversion_is_refused():
    with pytest.raises(ConfigError, match="tw2sp"):
        ToSimplified(conversion="s2t")  # type: ignore[arg-type]


def test_sentences_and_declarations_of_five_languages(shared_data):
    for code, label in (("zh", "zh-Hans"), ("ja", "ja"), ("ko", "ko"), ("en", "en")):
        lines = (shared_data / "language" / f"sentences-{code}.txt").read_text(encoding="utf-8").splitlines()
        counts = Counter(map(script_of, lines))
        assert counts[label] >= 0.94 * len(lines), counts
    for name, label in (
        ("cmn_hans", "zh-Hans"),
        ("cmn_hant", "zh-Hant"),
        ("jpn", "ja"),
        ("kor", "ko"),
        ("eng", "en"),
    ):
        xml = (shared_data / "language" / f"udhr_{name}.xml").read_text(encoding="utf-8")
        assert script_of(re.sub("<[^>]+>", "", xml)) == label
