"""How parts are told whose tokens they ask for."""

import logging
from typing import Literal

import pytest

from driftline.errors import SettingsError
from driftline.token_files import AccessSettings, access_of


@pytest.mark.parametrize(("auth", "host", "said"), [("auto", "0.0.0.0", 1), ("auto", "127.0.0.1", 1), ("none", "", 0)])
def test_a_part_that_may_be_open_says_once_that_it_is(
    auth: Literal["auto", "none"], host: str, said: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    assert access_of("web", host, AccessSettings(auth=auth), may_be_open=True).book is None
    # Threads of tests before this one may have something to say as well.
    told = [record.getMessage() for record in caplog.records if "tokens" in record.getMessage()]
    assert [line.startswith("web asks for no tokens") for line in told] == [True] * said


def test_a_part_that_must_not_be_open_does_not_start() -> None:
    with pytest.raises(SettingsError, match="driftline tokens create"):
        access_of("collector", "0.0.0.0", AccessSettings())
    with pytest.raises(SettingsError, match="there are none"):
        access_of("web", "127.0.0.1", AccessSettings(auth="tokens"), may_be_open=True)
