import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
)

from corpuskit import models
from corpuskit.errors import ArtifactError, ConfigError, InputError, ResourceError
from corpuskit.models.configurations import ModelConfig, padded_vocabulary
from corpuskit.models.devices import device_of
from corpuskit.models.loading import create, family_of, load, save, vocabulary_size
from corpuskit.models.staging import staged_directory
from corpuskit.vocab.embeddings import resize

TINY = ModelConfig(layers=2, width=16, heads=2, context_length=16)


def test_presets_have_the_published_parameter_counts():
    # Of the released checkpoints, 50,257 tokens; on the meta device no weight is allocated.
    for name, millions in {"gpt2": 124.4, "medium": 354.8, "large": 774.0, "xl": 1557.6}.items():
        with torch.device("meta"):
            model = create(ModelConfig.preset(name), 50_257, seed=0)
        padding = (padded_vocabulary(50_257) - 50_257) * model.config.n_embd
        count = sum(p.numel() for p in model.parameters()) - padding
        assert round(count / 1e6, 1) == millions


def test_other_architectures_have_the_published_parameter_counts():
    # google/t5-v1_1-*, bert-base-uncased, bert-base-chinese, roberta-base, distilbert-base-uncased, with
    # their language-model heads; 770M is what PromptCLUE and ChatYuan call the large one.
    for name, vocabulary, count in [
        ("t5-small", 32_128, 76_961_152), ("t5-base", 32_128, 247_577_856), ("t5-large", 32_128, 783_150_080),
        ("bert-base", 30_522, 109_514_298), ("bert-base", 21_128, 102_290_312),
        ("roberta-base", 50_265, 124_697_433), ("distilbert-base", 30_522, 66_985_530),
    ]:  # fmt: skip
        with torch.device("meta"):
            model = create(ModelConfig.preset(name), vocabulary, seed=0, pad_id=1)
        width = model.get_input_embeddings().weight.shape[1]
        biased = getattr(model.get_output_embeddings(), "bias", None) is not None
        tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
        padding = (padded_vocabulary(vocabulary) - vocabulary) * (width * (1 if tied else 2) + biased)
        assert sum(p.numel() for p in model.parameters()) - padding == count, name


@pytest.mark.parametrize("architecture", ["t5", "bert", "roberta", "distilbert"])
def test_other_architectures_load_as_what_they_are(tmp_path, architecture):
    model = create(replace(TINY, architecture=architecture), 65, seed=0, end_of_text_id=64, pad_id=0).eval()
    save(model, tmp_path / "model")
    ours = load(tmp_path / "model").eval()
    auto = AutoModelForSeq2SeqLM if architecture == "t5" else AutoModelForMaskedLM
    theirs = auto.from_pretrained(tmp_path / "model", local_files_only=True).eval()
    ids = torch.arange(10)[None]
    fields = {"input_ids": ids, "labels": ids} if architecture == "t5" else {"input_ids": ids}
    with torch.no_grad():
        expected = model(**fields).logits
        assert torch.equal(ours(**fields).logits, expected)
        assert torch.equal(theirs(**fields).logits, expected)
    assert family_of(ours) == family_of(model) == ("seq2seq" if architecture == "t5" else "masked")


def test_an_output_layer_of_its_own_stays_one_when_a_t5_is_loaded_resized_and_saved(tmp_path):
    save(create(replace(TINY, architecture="t5"), 65, seed=0), tmp_path / "model")
    model = load(tmp_path / "model")
    old = model.lm_head.weight[:65].clone()
    resize(model, 65, [[1, 2]] * 100)
    assert model.lm_head.weight is not model.shared.weight and torch.equal(model.lm_head.weight[:65], old)
    save(model, tmp_path / "again")
    again = load(tmp_path / "again")
    assert torch.equal(again.lm_head.weight, model.lm_head.weight)
    assert not again.config.scale_decoder_outputs


