"""What alert rules need to know besides the monitors: the clock they run on and where their links lead."""

from dataclasses import dataclass

from driftline.durations import format_duration
from driftline.errors import SettingsError

#: The shortest duration that Prometheus can read.
SHORTEST_S = 0.001
#: A range of four scrapes still holds two samples when two scrapes fail; ``increase`` and ``changes`` need two.
SCRAPES_PER_LOOK = 4
#: Real seconds: what processes do among themselves (join a group, fetch, commit) takes no less on a faster clock.
PROCESSES_MAY_TAKE_S = 10.0


@dataclass(frozen=True, slots=True)
class RuleOptions:
    """Options of the generated rules.

    ``clock_speed``: seconds of the monitors' clock in one real second. Prometheus knows only real time, so every range,
    ``for`` and interval is divided by it (a day is one second at 86400), while names and texts keep the monitors' time.
    ``scrape_interval_s``, ``evaluation_interval_s``: real seconds, as configured in Prometheus.
    ``external_url``: address of driftline's pages, without a slash at its end; ``runbook_url``: a directory with
    one runbook per alert name, where there is one. ``platform_owner``: who hears of the parts that serve all models.
    """

    external_url: str = "http://127.0.0.1:9086"
    runbook_url: str | None = None
    platform_owner: str = "platform"
    scrape_interval_s: float = 15.0
    evaluation_interval_s: float = 15.0
    clock_speed: float = 1.0

    def __post_init__(self) -> None:
        faults = [
            f"{name} is {getattr(self, name)!r}; it must be above zero"
            for name in ("scrape_interval_s", "evaluation_interval_s", "clock_speed")
            if not 0 < getattr(self, name) < float("inf")
        ]
        if faults:
            raise SettingsError("rule options", faults)

    @property
    def sampling_s(self) -> float:
        """How far apart counters are read, in seconds of the monitors' clock."""
        return self.scrape_interval_s * self.clock_speed

    def seen(self, seconds: float) -> float:
        """``seconds`` of the monitors' clock, or as many as four readings take: a shorter look would see no change.

        >>> RuleOptions().seen(900.0), RuleOptions(clock_speed=3600.0).seen(900.0)
        (900.0, 216000.0)
        """
        return max(seconds, SCRAPES_PER_LOOK * self.sampling_s)

    def worked(self, seconds: float) -> float:
        """As ``seen``, and as long as processes may rightly take to do anything at all.

        >>> RuleOptions().worked(900.0), RuleOptions(clock_speed=3600.0, scrape_interval_s=0.25).worked(900.0)
        (900.0, 36000.0)
        """
        return max(self.seen(seconds), PROCESSES_MAY_TAKE_S * self.clock_speed)

    def real(self, seconds: float) -> str:
        """Seconds of the monitors' clock as a real duration for Prometheus; raises SettingsError below 1 ms.

        >>> RuleOptions(clock_speed=3600.0).real(86400.0)
        '24s'
        """
        real_s = seconds / self.clock_speed
        if real_s < SHORTEST_S:
            fault = (
                f"clock_speed {self.clock_speed:g} makes {format_duration(seconds)} last {real_s:g} s; "
                "Prometheus knows nothing shorter than 1ms"
            )
            raise SettingsError("rule options", [fault])
        return format_duration(real_s)

    def runbook_of(self, alertname: str) -> str:
        """Where an alert's runbook is read; without a directory of its own, on the page that the alert becomes."""
        return f"{self.external_url}/pages" if self.runbook_url is None else f"{self.runbook_url}/{alertname}"
