"""Every rule: a document that trips it, one that nearly does, and prose that is far from it."""

import pytest

from corpuskit.clean import PRESETS, Quality, Repetition, Spam
from corpuskit.documents import document_batch
from corpuskit.errors import ConfigError

QUALITY, REPETITION, SPAM = Quality(), Repetition(), Spam()

PROSE = """清晨的集市总是从一声吆喝开始的。卖豆腐的老人推着木车，从巷口慢慢走过来，车上的铜铃轻轻响着。
几个赶早的邻居围了上去，有人要一块老豆腐，有人只想喝碗热豆浆。“今天的豆子是新磨的，您尝尝。”老人一边说，一边掀开盖布。
太阳升起来以后，菜摊也摆满了街边：黄瓜带着刺，番茄还沾着露水，刚出水的鱼在盆里甩着尾巴。
讨价还价的声音此起彼伏，却没有谁真的生气；多给一根葱，少收两毛钱，彼此笑一笑便过去了。
到了中午，人群渐渐散去，石板路上只剩下几片菜叶和一地水痕。明天天亮之前，这里又会热闹起来。
"""
ONE_LINE = PROSE.replace("\n", "")
HAN = (
    "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳云腾致雨露结为霜"
    "金生丽水玉出昆冈剑号巨阙珠称夜光果珍李柰菜重芥姜海咸河淡"
)
NAMES = (
    "张伟、王芳、李娜、刘洋、陈静、杨光、赵敏、黄磊、周涛、吴迪、"
    "徐丽、孙强、马超、朱琳、胡军、郭峰、何平、高山、林青、罗文。"
)
UNFINISHED = "集市上人来人往，卖菜买菜声音不断，有人讨价还价，有人结伴闲逛，孩子跑来跑去"
HEADLINE = "市政府召开春季工作座谈会"

CASES = [
    # rule, step, a document for each k, and the least k that trips the rule
    ("min_characters", QUALITY, lambda k: ONE_LINE[: 60 - k], 11),
    ("max_characters", Quality(min_characters=5, max_characters=100), lambda k: ONE_LINE[:k], 101),
    ("han_share", QUALITY, lambda k: PROSE + "market tofu " * k, 47),
    ("digit_share", QUALITY, lambda k: PROSE + "订货电话13800138000，" * k, 12),
    ("punctuation_share", QUALITY, lambda k: PROSE + "！？！" * k, 21),
    ("symbol_share", QUALITY, lambda k: PROSE + "＋＝＞" * k, 9),
    ("stops", QUALITY, lambda k: UNFINISHED * k + "。", 14),
    ("function_share", QUALITY, lambda k: PROSE[:50] + NAMES * k, 18),
    ("function_characters", QUALITY, lambda k: 2 * NAMES + "的了在"[: 3 - k] + 2 * NAMES, 1),
    ("terminated_line_share", QUALITY, lambda k: PROSE[:46] + f"\n{UNFINISHED}" * k, 20),
    ("short_line_share", QUALITY, lambda k: PROSE + "买豆腐了。\n" * k, 12),
    ("mean_line_characters", QUALITY, lambda k: PROSE + "要。\n" * k, 41),
    ("bullet_line_share", QUALITY, lambda k: PROSE + "• 新磨的老豆腐，每块两元。\n" * k, 8),
    ("ellipsis_line_share", QUALITY, lambda k: PROSE + "老人后来怎么样了，点开看看……\n" * k, 3),
    ("list_share", QUALITY, lambda k: PROSE[:46] + f"\n{HEADLINE}" * k, 35),
    ("dated_line_share", QUALITY, lambda k: PROSE + f"{HEADLINE} 2024-01-05\n" * k, 6),
    ("unique_share", QUALITY, lambda k: PROSE[:46] * k, 8),
    ("entropy", QUALITY, lambda k: PROSE + "哈" * k, 223),
    ("duplicate_lines", REPETITION, lambda k: PROSE + "分享到微信朋友圈。\n" * k, 6),
    ("duplicate_line_share", REPETITION, lambda k: PROSE + f"{UNFINISHED}。\n" * k, 5),
    ("top_2gram_share", REPETITION, lambda k: ONE_LINE + "".join(f"豆腐{c}" for c in HAN[:k]), 32),
    ("top_3gram_share", REPETITION, lambda k: ONE_LINE + "".join(f"鲜豆腐{c}" for c in HAN[:k]), 19),
    ("top_4gram_share", REPETITION, lambda k: ONE_LINE + "".join(f"热豆腐脑{c}" for c in HAN[:k]), 12),
    *(
        (f"duplicate_{n}gram_share", REPETITION, lambda k: (ONE_LINE * 5)[: len(ONE_LINE) + k], least)
        for n, least in zip(range(5, 11), (556, 443, 358, 303, 269, 229))
    ),
    ("spam_terms", SPAM, lambda k: ONE_LINE * 4 + "立即购买包邮，加微信，立即咨询。"[: 4 + 4 * k], 2),
    ("links", SPAM, lambda k: PROSE + "见 www.a.cn " * k, 3),
    ("link_share", SPAM, lambda k: PROSE + "https://www.example.cn/goods/tofu.html?from=market " * k, 3),
    ("keyword_soup", SPAM, lambda k: PROSE + "租房|二手房|新房|装修|家具|家电\n" * k, 8),
    ("bracket_share", SPAM, lambda k: PROSE + "【新】" * k, 7),
    ("stub_lines", SPAM, lambda k: PROSE + "集市上的豆腐为什么这么香？查看更多 >>\n" * k, 3),
    ("notice_share", SPAM, lambda k: PROSE + "您的浏览器版本过低，请启用 JavaScript 后刷新。\n" * k, 4),
]


