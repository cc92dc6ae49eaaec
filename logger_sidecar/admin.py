"""The admin port: a few GET paths over HTTP/1.1, small enough to live in the proxy's own event loop."""

import asyncio
import contextlib
import copy
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple

from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from logger_sidecar.bound_sockets import bound_sockets

_MAX_REQUEST_BYTES = 16384
#: What a page in OpenMetrics ends with.
_END = b"# EOF\n"
#: HELP and TYPE of a family stand before its samples.
_HEAD_LINES = 2
#: So many samples are written in a millisecond or two.
_SAMPLES_AT_ONCE = 100
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Answer(NamedTuple):
    """What one path says."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class MetricsPage:
    """A path that shows the metrics of these collectors, in the format that the client asks for."""

    collectors: Sequence[Collector]


Routes = Mapping[str, Callable[[], Awaitable[Answer]] | MetricsPage]


async def metrics_answer(*collectors: Collector, accept: str = "") -> Answer:
    """The collectors' metrics in the Prometheus text format, or in another that ``accept`` prefers.

    Only OpenMetrics (``application/openmetrics-text``) has room for exemplars. The figures are of one moment; the page
    is made of them piece by piece, and between two pieces the loop does what else there is: requests would wait for it.
    """
    families = [family for collector in collectors for family in collector.collect()]
    encode, content_type = _encoder(accept)
    page = []
    for piece in _pieces(families):
        await asyncio.sleep(0)
        text = encode(piece).removesuffix(_END)
        page.append(text if piece.is_first else text.split(b"\n", _HEAD_LINES)[-1])
    if "openmetrics" in content_type:
        page.append(_END)
    return Answer(200, b"".join(page), content_type)


def _encoder(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    """What makes a page of metrics, and the type of what it makes."""
    if accept:
        with contextlib.suppress(TypeError, ValueError):  # a version that is no number
            return choose_encoder(accept)
    return generate_latest, METRICS_TYPE


class _Piece(Collector):
    """Some samples of one family; ``is_first``: they begin it."""

    def __init__(self, family: Metric, start: int) -> None:
        self._family = copy.copy(family)
        self._family.samples = family.samples[start : start + _SAMPLES_AT_ONCE]
        self.is_first = start == 0

    def collect(self) -> Iterable[Metric]:
        """Part of prometheus_client's Collector."""
        return [self._family]


def _pieces(families: Iterable[Metric]) -> Iterator[_Piece]:
    for family in families:
        for start in range(0, max(1, len(family.samples)), _SAMPLES_AT_ONCE):
            yield _Piece(family, start)


async def serve_admin(host: str, port: int, routes: Routes) -> Sequence[asyncio.Server]:
    """Listen on the admin port, at each of the host's addresses; raises OSError when it is taken."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(10.0):
                head = await reader.readuntil(b"\r\n\r\n")
                answer = await _answer(head, routes)
                phrase = HTTPStatus(answer.status).phrase
                writer.write(
                    f"HTTP/1.1 {answer.status} {phrase}\r\ncontent-type: {answer.content_type}\r\n"
                    f"content-length: {len(answer.body)}\r\nconnection: close\r\n\r\n".encode()
                )
                writer.write(b"" if head.startswith(b"HEAD ") else answer.body)
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # nobody is listening any more, or it was not a request
        finally:
            writer.close()

    return [await asyncio.start_server(handle, sock=one, limit=_MAX_REQUEST_BYTES) for one in bound_sockets(host, port)]


class AdminThread:
    """The admin port of a process that has no event loop of its own."""

    def __init__(self, host: str, port: int, routes: Routes) -> None:
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._servers = self._loop.run_until_complete(serve_admin(host, port, routes))
        self.port = self._servers[0].sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, name="admin", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)
        for server in self._servers:
            server.close()
        self._loop.close()


async def _answer(head: bytes, routes: Routes) -> Answer:
    method, _, rest = head.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0].decode("latin-1")
    route = routes.get(path)
    if route is None:
        return Answer(404, b"there is nothing here; try " + ", ".join(sorted(routes)).encode() + b"\n")
    if method not in (b"GET", b"HEAD"):
        return Answer(405, b"only GET and HEAD\n")
    if isinstance(route, MetricsPage):
        return await metrics_answer(*route.collectors, accept=_header(head, b"accept"))
    return await route()


def _header(head: bytes, wanted: bytes) -> str:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == wanted:
            return value.strip().decode("latin-1")
    return ""
