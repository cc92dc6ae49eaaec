"""What a test is told when the real part it needs is not on this machine."""


class MissingPartError(Exception):
    """``part`` is not here; ``remedy`` says how to install it."""

    def __init__(self, part: str, remedy: str) -> None:
        self.part = part
        self.remedy = remedy
        super().__init__(f"needs {part}: {remedy}")
