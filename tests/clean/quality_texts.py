"""Two kinds of text by a small grammar, for models that need thousands of characters to learn from."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from corpuskit.documents import document_batch

_WHO = ["老人", "孩子", "渔夫", "邻居", "木匠", "姑娘", "先生", "农民", "船长", "画家"]
_WHERE = ["河边", "山上", "巷口", "院子里", "桥头", "田野间", "窗前", "码头", "林中", "老屋旁"]
_WHAT = [
    "慢慢地走着",
    "轻轻唱起歌来",
    "修理旧木船",
    "望着远处的云",
    "晒着新收的稻谷",
    "讲起从前的故事",
    "等待天亮",
    "喂养几只白鸽",
]
_HOW = ["微风吹过，", "天色渐晚，", "雨停以后，", "那一年秋天，", "清晨的时候，", "灯火亮起，"]
_SELL = ["特价", "包邮", "正品", "秒杀", "爆款", "限时", "抢购", "优惠券", "折扣", "热卖"]
_THING = ["连衣裙", "手机壳", "运动鞋", "护肤品", "充电宝", "减肥茶", "保健枕", "面膜"]
_CALL = ["点击购买", "加微信咨询", "立即下单", "联系客服", "扫码领取", "关注店铺"]


def _pick(rng: np.random.Generator, words: list[str]) -> str:
    return words[rng.integers(len(words))]


def story(rng: np.random.Generator, sentences: int) -> str:
    """Plain narrative sentences."""
    return "".join(
        f"{_pick(rng, _HOW)}{_pick(rng, _WHO)}在{_pick(rng, _WHERE)}{_pick(rng, _WHAT)}。"
        for _ in range(sentences)
    )


def advert(rng: np.random.Generator, phrases: int) -> str:
    """Shop phrases without sentences."""
    return " ".join(
        f"{_pick(rng, _SELL)}{_pick(rng, _THING)}{rng.integers(1, 999)}元{_pick(rng, _CALL)}"
        for _ in range(phrases)
    )


def documents(make, count: int, length: int = 8, seed: int = 0) -> list[str]:
    """`count` different documents of some `length` sentences or phrases."""
    rng = np.random.default_rng(seed)
    return [make(rng, int(rng.integers(max(1, length // 2), 2 * length))) for _ in range(count)]


def batches(texts: list[str], rows: int = 64) -> list[pa.RecordBatch]:
    """Batches as a reader gives them."""
    return [
        document_batch([str(i + j) for j in range(len(texts[i : i + rows]))], texts[i : i + rows])
        for i in range(0, len(texts), rows)
    ]
