"""Personal data: a table of Chinese sentences that hold each kind, and of those that nearly do."""

import json
import pickle
from dataclasses import fields

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.clean.normalize import normalize_text
from corpuskit.clean.pii import Pii, mask_batch, mask_text, mask_texts, scrub
from corpuskit.clean.pii_rules import KINDS
from corpuskit.clean.pii_validators import passes_luhn, resident_id_check
from corpuskit.documents import document_batch
from corpuskit.errors import ConfigError

PII = Pii()


def resident(first_17: str) -> str:
    return first_17 + resident_id_check(first_17)


def card(digits: str) -> str:
    return next(digits + str(check) for check in range(10) if passes_luhn(digits + str(check)))


def off_by_one(number: str) -> str:
    return number[:-1] + str((int(number[-1]) + 1) % 10)


WOMAN = resident("11010119900307662")
ENDS_IN_X = next(
    number for serial in range(100, 999) if (number := resident(f"44030119851201{serial}")).endswith("X")
)
UNIONPAY = card("622202100012345678")
VISA = card("411122223333444")

POSITIVE = {
    "resident_id": [
        (f"身份证号：{WOMAN}，请核对。", WOMAN),
        (f"他的号码是{ENDS_IN_X}。", ENDS_IN_X),
        (f"尾号小写的{ENDS_IN_X.lower()}也算", ENDS_IN_X.lower()),
        (f"分开写作{WOMAN[:6]} {WOMAN[6:14]} {WOMAN[14:]}的", f"{WOMAN[:6]} {WOMAN[6:14]} {WOMAN[14:]}"),
        ("旧证号130503670401001已经注销", "130503670401001"),
        (f"ID{WOMAN}", WOMAN),
    ],
    "mobile": [
        ("请拨打13812345678联系王经理", "13812345678"),
        ("手机：138-1234-5678", "138-1234-5678"),
        ("手机 139 1234 5678，晚上可打", "139 1234 5678"),
        ("国外请拨+86 13812345678", "+86 13812345678"),
        ("或0086-13812345678也行", "0086-13812345678"),
        ("（+86）13812345678", "（+86）13812345678"),
        ("tel13812345678", "13812345678"),
        ("全角的１３８１２３４５６７８", "１３８１２３４５６７８"),
        ("藏了零宽字符的138\u200b1234\u200b5678", "138\u200b1234\u200b5678"),
        ("分机号13812345678-0012", "13812345678-0012"),
        ("快递请打电话13812345678", "13812345678"),
    ],
    "landline": [
        ("办公室010-62771234。", "010-62771234"),
        ("总机（0571）8888 8888转8001", "（0571）8888 8888转8001"),
        ("深圳0755-26712345", "0755-26712345"),
        ("连写01062771234", "01062771234"),
        ("+86-21-61234567", "+86-21-61234567"),
        ("电话：8888 6666", "8888 6666"),
        ("传真：6543210", "6543210"),
        ("Tel: (86-10) 6277 1234", "(86-10) 6277 1234"),
        ("横线长的0755—26712345", "0755—26712345"),
        ("电话：021－12345678", "021－12345678"),
        ("电话：(021)12345678", "(021)12345678"),
        ("电话号码是（0571）1234567", "（0571）1234567"),
    ],
    "email": [
        ("邮箱abc@163.com联系我", "abc@163.com"),
        ("发到zhang.san_01@mail.example.com.cn。", "zhang.san_01@mail.example.com.cn"),
        ("全角ＡＢＣ＠１６３．ｃｏｍ也要认得", "ＡＢＣ＠１６３．ｃｏｍ"),
        ("（12345678@qq.com）", "12345678@qq.com"),
    ],
    "bank_card": [
        (f"卡号{UNIONPAY}，户名李四", UNIONPAY),
        (f"打到{UNIONPAY}上", UNIONPAY),
        (
            f"信用卡{VISA[:4]} {VISA[4:8]} {VISA[8:12]} {VISA[12:]}到期",
            f"{VISA[:4]} {VISA[4:8]} {VISA[8:12]} {VISA[12:]}",
        ),
        (f"{UNIONPAY[:6]} {UNIONPAY[6:]}", f"{UNIONPAY[:6]} {UNIONPAY[6:]}"),
    ],
    "passport": [
        ("护照号E12345678", "E12345678"),
        ("持普通护照EA1234567入境", "EA1234567"),
        ("G12345678是她的护照", "G12345678"),
        ("港澳通行证C12345678", "C12345678"),
    ],
    "licence_plate": [
        ("车牌京A·12345的白色轿车", "京A·12345"),
        ("一辆沪B1234K停在门口", "沪B1234K"),
        ("新能源车粤BD12345", "粤BD12345"),
        ("大型新能源车粤B12345D", "粤B12345D"),
        ("教练车川A1234学", "川A1234学"),
    ],
    "qq": [
        ("QQ：123456789", "123456789"),
        ("请加qq 12345678", "12345678"),
        ("交流QQ群号是234567890", "234567890"),
        ("扣扣1234567", "1234567"),
        ("ＱＱ：１２３４５６７", "１２３４５６７"),
    ],
    "wechat": [
        ("微信号：zhang_san88", "zhang_san88"),
        ("微信abc12345", "abc12345"),
        ("加V：laowang666", "laowang666"),
        ("vx：wang-2020", "wang-2020"),
        ("V信 li_mei99", "li_mei99"),
        ("WeChat: zhangsan", "zhangsan"),
        ("群主wxid_a1b2c3d4e5f6", "wxid_a1b2c3d4e5f6"),
    ],
    "ip_address": [
        ("来自123.125.114.144的用户", "123.125.114.144"),
        ("服务器IP为8.8.4.4", "8.8.4.4"),
        ("打开http://61.15.49.46:8022", "61.15.49.46"),
        ("解析到2400:3200::1了", "2400:3200::1"),
        ("地址：2400:3200::1，可达", "2400:3200::1"),
        ("IP：2400:3200:0:0:0:0:0:1", "2400:3200:0:0:0:0:0:1"),
    ],
    "url_secret": [
        ("http://a.cn/cb?access_token=abcdef123456&x=1", "abcdef123456"),
        ("见http://a.cn/x;jsessionid=0123456789ABCDEF?y=1", "0123456789ABCDEF"),
        ("克隆https://user:secret@git.example.com/x.git", "user:secret"),
        ("https://a.cn/login?name=b&pwd=123", "123"),
        ("http://a.cn/?PHPSESSID=k3v9q0m2", "k3v9q0m2"),
        ("http://a.cn/?phone=13812345678", "13812345678"),
    ],
}

