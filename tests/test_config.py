"""TrainConfig: wrong fields are named with their fix, before anything is loaded."""

import dataclasses
from pathlib import Path

import pytest

from groundr1.config import RESERVED, TrainConfig
from groundr1.srpo_config import ADVANTAGES, SRPOConfig

CASES = [
    ({"learning_rat": 1e-4}, "'learning_rat' is no field.*did you mean 'learning_rate'"),
    ({"zzzz": 1}, "'zzzz' is no field.*known are name, runs"),
    ({"steps": "200"}, "steps='200' is a str, but must be int"),
    ({"steps": 2.5}, "steps=2.5 is a float"),
    ({"steps": True}, "steps=True is a bool"),
    ({"steps": 0}, "steps=0 must be 1 or more"),
    ({"learning_rate": "1e-4"}, "must be float .write 1.0e-4: YAML reads 1e-4 as text"),
    ({"lora": [1]}, r"lora=\[1\] is a list, but must be dict or null"),
    ({"beta": -0.1}, "beta=-0.1 must not be negative"),
    ({"temperature": 0}, "temperature=0.0 must be above 0"),
    ({"advantage": "ppo"}, "advantage='ppo' is none of 'srpo'"),
    ({"dtype": "int8"}, "dtype='int8' is none of"),
    ({"data": {}}, "either 'scenes'.*or 'path'"),
    ({"data": {"scenes": 3, "path": "x"}}, "either 'scenes'.*or 'path'"),
    (
        {"save_every": 3, "generations_reused_for": 2},
        "save_every=3 is not a multiple of generations_reused_for=2",
    ),
    ({"trainer": {"max_steps": 3}}, "'max_steps'.* is set by steps"),
    ({"trainer": {"seed": 3}}, "seed is a field of its own"),
    ({"micro_batch_size": 0}, "micro_batch_size=0"),
    ({"min_pixels": 0}, "min_pixels=0 must be 1 or more"),
    ({"max_pixels": -4}, "max_pixels=-4 must be 1 or more"),
    ({"data": {"scenes": 3, "sed": 1}}, "'sed' does not go with 'scenes'; known are scenes, seed"),
    ({"data": {"scenes": 3}}, "needs 'seed', a whole number"),
    ({"data": {"scenes": "ten", "seed": 1}}, "needs 'scenes', a whole number"),
    ({"data": {"path": "x", "seed": 1}}, "'seed' does not go with 'path'"),
    ({"data": {"path": "x", "balance": "yes"}}, "'balance' must be true or false, or how many rows"),
    ({"data": {"path": "x", "balance": 0}}, "'balance' must be true or false, or how many rows"),
    ({"data": {"scenes": 3, "seed": 1, "balance": True}}, "'balance' does not go with 'scenes'"),
]


@pytest.mark.parametrize(("changes", "words"), CASES, ids=[str(changes) for changes, _ in CASES])
def test_a_wrong_field_is_named(changes, words) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        TrainConfig.from_mapping({"name": "run", **changes})
    assert "\n" not in str(caught.value)


def test_whole_numbers_may_stand_for_floats() -> None:
    assert TrainConfig(name="run", beta=1).beta == 1.0
    assert isinstance(TrainConfig(name="run", beta=1).beta, float)


def test_a_name_is_needed_and_a_config_is_itself() -> None:
    with pytest.raises(ValueError, match="needs a 'name'"):
        TrainConfig.from_mapping({})
    config = TrainConfig(name="run", num_groundings=3, num_answers=2)
    assert TrainConfig.from_mapping(config) is config
    assert config.group_size == 6
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.steps = 3


def test_yaml_is_read_and_its_errors_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("name: run\nsteps: 3\ndata: {scenes: 20, seed: 1}\nlearning_rate: 1.0e-5\n")
    assert TrainConfig.from_yaml(path) == TrainConfig(
        name="run", steps=3, data={"scenes": 20, "seed": 1}, learning_rate=1e-5
    )
    for text, words in [
        ("name: [", "is not YAML"),
        ("- a", "holds no 'field: value'"),
        ("", "holds no"),
        ("nam: x", "'nam'"),
    ]:
        path.write_text(text)
        with pytest.raises(ValueError, match=words) as caught:
            TrainConfig.from_yaml(path)
        assert "run.yaml" in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="nowhere.yaml"):
        TrainConfig.from_yaml(tmp_path / "nowhere.yaml")


def test_fields_agree_with_the_trainers() -> None:
    assert {each.name for each in dataclasses.fields(SRPOConfig)} >= set(RESERVED)
    assert all(TrainConfig(name="run", advantage=advantage) for advantage in ADVANTAGES)
    text = TrainConfig.describe_fields()
    for each in dataclasses.fields(TrainConfig):
        assert f"\n{each.name} (" in f"\n{text}" and each.metadata["help"] in text
