"""Settings of the web pages: prefix ``WEB``."""

from dataclasses import dataclass

from driftline import names
from driftline.settings import port_faults
from driftline.token_files import AccessSettings


@dataclass(frozen=True, slots=True)
class WebSettings(AccessSettings):
    """Where the pages listen and what they link to.

    ``external_url``: how people reach the pages, for links in reports; ``grafana_url``: Grafana with the boards, empty
    where there is none; ``shown_windows``: windows drawn on a model's page.
    """

    host: str = "127.0.0.1"
    port: int = 9086
    database_url: str = names.DATABASE_URL
    monitors: str = "monitors"
    external_url: str = ""
    grafana_url: str = ""
    clock: str = "system"
    shown_windows: int = 60
    refresh_s: float = 5.0
    drain_s: float = 5.0

    def validate(self) -> list[str]:
        """What is wrong with the values, as sentences."""
        faults = port_faults(self.port)
        if not 1 <= self.shown_windows <= 1000:
            faults.append(f"'shown_windows' is {self.shown_windows}, which is not between 1 and 1000")
        if self.refresh_s <= 0:
            faults.append(f"refresh_s is {self.refresh_s}, which is not above 0")
        for name, url in (("external_url", self.external_url), ("grafana_url", self.grafana_url)):
            if url and not url.startswith(("http://", "https://")):
                faults.append(f"{name} is '{url}', which does not begin with http:// or https://")
        return faults