def test_heads_that_no_language_model_uses_may_be_left_over(tmp_path):
    model = BertForPreTraining(
        BertConfig(vocab_size=65, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    )
    model.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert type(loaded) is BertForMaskedLM
    assert torch.equal(
        loaded.bert.embeddings.word_embeddings.weight, model.bert.embeddings.word_embeddings.weight
    )


def test_the_shape_of_a_directory_is_read_without_loading_it(tmp_path):
    for architecture in ("gpt2", "t5", "bert", "distilbert"):
        shape = replace(TINY, architecture=architecture)
        save(create(shape, 65, seed=0), tmp_path / architecture)
        found = ModelConfig.of_directory(tmp_path / architecture)
        assert (found.architecture, found.layers, found.width, found.heads) == (architecture, 2, 16, 2)
        assert found.context_length == 16
    with pytest.raises(InputError, match=r"config\.json"):
        ModelConfig.of_directory(tmp_path)


def test_unknown_sizes_and_impossible_shapes_are_refused():
    with pytest.raises(ConfigError, match="nano, gpt2, medium, large, xl, t5-nano"):
        ModelConfig.preset("huge")
    with pytest.raises(ConfigError, match=r"model\.width"):
        ModelConfig(width=10, heads=3)
    with pytest.raises(ConfigError, match=r"model\.layers"):
        ModelConfig(layers=0)
    with pytest.raises(ConfigError, match=r"model\.architecture"):
        ModelConfig(architecture="bart")
    with pytest.raises(ConfigError, match=r"model\.feed_forward"):
        ModelConfig(feed_forward=0)
    with pytest.raises(ConfigError, match="end_of_text_id"):
        create(TINY, 10, seed=0, end_of_text_id=10)


def test_weights_depend_on_the_seed_alone_and_leave_the_global_generator_as_it_was():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = create(TINY, 30, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = create(TINY, 30, seed=5), create(TINY, 30, seed=6)
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(first.transformer.wte.weight, other.transformer.wte.weight)


def test_transformers_loads_what_save_writes_and_never_emits_a_padding_row(tmp_path):
    model = create(TINY, 65, seed=0, end_of_text_id=64).eval()
    save(model, tmp_path / "model")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "model", local_files_only=True).eval()
    ids = torch.arange(10)[None]
    assert torch.equal(theirs(ids).logits, model(ids).logits)
    assert theirs.config.vocab_size == 128 and vocabulary_size(theirs) == 65
    with torch.no_grad():
        theirs.transformer.ln_f.bias.copy_(theirs.transformer.wte.weight[100] * 1000)  # favours row 100
    out = theirs.generate(ids, max_new_tokens=4, do_sample=False, attention_mask=torch.ones_like(ids))
    assert int(out.max()) < 65


def test_load_returns_the_saved_weights_and_saving_again_keeps_other_files(tmp_path):
    model = create(TINY, 30, seed=0)
    save(model, tmp_path)
    (tmp_path / "metrics.jsonl").write_text("{}")
    save(create(TINY, 30, seed=1), tmp_path)
    assert (tmp_path / "metrics.jsonl").exists()
    expected = create(TINY, 30, seed=1).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in load(tmp_path).state_dict().items())
    assert not [p for p in tmp_path.parent.iterdir() if p.name.endswith(".partial")]


def test_a_save_that_fails_leaves_the_old_model(tmp_path, monkeypatch):
    save(create(TINY, 30, seed=0), tmp_path / "m")
    before = (tmp_path / "m" / "model.safetensors").read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError):
        save(create(TINY, 30, seed=1), tmp_path / "m")
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_a_directory_without_a_model_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"config\.json"):
        load(tmp_path)


def _drop_a_weight(path: Path) -> None:
    tensors = load_file(path / "model.safetensors")
    del tensors["transformer.h.1.ln_1.weight"]
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})


def _reshape_a_weight(path: Path) -> None:
    tensors = load_file(path / "model.safetensors")
    tensors["transformer.wte.weight"] = torch.zeros(7, 16)
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})


def _fewer_layers(path: Path) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "n_layer": 1}))


def _cut_weights(path: Path) -> None:
    data = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(data[: len(data) // 2])


def _no_weights(path: Path) -> None:
    (path / "model.safetensors").unlink()


def _broken_config(path: Path) -> None:
    (path / "config.json").write_text('{"model_type": "gpt2", ')


@pytest.mark.parametrize(
    "damage",
    [_drop_a_weight, _reshape_a_weight, _fewer_layers, _cut_weights, _no_weights, _broken_config],
)
def test_damaged_models_are_refused(tmp_path, damage):
    save(create(TINY, 30, seed=0), tmp_path)
    damage(tmp_path)
    with pytest.raises(ArtifactError) as caught:
        load(tmp_path)
    assert caught.value.where == str(tmp_path) and caught.value.hint


def test_the_room_lists_its_names_and_has_no_others():
    assert {"ModelConfig", "create", "load", "save"} <= set(dir(models))
    with pytest.raises(AttributeError):
        _ = models.nothing


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError(
            "[enforce fail at inline_container.cc] . PytorchStreamWriter failed writing file data/1"
        ),
    ],
)
def test_a_full_disk_is_recognised_however_a_library_says_it(tmp_path, error):
    with pytest.raises(ResourceError, match="no space left"), staged_directory(tmp_path / "m", "a") as stage:
        (stage / "a").write_text("half")
        raise error
    assert list(tmp_path.iterdir()) == []


