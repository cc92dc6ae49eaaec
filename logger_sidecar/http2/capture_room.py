"""How much of the bodies in flight may be kept."""


class CaptureRoom:
    """How many bytes all calls in flight may keep together."""

    __slots__ = ("held_bytes", "max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.held_bytes = 0
