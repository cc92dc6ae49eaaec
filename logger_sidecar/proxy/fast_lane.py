"""What the compiled build has beside the same modules in C: a lane for requests that say what the last one said."""

import asyncio
from typing import Protocol, cast

from driftline.native import native_module

_MODULE = "logger_sidecar.proxy.lane"


class Watch(Protocol):
    """Is told when one piece of data begins to be worked on, and when that is done."""

    def begin(self) -> None:
        """Now."""

    def end(self) -> None:
        """Now."""


class FastLane(Protocol):
    """Reads some idle connections itself, without the loop's transports; see ``lane.pyx``.

    A connection in the lane (its ``lane_fd`` is not negative) has a transport that does not read. In all else it is
    what it would be without: closed, timed and counted by its transport and its protocol. The lane knows both kinds of
    connection from within (``ClientFlow``, ``UpstreamConnection``), and they know it by what stands here.
    """

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin: connections may come from now on."""

    def close(self) -> None:
        """End; connections that are in it are read by their transports again."""

    def consider(self, client: object) -> None:
        """A request of this client and its answer each came whole, and it is idle: it may belong here."""

    def begin(self, client: object, data: bytes) -> bool:
        """First bytes of a client: take it and pass them on where they say what others said; False: they do not."""

    def forget(self) -> None:
        """Settings have changed: what new clients say is read anew."""

    def leave(self, connection: object) -> None:
        """From here on its transport reads again; nothing where it is not in the lane."""

    def watch(self, connection: object, watch: Watch) -> bool:
        """Tell the watch of the next piece that comes on this connection; False: it is not in the lane."""


def fast_lane(parts: object) -> FastLane | None:
    """The lane of the connections that have these ``ProxyParts``; None where this build has none."""
    module = native_module(_MODULE)
    return None if module is None else cast("FastLane", module.Lane(parts))
