"""What of an event's headers many events share, written once for all of them.

>>> common_headers("/ns/app/pod", "iris", "2", "ns", "stable", "v2", 200, 1.0, False).of
(('ce_source', b'/ns/app/pod'), ('ce_subject', b'iris/2'))
>>> written_time(1_700_000_000_000_000_005)
b'2023-11-14T22:13:20.000000005Z'
"""

import functools
from datetime import UTC, datetime
from typing import NamedTuple

Headers = tuple[tuple[str, bytes], ...]


class CommonHeaders(NamedTuple):
    """What an event is of, how it went, and how it was kept."""

    of: Headers
    went: Headers
    kept: Headers


@functools.lru_cache(maxsize=256)
def common_headers(
    source: str,
    model: str,
    version: str,
    namespace: str,
    variant: str,
    protocol: str,
    status_code: int,
    sample_rate: float,
    truncated: bool,
) -> CommonHeaders:
    """The headers in which most events of a stream are alike; the arguments are those of an ``InferenceEvent``."""
    subject = model if not version else f"{model}/{version}"
    return CommonHeaders(
        (("ce_source", source.encode()), ("ce_subject", subject.encode())),
        (
            ("ce_namespace", namespace.encode()),
            ("ce_variant", variant.encode()),
            ("ce_protocol", protocol.encode()),
            ("ce_statuscode", b"%d" % status_code),
        ),
        (("ce_samplerate", repr(float(sample_rate)).encode()), ("ce_truncated", b"true" if truncated else b"false")),
    )


def written_time(time_ns: int) -> bytes:
    """A time, in nanoseconds since the epoch, as RFC 3339 writes it."""
    seconds, fraction_ns = divmod(time_ns, 1_000_000_000)
    return b"%b.%09dZ" % (format_seconds(seconds), fraction_ns)


@functools.lru_cache(maxsize=64)
def format_seconds(seconds: int) -> bytes:
    """Whole seconds since the epoch, without a zone."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()
