"""Evaluation items in training documents: found however they were copied, and nothing else."""

from __future__ import annotations

import json
import random
import unicodedata
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dedup_helpers import random_text, rows_of, run_serially, total, write_part
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.clean.variants import converter
from corpuskit.dedup.contamination import Decontaminator
from corpuskit.dedup.evaluation import EvaluationItem, read_evaluation
from corpuskit.dedup.folding import fold
from corpuskit.documents import document_batch, restore_dropped
from corpuskit.errors import ArtifactError, ConfigError, InputError, MismatchError
from corpuskit.jobs import Slice

DEFAULT = Decontaminator()

QUESTIONS = [
    "阅读短文回答问题：小镇的钟楼每到黄昏就会响七下，老人们说那是为了纪念当年修桥时落水的七位石匠。钟楼为什么响七下？",
    "下面两句话的意思一样吗？“我的快递什么时候能送到楼下”，“包裹大概几点可以派送到家”。选项：一样，不一样。答案：",
    "这条新闻属于哪个栏目？沿海渔港迎来开海首日，三百多艘渔船满载补给依次驶出防波堤。选项：财经，体育，农业，军事。答案：",
    "根据常识判断：把冰块放进装满水的杯子里，冰块融化以后水会溢出来吗？选项：会，不会，不一定。答案：",
]
STORY = (
    "清晨的集市上，卖豆腐的老板一边招呼客人一边擦拭着案板，空气里飘着刚出锅的油条香味。"
    "隔壁修鞋的师傅低头穿针引线，偶尔抬头和熟人打个招呼，说今年的雨水比往年来得早一些。"
)


def items_of(*texts: str, name: str = "test.jsonl") -> list[EvaluationItem]:
    return [EvaluationItem(name, str(i), (text,)) for i, text in enumerate(texts)]


def overlaps(texts: list[str], items: list[EvaluationItem], config: Decontaminator = DEFAULT) -> list[dict]:
    batch = document_batch([str(i) for i in range(len(texts))], texts)
    return config.index(items).find(batch).to_pylist()


def widened(text: str) -> str:
    """ASCII to full width, Chinese punctuation to ASCII, spaces and line breaks strewn in."""
    pairs = {"，": ",", "。": ". ", "？": "?\n", "：": ": ", "“": '"', "”": '"'}
    return "　".join(
        "".join(pairs.get(c) or (chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c) for c in piece)
        for piece in (text[i : i + 9] for i in range(0, len(text), 9))
    )


COPIES = {
    "verbatim": lambda text: text,
    "width and punctuation": widened,
    "no punctuation": lambda text: "".join(c for c in text if unicodedata.category(c)[0] not in "PZ"),
    "traditional": lambda text: converter("s2t").convert(text),
    "Taiwan": lambda text: converter("s2tw").convert(text),
    "Hong Kong": lambda text: converter("s2hk").convert(text),
}


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("original", ["simplified", "traditional"])
def test_a_planted_item_is_found_with_its_span(copy, original):
    questions = [q if original == "simplified" else converter("s2t").convert(q) for q in QUESTIONS]
    planted = [COPIES[copy](question) for question in questions]
    texts = [f"{STORY}\n{text}\n{STORY}" for text in planted]
    found = overlaps([*texts, STORY], items_of(*questions))
    assert [(row["row"], row["item"]) for row in found] == [(i, str(i)) for i in range(4)]
    for row, text, copied in zip(found, texts, planted):
        assert row["share"] == 1.0 and row["score"] == 1.0
        assert row["run"] == len(fold(copied)[0])
        span = text[row["start"] : row["stop"]]
        assert fold(span)[0] == fold(copied)[0] and span in copied


