import pytest

from corpuskit.errors import ConfigError, InputError
from corpuskit.pipeline.recipe import load_recipe, parse_recipe
from corpuskit.pipeline.yaml12 import load_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4), ("no", "no"), ("on", "on"), ("true", True), ("False", False), ("~", None), ("", None),
        ("32_000", 32000), ("010", 10), ("0x10", 16), ("0o17", 15), ("2021-01-01", "2021-01-01"),
        (".5", 0.5), ("1.", 1.0), ("-3", -3), (".inf", float("inf")), ("1:30", "1:30"),
    ],
)  # fmt: skip
def test_scalars_follow_yaml_1_2(text, value):
    assert load_yaml(f"a: {text}")["a"] == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "line 2, column 1.*twice"),
        ("a: [1", "line 1.*not valid YAML"),
        ("a: !!python/object:os.system x", "not valid YAML"),
        ("a: &x 1\nb: *y", "undefined alias"),
    ],
)
def test_yaml_errors_say_where(text, message):
    with pytest.raises(ConfigError, match=message):
        load_yaml(text)


MINIMAL = {"input": {"paths": ["x"]}}


def test_a_minimal_recipe_has_working_defaults():
    recipe = parse_recipe(MINIMAL)
    assert recipe.deduplicate.near.bands == 14
    assert recipe.shards is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": {}}, r"inputs: unknown key; did you mean 'input'\?"),
        ({"input": {"paths": []}}, r"input\.paths"),
        ({"input": {}}, r"input\.paths: this field is required"),
        ({"input": {"paths": "x"}}, r"input\.paths"),
        ({"input": {"paths": ["x"], "limit": 0}}, r"input\.limit.*greater than or equal to 1"),
        ({"input": {"paths": ["x"], "options": {"batchrows": 3}}}, r"input\.options\.batchrows: unknown key"),
        ({"seed": "7"}, r"seed.*valid integer"),
        ({"seed": 1.5}, r"seed"),
        ({"dropped_text": "some"}, r"dropped_text.*'full', 'sample' or 'none'"),
        ({"clean": {"preset": "zh-wob"}}, r"clean.*zh-web"),
        ({"clean": {"preset": "zh-web", "min_charactrs": 3}}, r"clean.*min_charac"),
        ({"deduplicate": {"near": {"bands": 0}}}, r"deduplicate\.near\.bands: 0 is not between"),
        ({"deduplicate": {"near": {"band": 3}}}, r"near\.band: unknown key; did you mean 'bands'"),
        ({"deduplicate": {"near": {"scheme": "sha"}}}, r"deduplicate\.near\.scheme"),
        ({"vocabularies": [{"name": "a", "algorithm": "bpe"}]}, r"vocab_size"),
        ({"vocabularies": [{"name": "a", "vocab_size": 999, "vocabsize": 1}]}, r"vocabsize: unknown key"),
        ({"vocabularies": [{"name": "a", "algorithm": "bpe", "vocab_size": 9999}] * 2}, r"appear twice"),
        ({"shards": {"tokenizer": "nowhere"}}, r"shards\.tokenizer"),
        ({"train": {"steps": 3}}, r"train.*needs the section 'shards'"),
        ({"train": {"stepps": 3}}, r"train\.stepps: unknown key; did you mean 'steps'"),
        ({"train": {"steps": 0}}, r"train\.steps: must be"),
        ({"generate": {"top_p": 2}}, r"generate\.top_p"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_refused_by_its_path(change, message):
    with pytest.raises(ConfigError, match=message):
        parse_recipe({**MINIMAL, **change})


def test_every_wrong_field_is_named_at_once():
    with pytest.raises(ConfigError) as caught:
        parse_recipe({"input": {"paths": ["x"], "limmit": 3}, "sead": 1, "seed": -1})
    assert all(name in caught.value.what for name in ("input.limmit", "sead", "seed"))
    assert caught.value.what.startswith("3 fields")


def test_overrides_take_yaml_values_and_make_sections(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("input:\n  paths: [x]\nvocabularies:\n  - {name: a, algorithm: bpe, vocab_size: 500}\n")
    recipe = load_recipe(
        path, ["seed=3", "deduplicate.near=null", "vocabularies.0.vocab_size=1_000", "input.limit=5"]
    )
    assert (recipe.seed, recipe.deduplicate.near, recipe.input.limit) == (3, None, 5)
    assert recipe.vocabularies[0].vocab_size == 1000


@pytest.mark.parametrize("override", ["seed", "=3", "seed.x=3", "a..b=1", "vocabularies.7.name=x"])
def test_an_override_that_cannot_be_applied_is_refused(tmp_path, override):
    path = tmp_path / "recipe.yaml"
    path.write_text("input: {paths: [x]}\nseed: 1\nvocabularies: []\n")
    with pytest.raises(ConfigError):
        load_recipe(path, [override])


def test_a_missing_recipe_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_recipe(tmp_path / "none.yaml")


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_a_recipe_that_is_not_a_mapping_names_the_sections(data):
    with pytest.raises(ConfigError, match="sections: output, input, clean"):
        parse_recipe(data)
