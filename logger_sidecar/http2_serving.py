"""Puts together what connections over HTTP/2 need, from the settings and the sidecar's parts."""

import asyncio
from collections.abc import Awaitable, Callable

from driftline.clock import Clock
from logger_sidecar.http2.capture_room import CaptureRoom
from logger_sidecar.http2.followed_call import CallParts
from logger_sidecar.http2.splice import Http2Connection, Registry, SpliceParts
from logger_sidecar.http2.stream_heads import HeadMeaning, Methods
from logger_sidecar.proxy.dial import Dialer, parse_upstream
from logger_sidecar.recording.capture import Capture
from logger_sidecar.recording.event_ids import EventIds
from logger_sidecar.recording.meters import Meters
from logger_sidecar.settings import SidecarSettings


def http2_factory(
    settings: SidecarSettings,
    *,
    capture: Capture,
    meters: Meters,
    clock: Clock,
    event_ids: EventIds,
    registry: Registry,
    connect: Callable[[Callable[[], asyncio.Protocol]], Awaitable[tuple[asyncio.BaseTransport, asyncio.BaseProtocol]]]
    | None = None,
) -> "Http2Factory":
    """What makes the protocol of each connection that speaks HTTP/2 from its first byte.

    ``connect``: makes the transport to where the model server speaks gRPC; None: ``grpc_upstream``, without TLS.
    """
    target = parse_upstream(settings.grpc_upstream or settings.upstream)
    if connect is None:
        connect = Dialer(target, timeout_s=settings.connect_timeout_s).connect
    calls = CallParts(
        capture=capture,
        meters=meters,
        clock=clock,
        event_ids=event_ids,
        meaning=_meaning(settings),
        room=CaptureRoom(settings.grpc_capture_bytes),
        default_model=settings.default_model,
        default_version=settings.model_version,
        max_body_bytes=settings.max_body_bytes,
        max_head_bytes=settings.max_head_bytes,
        max_calls=settings.grpc_max_calls,
    )
    parts = SpliceParts(calls, registry, connect, target.address, settings.connect_timeout_s)
    return Http2Factory(parts, capture.settle)


class Http2Factory:
    """Makes the protocol of each connection that speaks HTTP/2.

    ``settle``: called before settings change, so that calls which have ended are recorded by those before.
    """

    def __init__(self, parts: SpliceParts, settle: Callable[[], None]) -> None:
        self._parts = parts
        self._settle = settle

    def __call__(self) -> Http2Connection:
        """The protocol of one more connection."""
        return Http2Connection(self._parts)

    def follow(self, settings: SidecarSettings) -> None:
        """Go by these settings from the next call on, on open connections too."""
        calls = self._parts.calls
        self._settle()
        calls.meaning = _meaning(settings)
        calls.default_model, calls.default_version = settings.default_model, settings.model_version
        calls.max_body_bytes = settings.max_body_bytes


def _meaning(settings: SidecarSettings) -> HeadMeaning:
    return HeadMeaning(Methods(settings.grpc_capture_methods), settings.read_headers, settings.routes)
