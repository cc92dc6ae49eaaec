"""TLS handshakes that came to nothing, on either side, counted by why.

Whatever drives a connection's TLS asks its object to shake hands, and is told there why that failed. So each context
that is watched makes objects of a class of its own. In TLS 1.3 a client is done before the server has seen its
certificate, and hears by its first read that it was refused.
"""

import ssl
from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client.core import Metric

from driftline import names
from driftline.metric_families import counter_family

CLIENT, UPSTREAM = "client", "upstream"

#: The other side says that it does not take our certificate; it shows one that we do not take; it shows none.
OURS_REFUSED, THEIRS_REFUSED, NONE_SHOWN = "certificate_refused", "certificate_untrusted", "no_certificate"
#: It speaks no TLS; no version, cipher or protocol is known to both; it hung up.
NOT_TLS, NO_AGREEMENT, CLOSED = "not_tls", "no_agreement", "closed"
#: Neither done nor failed when its time was over: it hung up without a word, or was silent. And what is none of these.
UNFINISHED, OTHER = "unfinished", "other"

#: What OpenSSL's own reasons hold, the first that fits.
_WORDS = (
    ("PEER_DID_NOT_RETURN_A_CERTIFICATE", NONE_SHOWN),
    ("CERTIFICATE_VERIFY_FAILED", THEIRS_REFUSED),
    ("HTTP_REQUEST", NOT_TLS),
    ("HTTPS_PROXY_REQUEST", NOT_TLS),
    ("WRONG_VERSION_NUMBER", NOT_TLS),
    ("RECORD_LAYER_FAILURE", NOT_TLS),
    ("ALERT_PROTOCOL_VERSION", NO_AGREEMENT),
    ("ALERT_HANDSHAKE_FAILURE", NO_AGREEMENT),
    ("ALERT_NO_APPLICATION_PROTOCOL", NO_AGREEMENT),
    ("NO_SHARED_CIPHER", NO_AGREEMENT),
    ("UNSUPPORTED_PROTOCOL", NO_AGREEMENT),
    ("NO_PROTOCOLS_AVAILABLE", NO_AGREEMENT),
    ("VERSION_TOO", NO_AGREEMENT),
    ("_CERTIFICATE", OURS_REFUSED),
    ("_UNKNOWN_CA", OURS_REFUSED),
    ("ALERT_ACCESS_DENIED", OURS_REFUSED),
    ("UNEXPECTED_EOF", CLOSED),
)
#: Handshakes whose end is awaited at most; of more at once, those that just end are not counted.
_MAXIMUM_AWAITED = 10_000


def reason_of(error: ssl.SSLError) -> str:
    """Why a handshake failed, as a label."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return THEIRS_REFUSED
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return CLOSED
    told = error.reason or ""
    return next((reason for word, reason in _WORDS if word in told), OTHER)


class Handshakes:
    """Counts the handshakes that failed; a Prometheus collector. ``monotonic``: seconds of a clock that never jumps."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._failed: dict[tuple[str, str], int] = {}
        #: By a token of each that began and has not ended: its side, and when it will be given up.
        self._awaited: dict[object, tuple[str, float]] = {}

    def watch(self, context: ssl.SSLContext, side: str, limit_s: float) -> ssl.SSLContext:
        """Count the failures of what is made with ``context``; after ``limit_s`` seconds each has ended."""
        handshakes = self

        class Watched(ssl.SSLObject):
            token: object | None = None
            has_heard = False

            def do_handshake(self) -> None:
                if self.token is None:
                    self.token = object()
                    handshakes.begun(self.token, side, limit_s)
                try:
                    super().do_handshake()
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    raise
                except ssl.SSLError as error:
                    handshakes.ended(self.token)
                    handshakes.failed(side, reason_of(error))
                    raise
                handshakes.ended(self.token)

            def read(self, *given: Any) -> Any:  # bytes, or their number where a buffer is given
                if self.has_heard:
                    return super().read(*given)
                try:
                    found = super().read(*given)
                except ssl.SSLError as error:
                    if reason_of(error) == OURS_REFUSED:
                        handshakes.failed(side, OURS_REFUSED)
                    raise
                self.has_heard = True
                return found

        context.sslobject_class = Watched
        return context

    def begun(self, token: object, side: str, limit_s: float) -> None:
        """One began."""
        if len(self._awaited) < _MAXIMUM_AWAITED:
            self._awaited[token] = side, self._monotonic() + limit_s

    def ended(self, token: object) -> None:
        """One is done, or failed."""
        self._awaited.pop(token, None)

    def failed(self, side: str, reason: str) -> None:
        """One failed."""
        self._failed[side, reason] = self._failed.get((side, reason), 0) + 1

    def tick(self) -> None:
        """Called regularly: counts those that just ended."""
        now_s = self._monotonic()
        over = [(token, side) for token, (side, until_s) in self._awaited.items() if until_s <= now_s]
        for token, side in over:
            self.ended(token)
            self.failed(side, UNFINISHED)

    def collect(self) -> Iterable[Metric]:
        """Part of prometheus_client's Collector."""
        family = counter_family(names.SIDECAR_TLS_FAILURES)
        for (side, reason), count in self._failed.items():
            family.add_metric([side, reason], count)
        yield family