NEARLY = {
    "resident_id": [
        f"身份证号{off_by_one(WOMAN)}校验位不对",
        f"身份证号{resident('11010119901307662')}没有十三月",
        f"身份证号{resident('99010119900307662')}没有这个省",
        f"编号{WOMAN}0是十九位",
        "税号110108551385082",
        "身份证号130503671301001",
        "已打码的110101********1234",
    ],
    "mobile": [
        "订单号：13812345678",
        "流水号20240101138123456789012",
        "快递SF1381234567890",
        "成交额13812345678元",
        "只有十位的1381234567",
        "十二位的138123456789",
        "比值13.81234567890",
        "成交13812345678.50",
        "号段不存在的12012345678",
        "发布于2013-12-25 12:34:56",
        "http://weibo.com/13812345678/abc",
        "ISBN 978-7-111-12345-6",
        "批准文号第13812345678号",
        "成交15812345678手",
    ],
    "landline": [
        "400-810-8888是客服热线",
        "区号不存在的0600-8888888",
        "北京的010-6277123少一位",
        "2010-06-27发布",
        "编号：021－12345678",
        "电话：(021)1234567890",
        "合同编号0571-88888888",
        "面积8888 6666平方米",
        "自1990-2024年",
    ],
    "email": [
        "@人民日报 转发",
        "react@16.8.0",
        "图片icon@2x.png",
        "张三@163",
        "邮箱：zhang@三.中国",
        "a..b@",
    ],
    "bank_card": [
        f"卡号{off_by_one(UNIONPAY)}",
        f"订单号{UNIONPAY}",
        f"没有这个发卡行的{card('190202100012345')}",
        f"{UNIONPAY}1234",
        "圆周率3.1415926535897932384626",
        "ISBN：9787111123456",
    ],
    "passport": ["型号G12345678的空调", "护照办理须知E123456", "护照号EI1234567"],
    "licence_plate": ["云A座12345", "新A股123456", "京A1234", "京A123456789", "京I12345", "川ABCD12"],
    "qq": [
        "QQ音乐2013版",
        "QQ10000人同时在线",
        "QQ 2012",
        "腾讯QQ20130年",
        "http://a.cn/x5qq221030.shtml",
        "QQ：012345",
    ],
    "wechat": [
        "微信公众号：rmrbwx123",
        "微信Android版本",
        "用微信iPhone扫一扫",
        "微信号：abc",
        "微信：www.example.com",
        "车型VX2000",
        "微信支付12345678元",
    ],
    "ip_address": [
        "升级到10.5.3.1版本",
        "版本 110.5.3.1",
        "3.1.2.4 系统设计",
        "内网192.168.1.1、10.0.0.1、172.16.3.4、127.0.0.1",
        "文档里的203.0.113.5和2001:db8::1",
        "不存在的300.1.1.1",
        "时间12:30:45，地址00:1a:2b:3c:4d:5e",
        "fe80::1和::1",
        "五段1.2.3.4.5",
        "std::string a::b",
        "标签：dead::beef:",
        "命名：foo::dead::beef",
        "见图1.2.3.150",
    ],
    "url_secret": [
        "http://a.cn/list?page=12&sid=5",
        "token=abcdef123456",
        "http://a.cn/a:b/c",
        "http://a.cn/x?signal=123456789",
    ],
}