def check_of(step, rule, text):
    (check,) = (c for c in step.judge(document_batch(["d"], [text])).checks if c.rule == rule)
    return check


@pytest.mark.parametrize("rule,step,make,least", CASES, ids=[case[0] for case in CASES])
def test_the_rule_drops_what_trips_it_and_keeps_what_nearly_does(rule, step, make, least):
    trips, nearly = (check_of(step, rule, make(k)) for k in (least, least - 1))
    assert trips.failed[0] and not nearly.failed[0]
    assert (trips.values[0] < trips.threshold) == (trips.relation == "at least")
    assert step(document_batch(["d"], [make(least)])).kept.num_rows == 0
    if not rule.startswith("max_"):
        assert not check_of(step, rule, PROSE).failed[0]


def test_the_terms_of_a_users_file_are_a_rule_of_their_own(tmp_path):
    (tmp_path / "terms.txt").write_text("老豆腐\n热豆浆\n", encoding="utf-8")
    step = Spam(term_files=(str(tmp_path / "terms.txt"),))
    trips = check_of(step, "listed_terms", PROSE)
    assert trips.values[0] == pytest.approx(2000 / len("".join(PROSE.split())))
    assert trips.failed[0]
    nearly = PROSE + 2 * PROSE.replace("老豆腐", "豆腐").replace("热豆浆", "豆浆")
    assert not check_of(step, "listed_terms", nearly).failed[0]
    assert step(document_batch(["d"], [PROSE])).dropped.column("reason").to_pylist() == ["clean/listed_terms"]


def test_every_rule_has_a_case():
    batch = document_batch(["d"], ["x"])
    rules = {check.rule for step in (QUALITY, REPETITION, SPAM) for check in step.judge(batch).checks}
    assert rules == {case[0] for case in CASES} | {"listed_terms"}


@pytest.mark.parametrize("preset", PRESETS)
def test_prose_passes_every_preset(preset):
    for text in (PROSE, ONE_LINE):
        kept, dropped = PRESETS[preset](document_batch(["d"], [text]))
        assert kept.num_rows == 1, dropped.column("reason")


