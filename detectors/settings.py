"""Settings of the detectors' process."""

from dataclasses import dataclass

from driftline import names
from driftline.settings import port_faults
from driftline.token_files import AccessSettings


@dataclass(frozen=True)
class DetectorsSettings(AccessSettings):
    """Read with prefix ``DETECTORS``: ``DRIFTLINE_DETECTORS_DATABASE_URL`` and so on.

    ``database_url``: the store's address, as SQLAlchemy writes it. ``host`` and ``port`` of ``/metrics`` and
    ``/healthz`` (port 0: any free one). ``interval_s``: real seconds between two looks at windows.
    """

    database_url: str = names.DATABASE_URL
    host: str = "127.0.0.1"
    port: int = 9085
    interval_s: float = 10.0

    def validate(self) -> list[str]:
        """Everything wrong with the values."""
        faults = port_faults(self.port)
        if not self.interval_s > 0:
            faults.append(f"interval_s {self.interval_s} must be above 0")
        if not self.database_url:
            faults.append("database_url is empty")
        return faults
