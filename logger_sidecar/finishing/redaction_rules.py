"""Rules of redaction, as settings spell them: ``KIND:WHAT`` and, where it is to be a hash, ``=> hash`` behind it.

* ``json:$.inputs[*].parameters.user``: what a JSON path names (see ``finishing.json_paths``), in either body;
* ``header:x-user-id``: a captured header, of the request and of the answer;
* ``column:email``: the values of a column or tensor, in any protocol that names them;
* ``pattern:REGEX``: what a regular expression (RE2) finds in texts; ``pattern:@email`` and others are built in.

>>> rules, faults = parse_rules(["json:$.user => hash", "header:X-User", "column:", "pattern:(a"])
>>> len(rules.paths), list(rules.headers), rules.needs_key
(1, ['x-user'], True)
>>> for fault in faults: print(fault)
redact has 'column:', which names no column
redact has 'pattern:(a': RE2 does not take the pattern: missing ): (a
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from driftline import names
from logger_sidecar.finishing.json_paths import JsonPath, PathError, parse_path
from logger_sidecar.finishing.redaction_patterns import PatternError, TextPattern, compile_pattern
from logger_sidecar.setting_faults import HEADER_NAME

#: What an event is found by, or a body read with; without them it would be of no use.
_KEPT_HEADERS = frozenset({*names.REQUEST_ID_HEADERS, names.HEADER_VARIANT, names.HEADER_BINARY_LENGTH})
_ACTION = re.compile(r"\s=>\s*(\w*)\s*$")


@dataclass(slots=True)
class RedactionRules:
    """Parsed rules; True beside each that makes a hash."""

    paths: list[tuple[JsonPath, bool]] = field(default_factory=list)
    headers: dict[str, bool] = field(default_factory=dict)
    columns: dict[str, bool] = field(default_factory=dict)
    patterns: list[tuple[TextPattern, bool]] = field(default_factory=list)

    @property
    def needs_key(self) -> bool:
        """Whether a rule makes a hash."""
        rules = (*self.paths, *self.headers.items(), *self.columns.items(), *self.patterns)
        return any(hashes for _, hashes in rules)


def parse_rules(texts: Sequence[str]) -> tuple[RedactionRules, list[str]]:
    """The rules that can be read, and a sentence about each that cannot."""
    rules = RedactionRules()
    faults = [fault for text in texts if (fault := _add(rules, text))]
    return rules, faults


def _add(rules: RedactionRules, text: str) -> str:
    """Add one rule; returns what is wrong with it, or an empty text."""
    kind, colon, what = text.strip().partition(":")
    action = _ACTION.search(what)
    hashes = False
    if action is not None:
        if action[1] not in ("hash", "redact"):
            return f"redact has '{text}', whose action '{action[1]}' is neither hash nor redact"
        what, hashes = what[: action.start()], action[1] == "hash"
    what = what.strip()
    if not colon or kind not in _ADD:
        return f"redact has '{text}', which does not begin with one of json:, header:, column:, pattern:"
    try:
        fault = _ADD[kind](rules, what, hashes)
    except (PathError, PatternError) as error:
        return f"redact has '{text}': {error}"
    return fault and f"redact has '{text}', {fault}"


def _add_path(rules: RedactionRules, what: str, hashes: bool) -> str:
    rules.paths.append((parse_path(what), hashes))
    return ""


def _add_header(rules: RedactionRules, what: str, hashes: bool) -> str:
    name = what.lower()
    if not HEADER_NAME.fullmatch(name):
        return "which names no header"
    if name in _KEPT_HEADERS:
        return f"but an event is found, or its body read, by {name}"
    rules.headers[name] = hashes
    return ""


def _add_column(rules: RedactionRules, what: str, hashes: bool) -> str:
    if not what:
        return "which names no column"
    rules.columns[what] = hashes
    return ""


def _add_pattern(rules: RedactionRules, what: str, hashes: bool) -> str:
    rules.patterns.append((compile_pattern(what), hashes))
    return ""


_ADD = {"json": _add_path, "header": _add_header, "column": _add_column, "pattern": _add_pattern}