@pytest.mark.parametrize(
    "kind,text,number", [(kind, *case) for kind, cases in POSITIVE.items() for case in cases]
)
def test_the_rule_masks_what_it_is_for_and_nothing_else(kind, text, number):
    scrubbed = scrub(pa.array([text]), PII)
    assert scrubbed.text.to_pylist() == [text.replace(number, PII.mask(kind))]
    assert scrubbed.totals() == {kind: 1}


@pytest.mark.parametrize("kind,text", [(kind, text) for kind, cases in NEARLY.items() for text in cases])
def test_the_rule_leaves_what_only_looks_like_it(kind, text):
    scrubbed = scrub(pa.array([text]), PII)
    assert kind not in scrubbed.totals() and scrubbed.text.to_pylist() == [text]


def test_every_kind_has_cases():
    assert set(POSITIVE) == set(NEARLY) == set(KINDS)


@pytest.mark.parametrize(
    "text,expected",
    [
        ("13812345678、13912345678", "<手机号>、<手机号>"),
        ("13812345678/13912345678", "<手机号>/<手机号>"),
        ("13812345678 13912345678", "<手机号> <手机号>"),
        ("138 1234 5678 139 1234 5678", "<手机号> <手机号>"),
        ("QQ：12345678、87654321或23456789", "QQ：<QQ号>、<QQ号>或<QQ号>"),
        ("微信13812345678", "微信<手机号>"),
        ("微信：abc123、def_456、Android", "微信：<微信号>、<微信号>、Android"),
        ("QQ：1234567、a@b.cn、7654321", "QQ：<QQ号>、<邮箱>、<QQ号>"),
        ("abc@163.com13812345678", "<邮箱><手机号>"),
        ("a@b.cn,c@d.cn", "<邮箱>,<邮箱>"),
        ("http://u:p@a.cn/?token=abcdefgh&sid=12345678", "http://<密钥>@a.cn/?token=<密钥>&sid=<密钥>"),
    ],
)
def test_several_in_a_row_are_all_masked(text, expected):
    assert mask_text(text, PII) == expected
    assert scrub(pa.array([text]), PII).text.to_pylist() == [expected]


