"""The configuration, read again while the sidecar runs: what may change is followed, what may not is named.

A new configuration is taken whole or not at all: with one fault in it the old one stays, and every fault is logged.
"""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from prometheus_client.core import Metric

from driftline import names
from driftline.errors import SettingsError
from driftline.metric_families import counter_family, gauge_family
from logger_sidecar.config_file import Chosen, Sources, Unchanging
from logger_sidecar.settings import SidecarSettings
from logger_sidecar.shipping.settings import ShipperSettings

_log = logging.getLogger("driftline.sidecar")
#: The settings of the sidecar that are followed while it runs; all others hold until it is started anew.
LIVE = frozenset(
    {
        "capture_headers",
        "capture_paths",
        "connect_timeout_s",
        "drain_timeout_s",
        "grace_period_s",
        "idle_timeout_s",
        "keep_errors",
        "keep_headers",
        "keep_slower_than_s",
        "log_level",
        "max_body_bytes",
        "max_decoded_bytes",
        "max_idle_upstream",
        "max_models",
        "metadata",
        "model",
        "model_sample_rates",
        "model_version",
        "redact",
        "redact_key_file",
        "response_timeout_s",
        "sample_rate",
        "sinks",
        "variant",
        "watch_config_s",
    }
)


class Followed(NamedTuple):
    """What a new configuration comes to. ``settings``: the old ones with everything new that may change.

    ``changed``, ``fixed``: names of settings that are new and followed, and of those that are new and cannot be.
    """

    settings: SidecarSettings
    changed: tuple[str, ...]
    fixed: tuple[str, ...]


def follow(old: SidecarSettings, new: SidecarSettings) -> Followed:
    """What of ``new`` a sidecar with the settings ``old`` can take over while it runs.

    >>> follow(SidecarSettings(), SidecarSettings(sample_rate=0.5, listen_port=1))[1:]
    (('sample_rate',), ('listen_port',))
    """
    fields = [field.name for field in dataclasses.fields(SidecarSettings)]
    different = [name for name in fields if getattr(old, name) != getattr(new, name)]
    changed = tuple(name for name in different if name in LIVE)
    settings = dataclasses.replace(old, **{name: getattr(new, name) for name in changed})
    return Followed(settings, changed, tuple(name for name in different if name not in LIVE))


class Reloader:
    """Reads the configuration again when asked to, or when a file's content is another; a Prometheus collector.

    ``take``: is given the settings to go by from now on, and the shipper's, on the event loop; done when nothing that
    is written goes by the old ones any more.
    """

    def __init__(
        self,
        sources: Sources | Unchanging,
        current: SidecarSettings,
        take: Callable[[SidecarSettings, ShipperSettings | None], Awaitable[None]],
    ) -> None:
        self._sources = sources
        self._current = current
        self._take = take
        self._asked = asyncio.Event()
        self._seen = sources.fingerprint()
        self.outcomes = {names.OUTCOME_APPLIED: 0, names.OUTCOME_REFUSED: 0}
        self.was_successful = True
        self.succeeded_s = time.time()

    def ask(self) -> None:
        """Read it again soon: what SIGHUP does."""
        self._asked.set()

    async def run(self) -> None:
        """Follow the configuration until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            asked = await self._wait()
            seen = await loop.run_in_executor(None, self._sources.fingerprint)
            if not asked and seen == self._seen:
                continue
            self._seen = seen
            try:
                await self._follow(await loop.run_in_executor(None, self._sources.read))
            except SettingsError as error:
                self._refuse(error.faults)
            except Exception as error:  # noqa: BLE001 - the next configuration must still be read
                _log.exception("a configuration could not be followed")
                self._refuse([f"{type(error).__name__}: {error}"])

    async def _wait(self) -> bool:
        """Until somebody asks (True) or it is time to look (False)."""
        try:
            async with asyncio.timeout(self._current.watch_config_s or None):
                await self._asked.wait()
        except TimeoutError:
            return False
        self._asked.clear()
        return True

    def _refuse(self, faults: Iterable[str]) -> None:
        for fault in faults:
            _log.error("configuration refused, the old one stays: %s", fault)
        self.outcomes[names.OUTCOME_REFUSED] += 1
        self.was_successful = False

    async def _follow(self, chosen: Chosen) -> None:
        found = follow(self._current, chosen.sidecar)
        if found.fixed:
            _log.warning("these settings change only with a restart and stay as they were: %s", ", ".join(found.fixed))
        await self._take(found.settings, chosen.shipper)
        self._current = found.settings
        self.outcomes[names.OUTCOME_APPLIED] += 1
        self.was_successful = True
        self.succeeded_s = time.time()
        _log.info("configuration read again; changed: %s", ", ".join(found.changed) or "nothing")

    def collect(self) -> Iterable[Metric]:
        """Part of prometheus_client's Collector."""
        reloads = counter_family(names.CONFIG_RELOADS)
        for outcome, count in self.outcomes.items():
            reloads.add_metric([outcome], count)
        yield reloads
        for metric, value in (
            (names.CONFIG_LAST_RELOAD_SUCCESSFUL, float(self.was_successful)),
            (names.CONFIG_LAST_RELOAD, self.succeeded_s),
        ):
            yield gauge_family(metric, value)
