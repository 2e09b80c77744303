"""Hub names, with a cache made by hand: nothing here reaches the network."""

import shutil

import pytest
import torch

from corpuskit.errors import ConfigError, InputError
from corpuskit.models import ModelConfig
from corpuskit.models.hub import is_hub_name, local_directory
from corpuskit.models.loading import create, load, save
from corpuskit.models.tokenizers import load_tokenizer
from corpuskit.train.config import TrainConfig, shape_of
from corpuskit.vocab.bytelevel import ByteLevelBPE
from corpuskit.vocab.tokenizer import Tokenizer

BYTES = tuple(bytes([i]) for i in range(256))
TOKENIZER = Tokenizer(ByteLevelBPE((*BYTES, b"ab", None), ((97, 98),), {"<|endoftext|>": 257}))
COMMIT, OTHER = "a" * 40, "b" * 40
SHAPE = ModelConfig(1, 16, 2, 32)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache that holds two revisions of someone/small."""
    root = tmp_path / "hub"
    for seed, (commit, reference) in enumerate([(COMMIT, "main"), (OTHER, "old")]):
        repo = root / "models--someone--small"
        save(create(SHAPE, 258, seed, 257), repo / "snapshots" / commit, TOKENIZER)
        (repo / "refs").mkdir(exist_ok=True)
        (repo / "refs" / reference).write_text(commit)
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(root))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return root


def test_a_name_loads_what_the_cache_holds(cache):
    expected = create(SHAPE, 258, 0, 257).state_dict()
    found = load("someone/small")
    assert all(torch.equal(weight, expected[name]) for name, weight in found.state_dict().items())
    assert load_tokenizer("someone/small").fingerprint == TOKENIZER.fingerprint
    assert shape_of("someone/small").context_length == 32
    assert TrainConfig(model="someone/small").source == "someone/small"


def test_a_revision_is_taken_at_its_word(cache):
    expected = create(SHAPE, 258, 1, 257).state_dict()
    for revision in ("old", OTHER):
        found = load(f"someone/small@{revision}").state_dict()
        assert all(torch.equal(weight, expected[name]) for name, weight in found.items())
    with pytest.raises(InputError, match="cannot be had"):
        load("someone/small@newer")


def test_a_directory_goes_before_a_name(cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(create(SHAPE, 258, 5, 257), "someone/small")
    expected = create(SHAPE, 258, 5, 257).state_dict()
    assert all(torch.equal(w, expected[name]) for name, w in load("someone/small").state_dict().items())


def test_a_model_that_cannot_be_had_is_an_error_and_never_another_model(cache):
    with pytest.raises(InputError, match="cannot be had") as caught:
        load("someone/large")
    assert caught.value.where == "someone/large"
    with pytest.raises(InputError, match="cannot be had"):
        load_tokenizer("someone/large")
    with pytest.raises(InputError, match="cannot be had"):
        shape_of("someone/large")


def test_a_cache_without_weights_is_an_error(cache):
    for path in (cache / "models--someone--small" / "snapshots" / COMMIT).glob("*.safetensors"):
        path.unlink()
    with pytest.raises(InputError, match="no weights"):
        load("someone/small")


def test_weights_of_the_older_format_load(cache):
    directory = cache / "models--someone--small" / "snapshots" / COMMIT
    weights = load(directory).state_dict()
    (directory / "model.safetensors").unlink()
    torch.save(weights, directory / "pytorch_model.bin")
    found = load("someone/small").state_dict()
    assert all(torch.equal(found[name], weight) for name, weight in weights.items())


def test_training_goes_on_from_a_name(cache, tmp_path):
    from corpuskit.train import finetune

    (tmp_path / "text.txt").write_text("春天来了，花开了。" * 20)
    options = dict(sample_every=0, print_every=0, threads=1, checkpoint_dir=tmp_path, device="cpu")
    first = finetune(tmp_path / "text.txt", "someone/small", steps=1, **options)
    assert finetune(tmp_path / "text.txt", "someone/small", steps=2, **options).resumed_from == 1
    local = shutil.copytree(local_directory("someone/small"), tmp_path / "local")
    assert finetune(tmp_path / "text.txt", local, steps=1, run_name="run2", **options).loss == first.loss


@pytest.mark.parametrize("name", ["nano", "medum", "/a/b", "./a/b", "a/b/c", "a/b@", "-a/b", "a b/c"])
def test_what_is_no_name_is_not_looked_for(name):
    assert not is_hub_name(name)
    if name != "nano":
        with pytest.raises(ConfigError, match="no model size"):
            TrainConfig(model=name)
