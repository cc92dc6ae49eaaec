"""Which requests are inferences, of which model and in which protocol: read from the path alone.

>>> RouteTable("app", "7").lookup(b"/v2/models/iris/versions/3/infer?x=1")
Route(protocol='v2', model='iris', version='3')
>>> RouteTable("app", "7").lookup(b"/openai/v1/chat/completions")
Route(protocol='openai', model='app', version='7')
>>> RouteTable("app", "7").lookup(b"/v2/health/ready") is None
True
>>> RouteTable("app", "7", read_paths(["/score/{model}"])[0]).lookup(b"/score/fraud")
Route(protocol='http', model='fraud', version='7')
"""

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote

from logger_sidecar.http1.head_grammar import text_of

_V2 = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/(infer|infer_stream|generate|generate_stream)$")
_V1 = re.compile(r"/v1/models/([^/:]+)(?:/(?:versions|labels)/([^/:]+))?:(?:predict|classify|regress)$")
_TORCHSERVE = re.compile(r"^/predictions/([^/]+)(?:/([^/]+))?$")
_OTHERS = (
    (re.compile(r"/v1/(?:chat/completions|completions|embeddings|responses)$"), "openai"),
    (re.compile(r"/api/v(?:0\.1|1\.0)/predictions$"), "seldon"),
    (re.compile(r"/invocations$"), "invocations"),
)
#: What stands before the path in a target of absolute form (RFC 9112 section 3.2.2).
_ORIGIN = re.compile(r"\Ahttps?://[^/]*", re.IGNORECASE)
_CACHE_SIZE = 1024
_MODEL = "{model}"
#: What a path holds beside it: visible, and nothing that ends a path.
_FIXED = re.compile(r"(?:(?![?#{}])[!-~])*")


class Route(NamedTuple):
    """What an inference request's path says."""

    protocol: str
    model: str
    version: str


class PathRule(NamedTuple):
    """A path of somebody's own server that is an inference. ``model``: empty where the path says it, or nobody."""

    pattern: re.Pattern[str]
    model: str


def read_paths(texts: Sequence[str]) -> tuple[list[PathRule], list[str]]:
    """Rules from PATH, PATH=MODEL and paths with ``{model}`` in place of a segment; and every fault as a sentence.

    >>> read_paths(["predict"])[1]
    ["capture_paths has 'predict', which is not a path like /predict, /predict=MODEL or /models/{model}/predict"]
    """
    rules, faults = [], []
    for text in texts:
        path, equals, model = text.partition("=")
        segments = path.split("/")
        named = segments.count(_MODEL)
        fixed = "/".join(segment for segment in segments if segment != _MODEL)
        is_path = segments[0] == "" and len(segments) > 1 and _FIXED.fullmatch(fixed) is not None
        if not is_path or named > 1 or (equals and (named or not model)):
            faults.append(
                f"capture_paths has '{text}', which is not a path like /predict, /predict=MODEL or "
                "/models/{model}/predict"
            )
            continue
        parts = ["([^/]+)" if segment == _MODEL else re.escape(segment) for segment in segments]
        rules.append(PathRule(re.compile("/".join(parts)), model))
    return rules, faults


class RouteTable:
    """Looks paths up, and remembers a bounded number of them.

    ``default_model``, ``default_version``: used where the path names none. ``rules``: of further paths; they win.
    """

    def __init__(self, default_model: str, default_version: str, rules: Sequence[PathRule] = ()) -> None:
        self._default_model = default_model
        self._default_version = default_version
        self._rules = tuple(rules)
        self._known: dict[bytes, Route | None] = {}

    def lookup(self, target: bytes) -> Route | None:
        """The route of a request target; None when it is not an inference."""
        try:
            return self._known[target]
        except KeyError:
            route = self._read(target)
            if len(self._known) >= _CACHE_SIZE:
                self._known.clear()
            if len(target) <= 512:
                self._known[target] = route
            return route

    def _read(self, target: bytes) -> Route | None:
        path = _ORIGIN.sub("", text_of(target.partition(b"?")[0]), 1)
        for rule in self._rules:
            if found := rule.pattern.fullmatch(path):
                named = _name(found[1]) if found.re.groups else rule.model
                return Route("http", named or self._default_model, self._default_version)
        if found := _V2.search(path):
            protocol = "v2" if found[3].startswith("infer") else "generate"
            return Route(protocol, _name(found[1]), _name(found[2] or self._default_version))
        if found := _V1.search(path):
            return Route("v1", _name(found[1]), _name(found[2] or self._default_version))
        if found := _TORCHSERVE.search(path):
            return Route("torchserve", _name(found[1]), _name(found[2] or self._default_version))
        for pattern, protocol in _OTHERS:
            if pattern.search(path):
                return Route(protocol, self._default_model, self._default_version)
        return None


def _name(text: str) -> str:
    # A name with a slash inside would read as MODEL/VERSION in the event's subject, and no event may hold a NUL; such
    # a one stays quoted.
    plain = unquote(text)
    return text if "/" in plain or "\0" in plain else plain
