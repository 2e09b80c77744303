"""Strings that break reimplementations of jieba, and one comparison over all its modes."""

from __future__ import annotations

from hypothesis import strategies as st

FRAGMENTS = [
    "的", "中国", "我", "张", "三", "李四光", "习", "乒乓球", "拍卖", "完了", "台中", "云计算",
    "清华大学", "南京市长江大桥", "研究生命起源", "小明硕士毕业于中国科学院", "一", "鿕", "鿖", "龥",
    "㐀", "〇", "𠀀", "カ", "é", "e\u0301", "👍", "１", "Ａ", "C++", "C", "+", "++", "10.5.3", "3.5%",
    "1.", ".1", "%", "a.b", "6-1", "-", "_", "&", "#", ".", "AT&T", "iPhone", "A", "9", "x2y", "γ射线",
    "\r\n", "\r", "\n", " ", "  ", "\u3000", "\u2028", "\x1c", "\x85", "\xa0", "\t", "\x00", "，", "。",
    "…", "·", "\ufeff",
]  # fmt: skip

SENTENCES = [
    "",
    "我来到北京清华大学",
    "他来到了网易杭研大厦",
    "小明硕士毕业于中国科学院计算所，后在日本京都大学深造",
    "如果放到post中将出错。",
    "「台中」正确应该不会被切开",
    "C++和c#是什么关系？11+122=133，是吗？PI=3.14159",
    "枪杆子中出政权，10.5.3版本的a.b和6-1\r\n\r\n　下一行　",
    "二〇〇八年１２月３１日，𠀀字与カタカナ，乒乓球拍卖完了",
    "工信处女干事每月经过下属科室都要亲口交代24口交换机等技术性器件的安装工作",
    "吉林省长春药店",
]

characters = st.one_of(
    st.integers(0x4E00, 0x9FD5).map(chr),
    st.sampled_from("的一是了我不人在他有这中大来上个国"),
    st.sampled_from("abcXYZ0159+#&._%- \t\r\n"),
    st.characters(exclude_categories=["Cs"]),
)
texts = st.lists(st.one_of(st.sampled_from(FRAGMENTS), characters), max_size=30).map("".join)
words = st.lists(
    st.one_of(st.sampled_from(FRAGMENTS), st.sampled_from("的一是了中国科学张三")), min_size=1, max_size=4
).map("".join)


def assert_same(jieba_tokenizer, segmenter, text: str) -> None:
    """Every mode gives jieba's answer."""
    assert segmenter.cut(text) == jieba_tokenizer.lcut(text)
    assert segmenter.cut(text, hmm=False) == jieba_tokenizer.lcut(text, HMM=False)
    assert segmenter.lcut(text, cut_all=True) == jieba_tokenizer.lcut(text, cut_all=True)
    for hmm in (True, False):
        assert segmenter.lcut_for_search(text, hmm=hmm) == jieba_tokenizer.lcut_for_search(text, HMM=hmm)
        for mode in ("default", "search"):
            ours = list(segmenter.tokenize(text, mode, hmm=hmm))
            assert ours == list(jieba_tokenizer.tokenize(text, mode=mode, HMM=hmm))
