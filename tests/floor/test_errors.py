"""Errors: one tree, one question (permanent or transient), messages that name the thing."""

import inspect
import pickle

import pytest

from driftline import errors
from driftline.access import AccessError
from driftline.errors import (
    DecodeError,
    DriftlineError,
    EventError,
    FaultsError,
    PermanentError,
    TransientError,
    UnavailableError,
)

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, Exception)]


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_is_permanent_or_transient_never_both(cls: type[Exception]) -> None:
    assert issubclass(cls, DriftlineError)
    assert cls is DriftlineError or issubclass(cls, PermanentError) != issubclass(cls, TransientError)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_stands_in_the_drawn_tree(cls: type[Exception]) -> None:
    assert cls is FaultsError or cls.__name__ in str(errors.__doc__)


def test_faults_are_all_in_the_message_and_kept_apart() -> None:
    error = EventError("event 'e1'", ["a is missing", "b is wrong"])
    assert str(error) == "event 'e1': a is missing; b is wrong"
    assert (error.subject, error.faults) == ("event 'e1'", ("a is missing", "b is wrong"))


def test_a_decode_error_has_a_word_for_counters() -> None:
    error = DecodeError("shape", "input 'x' has 3 values, not 4")
    assert (error.reason, str(error)) == ("shape", "shape: input 'x' has 3 values, not 4")


@pytest.mark.parametrize(
    "error",
    [
        DecodeError("shape", "input 'x' has 3 values, not 4"),
        EventError("event 'e1'", ["a is missing", "b is wrong"]),
        UnavailableError("kafka", "no answer"),
        AccessError(403, "may not", needs="labels:write"),
        PermanentError("plain"),
    ],
)
def test_an_error_comes_out_of_another_process_as_it_was(error: DriftlineError) -> None:
    error.add_note("seen by worker 3")
    found = pickle.loads(pickle.dumps(error))
    assert (type(found), str(found), vars(found)) == (type(error), str(error), vars(error))


def test_an_unavailable_part_is_named() -> None:
    assert str(UnavailableError("kafka", "no answer")) == "kafka is unavailable: no answer"
