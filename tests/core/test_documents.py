import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.documents import (
    Tally,
    document_batch,
    document_id,
    dropped_rows,
    limit_dropped_text,
    restore_dropped,
)
from corpuskit.errors import LedgerError

COUNTS = st.dictionaries(st.sampled_from(["a/x", "a/y", "b/z"]), st.integers(0, 100))


def test_id_depends_on_path_and_position_only():
    assert document_id("a/b.warc.gz", 17) == document_id("a/b.warc.gz", 17)
    assert document_id("a/b.warc.gz", 17) != document_id("a/b.warc.gz", 18)
    assert document_id("a", 17) != document_id("b", 17)
    assert len(document_id("x", 0)) == 32


def test_id_of_a_name_that_is_not_utf8_is_made_all_the_same():
    assert len(document_id(b"\xff\xfe.txt".decode("utf-8", "surrogateescape"), 0)) == 32


def test_dropped_rows_restore_every_column():
    batch = document_batch(
        ["1", "2"], ["甲", "乙"], {"url": ["u", None], "score": [1.5, 2.5], "value": [7, 8]}
    )
    rows = dropped_rows(batch, ["clean/short"] * 2, [1, 1], [10, 10])
    assert rows.column("value").to_pylist() == [1.0, 1.0]
    assert restore_dropped(rows).to_pylist() == batch.to_pylist()


@pytest.mark.parametrize(("policy", "kept"), [("full", 256), ("none", 0), ("sample", 4)])
def test_dropped_text_policy(policy, kept):
    ids = [f"{i:02x}" + "0" * 30 for i in range(256)]
    rows = dropped_rows(document_batch(ids, ["字"] * 256), ["a/b"] * 256, [None] * 256, [None] * 256)
    limited = limit_dropped_text(rows, policy)
    assert 256 - limited.column("text").null_count == kept
    assert limited.column("id").to_pylist() == ids


@given(COUNTS, COUNTS, st.integers(0, 1000))
def test_tally_adds_up_or_raises(dropped, quarantined, kept):
    total = kept + sum(dropped.values()) + sum(quarantined.values())
    Tally(total, kept, dropped, quarantined).check("here")
    with pytest.raises(LedgerError, match="accounted for"):
        Tally(total + 1, kept, dropped, quarantined).check("here")


@given(COUNTS, COUNTS)
def test_tallies_add_by_reason(left, right):
    total = Tally(0, 0, left) + Tally(0, 0, right)
    assert total.num_dropped == sum(left.values()) + sum(right.values())
    assert Tally.from_dict(total.to_dict()) == total


def test_optional_fields_become_strings():
    batch = document_batch(["1"], ["字"], {"date": [2024], "views": [3]})
    assert batch.schema.field("date").type == pa.string()
    assert batch.schema.field("views").type == pa.int64()
