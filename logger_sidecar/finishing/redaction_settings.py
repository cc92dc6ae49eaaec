"""From settings to what the finishing process is told: the rules, and the key of their hashes from its file."""

import importlib
from collections.abc import Sequence
from pathlib import Path

from logger_sidecar.finishing.wire import Setup

MIN_KEY_BYTES = 16
#: Loaded only where there are rules: the library of patterns behind it would be 3 MB of every sidecar's proxy.
_RULES = "logger_sidecar.finishing.redaction_rules"


def redaction_faults(rules: Sequence[str], key_file: Path | None) -> list[str]:
    """Every fault of the rules, and of the key where one of them needs it, as a sentence."""
    faults: list[str] = []
    needs_key = False
    if rules:
        parsed, faults = importlib.import_module(_RULES).parse_rules(rules)
        needs_key = parsed.needs_key
    if key_file is None:
        return [*faults, "redact_key_file is not given, and a rule of redact makes a hash"] if needs_key else faults
    try:
        size = len(_read_key(key_file))
    except OSError as error:
        return [*faults, f"redact_key_file '{key_file}' cannot be read: {error.strerror}"]
    if size < MIN_KEY_BYTES:
        faults.append(f"redact_key_file '{key_file}' holds {size} bytes; a key has at least {MIN_KEY_BYTES}")
    return faults


def finishing_setup(rules: Sequence[str], key_file: Path | None, max_decoded_bytes: int) -> Setup:
    """What the finishing process is told; raises OSError where the key cannot be read any more."""
    return Setup(tuple(rules), b"" if key_file is None else _read_key(key_file), max_decoded_bytes)


def _read_key(path: Path) -> bytes:
    # An editor ends a file with a new line, which is no part of a key that was typed.
    return path.read_bytes().strip()