def test_common_phrases_short_answers_and_templates_are_not_contamination():
    template = "请判断下面的句子是否通顺，并从选项中选择一个最合适的答案："
    answers = ["农业", "不是", "尼加拉瓜", "国家统计局", "请教怎样才能成功"]
    items = [
        EvaluationItem("t", str(i), (f"{template}{random_text(random.Random(i), 30)}。", answers[i % 5]))
        for i in range(20)
    ]
    near = [
        f"{STORY}{template}{STORY}",
        "本届农业博览会由国家统计局协办，来自尼加拉瓜的客商说，他不是第一次来，想请教怎样才能成功。",
        f"根据《中华人民共和国全国人民代表大会和地方各级人民代表大会选举法》，{STORY}",
    ]
    law = EvaluationItem(
        "t",
        "law",
        (
            "中华人民共和国全国人民代表大会和地方各级人民代表大会选举法是哪一年通过的？"
            + random_text(random.Random(0), 60),
        ),
    )
    assert overlaps(near, items) == []
    assert [row["item"] for row in overlaps(near, [*items, law])] == []
    assert [row["item"] for row in overlaps([items[7].passages[0]], items)] == ["7"]


def test_a_template_in_few_items_is_not_half_of_a_short_item():
    template = "以下哪个类别最适合描述手机应用商店里的这段介绍文字呢："
    items = items_of(*(template + random_text(random.Random(i), 10) for i in range(4)))
    assert overlaps([f"{STORY}{template}{STORY}"], items) == []
    assert [row["item"] for row in overlaps([items[2].passages[0]], items)] == ["2"]
    alone = overlaps([f"{STORY}{template}{STORY}"], items[:1])
    assert [row["item"] for row in alone] == ["0"], "in a single item nothing tells the template"


def test_a_background_corpus_says_what_is_common():
    phrase = "为全面建成更加美好的家园而努力奋斗，让每一位居民都能享受到便捷周到的公共服务"
    items = items_of(f"{phrase}。出自哪里？", f"{phrase}。" + QUESTIONS[0])
    texts = [f"{STORY}{phrase}。{STORY}", QUESTIONS[0]]
    assert [(row["row"], row["item"]) for row in overlaps(texts, items)] == [(0, "0"), (1, "1")]
    index = DEFAULT.index(items, [document_batch(["b"], [f"讲话稿：{phrase}。"])])
    found = index.find(document_batch(["a", "b"], texts)).to_pylist()
    assert [(row["row"], row["item"], row["share"]) for row in found] == [(1, "1", found[0]["share"])]
    assert index.items.column("checked").to_pylist() == ["too common", "yes"]


def test_a_short_item_counts_only_where_it_stands_alone():
    items = items_of("青蛙是两栖动物吗？", "农业")
    found = overlaps(
        [
            "问：青蛙是两栖动物吗？答：是。",
            "你说青蛙是两栖动物吗还是爬行动物",
            "青蛙，是两栖动物吗",
            "农业。",
            "青蛙是",
        ],
        items,
    )
    assert [(row["row"], row["item"], row["run"]) for row in found] == [(0, "0", 8), (2, "0", 8)]
    assert (found[0]["start"], found[0]["stop"]) == (2, 10)


def test_a_short_answer_beside_a_question_is_no_item_of_its_own():
    items = [EvaluationItem("t", "0", (QUESTIONS[0], "纪念七位落水石匠"))]
    assert overlaps(["他写道：纪念七位落水石匠。"], items) == []


def test_a_long_string_of_an_item_may_match_without_the_others():
    rng = random.Random(6)
    question, answer = random_text(rng, 30), random_text(rng, 300)
    items = [EvaluationItem("t", "0", (question, answer)), EvaluationItem("t", "1", (question[:29], answer))]
    (row,) = overlaps([f"前文{question}后文"], items)
    assert (row["item"], row["share"], row["start"], row["stop"]) == ("0", 1.0, 2, 32)


def test_a_long_common_run_is_enough_without_the_share():
    rng = random.Random(4)
    passage = random_text(rng, 900)
    for run, expected in ((49, []), (50, [50]), (51, [51])):
        text = random_text(rng, 200) + passage[300 : 300 + run] + random_text(rng, 200)
        found = overlaps([text], items_of(passage))
        assert [row["run"] for row in found] == expected
        assert all((row["start"], row["stop"]) == (200, 200 + run) for row in found)


def test_a_copy_with_edits_is_found_by_its_share():
    rng = random.Random(5)
    passage = random_text(rng, 120)
    edited = passage[:40] + "改" + passage[41:80] + "动" + passage[81:]
    (row,) = overlaps([f"前文。{edited}。后文"], items_of(passage))
    assert row["run"] == 40 and (row["start"], row["stop"]) == (3, 123)
    assert row["share"] == (108 - 26) / 108
    far = passage[:40] + random_text(rng, 300) + passage[40:80]
    assert overlaps([far], items_of(passage)) == []


