"""What `train` builds from a configuration; and its command line, as far as it goes without training."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import small_model
import torch
from datasets import Dataset
from datasets import Image as DatasetImage

from groundr1.config import TrainConfig
from groundr1.data import EXAMPLE_FEATURES, make_scenes
from groundr1.data.balance import scale_distribution
from groundr1.data.collect import save_rows
from groundr1.data.validation import validate
from groundr1.train import main
from groundr1.training import load_training_data, parameters_of, trainer_settings, with_encoded_pictures
from tests.small_training_set import write_plain


def config(**changes) -> TrainConfig:
    return TrainConfig(name="run", **changes)


def test_data_sets_of_every_form_are_read(tmp_path: Path) -> None:
    rows = small_model.examples(9)
    Dataset.from_list(rows, features=EXAMPLE_FEATURES).save_to_disk(tmp_path / "saved")
    assert len(load_training_data(config(data={"path": str(tmp_path / "saved")}))) == 9
    lines = []
    for row in rows:
        row["image"].save(tmp_path / f"{row['id']}.png")
        lines.append(json.dumps({**row, "image": f"{row['id']}.png"}))
    jsonl = tmp_path / "rows.jsonl"
    jsonl.write_text("\n".join([*lines, "not json"]))
    data = {"path": str(jsonl), "image_root": str(tmp_path)}
    dataset = load_training_data(config(data=data))
    assert len(dataset) == 9 and dataset[0]["question"] == rows[0]["question"]
    scenes = load_training_data(config(data={"scenes": 8, "seed": 3, "progress": False}))
    assert scenes.features == EXAMPLE_FEATURES
    with pytest.raises(ValueError, match="has 9 usable rows, fewer than prompts_per_step=10"):
        load_training_data(config(data=data, prompts_per_step=10))
    with pytest.raises(FileNotFoundError, match="There is no /nowhere; download it"):
        load_training_data(config(data={"path": "/nowhere"}))
    with pytest.raises(ValueError, match="format='csv' is none of jsonl, viscot"):
        load_training_data(config(data={"path": str(jsonl), "format": "csv"}))
    with pytest.raises(ValueError, match="need an 'image_root'"):
        load_training_data(config(data={"path": str(jsonl)}))


def test_regression_a_folder_needs_no_image_root_and_may_have_one(tmp_path: Path) -> None:
    """It was looked for as an annotation file: "There is no annotation file pd/v; download it"."""
    source = write_plain(tmp_path / "files", 9)
    options = {"image_root": source["image_root"], "progress": False}
    found = validate(source["path"], tmp_path / "validated", **options)
    for folder in (tmp_path / "validated", tmp_path / "saved"):
        for more in ({}, {"image_root": source["image_root"]}):
            save_rows(found.dataset, tmp_path / "saved")
            dataset = load_training_data(config(data={"path": str(folder), **more}))
            assert dataset["id"][:] == found.dataset["id"][:]


def test_several_files_are_one_data_set(tmp_path: Path) -> None:
    a, b = write_plain(tmp_path / "a", 5), write_plain(tmp_path / "b", 5)
    Path(b["path"]).rename(tmp_path / "a" / "more.jsonl")
    data = {**a, "path": [a["path"], str(tmp_path / "a" / "more.jsonl")]}
    ids = load_training_data(config(data=data))["id"]
    assert ids[:] == [f"{stem}-{line}" for stem in ("questions", "more") for line in range(1, 6)]
    with pytest.raises(ValueError, match="id 'questions-1' stands in several of .*validate them together"):
        load_training_data(config(data={**a, "path": [a["path"], a["path"]]}))


@pytest.mark.parametrize("path", [[], 3, [3], {}, ["a.jsonl", None]])
def test_a_path_that_is_none_is_named(path: object) -> None:
    with pytest.raises(ValueError, match=re.escape(f"path={path!r} must be a file, a list of files, or")):
        load_training_data(config(data={"path": path, "image_root": "."}))


def test_data_are_balanced_by_scale_when_asked(tmp_path: Path) -> None:
    scenes = make_scenes(60, seed=0, progress=False)
    scenes.save_to_disk(tmp_path / "saved")
    data = {"path": str(tmp_path / "saved"), "balance": True}
    balanced = load_training_data(config(data=data))
    count, *others = scale_distribution(balanced)["count"].tolist()[:3]
    assert others == [count, count] and len(set(balanced["id"])) == 3 * count == len(balanced)
    assert count == scale_distribution(scenes)["count"][:3].min()
    assert load_training_data(config(data=data))["id"][:] == balanced["id"][:], "resuming sees the same rows"
    assert load_training_data(config(data=data, seed=5))["id"][:] != balanced["id"][:]
    assert len(load_training_data(config(data={**data, "balance": False}))) == 60
    assert len(load_training_data(config(data={**data, "balance": 100}))) == 100, "rare scales repeat"


# micro_batch_size, processes -> trajectories a forward, forwards a step; a step has 8 * 8 = 64 trajectories.
SHARES = [(None, 1, 64, 1), (16, 1, 16, 4), (None, 4, 16, 1), (4, 8, 4, 2)]


@pytest.mark.parametrize(("micro", "processes", "batch", "accumulation"), SHARES)
def test_a_step_is_shared_out(tmp_path, micro, processes, batch, accumulation, monkeypatch) -> None:
    from groundr1.srpo_config import SRPOConfig

    monkeypatch.setattr(SRPOConfig, "world_size", processes)
    args = trainer_settings(config(micro_batch_size=micro), tmp_path, torch.float32, processes)
    assert (args.per_device_train_batch_size, args.gradient_accumulation_steps) == (batch, accumulation)
    assert args.generation_batch_size == 64
    assert not args.bf16 and args.max_completion_length == 2 * 32


def test_uneven_shares_are_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match="prompts_per_step=8 cannot be shared out to 3 processes"):
        trainer_settings(config(), tmp_path, torch.float32, 3)
    with pytest.raises(ValueError, match="micro_batch_size=7 does not divide the 64"):
        trainer_settings(config(micro_batch_size=7), tmp_path, torch.float32, 1)


def test_further_trainer_fields_are_passed_on(tmp_path) -> None:
    args = trainer_settings(
        config(trainer={"max_grad_norm": 5.0, "epsilon": 0.1}), tmp_path, torch.bfloat16, 1
    )
    assert (args.max_grad_norm, args.epsilon, args.bf16) == (5.0, 0.1, True)


def test_parameters_are_what_shapes_the_numbers() -> None:
    assert parameters_of(config()) == parameters_of(
        config(runs="elsewhere", report_to="wandb", save_every=50)
    )
    assert parameters_of(config()) != parameters_of(config(seed=1))
    json.dumps(parameters_of(config()))


def test_pictures_stay_encoded_until_they_are_needed() -> None:
    dataset = Dataset.from_list(small_model.examples(2), features=EXAMPLE_FEATURES)
    encoded = with_encoded_pictures({"eval": dataset})["eval"]
    assert encoded.features["image"] == DatasetImage(decode=False)
    assert set(encoded[0]["image"]) == {"bytes", "path"}
    assert with_encoded_pictures(None) is None


def test_help_explains_every_field(capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert "accelerate launch" in shown or "num_groundings (4): G1" in shown
    example = re.search(r"example:\n(.*)", shown, re.DOTALL)[1]
    assert "name: srpo-tiny" in example


def test_command_line_answers_bad_input_in_one_paragraph(tmp_path: Path, capsys) -> None:
    path = tmp_path / "run.yaml"
    for text, words in [
        ("name: run\nsteps: many", "steps='many'"),
        ("name: a/b", "a/b"),
        (None, "There is no training"),
    ]:
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(f"{text}\nruns: {tmp_path}/runs")
        with pytest.raises(SystemExit) as caught:
            main([str(path)])
        error = capsys.readouterr().err
        assert caught.value.code == 2 and words in error and error.count("\n") == 1
    path.write_text(f"name: run\nruns: {tmp_path}/runs\nmodel: {tmp_path}/nowhere")
    with pytest.raises(SystemExit):
        main([str(path)])
    assert "nowhere" in capsys.readouterr().err
    assert not (tmp_path / "runs" / "run").exists(), (
        "a run with a wrong model leaves nothing that refuses the right one"
    )


def test_help_needs_no_torch() -> None:
    """A slip in a configuration shows in a moment, not after everything was imported."""
    code = (
        "import sys; from groundr1.train import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'trl'} & set(sys.modules)"
    )
    folder = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=os.environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
