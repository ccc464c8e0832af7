"""What a fresh machine gets: one list of dependencies, pins that satisfy it, and no trace of our own machines."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import groundr1

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
GPU_EXTRAS = {"vllm", "deepspeed"}  # clusters choose these versions themselves


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def tracked_text_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout, so there is no list of committed files")
    suffixes = {".py", ".md", ".ipynb", ".toml", ".yml", ".yaml", ".txt", ".csv", ".json", ".jinja", ""}
    names = filter(None, listed.stdout.split("\0"))
    files = [ROOT / name for name in names if Path(name).suffix in suffixes and Path(name).name != "LICENSE"]
    return [path for path in files if path.is_file()]


def test_environment_yml_equals_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *conda, pip = environment["dependencies"]
    assert conda == [f"python{PROJECT['requires-python']}", "pip"]
    assert pip["pip"] == ["-c constraints.txt", *PROJECT["dependencies"], "-e ."]


def test_every_dependency_is_pinned_within_its_range():
    pinned = pins()
    extras = [
        line
        for name, lines in PROJECT["optional-dependencies"].items()
        if name not in GPU_EXTRAS
        for line in lines
    ]
    for requirement in map(Requirement, [*PROJECT["dependencies"], *extras]):
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} does not admit the pinned {version}"


def test_constraints_are_exact_pins_without_local_versions():
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line), line


def test_trl_is_pinned_to_the_minor_version_whose_internals_the_trainer_overrides():
    assert "trl==1.16.*" in PROJECT["dependencies"]
    for extra in GPU_EXTRAS:
        assert all("==1.16.*" in line for line in PROJECT["optional-dependencies"][extra])


def test_makefile_and_constraints_name_the_same_torch():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.findall(r"torch==([0-9.]+)", makefile) == [str(pins()["torch"])]


def test_version_is_readable_and_single():
    assert Version(groundr1.__version__) >= Version("0.1")
    assert PROJECT["dynamic"] == ["version"]


def test_licence_is_apache_2():
    assert PROJECT["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text and "Version 2.0, January 2004" in text and len(text) > 11_000


def test_ci_calls_make_test_and_is_executable():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "make test" in script.read_text(encoding="utf-8")


def test_claude_md_is_a_link_to_agents_md_of_at_most_80_lines():
    assert (ROOT / "CLAUDE.md").read_text(encoding="utf-8") == (ROOT / "AGENTS.md").read_text(
        encoding="utf-8"
    )
    assert len((ROOT / "AGENTS.md").read_text(encoding="utf-8").splitlines()) <= 80


def test_no_absolute_path_of_somebodys_machine_is_committed():
    # Peers ship /home/<name> and /cpfs/user paths in code, configs and even in the script the README tells you to run.
    pattern = re.compile(r"(?<![\w.<])/(?:home|Users|root|mnt|cpfs|work|scratch)/[\w.-]+")
    faults = []
    for path in tracked_text_files():
        if "tests" in path.relative_to(ROOT).parts:
            continue  # tests write such paths as bad input
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if pattern.search(line):
                faults.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert not faults, "\n".join(faults)


def test_runs_and_caches_are_not_committed():
    names = [path.relative_to(ROOT).as_posix() for path in tracked_text_files()]
    assert not [name for name in names if name.startswith(("runs/", ".venv/")) or "__pycache__" in name]
