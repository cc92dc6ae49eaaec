"""Settings: a frozen dataclass filled from a file, the environment and arguments, every fault named at once.

Precedence: arguments over environment over file over defaults. The environment is an argument; only the roof passes the
real one. A field ``max_body_bytes`` of a class with prefix ``SIDECAR`` reads ``DRIFTLINE_SIDECAR_MAX_BODY_BYTES``.

>>> @dataclasses.dataclass(frozen=True)
... class Pool:
...     size: int = 4
...     timeout_s: float = 1.0
>>> load(Pool, "POOL", environ={"DRIFTLINE_POOL_SIZE": "8"})
Pool(size=8, timeout_s=1.0)
"""

import contextlib
import dataclasses
import difflib
import json
import math
import os
import re
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from driftline.errors import SettingsError
from driftline.names import ENV_PREFIX

T = TypeVar("T")
#: What eight bytes hold: the compiled build counts in them, and messages between processes do.
_MOST = 2**63 - 1


def load(
    cls: type[T],
    prefix: str,
    *,
    environ: Mapping[str, str],
    file: Mapping[str, Any] | None = None,
    file_name: str = "file",
    annotations: Mapping[str, tuple[str, Any]] | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> T:
    """An instance of the frozen dataclass ``cls``; raises SettingsError that names every wrong key and value.

    ``file_name``: what faults call the file. ``annotations``: (key, value) by the name each was found under; they win
    over the environment. ``arguments`` whose value is None count as not given. A ``validate()``
    method, where there is one, returns further faults as a list of sentences; one that begins with a setting's name is
    completed by where the value came from.
    """
    taken = _Taken(cls)
    for key, value in (file or {}).items():
        taken.take(key, value, f"{file_name} key '{key}'")
    env_prefix = f"{ENV_PREFIX}{prefix}_"
    for name, text in environ.items():
        if name.startswith(env_prefix):
            taken.take(name.removeprefix(env_prefix).lower(), text, name)
    for origin, (key, value) in (annotations or {}).items():
        taken.take(key, value, origin)
    for key, value in (arguments or {}).items():
        if value is not None:
            taken.take(key, value, f"--{key.replace('_', '-')}")
    missing = taken.missing()
    settings = None if missing else cls(**taken.values)
    absent = [f"'{name}' is required" for name in missing if name not in taken.wrong]
    faults = [*taken.faults, *absent, *taken.faults_between(settings)]
    if settings is None or faults:
        raise SettingsError(f"settings of {prefix.lower()}", faults)
    return settings


def port_faults(port: int, name: str = "port") -> list[str]:
    """What is wrong with a port's number, for ``validate()``; 0 lets the system choose.

    >>> port_faults(70_000), port_faults(0)
    (['port is 70000; it must be between 0 and 65535'], [])
    """
    return [] if 0 <= port <= 65535 else [f"{name} is {port}; it must be between 0 and 65535"]


class _Taken:
    """Values on their way into a settings class: the good ones, where each came from, and what is wrong with others."""

    def __init__(self, cls: type[Any]) -> None:
        self._hints = get_type_hints(cls)
        self._fields = {field.name: field for field in dataclasses.fields(cls)}
        self._origins: dict[str, str] = {}
        self.wrong: set[str] = set()
        self.values: dict[str, Any] = {}
        self.faults: list[str] = []

    def take(self, key: str, value: Any, origin: str) -> None:
        """Take one value, over any taken before it."""
        if key not in self._fields:
            near = difflib.get_close_matches(key, sorted(self._fields), n=1)
            self.faults.append(f"{origin} is not a setting" + (f"; did you mean '{near[0]}'?" if near else ""))
            return
        self._origins[key] = origin
        try:
            self.values[key] = _convert(value, self._hints[key])
        except OverflowError:
            self.wrong.add(key)
            self.faults.append(f"{self._said(key, value, origin)} out of range")
        except (ValueError, TypeError):
            self.wrong.add(key)
            self.faults.append(f"{self._said(key, value, origin)} not {_describe(self._hints[key])}")

    def _said(self, key: str, value: Any, origin: str) -> str:
        """What was given; of a field that its class does not show (``repr=False``) not its value: it is a secret."""
        return f"{origin} is '{value}', which is" if self._fields[key].repr else f"{origin} has a value that is"

    def missing(self) -> list[str]:
        """Required settings without a value."""
        return [
            name
            for name, field in self._fields.items()
            if name not in self.values
            and field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING
        ]

    def faults_between(self, settings: Any) -> list[str]:
        """What the settings find wrong with themselves, but for what only follows from a fault named already."""
        validate: Callable[[], list[str]] | None = getattr(settings, "validate", None)
        found = [] if validate is None else validate()
        wrong = [re.compile(rf"\b{name}\b") for name in self.wrong]
        return [self._with_origin(fault) for fault in found if not any(name.search(fault) for name in wrong)]

    def _with_origin(self, fault: str) -> str:
        origin = self._origins.get(fault.partition(" ")[0])
        return fault if origin is None else f"{fault} ({origin})"


def _convert(value: Any, hint: Any) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        if value is None or value == "":
            return None
        inner = [arg for arg in get_args(hint) if arg is not type(None)]
        return _convert(value, inner[0])
    if origin is tuple:
        return tuple(_convert(part, get_args(hint)[0]) for part in _parts(value))
    if hint is bool:
        return _to_bool(value)
    if hint is Path:
        return _to_path(value)
    if hint in (int, float, str):
        return _to_plain(value, hint)
    if origin is not None and set(map(type, get_args(hint))) == {str} and value not in get_args(hint):  # Literal
        raise ValueError(value)
    return value


def _to_path(value: Any) -> Path:
    path = Path(value)
    if b"\0" in os.fsencode(path):  # which no file's name can hold
        raise ValueError(value)
    return path


def _to_plain(value: Any, hint: type[int] | type[float] | type[str]) -> int | float | str:
    if isinstance(value, (Mapping, list, tuple, set, bytes)):  # a text would pass silently, as "['a']"
        raise TypeError(value)
    converted = hint(value)
    # It is written on events, and handed to other processes in their environment.
    if isinstance(converted, str) and b"\0" in converted.encode():
        raise ValueError(value)
    # These would pass silently, as 'None', 1, "not a number" or cut to a whole number.
    if value is None or (isinstance(value, bool) and hint is not str):
        raise ValueError(value)
    if isinstance(converted, float) and math.isnan(converted):
        raise ValueError(value)
    if hint is int and isinstance(value, float) and not value.is_integer():
        raise ValueError(value)
    if isinstance(converted, int) and not -_MOST <= converted <= _MOST:
        raise OverflowError(value)
    return converted


def _parts(value: Any) -> list[Any]:
    """The parts of a list; a text has commas between them, or is a JSON list, for parts that hold commas themselves."""
    if isinstance(value, (Mapping, set, bytes)):  # keys, or numbers, would pass silently
        raise TypeError(value)
    if not isinstance(value, str):
        return list(value)
    if value.lstrip().startswith("["):
        with contextlib.suppress(ValueError):  # an IPv6 address begins so too
            return list(json.loads(value))
    return [part.strip() for part in value.split(",") if part.strip()]


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if str(value).lower() not in words:
        raise ValueError(value)
    return words[str(value).lower()]


def _describe(hint: Any) -> str:
    if get_origin(hint) is not None and set(map(type, get_args(hint))) == {str}:
        return "one of " + ", ".join(get_args(hint))
    plain = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", Path: "a path"}
    return plain.get(hint, str(hint).replace("<class '", "").replace("'>", ""))
