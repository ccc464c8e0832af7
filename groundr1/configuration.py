"""Configurations: frozen dataclasses from a YAML file or a notebook's parameters, whose errors name field and fix."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import yaml

__all__ = ["Configuration", "described"]


def described(text: str, default: Any = dataclasses.MISSING, **options: Any) -> Any:
    """A dataclass field with the text that `--help` shows for it."""
    return field(default=default, metadata={"help": text}, **options)


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Base of what a command reads: subclasses have fields made by `described`, and check them in `check`.

    Raises:
        ValueError: An unknown field, a value of the wrong type, or what `check` refuses.
    """

    title: ClassVar[str] = "configuration"

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for each in fields(self):
            self._check_type(each.name, hints[each.name])
        self.check()

    def check(self) -> None:
        """Raise ValueError for values out of range; types are right already."""

    def _check_type(self, name: str, expected: Any) -> None:
        value = getattr(self, name)
        allowed = typing.get_args(expected) if isinstance(expected, types.UnionType) else (expected,)
        plain = tuple(typing.get_origin(each) or each for each in allowed)
        if float in plain and type(value) is int:
            object.__setattr__(self, name, float(value))  # the dataclass is frozen for everyone else
        elif type(value) not in plain:
            names = " or ".join("null" if each is type(None) else each.__name__ for each in plain)
            hint = (
                " (write 1.0e-4: YAML reads 1e-4 as text)"
                if float in plain and isinstance(value, str)
                else ""
            )
            raise ValueError(f"{name}={value!r} is a {type(value).__name__}, but must be {names}{hint}.")

    def check_least(self, least: int, *names: str) -> None:
        """Raise ValueError for a field of `names` that is below `least`; null is not."""
        for each in names:
            value = getattr(self, each)
            if value is not None and value < least:
                rule = f"must be {least} or more" if least else "must not be negative"
                raise ValueError(f"{each}={value} {rule}.")

    def check_choices(self, **choices: tuple[str, ...]) -> None:
        """Raise ValueError for a field whose value is none of its choices."""
        for each, allowed in choices.items():
            if getattr(self, each) not in allowed:
                raise ValueError(
                    f"{each}={getattr(self, each)!r} is none of {', '.join(map(repr, allowed))}."
                )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any] | Self) -> Self:
        """Configuration of a mapping; raises ValueError for unknown fields, naming the nearest known one."""
        if isinstance(values, cls):
            return values
        known = {each.name: each for each in fields(cls)}
        for each in values:
            if each not in known:
                near = difflib.get_close_matches(str(each), known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}."
                raise ValueError(f"{each!r} is no field of the {cls.title}; {hint}")
        for name, each in known.items():
            if _default(each) is dataclasses.MISSING and name not in values:
                raise ValueError(f"The {cls.title} needs a {name!r}: {each.metadata['help']}")
        return cls(**values)

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Configuration of a YAML file; its errors name the file.

        Raises FileNotFoundError when there is none, ValueError when it is not YAML, not a mapping, or not
        valid.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"There is no {cls.title} {path}; see --help for what it may hold.")
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{path} is not YAML ({reason}); mend it there.") from error
        if not isinstance(values, Mapping):
            raise ValueError(
                f"{path} holds no 'field: value' lines, but {type(values).__name__}; see --help."
            )
        try:
            return cls.from_mapping(values)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def describe_fields(cls) -> str:
        """One line a field: name, default, meaning."""
        lines = []
        for each in fields(cls):
            default = _default(each)
            shown = "required" if default is dataclasses.MISSING else default
            lines.append(f"{each.name} ({shown}): {each.metadata['help']}")
        return "\n".join(lines)


def _default(each: dataclasses.Field) -> Any:
    made = each.default_factory
    return each.default if made is dataclasses.MISSING else made()
