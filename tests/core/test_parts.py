import json
from pathlib import Path

import pytest

from corpuskit.documents import Quarantined, document_batch, dropped_rows
from corpuskit.errors import ArtifactError, LedgerError
from corpuskit.jobs import Workspace
from corpuskit.parts import DocumentSink, read_documents


def batch(start, count, **columns):
    ids = [f"{i:032x}" for i in range(start, start + count)]
    return document_batch(ids, [f"第{i}篇文章" for i in range(start, start + count)], columns)


def workspace(path, key="k"):
    return Workspace(path / "phase", path / "ledger" / "0.parts.json", key, "00000")


def write_all(sink, start=0, stop=10):
    for i in range(start, stop):
        b = batch(i * 10, 10)
        dropped = dropped_rows(b.slice(0, 2), ["x/y"] * 2, [1, 2], [3, 3])
        sink.write(b.slice(2), [dropped], [Quarantined("f", i, "ingest/bad", "why")], 11, i + 1)


def contents(path):
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def test_everything_written_comes_back_and_is_counted(tmp_path):
    with DocumentSink(workspace(tmp_path)) as sink:
        write_all(sink)
        outcome = sink.close()
    kept = [o for o in outcome.outputs if o.kind == "kept"]
    rows = [row for o in kept for b in read_documents(o.path) for row in b.to_pylist()]
    assert len(rows) == 80 == outcome.tally.kept
    assert outcome.tally.dropped == {"x/y": 20}
    assert outcome.tally.quarantined == {"ingest/bad": 10}
    (quarantine,) = [o for o in outcome.outputs if o.kind == "quarantine"]
    lines = [json.loads(line) for line in Path(quarantine.path).read_text(encoding="utf-8").splitlines()]
    assert lines[3] == {"path": "f", "offset": 3, "reason": "ingest/bad", "detail": "why"}


@pytest.mark.parametrize("killed_at", range(1, 10))
def test_a_task_that_resumes_writes_the_same_bytes(tmp_path, killed_at):
    with DocumentSink(workspace(tmp_path / "whole"), part_bytes=1000) as sink:
        write_all(sink)
        expected = sink.close()
    resumed = tmp_path / "resumed"
    first = DocumentSink(workspace(resumed), part_bytes=1000)
    write_all(first, 0, killed_at)
    first.abort()  # what SIGKILL leaves, less the temporary files
    with DocumentSink(workspace(resumed), part_bytes=1000) as second:
        position = second.position or 0
        assert position <= killed_at
        write_all(second, position, 10)
        outcome = second.close()
    assert outcome.tally == expected.tally
    assert contents(resumed / "phase") == contents(tmp_path / "whole" / "phase")


def test_a_checkpoint_of_another_key_or_with_a_missing_file_is_not_used(tmp_path):
    sink = DocumentSink(workspace(tmp_path), part_bytes=1)
    write_all(sink, 0, 3)
    assert DocumentSink(workspace(tmp_path)).position == 3
    assert DocumentSink(workspace(tmp_path, key="other")).position is None
    (tmp_path / "phase" / "kept" / "00000-0001.arrow").unlink()
    assert DocumentSink(workspace(tmp_path)).position == 1


def test_documents_that_do_not_add_up_are_refused(tmp_path):
    with pytest.raises(LedgerError), DocumentSink(workspace(tmp_path)) as sink:
        sink.write(batch(0, 3), [], [], 4, 1)
        sink.close()


def test_records_with_other_columns_lie_beside_each_other(tmp_path):
    with DocumentSink(workspace(tmp_path)) as sink:
        sink.write(batch(0, 1), [], [], 1, 1)
        sink.write(batch(1, 1, label=["x"]), [], [], 1, 2)
        sink.write(batch(2, 1, label=[5]), [], [], 1, 3)
        sink.write(batch(3, 1), [], [], 1, 4)
        outcome = sink.close()
    labels = [b.to_pylist()[0].get("label") for o in outcome.outputs for b in read_documents(o.path)]
    assert len(outcome.outputs) == 3
    assert sorted(map(str, labels)) == ["5", "None", "None", "x"]
    assert outcome.tally.kept == 4


def test_a_cut_part_is_a_clear_error(tmp_path):
    with DocumentSink(workspace(tmp_path)) as sink:
        write_all(sink)
        outcome = sink.close()
    path = next(o.path for o in outcome.outputs if o.kind == "kept")
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[: len(data) // 2])
    with pytest.raises(ArtifactError, match="not a whole Arrow file"):
        list(read_documents(path))


def test_an_empty_task_has_an_empty_outcome(tmp_path):
    with DocumentSink(workspace(tmp_path)) as sink:
        outcome = sink.close()
    assert outcome.outputs == ()
    assert outcome.tally.documents_in == 0


class Counter:
    """A survey that counts what it was told since the last part."""

    def __init__(self):
        self.seen = 0

    def take(self):
        seen, self.seen = self.seen, 0
        return {"seen": seen}


def write_surveyed(sink, counter, start=0, stop=10):
    for i in range(start, stop):
        counter.seen += 10
        sink.write(batch(i * 10, 10), [], [], 10, i + 1)


@pytest.mark.parametrize("killed_at", range(1, 10))
def test_each_part_has_its_own_measurements_also_after_a_kill(tmp_path, killed_at):
    first, second = Counter(), Counter()
    interrupted = DocumentSink(workspace(tmp_path), part_bytes=1000, survey=first.take)
    write_surveyed(interrupted, first, 0, killed_at)
    interrupted.abort()
    with DocumentSink(workspace(tmp_path), part_bytes=1000, survey=second.take) as sink:
        write_surveyed(sink, second, sink.position or 0)
        outcome = sink.close()
    kept = [o.rows for o in outcome.outputs if o.kind == "kept"]
    measured = [json.loads(Path(o.path).read_text())["seen"] for o in outcome.outputs if o.kind == "survey"]
    assert measured == kept and len(kept) > 2


def test_a_part_closed_for_its_many_columns_has_its_own_measurements(tmp_path):
    counter = Counter()
    with DocumentSink(workspace(tmp_path), survey=counter.take) as sink:
        for i in range(80):
            counter.seen += 1
            sink.write(batch(i, 1, **{f"column{i}": ["x"]}), [], [], 1, i + 1)
        outcome = sink.close()
    parts = {}
    for output in outcome.outputs:
        number = Path(output.path).name.split("-")[1].split(".")[0]
        if output.kind == "kept":
            parts[number] = parts.get(number, 0) + output.rows
    measured = {
        Path(o.path).name.split("-")[1].split(".")[0]: json.loads(Path(o.path).read_text())["seen"]
        for o in outcome.outputs
        if o.kind == "survey"
    }
    assert measured == parts and len(parts) > 2
