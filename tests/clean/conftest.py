"""A document of ordinary prose that passes every rule, written for these tests."""

import pytest

PROSE = """清晨的集市总是从一声吆喝开始的。卖豆腐的老人推着木车，从巷口慢慢走过来，车上的铜铃轻轻响着。
几个赶早的邻居围了上去，有人要一块老豆腐，有人只想喝碗热豆浆。“今天的豆子是新磨的，您尝尝。”老人一边说，一边掀开盖布。
太阳升起来以后，菜摊也摆满了街边：黄瓜带着刺，番茄还沾着露水，刚出水的鱼在盆里甩着尾巴。
讨价还价的声音此起彼伏，却没有谁真的生气；多给一根葱，少收两毛钱，彼此笑一笑便过去了。
到了中午，人群渐渐散去，石板路上只剩下几片菜叶和一地水痕。明天天亮之前，这里又会热闹起来。"""


@pytest.fixture
def prose() -> str:
    return PROSE
