"""Runbooks: one page per alert, packaged as Markdown, named for the alert.

>>> runbook("DriftlineDeadman").splitlines()[0]
'# The deadman (always firing)'
"""

import difflib
from importlib.resources import files

_PAGES = files("alerts").joinpath("runbooks")
_ENDING = ".md"


def alertnames() -> tuple[str, ...]:
    """The alerts that have a runbook, in order."""
    return tuple(sorted(page.name.removesuffix(_ENDING) for page in _PAGES.iterdir() if page.name.endswith(_ENDING)))


def runbook(alertname: str) -> str:
    """The runbook of an alert, as Markdown; raises KeyError naming the nearest alert that has one."""
    known = alertnames()
    if alertname not in known:
        near = difflib.get_close_matches(alertname, known, n=1)
        raise KeyError(f"no runbook for '{alertname}'" + (f"; did you mean '{near[0]}'?" if near else ""))
    return _PAGES.joinpath(alertname + _ENDING).read_text(encoding="utf-8")
