"""Hands changed settings to the parts of a running proxy: no connection is closed and no request notices.

What connections worked out from a head is theirs alone; they are told to work it out again, one by one, so that the
path from request to request need not look whether anything changed.
"""

import logging
from dataclasses import dataclass

from logger_sidecar.http2_serving import Http2Factory
from logger_sidecar.proxy.client import ClientConnection
from logger_sidecar.proxy.parts import ProxyParts
from logger_sidecar.settings import SidecarSettings


@dataclass(frozen=True, slots=True)
class LiveParts:
    """The parts of one sidecar that go by settings which may change."""

    proxy: ProxyParts
    http2: Http2Factory

    def follow(self, settings: SidecarSettings) -> None:
        """Go by these settings from the next request on; requests in flight end under the policy of their end."""
        proxy = self.proxy
        logging.getLogger("driftline").setLevel(settings.log_level.upper())
        proxy.header_names.follow(settings.read_headers)
        proxy.routes = settings.routes
        proxy.max_body_bytes = settings.max_body_bytes
        proxy.meters.follow(settings.max_models)
        proxy.meters.variant = settings.variant
        proxy.capture.follow(settings.capture_policy())
        proxy.pool.follow(connect_timeout_s=settings.connect_timeout_s, max_idle=settings.max_idle_upstream)
        self.http2.follow(settings)
        if proxy.lane is not None:
            proxy.lane.forget()
        for connection in proxy.connections:
            if isinstance(connection, ClientConnection):
                connection.read_anew()
