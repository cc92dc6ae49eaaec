"""Which requests are inferences, of which model and in which protocol: read from the path alone.

>>> RouteTable("app", "7").lookup(b"/v2/models/iris/versions/3/infer?x=1")
Route(protocol='v2', model='iris', version='3')
>>> RouteTable("app", "7").lookup(b"/openai/v1/chat/completions")
Route(protocol='openai', model='app', version='7')
>>> RouteTable("app", "7").lookup(b"/v2/health/ready") is None
True
"""

import re
from typing import NamedTuple
from urllib.parse import unquote

_V2 = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/(infer|infer_stream|generate|generate_stream)$")
_V1 = re.compile(r"/v1/models/([^/:]+)(?:/versions/([^/:]+))?:predict$")
_OTHERS = (
    (re.compile(r"/v1/(?:chat/completions|completions|embeddings|responses)$"), "openai"),
    (re.compile(r"/api/v(?:0\.1|1\.0)/predictions$"), "seldon"),
    (re.compile(r"/invocations$"), "invocations"),
)
_CACHE_SIZE = 1024


class Route(NamedTuple):
    """What an inference request's path says."""

    protocol: str
    model: str
    version: str


class RouteTable:
    """Looks paths up, and remembers a bounded number of them.

    ``default_model``, ``default_version``: used where the path names none.
    """

    def __init__(self, default_model: str, default_version: str) -> None:
        self._default_model = default_model
        self._default_version = default_version
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
        path = target.partition(b"?")[0].decode("latin-1")
        if found := _V2.search(path):
            protocol = "v2" if found[3].startswith("infer") else "generate"
            return Route(protocol, _name(found[1]), _name(found[2] or self._default_version))
        if found := _V1.search(path):
            return Route("v1", _name(found[1]), _name(found[2] or self._default_version))
        for pattern, protocol in _OTHERS:
            if pattern.search(path):
                return Route(protocol, self._default_model, self._default_version)
        return None


def _name(text: str) -> str:
    # A name with a slash inside would read as MODEL/VERSION in the event's subject; such a one stays quoted.
    plain = unquote(text)
    return text if "/" in plain else plain
