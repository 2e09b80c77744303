import pytest
from training_data import TOKENIZER, Interrupted, interrupt_at, losses, shape, write

from corpuskit import shards
from corpuskit.errors import ConfigError, InputError, MismatchError
from corpuskit.models.loading import load
from corpuskit.train import finetune
from corpuskit.train.archive import export_run, import_run

TINY = shape("gpt2", dropout=0.0)
TEXT = "春天来了，花开了。孩子们在河边的草地上跑，鸟在树上唱歌。\n" * 8


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    directory = tmp_path_factory.mktemp("texts") / "texts"
    (directory / ".hidden").mkdir(parents=True)
    (directory / ".hidden" / "no.txt").write_text("不读")
    (directory / "a.txt").write_bytes(TEXT.encode("gb18030"))
    (directory / "b.csv").write_text('text\n"标题，一"\n"第""二""行\n还是它"\n', encoding="utf-8")
    return directory


def run(texts, directory, **options):
    settings = dict(
        tokenizer=TOKENIZER, steps=4, sequence_length=16, learning_rate=1e-2, accumulate_gradients=2,
        sample_every=0, save_every=2, print_every=0, threads=1, checkpoint_dir=directory, device="cpu",
    )  # fmt: skip
    return finetune(texts, options.pop("model", TINY), **{**settings, **options})


