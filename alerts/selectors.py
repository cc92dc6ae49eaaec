"""Which series count: a metric and label matchers, readable as PromQL and applicable to scraped samples.

One structure serves the rule files and the embedded evaluation, so that both count the same events.

>>> errors = Selector("http_requests_total", (Matcher("code", "=~", "5.."), Matcher("variant", "!=", "shadow")))
>>> errors.promql()
'http_requests_total{code=~"5..",variant!="shadow"}'
>>> errors.matches("http_requests_total", {"code": "503"})
True
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Operator = Literal["=", "!=", "=~", "!~"]


@dataclass(frozen=True, slots=True)
class Matcher:
    """One label condition; regular expressions match the whole value, a missing label is the empty text."""

    label: str
    operator: Operator
    value: str

    def promql(self) -> str:
        """As it stands between the braces of a PromQL selector."""
        return f"{self.label}{self.operator}{quote(self.value)}"

    def accepts(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels meet the condition."""
        found = labels.get(self.label, "")
        if self.operator in ("=", "!="):
            return (found == self.value) == (self.operator == "=")
        return (re.fullmatch(self.value, found) is not None) == (self.operator == "=~")


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric name and the conditions its labels must meet."""

    metric: str
    matchers: tuple[Matcher, ...]

    def promql(self, window: str = "") -> str:
        """The selector in PromQL, over ``[window]`` where one is given."""
        inside = ",".join(matcher.promql() for matcher in self.matchers)
        return f"{self.metric}{{{inside}}}" + (f"[{window}]" if window else "")

    def matches(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether a sample of this name and these labels is selected."""
        return name == self.metric and all(matcher.accepts(labels) for matcher in self.matchers)


def quote(text: str) -> str:
    r"""A string literal of PromQL, and of Alertmanager's matchers.

    >>> quote('a"b\\c')
    '"a\\"b\\\\c"'
    """
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
