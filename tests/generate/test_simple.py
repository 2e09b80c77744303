import os
import re

import pytest
from small_models import TOKENIZER, lively_model

from corpuskit.errors import ConfigError, InputError
from corpuskit.generate import Generator
from corpuskit.generate.simple import generate, generate_to_file
from corpuskit.models import save


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    directory = tmp_path_factory.mktemp("checkpoint")
    save(lively_model(), directory / "run1", TOKENIZER)
    return directory


def test_texts_are_those_of_the_generator(checkpoints):
    texts = generate(
        checkpoint_dir=checkpoints, prefix="ab", length=10, nsamples=3, batch_size=2, return_as_list=True
    )
    assert texts == Generator.load(checkpoints / "run1").generate("ab", 10, num_samples=3)
    bare = generate(
        checkpoint_dir=checkpoints, prefix="ab", include_prefix=False, length=10, nsamples=3, seed=0,
        return_as_list=True,
    )  # fmt: skip
    assert ["ab" + text for text in bare] == texts


def test_texts_are_truncated_at_a_string_or_a_pattern(checkpoints):
    def write(**options):
        return generate(
            checkpoint_dir=checkpoints, prefix="a.", length=20, temperature=0, return_as_list=True, **options
        )[0]

    whole = write()
    mark = whole[6:8]
    assert write(truncate=mark) == "a." + whole[2:].split(mark)[0]
    assert write(truncate=".") == "a." + whole[2:].split(".")[0]
    assert write(truncate=re.compile(".")) == "a."
    assert write(truncate=re.compile("."), include_prefix=False) == ""


def test_an_empty_string_truncates_nothing(checkpoints):
    options = {"checkpoint_dir": checkpoints, "length": 5, "return_as_list": True}
    assert generate(truncate="", **options) == generate(**options)


def test_a_destination_that_cannot_be_written_is_refused_before_the_work(checkpoints, tmp_path):
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path, tmp_path / "file" / "below", tmp_path / "pipe"):
        with pytest.raises(InputError, match="cannot be written") as caught:
            generate_to_file("no run", checkpoints, destination_path=place)
        assert caught.value.where == str(place) and caught.value.hint


def test_texts_are_printed_with_the_delimiter_after_each(checkpoints, capsys):
    texts = generate(checkpoint_dir=checkpoints, length=5, nsamples=2, return_as_list=True)
    assert generate(checkpoint_dir=checkpoints, length=5, nsamples=2) is None
    assert capsys.readouterr().out == "".join(f"{text}\n====================\n" for text in texts)


def test_texts_go_to_a_file(checkpoints, tmp_path):
    path = generate_to_file(
        checkpoint_dir=checkpoints,
        destination_path=tmp_path / "texts.txt",
        length=5,
        nsamples=2,
        sample_delim="--\n",
    )
    texts = generate(checkpoint_dir=checkpoints, length=5, nsamples=2, return_as_list=True)
    assert path.read_text(encoding="utf-8") == "".join(f"{text}\n--\n" for text in texts)


def test_unknown_options_and_missing_runs_are_refused(checkpoints):
    with pytest.raises(ConfigError, match="nsample"):
        generate(checkpoint_dir=checkpoints, nsample=3)
    for name, value in (("nsamples", 0), ("length", 0), ("prefix", 3), ("top_p", 2)):
        with pytest.raises(ConfigError) as caught:
            generate(checkpoint_dir=checkpoints, **{name: value})
        assert caught.value.where == name
    with pytest.raises(InputError, match="run2"):
        generate("run2", checkpoints)
