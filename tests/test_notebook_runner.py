"""Running notebooks: parameters are refused before anything runs, results can be read back, the kernel is our own."""

import math
import sys
from pathlib import Path

import nbformat
import pandas as pd
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from groundr1 import notebooks
from groundr1.notebooks import main, project_root, record, recorded, reproduce, run_notebook
from groundr1.parameters import ParameterError, check_parameters, notebook_parameters, parse_parameters

PARAMETERS = (
    "steps = 200  # optimiser steps\nrate: float = 1e-4  # learning rate\nname = 'default'  # run folder\n"
    "fast = False  # skip figures\nlora = None  # adapter settings\nscales = [0.1, 0.3]  # edges"
)


def write_notebook(path: Path, *code: str, parameters: str = PARAMETERS) -> Path:
    cells = [new_markdown_cell("# T"), new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    cells += [new_code_cell(source) for source in code]
    path.parent.mkdir(parents=True, exist_ok=True)
    kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernelspec}), path)
    return path


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    return write_notebook(tmp_path / "notebooks" / "01_test.ipynb", "1 + 1")


def test_defaults_are_read_from_the_tagged_cell(notebook: Path):
    assert notebook_parameters(notebook) == {
        "steps": 200,
        "rate": 1e-4,
        "name": "default",
        "fast": False,
        "lora": None,
        "scales": [0.1, 0.3],
    }


@pytest.mark.parametrize(
    ("name", "text", "expected", "why"),
    [
        ("steps", "5", 5, "an integer"),
        ("rate", "3e-4", 3e-4, "YAML would read this as a text"),
        ("rate", "1", 1, "a float takes an integer"),
        ("name", "5", "5", "text stays text"),
        ("name", "none", "none", "text stays text"),
        ("fast", "true", True, "the shell's spelling"),
        ("fast", "True", True, "Python's spelling"),
        ("lora", "{'r': 8}", {"r": 8}, "a default of None takes anything"),
        ("lora", "null", None, "the shell's spelling"),
        ("lora", '{"r": 8, "fast": true}', {"r": 8, "fast": True}, "JSON"),
        ("scales", "[0.2]", [0.2], "a list"),
    ],
)
def test_command_line_values_are_read_by_the_type_of_the_default(notebook, name, text, expected, why):
    value = parse_parameters(notebook, [(name, text)])[name]
    assert value == expected and type(value) is type(expected), why


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("stepz", "5", "unknown name"),
        ("steps", "many", "text for an integer"),
        ("steps", "5.5", "float for an integer"),
        ("steps", "True", "bool is not an integer here"),
        ("fast", "1", "integer for a bool"),
        ("rate", "None", "nothing for a float"),
        ("scales", "0.1", "number for a list"),
    ],
)
def test_unknown_names_and_wrong_types_are_refused_in_one_paragraph(notebook, name, text, why):
    with pytest.raises(ParameterError) as error:
        parse_parameters(notebook, [(name, text)])
    message = str(error.value)
    assert name in message and "steps (int)" in message and "\n" not in message, why


def test_missing_notebook_and_notebook_without_parameters_name_the_file(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="absent.ipynb"):
        notebook_parameters(tmp_path / "absent.ipynb")
    with pytest.raises(ValueError, match="derived.ipynb"):
        notebook_parameters(write_notebook(tmp_path / "derived.ipynb", parameters="a = 1\nb = a + 1"))
    (tmp_path / "text.ipynb").write_text("not json")
    with pytest.raises(ValueError, match="text.ipynb is not a Jupyter notebook"):
        notebook_parameters(tmp_path / "text.ipynb")


class FakeShell:
    def __init__(self, *cells: str):
        self.user_ns = {"In": list(cells)}


@pytest.mark.parametrize(
    ("injected", "fault"),
    [("steps = 5", None), ("stepz = 5", "stepz"), ('steps = "5"', "steps"), ("rate = 1", None)],
)
def test_check_parameters_sees_what_plain_papermill_injected(monkeypatch, injected, fault):
    cells = ["", "import math", PARAMETERS, f"# Parameters\n{injected}", "check_parameters()"]
    monkeypatch.setattr("groundr1.parameters.get_ipython", lambda: FakeShell(*cells))
    if fault is None:
        check_parameters()
    else:
        with pytest.raises(ParameterError, match=f"`{fault}`"):
            check_parameters()


