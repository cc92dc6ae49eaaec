"""Settings of ``driftline alerts evaluate`` (``DRIFTLINE_ALERTS_...``)."""

from dataclasses import dataclass

from alerts.options import RuleOptions
from driftline import names

SETTINGS_PREFIX = "ALERTS"


@dataclass(frozen=True, slots=True)
class EvaluatorSettings:
    """What the embedded evaluation reads, how often, and whom it tells.

    ``targets``: addresses of metrics pages (sidecar, collector, detectors). ``page_desk_url``: the webhook of
    ``driftline dashboards serve``. ``interval_s``: real seconds between two turns. ``repeat_s``: a firing alert is
    told again after this long on the deployment's clock. ``external_url``, ``runbook_url``: where links lead.
    """

    targets: tuple[str, ...] = ()
    page_desk_url: str = f"http://127.0.0.1:9086{names.PAGE_DESK_PATH}"
    interval_s: float = 15.0
    repeat_s: float = 4 * 3600.0
    timeout_s: float = 2.0
    external_url: str = "http://127.0.0.1:9086"
    runbook_url: str | None = None

    def validate(self) -> list[str]:
        """Every setting that cannot work."""
        times = {"interval_s": self.interval_s, "repeat_s": self.repeat_s, "timeout_s": self.timeout_s}
        faults = [
            f"{name} is {value:g}; it must be above zero"
            for name, value in times.items()
            if not 0 < value < float("inf")
        ]
        if not self.targets:
            faults.append(
                "targets is empty; name at least one metrics page (--scrape), such as http://127.0.0.1:9084/metrics"
            )
        urls = (*self.targets, self.page_desk_url)
        faults += [f"'{url}' is not an http:// or https:// address" for url in urls if not _is_url(url)]
        return faults

    def rule_options(self, clock_speed: float) -> RuleOptions:
        """The options under which Prometheus's rules would decide and say the same."""
        return RuleOptions(
            external_url=self.external_url,
            runbook_url=self.runbook_url,
            scrape_interval_s=self.interval_s,
            evaluation_interval_s=self.interval_s,
            clock_speed=clock_speed,
        )


def _is_url(url: str) -> bool:
    return url.startswith(("http://", "https://"))
