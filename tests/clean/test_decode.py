"""Charsets: what is believed, what is doubted, and that no bytes at all break the decoder."""

import codecs
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corpuskit.clean import decode
from corpuskit.clean.mojibake import repair

SIMPLIFIED = "今天的天气很好，我们在公园里看到了许多人。他们说这是一年中最好的时候，大家都来了。"
TRADITIONAL = "今天的天氣很好，我們在公園裡看到了許多人。他們說這是一年中最好的時候，大家都來了。"


def page(text: str, charset: str | None) -> str:
    meta = f'<meta http-equiv="Content-Type" content="text/html; charset={charset}">' if charset else ""
    return f"<html><head>{meta}<title>标题</title></head><body><p>{text}</p></body></html>".replace(
        "标题", text[:4]
    )


@pytest.mark.parametrize(
    "mark,codec",
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
    ],
)
def test_a_byte_order_mark_decides_even_against_the_header(mark, codec):
    result = decode(mark + SIMPLIFIED.encode(codec), http_charset="gbk")
    assert result == (SIMPLIFIED, codec, ("bom",), 0.0)


@pytest.mark.parametrize("label", ["gb2312", "GBK", "x-gbk", "gb18030", "cp936", "GB_2312-80"])
def test_every_name_of_the_gb_family_is_read_as_gb18030(label):
    text = SIMPLIFIED + "朱镕基㐂😀"  # beyond GB 2312, beyond GBK
    result = decode(text.encode("gb18030"), http_charset=label)
    assert (result.text, result.encoding, result.error_rate) == (text, "gb18030", 0.0)


@pytest.mark.parametrize("label", ["big5", "Big5-HKSCS", "cp950", "cn-big5"])
def test_big5_is_read_with_the_hong_kong_characters(label):
    text = TRADITIONAL + "嘅咗喺"
    result = decode(text.encode("big5hkscs"), http_charset=label)
    assert (result.text, result.encoding) == (text, "big5hkscs")


@pytest.mark.parametrize(
    "head",
    [
        '<meta charset="gb2312">',
        "<META CHARSET=gbk>",
        '<?xml version="1.0" encoding="GBK"?>',
        '<meta http-equiv="Content-Type" content="text/html; charset=gb2312" />',
        "<script>" + "x" * 12_000 + "</script><meta charset='gbk'>",
    ],
)
def test_the_page_declares_its_charset_in_any_of_the_usual_ways(head):
    result = decode((head + SIMPLIFIED).encode("gb18030"))
    assert result.text.endswith(SIMPLIFIED)
    assert result.evidence[0].startswith(("meta:", "xml:"))


def test_a_declaration_in_a_comment_does_not_count():
    result = decode(("<!-- <meta charset=big5> --><meta charset=gbk>" + SIMPLIFIED).encode("gb18030"))
    assert result.evidence == ("meta:gbk",)


def test_the_header_goes_before_the_page():
    result = decode(page(TRADITIONAL, "gb2312").encode("big5"), http_charset="text/html; charset=Big5")
    assert TRADITIONAL in result.text
    assert result.evidence[0] == "http:big5"


@pytest.mark.parametrize(
    "wrong,true",
    [
        ("iso-8859-1", "gb18030"),
        ("utf-8", "gb18030"),
        ("utf-8", "big5hkscs"),
        ("gb2312", "utf-8"),
        ("gb2312", "big5hkscs"),
        ("big5", "gb18030"),
        ("big5", "utf-8"),
        ("shift_jis", "gb18030"),
    ],
)
def test_a_wrong_declaration_is_found_out(wrong, true):
    text = TRADITIONAL if true == "big5hkscs" else SIMPLIFIED
    result = decode(page(text, wrong).encode(true))
    assert text in result.text
    assert result.encoding == true


@pytest.mark.parametrize(
    "codec,text", [("gb18030", SIMPLIFIED), ("big5hkscs", TRADITIONAL), ("utf-8", SIMPLIFIED)]
)
def test_an_undeclared_charset_is_detected(codec, text):
    assert decode(text.encode(codec))[:2] == (text, codec)


@pytest.mark.parametrize(
    "label", ["x-nonsense", "base64", "rot13", "undefined", "汉字", "utf-7", "", "a" * 5000, "\x00"]
)
def test_an_unknown_charset_name_is_ignored_and_recorded(label):
    result = decode(page(SIMPLIFIED, "gbk").encode("gb18030"), http_charset=label)
    assert SIMPLIFIED in result.text
    assert ("meta:gbk" in result.evidence) and (not label or result.evidence[0].startswith("http-unknown:"))


@pytest.mark.parametrize(
    "codec,text", [("gb18030", SIMPLIFIED), ("big5hkscs", TRADITIONAL), ("utf-8", SIMPLIFIED)]
)
def test_a_page_cut_inside_a_character_loses_only_that_character(codec, text):
    data = page(text * 3, codec).encode(codec)
    whole = page(text * 3, codec)
    for cut in range(len(data) - 120, len(data) - 20):
        result = decode(data[:cut])
        assert result.encoding == codec
        assert whole.startswith(result.text) and result.error_rate == 0.0


