"""The API as it describes itself, against a running collector on SQLite: requests made from the description.

Every answer is one that the description names, in the form it names; none is a fault of ours (5xx), whatever is sent;
and none is given to somebody without a token.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any
from unittest import SkipTest

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from driftline.access import ADMIN, Grant, TokenEntry, digest_of, entry_yaml, new_token
from tests.collector.helpers import MONITOR
from tests.house import ROOT
from tests.parts.http import answers
from tests.parts.processes import PartProcess, free_ports

pytestmark = pytest.mark.slow  # starts a process

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    ignored_auth,
]
#: Examples of each endpoint, from each phase.
EXAMPLES = 12
#: For an answer: ten seconds, as by default, may pass where both cores are busy.
TIMEOUT_S = 120.0
TOKEN = new_token()
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a collector of its own answers."""
    directory = tmp_path_factory.mktemp("collector")
    (directory / "monitors").mkdir()
    (directory / "monitors" / "flights.yaml").write_text(MONITOR.model_dump_json(exclude_none=True))
    tokens = directory / "tokens.yaml"
    tokens.write_text(entry_yaml([TokenEntry(Grant("tester", frozenset({ADMIN})), digest_of(TOKEN))]))
    port = free_ports(1)[0]
    command = [sys.executable, "-m", "driftline", "collector", "--monitors", str(directory / "monitors")]
    command += ["--source", "none", "--spool-dir", str(directory / "spool"), "--port", str(port)]
    command += ["--database-url", f"sqlite:///{directory}/store.db", "--tokens-file", str(tokens)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "DRIFTLINE_COLLECTOR_UPLOAD_DIR": str(directory / "uploads")}
    with PartProcess(command, directory / "log", cwd=directory, environ=environ) as process:
        url = f"http://127.0.0.1:{port}"
        process.wait_ready(lambda: answers(f"{url}/healthz"), 120)
        yield url
        assert process.running(), process.output()[-3000:]
        assert "Traceback" not in process.output(), process.output()[-5000:]


@pytest.fixture(scope="module")
def api(address: str) -> Any:
    """The description, as it is served."""
    return schemathesis.openapi.from_url(f"{address}/openapi.json", headers=HEADERS)


def test_what_the_description_promises_holds(api: Any) -> None:
    tried = []
    for found in api.get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
        @BOUNDED
        def as_described(case: Any) -> None:
            case.call_and_validate(checks=CHECKS, headers=HEADERS, timeout=TIMEOUT_S)

        @given(case=operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
        @BOUNDED
        def otherwise(case: Any) -> None:
            case.call_and_validate(checks=CHECKS, headers=HEADERS, timeout=TIMEOUT_S)

        as_described()
        with contextlib.suppress(SkipTest, Unsatisfiable):  # nothing of some endpoints can be wrong
            otherwise()
        tried.append(f"{operation.method.upper()} {operation.path}")
    assert {"POST /v1/labels", "POST /v1/events", "POST /v1/deadletters/replay", "GET /healthz"} <= set(tried)