MENU = "首页 新闻 财经 体育 娱乐 汽车 房产 科技 教育 旅游 论坛 博客 视频 图片 更多"
JUNK = {
    "headlines": "\n".join(
        f"{c}局长出席{d}县座谈会 2024-03-{i:02}" for i, (c, d) in enumerate(zip(HAN, HAN[9:]))
    ),
    "menu": "\n".join(MENU.split() * 2),
    "keywords": "豆腐批发 豆腐价格 豆腐厂家 豆腐加盟 豆腐机 豆浆机 豆腐皮 豆腐干 豆腐乳 豆花 豆渣 腐竹 豆芽",
    "advert": "立即购买，全场包邮！厂家直销，诚招代理，加微信tofu888免费领取样品，欢迎来电咨询，"
    "日赚千元不是梦，稳赚不赔，名额有限。",
    "missing page": "很抱歉，您访问的页面不存在或者已经被删除了，请检查地址是否正确，或者返回首页。\n"
    "版权所有 豆腐公司 京ICP备12345678号，未经授权不得转载，请勿建立镜像。",
    "teasers": "\n".join(f"第{c}家豆腐店为什么能开上三十年，老板说了三个字。展开全文" for c in HAN[:9]),
    "log": "\n".join(
        f"2024-01-{d:02} 08:{d:02}:11 GET /tofu/{d}00{d}.html 200 {d}8{d}" for d in range(10, 40)
    ),
    "twice the same": ONE_LINE * 2,
    "numbers": "彩票开奖号码是" + "、".join(str(n * 7919 % 100_000) for n in range(1, 40)) + "。",
}


@pytest.mark.parametrize("name", JUNK)
@pytest.mark.parametrize("preset", ["zh-web", "zh-web-strict"])
def test_junk_is_dropped(preset, name):
    kept, _ = PRESETS[preset](document_batch(["d"], [JUNK[name]]))
    assert kept.num_rows == 0


def test_a_dropped_row_carries_value_and_threshold():
    _, dropped = Quality(min_characters=10)(document_batch(["d"], ["七个字的短文。 "]))
    assert dropped.select(["reason", "value", "threshold"]).to_pylist() == [
        {"reason": "clean/min_characters", "value": 7.0, "threshold": 10.0}
    ]


def test_an_article_scraped_into_one_line_is_judged_by_its_stops_not_its_lines():
    assert QUALITY(document_batch(["d"], [ONE_LINE + "责编"])).dropped is None
    assert SPAM(document_batch(["d"], [ONE_LINE + "返回首页，查看更多，版权所有"])).dropped is None


def test_quoted_speech_and_marked_up_paragraphs_terminate_a_line():
    speech = [f"他第{i}次说道：“今天的天气真是不错，我们一起出去走一走吧。”" for i in range(8)]
    for lines in (speech, [f"<p>{line}</p>" for line in speech]):
        check = check_of(Quality(min_terminated_line_share=1.0), "terminated_line_share", "\n".join(lines))
        assert not check.failed[0]


def test_a_report_may_repeat_the_word_that_it_is_about():
    report = PROSE + "记者走访彩票平台时发现，这家彩票平台已经关门，彩票平台的客服也不再接听电话。"
    assert check_of(SPAM, "spam_terms", report).values[0] == 0
    assert check_of(Spam(min_spam_terms=1), "spam_terms", report).failed[0]


@pytest.mark.parametrize("step", [QUALITY, REPETITION, SPAM])
def test_an_empty_batch_passes_through(step):
    kept, dropped = step(document_batch([], []))
    assert kept.num_rows == 0 and dropped is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: Quality(min_han_share=1.2),
        lambda: Quality(min_characters=-1),
        lambda: Quality(max_characters=10),
        lambda: Quality(min_entropy=-1),
        lambda: Repetition(max_top_ngram_shares=(0.1, 0.2)),
        lambda: Repetition(max_duplicate_ngram_shares=(0.1,) * 5 + (1.1,)),
        lambda: Spam(max_links_per_1000=-1),
        lambda: Spam(min_spam_terms=0),
        lambda: Spam(min_links=0),
        lambda: Spam(spam_terms=("",)),
        lambda: Spam(spam_terms=("a\nb",)),
    ],
)
def test_impossible_values_are_refused(make):
    with pytest.raises(ConfigError):
        make()


