"""What a cluster lets its workloads choose: defaults for all, and bounds of what an annotation may say.

A file of ``driftline inject --cluster``::

    defaults:
      image: registry/driftline-sidecar:1
      capture-headers: x-team
    bounds:
      memory-limit: {max: 1Gi}
      sample-rate: {min: 0.01}
      image: {one_of: ["registry/driftline-*"]}
      redact: {locked: true}

>>> Bound(highest="1Gi").fault("2Gi")
'must not be above 1Gi'
"""

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from driftline.errors import FaultsError

_QUANTITY = re.compile(r"([0-9]*\.?[0-9]+)([a-zA-Z]*)")
#: Suffixes of Kubernetes quantities.
_UNITS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12} | {
    unit: 1024.0**power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti"), start=1)
}
#: Annotations that say the same for a part of what another is about: its bound is theirs, unless they have their own.
_ALSO_BOUND = {"sample-rate": "model-sample-rates"}
_WORDS = ("min", "max", "one_of", "locked")


class ClusterError(FaultsError):
    """A file of cluster defaults and bounds is wrong; each fault names file, key and value."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What an annotation may say.

    ``lowest``, ``highest``: amounts as the cluster's file writes them, which :func:`number` reads; None where there is
    no such end. ``one_of``: patterns with ``*`` and ``?``; ``locked``: nothing, the default holds.
    """

    lowest: str | None = None
    highest: str | None = None
    one_of: tuple[str, ...] = ()
    locked: bool = False

    def fault(self, text: str) -> str:
        """What is wrong with this value; empty when nothing is."""
        if self.locked:
            return "cannot be chosen here: the cluster's default holds"
        if self.one_of and not any(fnmatchcase(text, pattern) for pattern in self.one_of):
            return f"must be one of {', '.join(self.one_of)}"
        if self.lowest is not None or self.highest is not None:
            # "0.5", and "iris=0.5,wine=1" alike
            faults = (self._number_fault(number(each.rpartition("=")[2])) for each in text.split(","))
            return next(filter(None, faults), "")
        return ""

    def _number_fault(self, value: float | None) -> str:
        if value is None:
            return "must be a number"
        if value < _end(self.lowest, -math.inf):
            return f"must not be below {self.lowest}"
        return f"must not be above {self.highest}" if value > _end(self.highest, math.inf) else ""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Defaults and bounds by the annotation's name without its prefix."""

    defaults: Mapping[str, str]
    bounds: Mapping[str, Bound]


def number(text: str) -> float | None:
    """A number or a Kubernetes quantity; None when it is neither.

    >>> number("100m"), number("64Mi"), number("most")
    (0.1, 67108864.0, None)
    """
    found = _QUANTITY.fullmatch(text.strip())
    if found is None or found[2] not in _UNITS:
        return None
    return float(found[1]) * _UNITS[found[2]]


def read_cluster(path: Path, known: tuple[str, ...]) -> Cluster:
    """Defaults and bounds from a file; raises ClusterError. ``known``: the annotations there are, without prefix."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ClusterError(str(path), [" ".join(str(error).split())]) from error
    if not isinstance(content, dict):
        raise ClusterError(str(path), [f"holds {type(content).__name__}, not 'defaults' and 'bounds'"])
    faults = [f"key '{key}' is neither 'defaults' nor 'bounds'" for key in content if key not in ("defaults", "bounds")]
    defaults = _entries(content, "defaults", known, faults)
    bounds = _entries(content, "bounds", known, faults)
    made = {name: _bound(f"bounds.{name}", value, faults) for name, value in bounds.items()}
    if faults:
        raise ClusterError(str(path), faults)
    for name, inner in _ALSO_BOUND.items():
        if name in made:
            made.setdefault(inner, made[name])
    return Cluster({name: _text(value) for name, value in defaults.items()}, made)


def _entries(content: Mapping[str, Any], part: str, known: tuple[str, ...], faults: list[str]) -> dict[str, Any]:
    entries = content.get(part) or {}
    if not isinstance(entries, dict):
        faults.append(f"{part} is '{entries}', which is not a mapping")
        return {}
    for name in entries:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            faults.append(f"{part}.{name} is not an annotation" + (f"; did you mean '{near[0]}'?" if near else ""))
    return entries


def _bound(where: str, value: Any, faults: list[str]) -> Bound:
    if not isinstance(value, dict) or not set(value) <= set(_WORDS):
        faults.append(f"{where} is '{value}', which is not a mapping of {', '.join(_WORDS)}")
        return Bound()
    ends = {word: str(value[word]) for word in ("min", "max") if word in value}
    wrong = [word for word, text in ends.items() if number(text) is None]
    faults.extend(f"{where}.{word} is '{ends[word]}', which is not a number" for word in wrong)
    lowest, highest = ends.get("min"), ends.get("max")
    if not wrong and _end(lowest, -math.inf) > _end(highest, math.inf):
        faults.append(f"{where}.min is '{lowest}', which is above max '{highest}'")
    patterns, locked = value.get("one_of", []), value.get("locked", False)
    if not isinstance(patterns, list):
        # A text is a sequence too: its letters would be patterns, and a '*' among them would allow everything.
        faults.append(f"{where}.one_of is '{patterns}', which is not a list")
    if not isinstance(locked, bool):
        faults.append(f"{where}.locked is '{locked}', which is neither true nor false")
    return Bound(lowest, highest, tuple(map(str, patterns)) if isinstance(patterns, list) else (), locked is True)


def _end(text: str | None, nowhere: float) -> float:
    found = None if text is None else number(text)
    return nowhere if found is None else found


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