def plain(texts: list[str], items: list[EvaluationItem], config: Decontaminator) -> dict:
    """The same rule in plain Python: {(row, item): (start, stop, share)}; without runs."""
    n = config.ngram
    grams = {}
    for item in items:
        mine = set()
        for passage in item.passages:
            folded = fold(passage, config.fold_variants)[0]
            mine |= {folded[i : i + n] for i in range(len(folded) - n + 1)}
        grams[item.id] = {gram for gram in mine if len(set(gram)) >= config.min_distinct}
    frequency = {g: sum(g in other for other in grams.values()) for mine in grams.values() for g in mine}
    found = {}

    def weight(grams: set[str]) -> int:
        return sum(65536 // frequency[gram] for gram in grams)

    for row, text in enumerate(texts):
        folded, places = fold(text, config.fold_variants)
        for item, mine in grams.items():
            mine = {gram for gram in mine if frequency[gram] <= config.max_item_frequency}
            hits = [i for i in range(len(folded) - n + 1) if folded[i : i + n] in mine]
            regions: list[list[int]] = []
            for i in hits:
                if regions and i - regions[-1][-1] <= config.max_gap:
                    regions[-1].append(i)
                else:
                    regions.append([i])
            best = None
            for region in regions:
                share = weight({folded[i : i + n] for i in region}) / weight(mine)
                if share >= config.min_share and (best is None or share > best[2]):
                    best = (places[region[0]], places[region[-1] + n - 1] + 1, share)
            if best:
                found[row, item] = best
    return found


@given(
    st.lists(st.text("甲乙丙丁 ，Ａa臺台𠀀\u0301", max_size=14), min_size=1, max_size=4),
    st.lists(st.text("甲乙丙丁 ，Ａa臺台𠀀\u0301", max_size=30), min_size=1, max_size=3),
)
def test_the_kernel_agrees_with_plain_python(passages, texts):
    config = Decontaminator(
        ngram=3, min_run=1, long_run=1000, max_gap=4, min_characters=3, min_distinct=2, max_item_frequency=2
    )
    items = items_of(*passages)
    found = {
        (row["row"], row["item"]): (row["start"], row["stop"], row["share"])
        for row in overlaps(texts, items, config)
    }
    assert found == plain(texts, items, config)


def test_long_documents_and_degenerate_text():
    rng = random.Random(8)
    item = random_text(rng, 100)
    texts = ["", "，。\n", "啊" * 100_000, random_text(rng, 200_000) + item + "a" * 50_000, "𠀀" * 13]
    found = overlaps(texts, items_of(item, "啊" * 40, ""))
    assert [(row["row"], row["item"], row["start"], row["stop"]) for row in found] == [
        (3, "0", 200_000, 200_100)
    ]
    index = DEFAULT.index(items_of(item, "啊" * 40, ""))
    assert index.items.column("checked").to_pylist() == ["yes", "too common", "too short"]


def test_an_index_without_a_single_ngram_finds_nothing(tmp_path):
    (tmp_path / "e.txt").write_text("，，，\n短\n", "utf-8")
    part = write_part(tmp_path / "p.arrow", [document_batch(["a"], ["短，，，"])])
    done = run_serially(DEFAULT.job([part], tmp_path / "e.txt"), tmp_path / "run")
    assert total(done["apply"]).kept == 1
    assert done["index"][0].outcome.metrics["items_too_short"] == 2


def test_repetitive_text_gives_one_region_with_a_true_run():
    passage = "天地玄黄" * 5 + "宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏"
    (row,) = overlaps(["天地玄黄" * 500 + passage[20:]], items_of(passage), replace(DEFAULT, min_distinct=4))
    assert row["run"] <= len(passage) and row["share"] == 1.0


def make_corpus(directory: Path, rng: random.Random) -> tuple[list[Slice], Path, dict[str, str]]:
    evaluation = directory / "eval"
    evaluation.mkdir()
    lines = [{"id": f"q{i}", "input": q, "answer_choices": ["一", "二"]} for i, q in enumerate(QUESTIONS)]
    (evaluation / "a.jsonl").write_text("\n".join(json.dumps(line) for line in lines), "utf-8")
    pq.write_table(pa.table({"question": [random_text(rng, 60)], "n": [1]}), evaluation / "b.parquet")
    texts = {f"{i:03d}": random_text(rng, 150) for i in range(90)}
    for i in range(0, 90, 9):
        texts[f"{i:03d}"] += widened(QUESTIONS[i % 4]) + random_text(rng, 20)
    ids = list(texts)
    slices = []
    for part in range(3):
        chunks = [ids[part * 30 + j : part * 30 + j + 10] for j in range(0, 30, 10)]
        batches = [document_batch(c, [texts[i] for i in c], {"url": c}) for c in chunks]
        slices.append(write_part(directory / f"p{part}.arrow", batches))
    return slices, evaluation, texts


def test_the_job_removes_and_explains_and_agrees_with_memory_in_any_order(tmp_path):
    slices, evaluation, texts = make_corpus(tmp_path, random.Random(1))
    job = DEFAULT.job(slices, evaluation)
    checksums = []
    for attempt in range(2):
        done = run_serially(job, tmp_path / str(attempt), random.Random(attempt))
        checksums.append([o.checksum for e in done["apply"] for o in e.outcome.outputs])
    assert checksums[0] == checksums[1]
    dropped = rows_of(done["apply"], "dropped")
    assert sorted(row["id"] for row in dropped) == [f"{i:03d}" for i in range(0, 90, 9)]
    assert total(done["apply"]).num_dropped == 10 and total(done["apply"]).kept == 80
    for row in dropped:
        assert row["reason"] == "dedup/contaminated" and row["value"] == 1.0 and row["threshold"] == 0.5
        (best,) = row["document"]["contamination"]
        number = int(row["id"]) % 4
        assert (best["set"], best["item"]) == ("a.jsonl", f"q{number}")
        assert fold(texts[row["id"]][best["start"] : best["stop"]])[0] == fold(QUESTIONS[number])[0]
    assert done["index"][0].outcome.metrics == {
        "items": 5, "items_checked": 5, "items_too_short": 0, "items_too_common": 0,
    }  # fmt: skip
    batch = document_batch(list(texts), list(texts.values()), {"url": list(texts)})
    memory = DEFAULT.decontaminate([batch], evaluation)
    assert [row["id"] for row in memory.dropped[0].to_pylist()] == [row["id"] for row in dropped]
    restored = restore_dropped(memory.dropped[0])
    assert "contamination" in restored.schema.names


def test_marking_keeps_every_document(tmp_path):
    slices, evaluation, _ = make_corpus(tmp_path, random.Random(1))
    done = run_serially(replace(DEFAULT, action="mark").job(slices, evaluation), tmp_path / "run")
    rows = rows_of(done["apply"], "kept")
    assert len(rows) == 90 and not rows_of(done["apply"], "dropped")
    assert [row["id"] for row in rows if row["contamination"]] == [f"{i:03d}" for i in range(0, 90, 9)]


def test_an_index_of_another_configuration_or_a_cut_file_is_refused(tmp_path):
    slices, evaluation, _ = make_corpus(tmp_path, random.Random(1))
    job = DEFAULT.job(slices, evaluation)
    done = run_serially(job, tmp_path / "run")
    (task, *_) = job.plan("apply", done)
    from corpuskit.dedup.evaluation_index import EvaluationIndex, Matching

    with pytest.raises(MismatchError):
        EvaluationIndex.load(Matching(min_run=21), task.inputs[1:])
    path = Path(task.inputs[3].path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ArtifactError):
        EvaluationIndex.load(Matching(), task.inputs[1:])


@pytest.mark.parametrize("suffix", ["jsonl", "txt", "csv", "parquet", "arrow"])
def test_every_format_gives_its_strings(tmp_path, suffix):
    path = tmp_path / f"set.{suffix}"
    rows = [
        {"id": "x", "text": "第一题", "more": "补充，一"},
        {"id": "y", "text": "第二题", "more": "补充二"},
    ]
    table = pa.Table.from_pylist(rows)
    if suffix == "jsonl":
        path.write_text("\n".join(json.dumps({**r, "nested": [{"turn": "问"}]}) for r in rows), "utf-8")
    elif suffix == "txt":
        path.write_text("第一题\n第二题\n", "utf-8")
    elif suffix == "csv":
        path.write_text('id,text,more\nx,第一题,"补充，一"\ny,第二题,补充二\n', "utf-8")
    elif suffix == "parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
    found = list(read_evaluation([Slice(str(path), relative_path="s")]))
    expected = {
        "jsonl": ("第一题", "补充，一", "问"), "txt": ("第一题",),
    }.get(suffix, ("第一题", "补充，一"))  # fmt: skip
    assert found[0] == EvaluationItem("s", "0" if suffix == "txt" else "x", expected)
    assert len(found) == 2
    if suffix != "txt":
        only = list(read_evaluation([Slice(str(path))], fields=("more",)))
        assert [item.passages for item in only] == [("补充，一",), ("补充二",)]
        with pytest.raises(ConfigError, match="fields"):
            list(read_evaluation([Slice(str(path))], fields=("absent",)))


@pytest.mark.parametrize("content", [b'{"a": "x"}\n{"a": \n', b"[1]\n", b"7\n", b'{"a": "\xff"}\n'])
def test_a_damaged_evaluation_record_is_an_error(tmp_path, content):
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.jsonl"):
        DEFAULT.read(tmp_path / "a.jsonl")


@pytest.mark.parametrize("compress", [False, True])
def test_one_json_array_is_read_too(tmp_path, compress):
    import gzip

    path = tmp_path / ("set.json.gz" if compress else "set.json")
    content = json.dumps([{"q": "第一题\ud83d"}, {"q": "第二题"}], indent=1).encode()
    path.write_bytes(gzip.compress(content) if compress else content)
    assert [item.passages for item in DEFAULT.read(path)] == [("第一题\ufffd",), ("第二题",)]
    path.write_bytes(b'[{"q": "x"}, 3]')
    with pytest.raises(InputError, match="object"):
        DEFAULT.read(path)


def test_no_items_is_an_error(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"\n")
    with pytest.raises(InputError, match="no evaluation item"):
        DEFAULT.read(tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    ("field", "value"),
    [("ngram", 1), ("ngram", 65), ("min_share", 0), ("min_share", 1.5), ("action", "x"), ("text_unit", "x"),
     ("long_run", 5), ("min_distinct", 20), ("max_overlaps", 0)],
)  # fmt: skip
def test_impossible_configuration_names_the_field(field, value):
    with pytest.raises(ConfigError, match=field):
        Decontaminator(**{field: value})


@pytest.mark.slow
def test_pclue_planted_in_laws_and_news(shared_data, capsys):
    """Every item is planted once in each way; the untouched corpora tell the false positives."""
    import corpuskit as ck

    items = DEFAULT.read(shared_data / "prompts" / "pclue_test_500.jsonl")
    index = DEFAULT.index(items)
    hosts = []
    for name in ("laws", "news"):
        for batch in ck.read(str(shared_data / "text" / f"{name}.jsonl.zst")):
            found = index.find(batch).num_rows
            assert found == 0, (name, index.find(batch).to_pylist())
            hosts += batch.column("text").to_pylist()
    rng = random.Random(0)
    recall = {}
    ways = {**COPIES, "Taiwan words": lambda text: converter("s2twp").convert(text)}
    for way, copy in ways.items():
        texts = []
        for item in items:
            host = rng.choice(hosts)
            place = rng.randrange(len(host) + 1)
            texts.append(host[:place] + copy(item.passages[0]) + host[place:])
        rows = index.find(document_batch([str(i) for i in range(len(texts))], texts)).to_pylist()
        hit = {(row["row"], int(row["item"])) for row in rows}
        recall[way] = sum((i, i) in hit for i in range(len(items))) / len(items)
    with capsys.disabled():
        print(f"\nfalse positives 0 of {len(hosts)}; recall", recall)
    # OpenCC's words of Taiwan (滑鼠 for 鼠标) are other wording; the rest is the same wording, always found.
    assert recall.pop("Taiwan words") >= 0.95
    assert set(recall.values()) == {1.0}
