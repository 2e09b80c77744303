"""Vocabularies over document parts, as tasks that an engine runs."""

import pyarrow as pa
import pytest
from pyarrow import ipc
from pydantic import TypeAdapter, ValidationError

from corpuskit import vocab
from corpuskit.documents import document_batch
from corpuskit.errors import ArtifactError, ConfigError, InputError
from corpuskit.jobs import Slice, Workspace
from corpuskit.vocab import VocabularyJob, VocabularySpec

SPECS = (
    VocabularySpec("bytes", "bpe", vocab_size=500),
    VocabularySpec("unigram", "sentencepiece-unigram", vocab_size=400),
    VocabularySpec("pieces", "sentencepiece-bpe", vocab_size=400, sample_bytes=40_000),
    VocabularySpec("gpt2-zh", "extend", base="gpt2", num_new_tokens=50),
)


def write_parts(directory, texts, size):
    directory.mkdir()
    parts = []
    for start in range(0, len(texts), size):
        path = directory / f"{start:05d}.arrow"
        rows = texts[start : start + size]
        batch = document_batch([f"id{i}" for i, _ in rows], [t for _, t in rows], {"url": ["u"] * len(rows)})
        with pa.OSFile(str(path), "wb") as sink, ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)
        parts.append(Slice(str(path)))
    return tuple(parts)


def run(job, directory):
    """What an engine does with a plan, in one process."""
    outcomes = []
    for task in job.plan("train", {}):
        workspace = Workspace(directory, directory / f"{task.name}.checkpoint", "key", task.name)
        outcomes.append(task.function(task, workspace))
    return outcomes


@pytest.fixture(scope="module")
def numbered(chinese):
    return list(enumerate(chinese))


def test_each_vocabulary_is_published_and_unpacks_to_the_asked_place(numbered, tmp_path, gpt2):
    job = VocabularyJob(SPECS, write_parts(tmp_path / "parts", numbered, 150), seed=1)
    assert job.phases == ("train",)
    for spec, outcome in zip(SPECS, run(job, tmp_path / "run")):
        (output,) = outcome.outputs
        assert output.kind == "vocabulary"
        tokenizer = vocab.load(vocab.unpack_artifact(output.path, tmp_path / "out" / spec.name))
        vocab.unpack_artifact(output.path, tmp_path / "out" / spec.name)  # again, over the old one
        assert tokenizer.vocab_size == output.rows == outcome.metrics["vocab_size"]
        assert outcome.metrics["name"] == spec.name
        assert outcome.metrics["sample_bytes"] <= spec.sample_limit
        assert 1 < outcome.metrics["bytes_per_token"] < 40
        assert tokenizer.provenance["sample_seed"] == 1
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(s.name for s in SPECS)


def test_order_and_size_of_parts_do_not_change_a_byte(numbered, tmp_path):
    one = VocabularyJob(SPECS[:3], write_parts(tmp_path / "a", numbered, 1000))
    many = VocabularyJob(SPECS[:3], write_parts(tmp_path / "b", numbered[::-1], 33)[::-1])
    checksums = [
        [outcome.outputs[0].checksum for outcome in run(job, tmp_path / name)]
        for name, job in (("one", one), ("many", many))
    ]
    assert checksums[0] == checksums[1]


def test_another_seed_is_another_sample(numbered, tmp_path):
    parts = write_parts(tmp_path / "a", numbered, 1000)
    spec = VocabularySpec("small", vocab_size=300, sample_bytes=5_000)
    results = {
        run(VocabularyJob((spec,), parts, seed), tmp_path / str(seed))[0].metrics["sample_documents"]
        for seed in range(4)
    }
    assert len(results) > 1


def test_a_corpus_too_small_or_empty_publishes_nothing(numbered, tmp_path):
    parts = write_parts(tmp_path / "a", numbered[:3], 1000)
    with pytest.raises(ConfigError, match="vocab_size"):
        run(VocabularyJob((VocabularySpec("x", vocab_size=30_000),), parts), tmp_path / "run")
    with pytest.raises(InputError, match="no text"):
        run(VocabularyJob((VocabularySpec("x", vocab_size=300),), ()), tmp_path / "run")
    assert not list((tmp_path / "run").rglob("*.tar"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "a/b", "vocab_size": 400}, "name"),
        ({"name": "a"}, "vocab_size"),
        ({"name": "a", "vocab_size": 3}, "vocab_size"),
        ({"name": "a", "vocab_size": 400, "base": "gpt2"}, "base"),
        ({"name": "a", "algorithm": "extend", "base": "gpt2"}, "num_new_tokens"),
        ({"name": "a", "algorithm": "extend", "num_new_tokens": 5}, "base"),
        ({"name": "a", "vocab_size": 400, "sample_bytes": 0}, "sample_bytes"),
    ],
)
def test_impossible_specifications_name_their_field(fields, message):
    with pytest.raises(ConfigError, match=message):
        VocabularySpec(**fields)


def test_specifications_validate_strictly_from_plain_data():
    adapter = TypeAdapter(VocabularySpec)
    assert adapter.validate_python({"name": "a", "vocab_size": 400}) == VocabularySpec("a", vocab_size=400)
    with pytest.raises(ValidationError):
        adapter.validate_python({"name": "a", "vocab_size": 400, "vocabsize": 1})
    with pytest.raises(ConfigError, match="same name"):
        VocabularyJob((SPECS[0], SPECS[0]), ())


def test_what_is_not_a_packed_tokenizer_is_refused(tmp_path):
    (tmp_path / "x.tar").write_bytes(b"nothing of the kind")
    with pytest.raises(ArtifactError, match="packed"):
        vocab.unpack_artifact(tmp_path / "x.tar", tmp_path / "out")
    with pytest.raises(ArtifactError):
        vocab.unpack_artifact(tmp_path / "none.tar", tmp_path / "out")