def test_check_parameters_outside_ipython_does_nothing(monkeypatch):
    monkeypatch.setattr("groundr1.parameters.get_ipython", lambda: None)
    check_parameters()


def test_non_finite_results_are_refused():
    with pytest.raises(ValueError, match="accuracy"):
        record(accuracy=math.nan)


def test_project_root_is_found_from_the_notebooks_folder(tmp_path: Path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert project_root() == tmp_path
    elsewhere = tmp_path / "notebooks" / "deep"
    elsewhere.mkdir()
    (tmp_path / "pyproject.toml").unlink()
    monkeypatch.chdir(elsewhere)
    assert project_root() == elsewhere


@pytest.mark.notebooks
def test_executed_copy_holds_parameters_results_and_our_own_interpreter(tmp_path: Path):
    path = write_notebook(
        tmp_path / "01_test.ipynb",
        "from groundr1.notebooks import check_parameters, record\nimport pandas as pd, sys\ncheck_parameters()",
        "record(doubled=2 * steps, python=sys.executable, table=pd.DataFrame({'a': [1.5]}, index=['x']))",
    )
    before = path.read_bytes()
    executed = run_notebook(path, tmp_path / "out", {"steps": 21})
    results = recorded(executed)
    assert results["doubled"] == 42 and results["python"] == sys.executable
    pd.testing.assert_frame_equal(results["table"], pd.DataFrame({"a": [1.5]}, index=["x"]))
    assert path.read_bytes() == before, "the source notebook is never written"
    with pytest.raises(ParameterError):
        run_notebook(path, tmp_path / "refused", {"stepz": 1})
    assert not (tmp_path / "refused").exists()
    with pytest.raises(papermill.PapermillExecutionError, match="stepz"):  # the plain papermill command
        papermill.execute_notebook(
            path, tmp_path / "plain.ipynb", {"stepz": 1}, kernel_name="python3", progress_bar=False
        )


def test_reproduce_runs_in_order_passes_the_name_and_sums_up(tmp_path: Path, monkeypatch, caplog):
    for stem in ("02_later", "01_first"):
        write_notebook(tmp_path / "notebooks" / f"{stem}.ipynb")
    write_notebook(tmp_path / "notebooks" / "03_bare.ipynb", parameters="steps = 1")
    calls = []

    def fake_run(path, out, parameters):
        calls.append((path.stem, parameters))
        return path

    monkeypatch.setattr(notebooks, "run_notebook", fake_run)
    monkeypatch.setattr(
        notebooks, "recorded", lambda path: {"accuracy": 0.8125, "table": pd.DataFrame({"a": [1]})}
    )
    monkeypatch.chdir(tmp_path)
    with caplog.at_level("INFO", logger="groundr1.notebooks"):
        summary = reproduce(name="mine")
    assert calls == [("01_first", {"name": "mine"}), ("02_later", {"name": "mine"}), ("03_bare", {})]
    assert list(summary) == ["01_first", "02_later", "03_bare"]
    assert "accuracy = 0.8125" in caplog.text and "runs/mine/notebooks" in caplog.text
    with pytest.raises(FileNotFoundError, match="repository root"):
        reproduce(tmp_path / "nowhere")


def test_command_line_reports_faults_without_a_traceback(notebook: Path, tmp_path: Path, caplog):
    arguments = ["run", str(notebook), "--out", str(tmp_path / "out"), "-p"]
    assert main([*arguments, "stepz", "5"]) == 1
    assert "has no parameter `stepz`" in caplog.text
    assert not (tmp_path / "out").exists()


@pytest.mark.notebooks
def test_command_line_runs_a_notebook_and_reports_a_failing_cell(notebook: Path, tmp_path: Path, caplog):
    assert main(["run", str(notebook), "--out", str(tmp_path / "out"), "-p", "steps", "5"]) == 0
    assert "steps = 5" in (tmp_path / "out" / notebook.name).read_text()
    failing = write_notebook(tmp_path / "02_fails.ipynb", "1 / 0")
    assert main(["run", str(failing), "--out", str(tmp_path / "out")]) == 1
    assert "ZeroDivisionError" in caplog.text
    assert (tmp_path / "out" / failing.name).is_file(), "the executed copy shows where it failed"