SNIPPETS = [case[0] for cases in POSITIVE.values() for case in cases]
SNIPPETS += [text for cases in NEARLY.values() for text in cases]
PARTS = st.sampled_from(
    [*SNIPPETS, *(PII.mask(kind) for kind in KINDS), "\n", "，", " ", "微信", "QQ", "@", "1"]
)
NOISE = st.text(
    "0123456789abqvxwVXQ微信加京A@.:-/+() ：＠１Ａ　\u200b\xad\x00\r\n中é\U00020000😀", max_size=30
)
DOCUMENTS = st.lists(
    st.lists(PARTS | NOISE | st.text(max_size=5), max_size=6).map("".join), min_size=1, max_size=4
)
MODES = st.fixed_dictionaries({kind: st.sampled_from(["mask", "remove", "count", "off"]) for kind in KINDS})


@given(DOCUMENTS, MODES)
def test_the_kernel_leaves_out_no_line_that_the_rules_would_change(documents, modes):
    for config in (PII, Pii(**modes)):
        scrubbed = scrub(pa.array(documents, pa.large_string()), config)
        assert scrubbed.text.to_pylist() == [mask_text(document, config) for document in documents]


@given(DOCUMENTS, MODES)
def test_masking_masked_text_changes_nothing(documents, modes):
    for config in (PII, Pii(**modes)):
        once = scrub(pa.array(documents, pa.large_string()), config)
        assert scrub(once.text, config).text.to_pylist() == once.text.to_pylist()


@given(DOCUMENTS)
def test_slices_and_small_offsets_give_the_same(documents):
    whole = pa.array(["前面13812345678", *documents], pa.string())
    sliced = scrub(whole.slice(1), PII)
    assert sliced.text.to_pylist() == [mask_text(document, PII) for document in documents]


@pytest.mark.parametrize("text", SNIPPETS)
def test_raw_text_loses_the_same_as_its_normalised_form(text):
    """What is dropped is stored as it came in, so masking must see through width and invisible characters."""
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)
    assert scrub(pa.array([wide]), PII).totals() == scrub(pa.array([text]), PII).totals()
    assert scrub(pa.array([normalize_text(text)]), PII).totals() == scrub(pa.array([text]), PII).totals()


