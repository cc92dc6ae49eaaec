"""From settings to what capture goes by: names and values of all events, and the rates of single models.

>>> read_metadata(["team=red", "image=registry/a:1=b"])[0]
{'team': 'red', 'image': 'registry/a:1=b'}
>>> read_rates(["iris=0.5", "wine=lots"])
({'iris': 0.5}, ["model_sample_rates has 'wine=lots', whose rate is not a number between 0 and 1"])
"""

import re
from collections.abc import Sequence

#: Every event carries all of it.
_MAX_ENTRIES = 32
_MAX_VALUE = 256
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")


def read_metadata(texts: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Values by name from NAME=VALUE, and every fault as a sentence."""
    found: dict[str, str] = {}
    faults = []
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not _NAME.fullmatch(name):
            faults.append(f"metadata has '{text}', which is not NAME=VALUE with a name like team, node or app.version")
        elif not value.isprintable() or not 0 < len(value) <= _MAX_VALUE:
            faults.append(f"metadata has no value for '{name}' of 1 to {_MAX_VALUE} visible characters")
        elif name in found:
            faults.append(f"metadata names '{name}' twice")
        else:
            found[name] = value
    if len(texts) > _MAX_ENTRIES:
        faults.append(f"metadata has {len(texts)} entries; there may be {_MAX_ENTRIES}")
    return found, faults


def read_rates(texts: Sequence[str]) -> tuple[dict[str, float], list[str]]:
    """Rates by model from MODEL=RATE, and every fault as a sentence."""
    found: dict[str, float] = {}
    faults = []
    for text in texts:
        model, equals, written = (part.strip() for part in text.rpartition("="))
        rate = _rate(written)
        if not equals or not model:
            faults.append(f"model_sample_rates has '{text}', which is not MODEL=RATE")
        elif rate is None:
            faults.append(f"model_sample_rates has '{text}', whose rate is not a number between 0 and 1")
        elif model in found:
            faults.append(f"model_sample_rates names '{model}' twice")
        else:
            found[model] = rate
    return found, faults


def _rate(text: str) -> float | None:
    try:
        rate = float(text)
    except ValueError:
        return None
    return rate if 0.0 <= rate <= 1.0 else None
