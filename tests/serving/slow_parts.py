"""What the slow references share: what they are asked for, what they find, and how they say that they do not know."""

from typing import Any, NamedTuple

Row = dict[str, Any]
Tensors = list[tuple[str, list[int], list[Any]]]


class RefusedError(Exception):
    """The reference sees no rows in these bytes."""


class UnknownError(Exception):
    """The reference does not know this format, or this corner of it."""


class Sought(NamedTuple):
    """What the monitor asks for: input columns with their types, the class, and a number beside it."""

    inputs: dict[str, str]
    prediction: str
    score: str

    def names(self, side: str) -> list[str]:
        """The fields that matter of a request (``inputs``) or an answer (``outputs``)."""
        return list(self.inputs) if side == "inputs" else [self.prediction, self.score]


class Found(NamedTuple):
    """Fields of one half. ``loose``: an only one may stand for what is asked for, whatever its name."""

    tensors: Tensors
    loose: bool = True
    streamed: bool = False


def refuse(condition: object) -> None:
    """Raise RefusedError where the condition holds."""
    if condition:
        raise RefusedError