def _sharded(model, path: Path) -> None:
    model.save_pretrained(path, max_shard_size="20KB")
    assert (path / "model.safetensors.index.json").is_file()


def _pickled(model, path: Path) -> None:
    save(model, path)
    torch.save(load_file(path / "model.safetensors"), path / "pytorch_model.bin")
    (path / "model.safetensors").unlink()


@pytest.mark.parametrize("stored", [save, _sharded, _pickled], ids=["one", "sharded", "pickled"])
@pytest.mark.parametrize("architecture", ["gpt2", "t5", "bert"])
def test_a_model_in_bfloat16_is_the_one_in_float32_rounded(tmp_path, architecture, stored):
    model = create(replace(TINY, architecture=architecture), 65, seed=0, end_of_text_id=64, pad_id=0)
    stored(model, tmp_path)
    exact, rounded = load(tmp_path), load(tmp_path, "bfloat16")
    assert type(exact) is type(rounded) and not rounded.training
    for (name, weight), (other, short) in zip(
        exact.state_dict().items(), rounded.state_dict().items(), strict=True
    ):
        assert name == other and torch.equal(weight.to(torch.bfloat16), short), name
    tied = [m.get_output_embeddings().weight is m.get_input_embeddings().weight for m in (exact, rounded)]
    assert tied[0] == tied[1]
    if architecture != "bert":
        assert rounded.generation_config.to_dict() == exact.generation_config.to_dict()
    save(rounded, tmp_path / "short")
    for dtype in ("float32", "bfloat16"):
        again = load(tmp_path / "short", dtype)
        assert all(p.dtype == getattr(torch, dtype) for p in again.parameters())
        assert torch.equal(again.get_input_embeddings().weight.float(),
                           rounded.get_input_embeddings().weight.float())  # fmt: skip


def test_weights_that_are_missing_are_refused_in_bfloat16_too(tmp_path):
    save(create(TINY, 30, seed=0), tmp_path)
    _drop_a_weight(tmp_path)
    with pytest.raises(ArtifactError, match="1 missing weights"):
        load(tmp_path, "bfloat16")
    with pytest.raises(ConfigError, match="float32 or bfloat16"):
        load(tmp_path, "float16")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_of_another_shape_are_named(tmp_path, dtype):
    save(create(TINY, 30, seed=0), tmp_path)
    _reshape_a_weight(tmp_path)
    with pytest.raises(ArtifactError, match=r"1 mismatched weights: \S*wte.weight \(7, 16\) for \(64, 16\)"):
        load(tmp_path, dtype)


PEAK = """
import sys
from corpuskit.models.loading import load
def most():
    fields = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(fields["VmHWM"].split()[0]) * 1024
load(sys.argv[1], "bfloat16")  # imports
before = most()
load(sys.argv[2], "bfloat16")
print(most() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_weights_that_are_converted_are_not_in_memory_twice(tmp_path):
    large = replace(TINY, layers=24, width=512, heads=8)
    for name, shape in (("small", TINY), ("large", large)):
        save(create(shape, 300, seed=0), tmp_path / name)
    size = (tmp_path / "large" / "model.safetensors").stat().st_size
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path / "small"), str(tmp_path / "large")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    # Half of the file stays, with some tensors on their way; mapped and converted it was 1.5 of it.
    assert int(done.stdout) < size


def test_devices_are_checked_by_name():
    assert device_of("cpu") == torch.device("cpu")
    assert device_of("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("abacus", "cpu:x", "", *(() if torch.cuda.is_available() else ("cuda", "cuda:1"))):
        with pytest.raises(ConfigError, match="there is no device") as caught:
            device_of(name, "--device")
        assert caught.value.where == "--device" and caught.value.hint
