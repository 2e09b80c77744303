"""Charsets: what is believed, what is doubted, and that no bytes at all break the decoder."""

import codecs

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corpuskit.clean import decode

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