def test_the_error_rate_counts_replaced_characters():
    data = bytearray(page(SIMPLIFIED * 20, "utf-8").encode())
    data[200:200] = b"\xff"
    result = decode(bytes(data), "utf-8")
    assert result.encoding == "utf-8"
    assert result.error_rate == pytest.approx(1 / len(result.text))


def test_a_latin_page_keeps_its_declared_charset():
    text = (
        "<meta charset=iso-8859-1>Déjà vu: les élèves français étaient très fatigués après l'été à Orléans."
    )
    assert decode(text.encode("latin-1")).text == text


@given(
    st.binary(max_size=300),
    st.one_of(st.none(), st.text(max_size=20), st.sampled_from(["hz", "iso-2022-jp", "gbk", "utf-16"])),
)
@example(b"\xed\xa0\x80" * 10, "utf-16-be")
@example(b"\x84\x31\xa4\x37~{", "hz")
@example(b"\x1b$B\xff", "iso-2022-jp")
def test_no_bytes_and_no_name_make_it_raise(data, label):
    result = decode(data, label)
    result.text.encode("utf-8")
    assert 0.0 <= result.error_rate <= 1.0


@given(st.text(st.characters(codec="utf-8", exclude_characters="\ufeff"), min_size=1, max_size=200))
def test_valid_utf8_with_a_utf8_header_is_itself(text):
    assert decode(text.encode(), "utf-8").text == text


# UTF-16 that does not say so


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "text", [page(SIMPLIFIED, None), SIMPLIFIED * 3, "<p>plain English only</p>\r\n" * 5]
)
@pytest.mark.parametrize("label", [None, "gb2312", "utf-8"])
def test_utf16_without_a_mark_is_found_out(codec, text, label):
    result = decode(text.encode(codec), label)
    assert (result.text, result.encoding) == (text, codec)


@pytest.mark.parametrize("codec", ["utf-8", "gb18030"])
def test_a_few_zero_bytes_do_not_make_utf16(codec):
    data = page(SIMPLIFIED * 5, None).encode(codec).replace(b"<p>", b"<p>\0\0\0")
    assert decode(data).encoding == codec


def test_binary_with_zeros_in_every_second_byte_is_not_taken_for_text():
    noise = bytes(value for i in range(3000) for value in ((i * 7919) % 251, 0xD8 + i % 8 if i % 3 else 0))
    assert not decode(noise).encoding.startswith("utf-16")


def test_japanese_and_korean_keep_their_charsets():
    japanese = "これは日本語の文章です。今日は天気がとてもいいので、公園まで散歩に出かけました。" * 3
    korean = "오늘은 날씨가 아주 좋아서 공원까지 산책을 나갔습니다. 사람들이 많이 있었습니다." * 3
    for text, codec in ((japanese, "euc_jp"), (japanese, "shift_jis"), (korean, "euc_kr")):
        assert decode(page(text, codec).encode(codec)).text == page(text, codec)


# Text decoded wrongly before it was saved


def as_latin_1(data: bytes) -> str:
    return data.decode("latin-1")


def as_windows_1252(data: bytes) -> str:
    free = (0x81, 0x8D, 0x8F, 0x90, 0x9D)
    return "".join(chr(byte) if byte in free else bytes([byte]).decode("cp1252") for byte in data)


def as_entities(data: bytes) -> str:
    from html.entities import codepoint2name

    return "".join(
        chr(b) if b < 0x80 else f"&{codepoint2name[b]};" if b in codepoint2name else f"&#{b};" for b in data
    )


