"""The roll of real parts of one test session: which were used and which lacked."""


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

    def lines(self) -> list[str]:
        """What a person reads at the end; nothing when no test needed a real part."""
        used = [f"used: {', '.join(sorted(self._used))}"] if self._used else []
        return [*used, *(f"lacked: {part} ({remedy})" for part, remedy in sorted(self._lacked.items()))]