@pytest.fixture(scope="module")
def whole(texts, tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole")
    run(texts, directory)
    return directory / "run1"


def test_texts_become_documents_with_their_delimiters(texts, whole):
    data = shards.open(whole / "tokens")
    assert [TOKENIZER.decode(document.tokens) for document in data] == [
        TEXT + "<|endoftext|>",
        "<|startoftext|>标题，一<|endoftext|>",
        '<|startoftext|>第"二"行\n还是它<|endoftext|>',
    ]


def test_the_same_call_finishes_what_was_interrupted_and_more_steps_go_on(texts, whole, tmp_path):
    with pytest.raises(Interrupted):
        run(texts, tmp_path, on_step=interrupt_at(3))
    assert run(texts, tmp_path).resumed_from == 2
    assert losses(tmp_path / "run1") == losses(whole)
    assert run(texts, tmp_path).resumed_from == 4, "and nothing more is done"
    longer = run(texts, tmp_path, steps=6)
    assert (longer.resumed_from, longer.steps) == (4, 6)
    run(texts, tmp_path, steps=6, run_name="at-once")
    assert losses(tmp_path / "run1") == losses(tmp_path / "at-once")


def test_an_exported_run_goes_on_elsewhere(texts, whole, tmp_path):
    export_run(whole, tmp_path / "run.tar")
    import_run(tmp_path / "run.tar", tmp_path / "run1")
    assert run(texts, tmp_path, steps=5).resumed_from == 4
    assert losses(tmp_path / "run1")[:4] == losses(whole)


@pytest.mark.parametrize("part", ["", "checkpoints/step-00000004"])
def test_a_run_may_begin_with_a_model_and_its_tokenizer(texts, whole, tmp_path, part):
    begun = run(texts, tmp_path, restore_from=whole / part, tokenizer=None, steps=1)
    assert begun.resumed_from is None
    assert begun.loss < losses(whole)[0][1] - 0.2
    as_model = run(texts, tmp_path / "other", model=whole / part, tokenizer=None, steps=1)
    assert as_model.loss == begun.loss


def test_only_the_blocks_are_trained_when_the_rest_is_frozen(texts, whole, tmp_path):
    run(texts, tmp_path, restore_from=whole, only_train_transformer_layers=True, weight_decay=0.1)
    before, after = load(whole).state_dict(), load(tmp_path / "run1").state_dict()
    for name, weight in before.items():
        assert (weight != after[name]).any() == (".h." in name), name


def test_a_fresh_run_deletes_an_old_one_only_when_told(texts, tmp_path):
    first = run(texts, tmp_path, steps=2)
    with pytest.raises(ConfigError, match="has begun already"):
        run(texts, tmp_path, restore_from="fresh")
    with pytest.raises(ConfigError, match="its own directory"):
        run(texts, tmp_path, model=tmp_path / "run1", restore_from="fresh", overwrite=True)
    again = run(texts, tmp_path, restore_from="fresh", overwrite=True, steps=2, seed=1)
    assert again.resumed_from is None and again.loss != first.loss


def test_other_texts_are_refused_once_training_has_begun(texts, tmp_path):
    (tmp_path / "a.txt").write_text(TEXT)
    run(tmp_path / "a.txt", tmp_path, steps=2)
    (tmp_path / "a.txt").write_text(TEXT * 2)
    with pytest.raises(MismatchError, match="other texts"):
        run(tmp_path / "a.txt", tmp_path, steps=2)
    run([tmp_path / "a.txt", texts / "b.csv"], tmp_path, run_name="run2", steps=1)


def test_progress_and_samples_are_printed(texts, tmp_path, capsys):
    run(texts, tmp_path, print_every=2, sample_every=4, sample_length=1023)
    lines = capsys.readouterr().out
    assert lines.count("loss=") == 2 and "[4 | " in lines and "======== SAMPLE 4 ========" in lines


def test_a_token_dataset_is_trained_on_as_it_is(tmp_path):
    data = write(tmp_path / "data")
    TOKENIZER.save(data / "tokenizer")
    assert run(data, tmp_path, tokenizer=None, steps=1).steps == 1
    assert not (tmp_path / "run1" / "tokens").exists()
    with pytest.raises(ConfigError, match="alone"):
        run([data, data], tmp_path, steps=1)


def test_short_texts_have_short_samples(tmp_path):
    (tmp_path / "a.txt").write_text("春天来了，花开了。")
    result = run(tmp_path / "a.txt", tmp_path, sequence_length=None, steps=1)
    assert result.tokens == 2 * (len("春天来了，花开了。".encode()) + 1) // 2


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"multi_gpu": True}, "no such option"),
        ({"run_name": "a/b"}, "no name of a directory"),
        ({"run_name": ".."}, "no name of a directory"),
        ({"tokenizer": None}, "no tokenizer"),
        ({"steps": 0}, "train.steps"),
        ({"sequence_length": 0}, "sequence_length: must be at least 2"),
        ({"sample_length": 0}, "sample_length: must be at least 1"),
        ({"print_every": -1}, "print_every: must be at least 0"),
        ({"save_every": -1}, "save_every: must be at least 0"),
        ({"max_checkpoints": 0}, "max_checkpoints: must be at least 1"),
        ({"accumulate_gradients": 0}, "accumulate_gradients: must be at least 1"),
        ({"restore_from": "lates"}, "restore_from: there is no model 'lates'"),
        ({"model": "medum"}, "no model size"),
        ({"model": shape("bert")}, "trains causal models"),
        ({"trained": "all"}, "no such option"),
        ({"sample_prompt": 1, "stride": 0}, "train.stride"),
    ],
)
def test_options_that_cannot_be_are_refused(texts, tmp_path, options, what):
    with pytest.raises(ConfigError, match=what):
        run(texts, tmp_path, **options)


def test_it_is_for_one_process(texts, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="one process"):
        run(texts, tmp_path)


def test_texts_that_cannot_be_read_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "binary.txt").write_bytes(b"\xff\x80\x81" * 1000)
    (tmp_path / "two.csv").write_text("一,二\n")
    for name, what in [
        ("none.txt", "no such file"),
        ("empty", "there is no file"),
        ("empty.txt", "empty"),
        ("binary.txt", "cannot be read as text"),
        ("two.csv", "2 columns"),
    ]:
        with pytest.raises(InputError, match=what):
            run(tmp_path / name, tmp_path, steps=1)