HOSTILE = [
    "a@b.cn ",
    "13812345678 ",
    "QQ：1234567、",
    "7654321、",
    "微信a1b2c3、",
    "1.",
    "138 ",
    "://a:b@c?token=abcdef& ",
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_a_line_of_many_matches_is_masked_whole(unit):
    """Lines of 100 kB; a rule that looked back over all matches for each would not return."""
    text = "QQ：1234567、" + unit * (100_000 // len(unit))
    scrubbed = scrub(pa.array([text]), PII)
    assert scrub(scrubbed.text, PII).num_changed == 0
    if unit not in ("1.", "138 "):
        assert scrubbed.counts.sum() >= 100_000 // len(unit)


def test_modes_are_per_kind():
    text = "电13812345678邮a@b.cn号QQ:1234567"
    step = Pii(mobile="remove", email="count", qq="mask", qq_mask="[QQ]")
    kept, dropped = step(document_batch(["d"], [text]))
    assert kept.column("text").to_pylist() == ["电邮a@b.cn号QQ:[QQ]"] and dropped is None
    values = {check.rule: check.values[0] for check in step.judge(document_batch(["d"], [text])).checks}
    assert (values["pii_mobile"], values["pii_email"], values["pii_qq"]) == (1, 1, 1)
    off = Pii(**{kind: "off" for kind in KINDS})
    assert off.judge(document_batch(["d"], [text])).checks == []
    assert mask_text(text, off) == text


def test_drop_names_the_kind_and_stores_no_number():
    step = Pii(resident_id="drop")
    batch = document_batch(["a", "b"], [f"公示：{WOMAN}，电话13812345678", "没有号码，邮箱a@b.cn"])
    kept, dropped = step(batch)
    assert kept.column("text").to_pylist() == ["没有号码，邮箱<邮箱>"]
    (row,) = dropped.to_pylist()
    assert (row["reason"], row["value"], row["threshold"]) == ("clean/pii_resident_id", 1.0, 0.0)
    assert row["text"] == "公示：<身份证号>，电话<手机号>"


def test_a_batch_without_any_is_returned_itself():
    batch = document_batch(["a", "b"], ["山路弯弯曲曲通向云雾深处。", ""])
    assert PII.judge(batch).batch is batch
    assert PII(document_batch([], [])).kept.num_rows == 0


COLUMNS = {
    "title": ["王先生13812345678的启事", None],
    "url": ["http://a.cn/13812345678?access_token=abcdef123456", "http://a.cn/b@c.cn"],
    "source": ["13812345678", "x"],
}
MASKED = {
    "title": ["王先生<手机号>的启事", None],
    "url": ["http://a.cn/13812345678?access_token=<密钥>", "http://a.cn/b@c.cn"],
    "source": ["13812345678", "x"],
}


def test_title_and_address_are_masked_with_the_text():
    batch = document_batch(["a", "b"], ["手机13812345678", "山路"], COLUMNS)
    for masked in (mask_batch(batch, PII), PII(batch).kept):
        assert masked.schema == batch.schema
        assert masked.column("text").to_pylist() == ["手机<手机号>", "山路"]
        assert masked.drop_columns(["id", "text"]).to_pydict() == MASKED
        assert mask_batch(masked, PII) is masked
    assert mask_batch(batch, Pii(mobile="off", url_secret="off")) is batch


def test_dropped_rows_are_masked_in_every_column():
    batch = document_batch(["a", "b"], ["手机13812345678", "手机13812345678"], COLUMNS)
    _, dropped = Pii(mobile="drop")(batch)
    assert [row["text"] for row in dropped.to_pylist()] == ["手机<手机号>"] * 2
    documents = dropped.column("document").to_pylist()
    assert {name: [row[name] for row in documents] for name in MASKED} == MASKED


def test_columns_that_are_no_strings_are_left():
    batch = document_batch(["a"], ["山路"], {"title": [13812345678]})
    assert mask_batch(batch, PII) is batch


def test_masking_keeps_nulls():
    assert mask_texts(pa.array(["a@b.cn", None]), PII).to_pylist() == ["<邮箱>", None]


def test_the_step_pickles():
    assert pickle.loads(pickle.dumps(PII)) == PII


def test_every_kind_has_a_mode_and_a_mask():
    names = [field.name for field in fields(Pii)]
    assert set(names) == {*KINDS, *(f"{kind}_mask" for kind in KINDS)}


WRONG_MASKS = ["", "PHONE", "<1>", "a@b", "<" * 25, "\n", "＜电话＞"]


@pytest.mark.parametrize("wrong", [{"mobile": "hide"}, *({"mobile_mask": mask} for mask in WRONG_MASKS)])
def test_impossible_values_are_refused(wrong):
    with pytest.raises(ConfigError) as error:
        Pii(**wrong)
    assert error.value.where == next(iter(wrong))


@pytest.mark.slow
def test_the_kernel_agrees_on_real_text(shared_data):
    zstandard = pytest.importorskip("zstandard")
    with open(shared_data / "text" / "news.jsonl.zst", "rb") as file:
        lines = zstandard.ZstdDecompressor().stream_reader(file).read().decode().splitlines()
    documents = [json.loads(line)["text"] for line in lines]
    scrubbed = scrub(pa.array(documents, pa.large_string()), PII)
    assert scrubbed.text.to_pylist() == [mask_text(document, PII) for document in documents]
    assert np.count_nonzero(scrubbed.counts) > 100
