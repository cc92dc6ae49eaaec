"""Settings: arguments over environment over file over defaults, and every wrong key and value named at once."""

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from driftline.errors import SettingsError
from driftline.settings import load


@dataclass(frozen=True, slots=True)
class Kitchen:
    """One field of every type that settings have."""

    cook: str
    size: int = 4
    timeout_s: float = 1.0
    verbose: bool = False
    place: Path = Path("/srv")
    mode: Literal["calm", "busy"] = "calm"
    limit: int | None = None
    tags: tuple[str, ...] = ()
    ports: tuple[int, ...] = (1,)

    def validate(self) -> list[str]:
        """Faults between fields."""
        return ["size must be above 0"] if self.size <= 0 else []


def kitchen(**given: Any) -> Kitchen:
    """Load with a cook, so that tests name only what they are about."""
    return load(Kitchen, "KITCHEN", environ={}, arguments={"cook": "Ada"} | given)


def faults_of(environ: dict[str, str], file: dict[str, Any] | None = None, **arguments: Any) -> list[str]:
    """What is wrong with these settings."""
    with pytest.raises(SettingsError) as caught:
        load(Kitchen, "KITCHEN", environ=environ, file=file, arguments={"cook": "Ada"} | arguments)
    assert caught.value.subject == "settings of kitchen"
    return list(caught.value.faults)


def test_arguments_beat_the_environment_which_beats_the_file_which_beats_defaults() -> None:
    file = {"cook": "file", "size": 2, "timeout_s": 2.0}
    environ = {"DRIFTLINE_KITCHEN_SIZE": "3", "DRIFTLINE_KITCHEN_TIMEOUT_S": "3"}
    settings = load(Kitchen, "KITCHEN", environ=environ, file=file, arguments={"timeout_s": 4.0})
    assert (settings.cook, settings.size, settings.timeout_s, settings.limit) == ("file", 3, 4.0, None)


@dataclass(frozen=True, slots=True)
class Safe:
    """A field that nobody may read in a log."""

    password: str = field(default="", repr=False)


@pytest.mark.parametrize("given", [["hunter2"], {"hunter2": 1}, "hunter2\0"])
def test_a_secret_that_is_refused_is_not_shown(given: object) -> None:
    with pytest.raises(SettingsError, match="password has a value that is not") as refused:
        load(Safe, "SAFE", environ={}, arguments={"password": given})
    assert "hunter2" not in str(refused.value)


def test_an_argument_of_none_counts_as_not_given() -> None:
    assert load(Kitchen, "KITCHEN", environ={}, file={"cook": "file"}, arguments={"cook": None}).cook == "file"


