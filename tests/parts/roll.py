"""The roll of real parts of one test session: which were used and which lacked."""

from typing import Any


class PartsRoll:
    """Collects during the session, read at its end."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._lacked: dict[str, str] = {}

    def used(self, part: str) -> None:
        """``part`` was there and was used."""
        self._used.add(part)

    def lacked(self, part: str, remedy: str) -> None:
        """``part`` was needed and not there."""
        self._lacked[part] = remedy

    def as_dict(self) -> dict[str, Any]:
        """The roll as plain values, to travel from a worker process."""
        return {"used": sorted(self._used), "lacked": self._lacked}

    def add(self, other: dict[str, Any]) -> None:
        """Take over what another process collected."""
        self._used.update(other.get("used", ()))
        self._lacked.update(other.get("lacked", {}))

    def lines(self) -> list[str]:
        """What a person reads at the end; nothing when no test needed a real part."""
        used = [f"used: {', '.join(sorted(self._used))}"] if self._used else []
        return [*used, *(f"lacked: {part} ({remedy})" for part, remedy in sorted(self._lacked.items()))]