@pytest.mark.parametrize(
    "line",
    [
        "如果要显示公式，而不是结果，请先选中单元格，再打开菜单，把公式一项勾上，然后确定",
        "If the cell holds a formula, select it, open the menu, and tick the box.",
        "租房|二手房|新房|装修。",
        "x, y, z, w, h, c = 输入, a, b, c, d, e",
    ],
    ids=["clauses without a stop", "English", "few words", "code"],
)
def test_sentences_of_short_clauses_are_no_keyword_soup(line):
    assert check_of(SPAM, "keyword_soup", PROSE + f"{line}\n" * 20).values[0] == 0


SHORT = "图书馆周六照常开放，办证请带身份证，借书期限三十天，逾期每天收一角钱。还书可以投到门口的箱子里。"


@pytest.mark.parametrize(
    ("addition", "links"),
    [
        ("详见 www.a.cn", 0),
        ("详见 www.a.cn 与 www.b.cn", 0),
        ("写信到 a@b.cn、c@d.com、e@f.org", 0),
        ("详见 www.a.cn、www.b.cn、www.c.cn", 3),
    ],
)
def test_a_short_text_may_name_an_address_and_mail_is_none(addition, links):
    assert check_of(SPAM, "links", SHORT + addition).failed[0] == (links > 0)
    assert (check_of(SPAM, "link_share", SHORT + addition).values[0] > 0) == (links > 0)
    assert check_of(Spam(min_links=1), "links", SHORT + "a@b.cn").values[0] == 0


FEW_FUNCTION_CHARACTERS = {
    "verse": "白日依山尽，黄河入海流。欲穷千里目，更上一层楼。空山新雨后，天气晚来秋。"
    "明月松间照，清泉石上流。竹喧归浣女，莲动下渔舟。随意春芳歇，王孙自可留。",
    "weather": "今天夜间：多云转晴，北风二三级，最低气温零下五度。明天白天：晴，南风三级，最高气温六度；"
    "山区有轻雾，能见度一千米。",
    "chronicle": "顺治九年春三月，大旱。夏四月，雨雹，麦损。五月，飞蝗蔽天。秋七月，河决，漂没田庐数百家。"
    "冬十月，大雪深三尺，人畜冻死。十二月，地震，城垣倾圮，知县李公捐俸重修。",
}


@pytest.mark.parametrize("kind", FEW_FUNCTION_CHARACTERS)
def test_verse_weather_and_chronicles_pass(kind):
    kept, dropped = PRESETS["zh-web"](document_batch(["d"], [FEW_FUNCTION_CHARACTERS[kind]]))
    assert kept.num_rows == 1, dropped.column("reason")


def test_books_may_be_verse_and_unpunctuated():
    verse = "\n".join(HAN[i : i + 5] for i in range(0, 60, 5))
    unpunctuated = "\n".join(HAN[i : i + 12] + HAN[40 - i : 48 - i] for i in range(0, 36, 3))
    for text in (verse * 4, unpunctuated):
        kept, dropped = PRESETS["zh-books"].quality(document_batch(["d"], [text]))
        assert kept.num_rows == 1, dropped.column("reason")


@pytest.mark.parametrize("date", ["2024-03-05", "2024年3月", "3月5日", "05/03/24", "1999-1"])
def test_lines_with_a_date_are_dated(date):
    assert check_of(QUALITY, "dated_line_share", f"{HEADLINE} {date}\n" * 6).values[0] == 1


@pytest.mark.parametrize("numbers", ["112-108", "10-12", "第12-15页", "3/4", "5年12个", "010-6277-1234"])
def test_scores_ranges_and_telephones_are_no_dates(numbers):
    assert check_of(QUALITY, "dated_line_share", f"{HEADLINE} {numbers}\n" * 6).values[0] == 0
