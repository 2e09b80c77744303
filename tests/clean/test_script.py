"""Language and script from characters alone, and conversion between the scripts."""

import re

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.clean import Language, ToSimplified, script_of
from corpuskit.clean.language import CHINESE, LABELS, labels
from corpuskit.clean.script import ToTraditional
from corpuskit.clean.variants import converter
from corpuskit.documents import document_batch
from corpuskit.errors import ConfigError

TEXTS = {
    "zh-Hans": "我们今天去图书馆看书，他说那里来了许多新书。",
    "zh-Hant": "我們今天去圖書館看書，他說那裡來了許多新書。",
    "zh-mixed": "我们今天去图书馆看书，他說那裡來了許多新書。",
    "zh": "山中一日，世上千年。",
    "yue": "我哋今日去圖書館睇書，佢話嗰度嚟咗好多新書。",
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
        ("zh-Hans", "优の良品专卖店，满三百送礼品，欢迎大家光临选购。"),
        ("zh-Hans", "她最喜欢的歌是《さよならの向こう側》，每天都要听几遍，还说这样会开心。"),
        ("zh-Hans", "我们用 PyTorch 2.0 和 CUDA 训练模型，显存占用降低了百分之三十。"),
        ("zh-Hans", "请先下载 visualstudio-installer 安装程序，再运行 setup.exe 完成部署。"),
        (
            "zh-Hans",
            "这本书的书名是《萬曆十五年》，我们读过许多遍，还写过书评，发表在报纸上，读者们来信说写得好。",
        ),
        ("zh-Hans", "他在广东工作，学会说“唔该”和“冇问题”，但是听不懂的还有很多。"),
        ("zh-Hans", "皇后在宫里几次提起。"),
        ("zh-Hant", "這種藥的說明書上寫著：每日三次，飯後服用，兒童減半。"),
        ("zh-Hant", "爲衆人抱薪者，不可使其凍斃於風雪；説的就是這個道理。"),
        ("zh", "后羿"),
        ("zh", "乾坤"),
        ("ja", "東京都渋谷区の図書館が新規開館、入館無料。"),
        ("ja", "衆議院議員総選挙、投票率過去最低。"),
        ("ja", "労働基準監督署長殿"),
        ("ja", "日本国憲法第九条、戦争放棄。"),
        ("ko", "大韓民國의 主權은 國民에게 있고, 모든 權力은 國民으로부터 나온다."),
        ("yue", "呢間餐廳嘅嘢食真係好好味。"),
        ("yue", "佢哋喺条街度等咗成粒钟，都冇人嚟。"),
        ("en", "Enquiries are dealt with by our staff"),
        ("en", "The café in Kraków was closed on Sunday, so we walked on."),
        ("other", "Le chat et le chien dorment dans la maison de ma grand-mère."),
        ("other", "Der Hund schläft in dem Garten hinter unserem Haus."),
        ("other", "El perro duerme en el jardín detrás de nuestra casa."),
        ("other", "Con chó ngủ trong vườn phía sau nhà của chúng tôi."),
        ("other", "Wo men jin tian qu tu shu guan kan shu, ta shuo na li lai le xu duo xin shu"),
        ("other", "12345 !!! 😀"),
        ("other", ""),
    ],
)
def test_near_misses(label, text):
    assert script_of(text) == label


@given(st.lists(st.text(max_size=30), max_size=4))
def test_every_text_gets_a_label_of_its_own(texts):
    found = labels(pa.array(texts, pa.large_string())).to_pylist()
    assert found == [script_of(text) for text in texts]
    assert set(found) <= set(LABELS)


def test_the_language_column_is_filled_and_the_rest_dropped():
    batch = document_batch(list(TEXTS), list(TEXTS.values()), {"language": ["xx"] * len(TEXTS)})
    kept, dropped = Language()(batch)
    assert kept.column("language").to_pylist() == kept.column("id").to_pylist() == list(CHINESE)
    assert dropped.column("id").to_pylist() == ["ja", "ko", "en", "other"]
    assert set(dropped.column("reason").to_pylist()) == {"clean/language"}
    assert all(value < 0.5 for value in dropped.column("value").to_pylist()[1:])


def test_chinese_in_a_script_not_asked_for_is_dropped_by_script():
    batch = document_batch(["s", "t"], [TEXTS["zh-Hans"], TEXTS["zh-Hant"]])
    kept, dropped = Language(languages=("zh-Hans",))(batch)
    assert kept.column("id").to_pylist() == ["s"]
    assert dropped.column("reason").to_pylist() == ["clean/script"]
    assert dropped.column("value").to_pylist() == [0.0]


def test_cantonese_not_asked_for_is_dropped_by_its_own_rule():
    batch = document_batch(["t", "y"], [TEXTS["zh-Hant"], TEXTS["yue"]])
    kept, dropped = Language(languages=("zh-Hant",))(batch)
    assert kept.column("id").to_pylist() == ["t"]
    assert dropped.column("reason").to_pylist() == ["clean/cantonese"]
    assert dropped.column("value")[0].as_py() > 0.2
    _, dropped = Language(languages=("ja",))(batch)
    assert dropped.column("reason").to_pylist() == ["clean/language"] * 2