def test_variables_of_other_prefixes_are_passed_over() -> None:
    environ = {
        "DRIFTLINE_KITCHEN_COOK": "env",
        "DRIFTLINE_GARDEN_SIZE": "9",
        "PATH": "/bin",
        "DRIFTLINE_REQUIRE_ALL": "1",
    }
    assert load(Kitchen, "KITCHEN", environ=environ) == Kitchen(cook="env")


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("size", "12", 12),
        ("timeout_s", "2.5", 2.5),
        ("timeout_s", "1e3", 1000.0),
        ("verbose", "true", True),
        ("verbose", "YES", True),
        ("verbose", "on", True),
        ("verbose", "1", True),
        ("verbose", "False", False),
        ("verbose", "no", False),
        ("verbose", "0", False),
        ("place", "/tmp/x", Path("/tmp/x")),
        ("mode", "busy", "busy"),
        ("limit", "7", 7),
        ("limit", "", None),
        ("tags", "a, b,,c", ("a", "b", "c")),
        ("tags", "", ()),
        ("ports", "80,81", (80, 81)),
    ],
)
def test_text_from_the_environment_becomes_the_fields_type(field: str, text: str, value: object) -> None:
    environ = {"DRIFTLINE_KITCHEN_COOK": "env", f"DRIFTLINE_KITCHEN_{field.upper()}": text}
    assert getattr(load(Kitchen, "KITCHEN", environ=environ), field) == value


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({"tags": ["a", "b"]}, ("a", "b")),
        ({"ports": [1, "2"]}, (1, 2)),
        ({"place": Path("/x")}, Path("/x")),
        ({"size": 3.0}, 3),
        ({"timeout_s": 3}, 3.0),
        ({"limit": 5}, 5),
    ],
)
def test_values_from_files_and_arguments_become_the_fields_type(given: dict[str, Any], value: object) -> None:
    found = getattr(kitchen(**given), next(iter(given)))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("field", "text", "told"),
    [
        ("size", "many", "DRIFTLINE_KITCHEN_SIZE is 'many', which is not a whole number"),
        ("size", "1.5", "DRIFTLINE_KITCHEN_SIZE is '1.5', which is not a whole number"),
        ("timeout_s", "nan", "DRIFTLINE_KITCHEN_TIMEOUT_S is 'nan', which is not a number"),
        ("verbose", "maybe", "DRIFTLINE_KITCHEN_VERBOSE is 'maybe', which is not true or false"),
        ("mode", "wild", "DRIFTLINE_KITCHEN_MODE is 'wild', which is not one of calm, busy"),
        ("ports", "80,http", "DRIFTLINE_KITCHEN_PORTS is '80,http', which is not tuple[int, ...]"),
        ("size", str(2**63), f"DRIFTLINE_KITCHEN_SIZE is '{2**63}', which is out of range"),
        ("tags", '["a", "b\\u0000"]', "which is not tuple[str, ...]"),
        ("siez", "1", "DRIFTLINE_KITCHEN_SIEZ is not a setting; did you mean 'size'?"),
        ("qqqqq", "1", "DRIFTLINE_KITCHEN_QQQQQ is not a setting"),
    ],
)
def test_a_wrong_variable_is_named_with_its_value(field: str, text: str, told: str) -> None:
    (fault,) = faults_of({f"DRIFTLINE_KITCHEN_{field.upper()}": text})
    assert fault.endswith(told)


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ({"size": True}, "file key 'size' is 'True', which is not a whole number"),
        ({"size": 1.5}, "file key 'size' is '1.5', which is not a whole number"),
        ({"place": None}, "file key 'place' is 'None', which is not a path"),
        ({"place": 5}, "file key 'place' is '5', which is not a path"),
        ({"tags": 5}, "file key 'tags' is '5', which is not tuple[str, ...]"),
        ({"size": math.inf}, "file key 'size' is 'inf', which is out of range"),
        ({"cook": ["Ada"]}, "file key 'cook' is '['Ada']', which is not a text"),
        ({"cook": {"name": "Ada"}}, "file key 'cook' is '{'name': 'Ada'}', which is not a text"),
        ({"cook": "A\0"}, "file key 'cook' is 'A\0', which is not a text"),
        ({"cook": "\ud800"}, "file key 'cook' is '\ud800', which is not a text"),
        ({"place": "/a\0"}, "file key 'place' is '/a\0', which is not a path"),
        ({"place": "/\ud800"}, "file key 'place' is '/\ud800', which is not a path"),
        ({"tags": {"a": 1}}, "file key 'tags' is '{'a': 1}', which is not tuple[str, ...]"),
        ({"tags": b"ab"}, "file key 'tags' is 'b'ab'', which is not tuple[str, ...]"),
        ({"tags": [["a"]]}, "file key 'tags' is '[['a']]', which is not tuple[str, ...]"),
        ({"timeout": 1}, "file key 'timeout' is not a setting; did you mean 'timeout_s'?"),
    ],
)
def test_a_wrong_file_key_is_named_with_its_value(file: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(Kitchen, "KITCHEN", environ={}, file={"cook": "Ada"} | file)
    assert list(caught.value.faults) == [told]


def test_a_path_need_not_be_text() -> None:
    environ = {"DRIFTLINE_KITCHEN_COOK": "env", "DRIFTLINE_KITCHEN_PLACE": os.fsdecode(b"/srv/\xff")}
    assert os.fsencode(load(Kitchen, "KITCHEN", environ=environ).place) == b"/srv/\xff"


def test_a_text_that_is_null_in_the_file_is_not_the_word_none() -> None:
    with pytest.raises(SettingsError, match="file key 'cook' is 'None', which is not a text"):
        load(Kitchen, "KITCHEN", environ={}, file={"cook": None}, arguments={})


def test_a_wrong_argument_is_named_as_it_is_typed() -> None:
    assert faults_of({}, timeout_s="soon") == ["--timeout-s is 'soon', which is not a number"]


def test_all_faults_come_together_with_what_is_missing() -> None:
    with pytest.raises(SettingsError) as caught:
        load(Kitchen, "KITCHEN", environ={"DRIFTLINE_KITCHEN_SIZE": "x"}, file={"mode": 1}, arguments={"verbose": "?"})
    assert [fault.split()[0] for fault in caught.value.faults] == [
        "file",
        "DRIFTLINE_KITCHEN_SIZE",
        "--verbose",
        "'cook'",
    ]


def test_faults_between_fields_are_reported_by_validate() -> None:
    assert faults_of({}, size=-1) == ["size must be above 0 (--size)"]


def test_a_fault_between_fields_says_where_the_value_came_from() -> None:
    assert faults_of({}, {"size": -1}) == ["size must be above 0 (file key 'size')"]
    assert faults_of({"DRIFTLINE_KITCHEN_SIZE": "0"}) == ["size must be above 0 (DRIFTLINE_KITCHEN_SIZE)"]


def test_faults_between_fields_come_with_the_others_but_not_those_that_only_follow_from_them() -> None:
    assert faults_of({"DRIFTLINE_KITCHEN_MODE": "wild"}, size=0) == [
        "DRIFTLINE_KITCHEN_MODE is 'wild', which is not one of calm, busy",
        "size must be above 0 (--size)",
    ]
    assert faults_of({"DRIFTLINE_KITCHEN_SIZE": "x"}, {"size": -1}) == [
        "DRIFTLINE_KITCHEN_SIZE is 'x', which is not a whole number"
    ]


def test_the_file_goes_by_its_own_name() -> None:
    with pytest.raises(SettingsError, match=r"^settings of kitchen: home\.yaml key 'siz' is not a setting; did"):
        load(Kitchen, "KITCHEN", environ={}, file={"siz": 1}, file_name="home.yaml", arguments={"cook": "Ada"})