KINDS = {
    "gb18030-as-latin-1": (SIMPLIFIED, "gb18030", as_latin_1),
    "gb18030-as-latin-1 by Windows": (SIMPLIFIED, "gb18030", as_windows_1252),
    "gb18030-as-latin-1 in entities": (SIMPLIFIED, "gb18030", as_entities),
    "utf-8-as-latin-1": (SIMPLIFIED, "utf-8", as_latin_1),
    "utf-8-as-latin-1 by Windows": (SIMPLIFIED, "utf-8", as_windows_1252),
    "big5-as-latin-1": (TRADITIONAL, "big5", as_latin_1),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("where", ["the page", "one paragraph"])
def test_double_encoded_text_is_repaired(name, where):
    text, codec, misread = KINDS[name]
    if where == "the page":
        whole = page(text, None)
        damaged = misread(whole.encode(codec))
    else:
        whole = "<p>前面的正文没有问题。</p>" + page(text, None)
        damaged = "<p>前面的正文没有问题。</p>" + misread(page(text, None).encode(codec))
    result = decode(damaged.encode())
    assert result.text == whole
    assert result.mojibake == f"repaired:{name.split()[0]}" == result.evidence[-1]
    assert repair(damaged) == (whole, name.split()[0])


def test_extracted_text_can_be_repaired_as_well():
    assert repair(as_latin_1(SIMPLIFIED.encode("gbk"))) == (SIMPLIFIED, "gb18030-as-latin-1")


def test_text_that_was_misread_twice_is_repaired_twice():
    for codec in ("gbk", "utf-8"):
        twice = as_latin_1(as_latin_1(SIMPLIFIED.encode(codec)).encode())
        assert repair(twice).text == SIMPLIFIED


def test_no_break_spaces_that_became_spaces_are_restored():
    text = "天堂里" + SIMPLIFIED + "怠慢了"  # a byte 0xA0 in the middle, and at the end of a character
    damaged = as_latin_1(text.encode()).replace("\xa0", " ")
    assert damaged.count(" ") == 2
    assert repair(damaged).text == text


def test_paragraph_indents_and_legitimate_latin_letters_survive_the_repair():
    text = "　　他在咖啡馆写道：" + SIMPLIFIED
    damaged = as_latin_1(text.encode("gbk")) + " café · © 2008 »» naïve"
    assert repair(damaged).text == text + " café · © 2008 »» naïve"


def test_utf8_read_as_gb18030_is_repaired_where_nothing_was_lost():
    whole = "<p>今天</p><p>天气</p><p>很好，我们在公园里，看到了许多人</p>"  # even numbers of bytes
    damaged = whole.encode().decode("gb18030")
    assert repair(damaged) == (whole, "utf-8-as-gb18030")


def test_what_cannot_be_restored_is_named_and_left():
    lost = (
        "".join(f"<p>{line}。</p>" for line in SIMPLIFIED.split("，")).encode().decode("gb18030", "replace")
    )
    assert repair(lost) == (lost, "unrepaired:utf-8-as-gb18030")
    replaced = "<p>" + ("\ufffd" * 8).encode().decode("gb18030") + "</p>"
    assert "锟斤拷" in replaced
    assert repair(replaced) == (replaced, "unrepaired:replacements-as-gb18030")
    assert decode(replaced.encode()).mojibake == "unrepaired:replacements-as-gb18030"


@pytest.mark.parametrize(
    "text",
    [
        SIMPLIFIED,
        TRADITIONAL,
        "Les élèves français étaient très fatigués après l’été à Orléans, où ça a été créé.",
        "Größe, Überfluß, Äußerung, schön, für, Möglichkeit, häufig, Bücher, Straße, ÄÖÜ, äöü.",
        "Tiếng Việt được viết bằng chữ Quốc ngữ, có nhiều dấu: ấềộ ươi, đặc biệt, nguyễn.",
        "Ïðèâåò ìèð, ýòî ðóññêèé òåêñò, êîòîðûé ïðî÷èòàí íåïðàâèëüíî ïðîãðàììîé.",
        "········ »»»» ©®°± ÷÷ ×× §§ ¶¶ ¼½¾ ¿¡ £££ ¥¥¥ «« »»",
        "这里写着 ÖÐ 两个字母，像是乱码。",
        "锛有锄头的意思，涓涓细流，浜是小河，鏄这个字很少见。" + SIMPLIFIED,
        "&nbsp;&nbsp;&copy;&nbsp;&middot;&middot;&middot;&raquo;&raquo;&eacute;&egrave;" + SIMPLIFIED,
        "Íslenska er norrænt tungumál sem er talað á Íslandi. Það er þó ekki óskylt öðrum málum.",
    ],
)
def test_sound_text_is_left_alone(text):
    assert repair(text) == (text, None)
    assert decode(text.encode()).text == text


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x2FF), max_size=400))
def test_repair_never_raises_and_says_when_it_changes_something(text):
    repaired, kind = repair(text)
    repaired.encode("utf-8")
    assert (repaired == text) == (kind is None or kind.startswith("unrepaired:"))


@given(st.text("的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会，。", max_size=200))
def test_common_chinese_is_always_repaired(text):
    text = SIMPLIFIED[:16] + text
    assert repair(as_latin_1(text.encode("gbk"))).text == text
    assert repair(as_windows_1252(text.encode())).text == text


@given(st.lists(st.tuples(st.binary(max_size=40), st.text("的一是中国<>a \n", max_size=30))))
def test_mixtures_of_bytes_and_text_never_break_the_decoder(pieces):
    data = b"".join(raw + text.encode("gbk") for raw, text in pieces)
    decode(as_latin_1(data).encode()).text.encode("utf-8")
    decode(data.decode("gb18030", "replace").encode()).text.encode("utf-8")


def test_real_pages_are_sound_and_come_back_from_every_misreading(shared_data):
    for path in sorted((shared_data / "html").rglob("*.html"))[::9]:
        result = decode(path.read_bytes())
        assert result.mojibake is None or "replacements" in result.mojibake
        codec = "gb18030" if result.encoding == "gb18030" else "utf-8"
        again = decode(as_latin_1(result.text.encode(codec)).encode())
        different = sum((Counter(result.text) - Counter(again.text)).values())
        assert again.mojibake == f"repaired:{codec}-as-latin-1"
        assert abs(len(again.text) - len(result.text)) < 4 and different < 1e-3 * len(result.text)


def test_a_declaration_in_a_comment_that_does_not_end_does_not_count():
    data = b"<!--" * 4000 + b"<meta charset=big5>" + SIMPLIFIED.encode("gbk")
    assert decode(data).evidence == ("detected:gb18030",)
