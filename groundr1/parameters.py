"""Parameters of a notebook, checked: papermill only warns about a name that does not exist and never looks at types.

A misspelt name would train for an hour with the default. Here an unknown name or a value of the wrong type is a
`ParameterError`: before the kernel starts (`parse_parameters`, used by `python -m groundr1.notebooks run`), and under
the plain `papermill` command as soon as the notebook calls `check_parameters()` behind its parameters cell.

Not in the paper: our choice, because a parameters cell is the only configuration that a notebook reader sees.
"""

import ast
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
from IPython import get_ipython

__all__ = ["ParameterError", "check_parameters", "check_values", "notebook_parameters", "parse_parameters"]

INJECTED_HEADER = "# Parameters"  # papermill's first line in the cell that it injects


class ParameterError(ValueError):
    """A notebook was given a parameter that it does not have, or one of the wrong type."""


def _literal_assignments(source: str) -> dict[str, Any] | None:
    """Read a cell that only assigns literals to names; None for any other cell."""
    values: dict[str, Any] = {}
    try:
        for node in ast.parse(source).body:
            target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
            if isinstance(node, ast.AnnAssign):
                target = node.target
            if not isinstance(target, ast.Name) or node.value is None:
                return None
            values[target.id] = ast.literal_eval(node.value)
    except (SyntaxError, ValueError):
        return None
    return values or None


def notebook_parameters(path: str | Path) -> dict[str, Any]:
    """Return the names and default values in a notebook's cell tagged `parameters`.

    Raises:
        FileNotFoundError: no such notebook.
        ValueError: it is not a notebook, has no such cell, or the cell does more than assign literals.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no notebook {path}. Run this from the repository root, or give the right path."
        )
    try:
        notebook = nbformat.read(path, as_version=4)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
        raise ValueError(f"{path} is not a Jupyter notebook: {error}") from error
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    parameters = _literal_assignments(cells[0].source) if len(cells) == 1 else None
    if parameters is None:
        raise ValueError(
            f"{path} has {len(cells)} cells tagged `parameters`; it needs exactly one, with plain assignments of "
            "literal values and nothing else, because papermill puts the given values right behind it."
        )
    return parameters


def _fits(value: Any, default: Any) -> bool:
    if default is None:
        return True
    if isinstance(value, bool) or isinstance(default, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, float):
        return isinstance(value, int | float)
    if isinstance(default, list | tuple):
        return isinstance(value, list | tuple)
    return isinstance(value, type(default))


def check_values(notebook: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Compare given values with the defaults of a notebook.

    A value fits a default of its own type; a float default takes an int as well, a default of None takes anything.

    Raises:
        ParameterError: naming the first parameter that is unknown or does not fit, and the known ones.
    """
    names = ", ".join(f"{name} ({type(default).__name__})" for name, default in known.items())
    for name, value in given.items():
        if name not in known:
            raise ParameterError(f"{notebook} has no parameter `{name}`. It has: {names}.")
        if not _fits(value, known[name]):
            raise ParameterError(
                f"{notebook}: parameter `{name}` must be of type {type(known[name]).__name__}, as its default "
                f"{known[name]!r}, but {value!r} is of type {type(value).__name__}. Known parameters: {names}."
            )


def check_parameters() -> None:
    """Check, inside a running notebook, what papermill injected against the notebook's own parameters cell.

    Call it in the cell after the parameters. It reads the cells that have run so far; outside IPython, or where
    nothing was injected, it does nothing.

    Raises:
        ParameterError: an injected name is unknown or its value has the wrong type.
    """
    shell = get_ipython()
    if shell is None:
        return
    known: dict[str, Any] = {}
    given: dict[str, Any] = {}
    for source in shell.user_ns["In"]:
        values = _literal_assignments(source) or {}
        if source.startswith(INJECTED_HEADER):
            given = values
        else:
            known.update(values)
    check_values("This notebook", given, known)


def parse_parameters(path: str | Path, given: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Turn command-line pairs into parameter values, checked against the notebook's defaults.

    A text stays text where the default is text; elsewhere it is read as a Python literal or, if it is none, as JSON.

    Args:
        path: the notebook.
        given: (name, text) pairs.

    Raises:
        ParameterError: a name is unknown or a value does not fit.
    """
    known = notebook_parameters(path)
    values: dict[str, Any] = {}
    for name, text in given:
        values[name] = text if isinstance(known.get(name), str) else _read(text)
    check_values(Path(path).name, values, known)
    return values


def _read(text: str) -> Any:
    """A Python literal or JSON, as `true` or {"balance": true} are; else the text itself."""
    words = {"true": True, "false": False, "null": None, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for read in (ast.literal_eval, json.loads):
        with suppress(SyntaxError, ValueError):
            return read(text)
    return text
