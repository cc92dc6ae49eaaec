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

import dataclasses
import difflib
import math
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from driftline.errors import SettingsError
from driftline.names import ENV_PREFIX

T = TypeVar("T")


def load(
    cls: type[T],
    prefix: str,
    *,
    environ: Mapping[str, str],
    file: Mapping[str, Any] | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> T:
    """An instance of the frozen dataclass ``cls``; raises SettingsError that names every wrong key and value.

    ``arguments`` whose value is None count as not given. A ``validate()`` method, where there is one, returns further
    faults as a list of sentences.
    """
    hints = get_type_hints(cls)
    fields = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    faults: list[str] = []
    values: dict[str, Any] = {}
    for key, value in (file or {}).items():
        _take(key, value, f"file key '{key}'", fields, hints, values, faults)
    env_prefix = f"{ENV_PREFIX}{prefix}_"
    for name, text in environ.items():
        if name.startswith(env_prefix):
            _take(name.removeprefix(env_prefix).lower(), text, name, fields, hints, values, faults)
    for key, value in (arguments or {}).items():
        if value is not None:
            _take(key, value, f"--{key.replace('_', '-')}", fields, hints, values, faults)
    missing = [
        f"'{field.name}' is required"
        for field in dataclasses.fields(cls)  # type: ignore[arg-type]
        if field.name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if faults or missing:
        raise SettingsError(f"settings of {prefix.lower()}", [*faults, *missing])
    settings = cls(**values)
    validate: Callable[[], list[str]] | None = getattr(settings, "validate", None)
    if validate is not None and (found := validate()):
        raise SettingsError(f"settings of {prefix.lower()}", found)
    return settings


def _take(
    key: str,
    value: Any,
    origin: str,
    fields: set[str],
    hints: Mapping[str, Any],
    values: dict[str, Any],
    faults: list[str],
) -> None:
    if key not in fields:
        near = difflib.get_close_matches(key, sorted(fields), n=1)
        faults.append(f"{origin} is not a setting" + (f"; did you mean '{near[0]}'?" if near else ""))
        return
    try:
        values[key] = _convert(value, hints[key])
    except (ValueError, TypeError):
        faults.append(f"{origin} is '{value}', which is not {_describe(hints[key])}")


def _convert(value: Any, hint: Any) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        if value is None or value == "":
            return None
        inner = [arg for arg in get_args(hint) if arg is not type(None)]
        return _convert(value, inner[0])
    if origin is tuple:
        parts = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else list(value)
        return tuple(_convert(part, get_args(hint)[0]) for part in parts)
    if hint is bool:
        return _to_bool(value)
    if hint is Path:
        return Path(value)
    if hint in (int, float, str):
        return _to_plain(value, hint)
    if origin is not None and set(map(type, get_args(hint))) == {str} and value not in get_args(hint):  # Literal
        raise ValueError(value)
    return value


def _to_plain(value: Any, hint: type[int] | type[float] | type[str]) -> int | float | str:
    converted = hint(value)
    # These would pass silently, as 'None', 1, "not a number" or cut to a whole number.
    if value is None or (isinstance(value, bool) and hint is not str):
        raise ValueError(value)
    if isinstance(converted, float) and math.isnan(converted):
        raise ValueError(value)
    if hint is int and isinstance(value, float) and not value.is_integer():
        raise ValueError(value)
    return converted


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
