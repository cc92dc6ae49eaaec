"""What a sink is, and how one is made from its URL.

A new kind of sink is one module ``sink_NAME.py`` with ``open_sink(url, settings) -> Sink``, entered with its options in
``sink_urls.SCHEMES``. It runs in the shipper's process, on a thread of its own, with its own position in the spool: it
may wait as long as it likes, and may use any library, which is loaded only where such a sink is configured.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from driftline.errors import SettingsError, UnavailableError
from driftline.events import InferenceEvent, InferenceMessage
from logger_sidecar.shipping.settings import ShipperSettings
from logger_sidecar.shipping.sink_urls import SCHEMES, SinkUrl

REASON_REFUSED = "refused"
REASON_TOO_LARGE = "too_large"


@dataclass(frozen=True, slots=True)
class BatchBounds:
    """How much one delivery holds; whichever is reached first.

    ``max_wait_s``: how long to gather from the first event on; 0 delivers at once what there is. What is gathered stays
    in the spool until it is delivered. ``repeats_exactly``: a batch that is repeated after a crash holds the same
    events as the first time, no more and no fewer.
    """

    max_events: int = 2000
    max_bytes: int = 8 * 1024 * 1024
    max_wait_s: float = 0.0
    repeats_exactly: bool = False


#: What a sink makes of a frame of the spool, to deliver it.
Taken = InferenceEvent | InferenceMessage


class Sink(Protocol):
    """Where events go."""

    @property
    def name(self) -> str:
        """Its name: the label of its metrics and of its position in the spool."""

    @property
    def bounds(self) -> BatchBounds:
        """How much it wants at once."""

    def read(self, frame: bytes) -> Taken:
        """The event of a frame of the spool as this sink delivers it, made as soon as it is read; raises EventError.

        All that each event costs by itself is best done here, while its bytes are at hand for the processor.
        """

    def deliver(self, events: Sequence[Any]) -> Mapping[int, str]:
        """Deliver all of ``events``, each as ``read`` gave it.

        Returns, by index, a reason (a bounded word) for each that never can be delivered.

        Raises TransientError to be given the same events again after a pause. An event may come again after it was
        delivered: its id tells.
        """

    def close(self) -> None:
        """Give connections up. ``deliver`` may be called again, and then connects anew."""


class SinkFactory(Protocol):
    """Makes a sink; raises SettingsError when it cannot be had as it is configured."""

    def __call__(self, url: SinkUrl, settings: ShipperSettings, /) -> Sink:
        """The sink of this URL, not yet connected."""


def password_of(settings: ShipperSettings) -> str:
    """The broker's password, from where the settings say; raises UnavailableError when its file cannot be read."""
    if not settings.sasl_password_file:
        return settings.sasl_password
    try:
        return Path(settings.sasl_password_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UnavailableError("kafka", f"sasl_password_file '{settings.sasl_password_file}': {error}") from error


def open_sink(url: SinkUrl, settings: ShipperSettings) -> Sink:
    """The sink of this URL, not yet connected; raises SettingsError where the library that it needs is not there."""
    scheme = SCHEMES[url.scheme]
    try:
        module = importlib.import_module(scheme.module)
    except ImportError as error:
        fault = f"{error.name or error} is not installed; the extra '{scheme.extra}' has it"
        raise SettingsError(f"sink '{url.name}'", [fault]) from error
    factory: SinkFactory = module.open_sink
    return factory(url, settings)
