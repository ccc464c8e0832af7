"""The notebooks: what each must look like (static), and that each runs under papermill (marker `notebooks`)."""

import ast
import math
import re
from pathlib import Path

import nbformat
import pandas as pd
import papermill
import pytest
from small_benchmarks import LABELS, write_data_root
from small_training_set import (
    HELDOUT_FAULTS,
    NUM_HELDOUT,
    NUM_TRAIN,
    TRAIN_FAULTS,
    write_training_set,
)

from groundr1.notebooks import recorded, run_notebook
from groundr1.parameters import notebook_parameters

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAX_CELLS = 40
MAX_LINES = 12
SHELL_LINE = re.compile(r"^\s*[!%]", re.MULTILINE)

# Parameters with which each notebook finishes in seconds; they read what the earlier ones wrote.
SMOKE: dict[str, dict[str, object]] = {
    "01_data_preparation": {
        "train_data": {"scenes": 24, "seed": 1},
        "heldout_data": {"scenes": 9, "seed": 1, "split": "heldout"},
        "num_shown": 3,
    },
    "02_training": {"steps": 2, "prompts_per_step": 2, "num_groundings": 2, "save_every": 1, "window": 1},
    "03_training_curves": {"window": 1},
    "04_scale_bias": {"window": 1, "points": 1},
    "05_benchmarks": {"batch_size": 8},
}

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_numbers_are_contiguous_from_one():
    assert [path.name[:3] for path in NOTEBOOKS] == [f"0{number}_" for number in range(1, len(NOTEBOOKS) + 1)]


