"""What settings there are, with type, default and meaning: for ``--print-config`` and for the manual.

Meanings are read from the docstrings of the settings classes, which is where they are written once.

>>> next(entry for entry in describe(SidecarSettings) if entry.name == "admin_port").default
'9001'
"""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

from logger_sidecar.config_file import SECTIONS
from logger_sidecar.reload import LIVE
from logger_sidecar.settings import SidecarSettings

_MEANING = re.compile(r"((?:``\w+``, )*``\w+``): (.*?)(?=(?:``\w+``, )*``\w+``: |$)")
_LINE = 116
_HEAD = """\
# Configuration of driftline sidecar: every setting with its default. Leave out what shall stay as it is.
# The environment (DRIFTLINE_SIDECAR_..., DRIFTLINE_SHIPPER_...) wins over this file, arguments win over both.
# "live": followed while running, on SIGHUP or with watch_config_s.
"""


class Entry(NamedTuple):
    """One setting. ``default``: as YAML; ``live``: it can be changed while running."""

    name: str
    kind: str
    default: str
    meaning: str
    live: bool


def describe(cls: type[Any]) -> list[Entry]:
    """Every setting of a settings class in the order of its fields."""
    hints, meanings = get_type_hints(cls), _meanings(cls)
    is_sidecar = cls is SidecarSettings
    return [
        Entry(
            name=field.name,
            kind=_kind(hints[field.name]),
            default=_yaml(field.default),
            meaning=meanings.get(field.name, ""),
            # The shipper is started anew with new settings; only what the sidecar hands it cannot change.
            live=field.name in LIVE if is_sidecar else field.name not in ("spool_directory", "sinks", "parent_pid"),
        )
        for field in dataclasses.fields(cls)
    ]


def example_config() -> str:
    """A configuration file that changes nothing: every setting commented out, with its default and meaning."""
    parts = [_HEAD]
    for section, cls in SECTIONS.items():
        parts.append(f"\n{section}:\n")
        for entry in describe(cls):
            live = " (live)" if entry.live else ""
            parts.extend(f"  # {line}\n" for line in _wrapped(f"{entry.meaning}{live} [{entry.kind}]"))
            parts.append(f"  #{entry.name}: {entry.default}\n")
    return "".join(parts)


def _meanings(cls: type[Any]) -> Mapping[str, str]:
    text = " ".join(str(cls.__doc__).split())
    found = {}
    for match in _MEANING.finditer(text):
        meaning = match[2].strip().replace("``", "`")
        for name in re.findall(r"\w+", match[1]):
            found[name] = meaning[:1].upper() + meaning[1:]
    return found


def _kind(hint: Any) -> str:
    arguments = get_args(hint)
    if arguments and all(isinstance(each, str) for each in arguments):
        return ", ".join(arguments)
    if arguments and arguments[-1] is Ellipsis:
        return "list of texts" if arguments[0] is str else "list"
    plain = {int: "whole number", float: "number", bool: "true or false", str: "text", Path: "path"}
    inner = next((each for each in arguments if each in plain), hint)
    return plain.get(inner, str(inner))


def _yaml(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}" if value != float("inf") else ".inf"
    if isinstance(value, int):
        return str(value)
    text = str(value)
    return text if re.fullmatch(r"[A-Za-z./][\w./-]*", text) and text not in ("none", "null") else f'"{text}"'


def _wrapped(text: str) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= _LINE:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