@pytest.mark.parametrize("languages", [(), ("chinese",), ("zh-Hans", "zh-hans")])
def test_unknown_languages_are_refused(languages):
    with pytest.raises(ConfigError, match="zh-Hant"):
        Language(languages=languages)


def test_only_traditional_documents_are_converted_to_simplified():
    shared = "乾隆年间的瞭望塔，我们在这里说过许多话。"
    batch = document_batch(["t", "s"], [TEXTS["zh-Hant"], shared], {"language": ["zh-Hant", "zh-Hans"]})
    kept, dropped = ToSimplified()(batch)
    assert dropped is None
    assert kept.column("text").to_pylist() == [TEXTS["zh-Hans"], shared]
    assert kept.column("language").to_pylist() == ["zh-Hans", "zh-Hans"]


def test_only_simplified_documents_are_converted_to_traditional():
    shared = "這裡是台北，我們說過許多話。"
    batch = document_batch(
        ["s", "t", "j"],
        [TEXTS["zh-Hans"], shared, TEXTS["ja"]],
        {"language": ["zh-Hans", "zh-Hant", "ja"]},
    )
    kept, dropped = ToTraditional(conversion="s2tw")(batch)
    assert dropped is None
    assert kept.column("text").to_pylist() == [TEXTS["zh-Hant"], shared, TEXTS["ja"]]
    assert kept.column("language").to_pylist() == ["zh-Hant", "zh-Hant", "ja"]


def test_of_mixed_documents_the_lines_in_the_other_script_are_converted():
    text = "乾隆年间，我们这里说过许多话。\n她說這裡從來沒有人來過。\n\n我们说這裡來過許多人。"
    batch = document_batch(["m"], [text], {"language": ["zh-mixed"]})
    kept, _ = ToSimplified()(batch)
    expected = "乾隆年间，我们这里说过许多话。\n她说这里从来没有人来过。\n\n我们说这里来过许多人。"
    assert kept.column("text").to_pylist() == [expected]
    assert kept.column("language").to_pylist() == ["zh-Hans"]


def test_cantonese_changes_its_script_and_stays_cantonese():
    batch = document_batch(["y"], [TEXTS["yue"]], {"language": ["yue"]})
    kept, _ = ToSimplified()(batch)
    assert kept.column("text").to_pylist() == [converter("t2s").convert(TEXTS["yue"])]
    assert kept.column("language").to_pylist() == ["yue"]


def test_documents_that_show_no_script_are_converted_only_when_asked():
    batch = document_batch(["z"], ["乾坤"])
    assert ToSimplified()(batch).kept.column("text").to_pylist() == ["乾坤"]
    converted = ToSimplified(only_traditional=False)(batch).kept
    assert converted.column("text").to_pylist() == [converter("t2s").convert("乾坤")]


def test_an_unknown_conversion_is_refused():
    with pytest.raises(ConfigError, match="tw2sp"):
        ToSimplified(conversion="s2t")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="s2twp"):
        ToTraditional(conversion="t2s")  # type: ignore[arg-type]


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


def test_99_of_100_sentences_of_20_characters_are_told_right(shared_data):
    sets = {}
    for code, label in LISTS.items():
        path = shared_data / "language" / f"sentences-{code}.txt"
        sets[code] = label, path.read_text(encoding="utf-8").splitlines()
    for conversion in ("s2t", "s2tw", "s2hk"):
        sets[conversion] = "zh-Hant", [converter(conversion).convert(line) for line in sets["zh"][1]]
    for name, label in DECLARATIONS.items():
        xml = (shared_data / "language" / f"udhr_{name}.xml").read_text(encoding="utf-8")
        sets[name] = label, [part.strip() for part in re.findall(r">([^<]+)<", xml)]
        assert script_of(re.sub("<[^>]+>", "", xml)) == label
    for name, (label, lines) in sets.items():
        lines = [line for line in lines if len(line) >= 20]
        found = labels(pa.array(lines, pa.large_string())).to_pylist()
        assert found.count(label) >= 0.99 * len(lines), (
            name,
            [x for x in zip(found, lines) if x[0] != label],
        )


@pytest.mark.parametrize(
    ("traditional", "simplified"),
    [
        ("他撐著傘，帶著孩子，顯得很著急。", "他撑着伞，带着孩子，显得很着急。"),
        ("著名作家的著作，效果顯著，這是原著。", "著名作家的著作，效果显著，这是原著。"),
        ("土著居民的名著，成績卓著，論著很多。", "土著居民的名著，成绩卓著，论著很多。"),
        ("他著有《紅樓夢》續書，大家談論著他。", "他著有《红楼梦》续书，大家谈论着他。"),
        ("左氏著《國語》，見微知著，主編著者編著的書。", "左氏著《国语》，见微知著，主编著者编著的书。"),
        ("香港人穿着校服，帶着書包，談着編著工作和新著。", "香港人穿着校服，带着书包，谈着编著工作和新著。"),
        ("乾隆年間，穿着紅衣的人過來，看見顯著的標誌。", "乾隆年间，穿着红衣的人过来，看见显著的标志。"),
    ],
)
def test_the_particle_is_written_as_on_the_mainland_and_works_keep_their_name(traditional, simplified):
    kept, _ = ToSimplified()(document_batch(["t"], [traditional]))
    assert kept.column("text").to_pylist() == [simplified]
