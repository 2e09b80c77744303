"""The windows in other people's loops: each shown to read what it should and to go on where it stopped."""

from __future__ import annotations

import numpy as np
import pytest

from corpuskit import shards
from corpuskit.errors import ConfigError

torch = pytest.importorskip("torch")

LENGTH = 16  # 1,000 tokens are 62 windows


def dataset(directory, fields=("labels",)):
    from corpuskit.shards.torch import MapDataset

    return MapDataset(shards.open(directory).windows(LENGTH), fields)


def window_numbers(batches):
    rows = np.concatenate([np.asarray(batch["input_ids"]) for batch in batches])
    assert np.array_equal(rows, rows[:, :1] + np.arange(LENGTH))
    return (rows[:, 0] // LENGTH).tolist()


def test_a_map_dataset_gives_ids_and_labels(numbered):
    data = dataset(numbered, ("labels", "position_ids", "segment_ids"))
    sample = data[3]
    assert len(data) == 62 and sample["input_ids"].tolist() == list(range(48, 64))
    assert sample["input_ids"].dtype == sample["labels"].dtype == torch.int64
    known = sample["labels"] != -100
    assert torch.equal(sample["labels"][known], sample["input_ids"][known])
    assert data[-1]["input_ids"][0] == 61 * 16
    for index in (62, -63):
        with pytest.raises(IndexError):
            data[index]
    with pytest.raises(ConfigError, match="cu_seqlens"):
        dataset(numbered, ("cu_seqlens",))


@pytest.mark.parametrize("workers", [0, 1])
def test_torch_data_loader(numbered, workers):
    loader = torch.utils.data.DataLoader(dataset(numbered), batch_size=5, num_workers=workers)
    assert window_numbers(loader) == list(range(62))


def test_stateful_data_loader_goes_on_in_the_middle_of_an_epoch(numbered):
    stateful = pytest.importorskip("torchdata.stateful_dataloader")

    def make():
        generator = torch.Generator().manual_seed(1)
        sampler = torch.utils.data.RandomSampler(range(62), generator=generator)
        return stateful.StatefulDataLoader(dataset(numbered), batch_size=5, sampler=sampler)

    loader = make()
    batches = iter(loader)
    first = [next(batches) for _ in range(4)]
    state = loader.state_dict()
    rest = list(batches)
    resumed = make()
    resumed.load_state_dict(state)
    assert window_numbers(resumed) == window_numbers(rest)
    assert sorted(window_numbers(first + rest)) == list(range(62))


def test_hugging_face_trainer(numbered, tmp_path):
    """A run that is stopped after two of four steps and resumed ends with the weights of one in one go."""
    pytest.importorskip("accelerate")
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=1000, n_positions=LENGTH, n_embd=8, n_layer=1, n_head=1,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip

    def weights(output, resume, steps):
        torch.manual_seed(0)
        arguments = transformers.TrainingArguments(
            str(tmp_path / output), max_steps=steps, per_device_train_batch_size=4, save_steps=2, seed=3,
            lr_scheduler_type="constant", report_to=[], use_cpu=True, disable_tqdm=True,
        )  # fmt: skip
        trainer = transformers.Trainer(
            transformers.GPT2LMHeadModel(config), arguments, train_dataset=dataset(numbered)
        )
        trainer.train(resume_from_checkpoint=resume)
        return torch.cat([parameter.detach().reshape(-1) for parameter in trainer.model.parameters()])

    whole = weights("whole", None, 4)
    weights("parts", None, 2)
    assert torch.equal(weights("parts", True, 4), whole)


def test_lightning(numbered, tmp_path):
    lightning = pytest.importorskip("lightning")
    seen = []

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Embedding(1000, 1)

        def training_step(self, batch, number):
            seen.append(batch)
            return self.layer(batch["input_ids"]).mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(Model(), torch.utils.data.DataLoader(dataset(numbered), batch_size=5, shuffle=True))
    assert sorted(window_numbers(seen)) == list(range(62))


def test_grain_goes_on_in_the_middle_of_an_epoch(numbered):
    grain = pytest.importorskip("grain")
    windows = shards.open(numbered).windows(LENGTH)
    batches = iter(grain.MapDataset.source(windows).shuffle(seed=1).batch(5).to_iter_dataset())
    first = [next(batches) for _ in range(4)]
    state = batches.get_state()
    rest = list(batches)
    batches.set_state(state)
    again = list(batches)
    assert all(np.array_equal(a, b) for a, b in zip(again, rest, strict=True))
    numbers = np.concatenate(first + rest)[:, 0] // LENGTH
    assert sorted(numbers.tolist()) == list(range(62))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_tensors_are_the_arrays_of_the_numpy_loader_at_every_step(numbered, world_size, workers):
    data = shards.open(numbered)
    options = {"seed": 5, "fields": ("cu_seqlens", "segment_ids"), "cu_seqlens_size": 40}
    options.update(rank=world_size - 1, world_size=world_size)
    expected = data.loader(LENGTH, 3, framework="numpy", **options)
    with data.loader(LENGTH, 3, workers=workers, **options) as loader:
        for _ in range(8):
            state = loader.state_dict()
            batch, arrays = next(loader), next(expected)
            assert set(batch) == set(arrays)
            for name, array in arrays.items():
                assert isinstance(batch[name], torch.Tensor) and np.array_equal(batch[name].numpy(), array)
            loader.load_state_dict(state)
            assert torch.equal(next(loader)["input_ids"], batch["input_ids"])