@each_notebook
def test_is_valid_and_small(path: Path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert len(notebook.cells) <= MAX_CELLS
    for cell in code_cells(path):
        lines = [
            line for line in cell.source.splitlines() if line.strip() and not line.lstrip().startswith("#")
        ]
        limit = 2 * MAX_LINES if "parameters" in cell.metadata.get("tags", []) else MAX_LINES
        assert len(lines) <= limit, f"{len(lines)} lines in the cell that starts {lines[0]!r}"


@each_notebook
def test_is_committed_without_outputs_and_with_the_plain_kernel(path: Path):
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata.kernelspec.name == "python3"
    assert not [cell.source for cell in code_cells(path) if cell.outputs or cell.execution_count is not None]


@each_notebook
def test_opens_by_saying_what_it_asks_reads_writes_and_costs(path: Path):
    first = nbformat.read(path, as_version=4).cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    for word in ("question", "inputs", "outputs", "running time"):
        assert word in first.source.lower(), f"cell 0 does not state: {word}"


@each_notebook
def test_has_one_parameters_cell_of_commented_literals_that_is_checked(path: Path):
    cells = code_cells(path)
    tagged = [number for number, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert notebook_parameters(path), "the parameters cell must assign literals only"
    source = cells[tagged[0]].source
    assert not source.startswith("# Parameters"), "that line marks the cell that papermill injects"
    starts = [line for line in source.splitlines() if re.match(r"\w+( *:.*)? *= ", line)]
    assert all("#" in line for line in starts), "each parameter has a comment with its meaning and unit"
    assert "check_parameters()" in cells[tagged[0] + 1].source


@each_notebook
def test_holds_no_logic_of_its_own(path: Path):
    for cell in code_cells(path):
        assert not SHELL_LINE.search(cell.source), f"shell or magic line in: {cell.source[:80]}"
        tree = ast.parse(cell.source)
        banned = (
            ast.FunctionDef,
            ast.AsyncFunctionDef,
            ast.ClassDef,
            ast.While,
            ast.Try,
            ast.Lambda,
            ast.Global,
        )
        assert not [node for node in ast.walk(tree) if isinstance(node, banned)], cell.source
        for loop in [node for node in ast.walk(tree) if isinstance(node, ast.For)]:
            calls = {
                node.func.attr
                for node in ast.walk(loop)
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            }
            assert not calls & {"backward", "step", "zero_grad"}, f"a loop that trains: {cell.source}"
        assert "sys.path" not in cell.source and ".savefig(" not in cell.source, cell.source


@each_notebook
def test_mentions_no_absolute_path(path: Path):
    for cell in nbformat.read(path, as_version=4).cells:
        assert not re.search(r"""(?:^|[\s"'(])(?:/(?:home|mnt|data|root|tmp|work)|~)/""", cell.source), (
            cell.source
        )


@each_notebook
def test_code_is_explained(path: Path):
    kinds = "".join(
        "c" if cell.cell_type == "code" else "m" for cell in nbformat.read(path, as_version=4).cells
    )
    body = kinds[kinds.index("c") :].lstrip("c")  # imports, parameters and setup stand together at the top
    assert "cccc" not in body, "more than three code cells in a row without a word"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all notebooks, in which they run in order."""
    return tmp_path_factory.mktemp("notebooks")


def declared_outputs(path: Path) -> list[str]:
    """Paths that cell 0 states under Outputs, as glob patterns: `runs/<name>/<arm>` is runs/default/*."""
    text = nbformat.read(path, as_version=4).cells[0].source
    outputs = text.partition("**Outputs.**")[2].partition("\n\n")[0]
    patterns = [
        each.replace("<name>", "default") for each in re.findall(r"`((?:runs|figures)/[^`]+)`", outputs)
    ]
    return [re.sub(r"<[^>]+>", "*", pattern).rstrip("/") for pattern in patterns]


@pytest.mark.notebooks
@each_notebook
def test_runs_with_smoke_parameters_and_records_results(path: Path, workplace: Path):
    folders = {"runs": str(workplace / "runs"), "figures": str(workplace / "figures")}
    parameters = {name: folder for name, folder in folders.items() if name in notebook_parameters(path)}
    executed = run_notebook(path, workplace / "executed", parameters | SMOKE[path.stem])
    results = recorded(executed)
    numbers = {name: value for name, value in results.items() if isinstance(value, int | float)}
    assert numbers and all(math.isfinite(value) for value in numbers.values())
    patterns = declared_outputs(path)
    assert patterns
    for pattern in patterns:
        for suffix in (".png", ".csv") if pattern.startswith("figures/") else ("",):
            assert list(workplace.glob(pattern + suffix)), (
                f"{pattern}{suffix} is declared and was not written"
            )
    streams = [
        output for cell in code_cells(executed) for output in cell.outputs if output.output_type == "stream"
    ]
    assert not [stream.text for stream in streams if "Traceback" in stream.text]


@pytest.mark.notebooks
def test_01_takes_a_training_set_from_its_files(tmp_path: Path):
    """Rows in the form of Visual-CoT, some of them bad: all are accounted for, and the scales balanced."""
    sources = write_training_set(tmp_path / "files")
    parameters = {
        "runs": str(tmp_path / "runs"),
        "figures": str(tmp_path / "figures"),
        "train_data": sources["train"] | {"balance": True},
        "heldout_data": sources["heldout"],
        "num_shown": 3,
    }
    executed = run_notebook(ROOT / "notebooks/01_data_preparation.ipynb", tmp_path / "executed", parameters)
    results = recorded(executed)
    kept, faults = results["kept"], results["set_aside"]
    assert kept.loc["train", ["read", "set aside", "in another split", "kept", "look alike", "used"]].tolist() == [
        NUM_TRAIN + 10, 10, 2, NUM_TRAIN, 1, 12,
    ]  # fmt: skip
    assert kept.loc["heldout", ["read", "set aside", "used"]].tolist() == [NUM_HELDOUT + 1, 1, NUM_HELDOUT]
    assert faults["train"].loc[list(TRAIN_FAULTS)].to_dict() == TRAIN_FAULTS
    assert faults["heldout"].loc[list(HELDOUT_FAULTS)].to_dict() == HELDOUT_FAULTS
    assert results["num_train"] == 12 and results["share_small_train"] == pytest.approx(1 / 3)
    after = pd.read_csv(tmp_path / "figures/scales_train.csv").query("data == 'after'")
    assert after["count"].tolist() == [4, 4, 4, 0]
    worst = pd.read_csv(tmp_path / "figures/worst_train.csv")
    assert "box outside" in set(worst["kind"]) and (tmp_path / "figures/worst_heldout.png").is_file()
    assert (tmp_path / "runs/default/validated/train/report.html").is_file()
    assert "From those kept, 12 were drawn" in (tmp_path / "runs/default/data/README.md").read_text()


@pytest.mark.notebooks
def test_benchmarks_under_a_data_root(workplace: Path):
    """Notebook 05 once more, behind the others, with a handful of rows of five benchmarks."""
    if not (workplace / "runs/default/srpo/model").is_dir():
        pytest.skip("notebooks 01 and 02 have not been run before this one")
    folders = {"runs": str(workplace / "runs"), "figures": str(workplace / "figures")}
    data = {"data_root": str(write_data_root(workplace / "data")), "benchmark_batch_size": 8}
    executed = run_notebook(
        ROOT / "notebooks/05_benchmarks.ipynb", workplace / "with_benchmarks", {**folders, **data}
    )
    scores = recorded(executed)["benchmark_scores"]
    titles = {"Visual-CoT", "POPE", "HR-Bench 4K", "RefCOCO/+/g"}  # MME's total needs all of its subtasks
    assert set(scores["benchmark"]) == titles and set(scores["model"]) == {"base", "GRPO", "SRPO"}
    for label in LABELS:
        assert (workplace / f"figures/gallery_{label}.png").is_file()
        assert (workplace / f"runs/default/evaluation/SRPO/{label}/report.json").is_file()
    assert (workplace / "figures/accuracy_by_scale_viscot.csv").is_file()
    table = pd.read_csv(workplace / "runs/default/evaluation/comparison.csv")
    assert set(table["benchmark"]) > titles | {"held-out scenes", "MME"}, "and what only the paper has"
    pages = [
        output["data"]["text/html"]
        for cell in code_cells(executed)
        for output in cell.outputs
        if "text/html" in output.get("data", {})
    ]
    viewers = [page for page in pages if "groundr1-static" in page]
    assert len(viewers) == 1 + len(LABELS) and all("data:image/png;base64," in page for page in viewers)


@pytest.mark.notebooks
@pytest.mark.parametrize("path", NOTEBOOKS[1:], ids=lambda path: path.stem)
def test_alone_it_says_which_notebook_to_run_first(path: Path, tmp_path: Path):
    with pytest.raises(
        papermill.PapermillExecutionError, match="FileNotFoundError.*Run notebooks/0[12]_.* first"
    ):
        run_notebook(path, tmp_path / "executed", {"runs": str(tmp_path / "runs")})
    assert not (tmp_path / "runs").exists()
