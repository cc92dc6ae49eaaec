"""Every endpoint of the API asks who wants something."""

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.routing import Route

from collector.api.guard import guard_app
from driftline import access
from driftline.access import SCOPES, Access, AccessBook, Grant, TokenEntry, digest_of, entry_yaml, new_token
from driftline.errors import SettingsError
from driftline.guard import needs, scope_of
from driftline.token_files import AccessSettings, access_of, followed_file
from tests.collector.helpers import Parts
from tests.collector.test_api import FixedHealth, as_json, make_app

TOKENS = {scope: new_token() for scope in SCOPES}
BOOK = AccessBook(
    tuple(
        TokenEntry(Grant(scope.replace(":", "-"), frozenset({scope})), digest_of(token))
        for scope, token in TOKENS.items()
    )
)
PATH_VALUES = {"partition:path": "kafka:a:0", "offset": "1"}


@pytest.fixture
def client(parts: Parts) -> TestClient:
    return TestClient(make_app(parts, parts.store, FixedHealth(), Access(lambda: BOOK)))


def bearer(scope: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[scope]}"}


def routes(client: TestClient) -> list[tuple[str, str, str]]:
    """(method, path, scope) of every endpoint that is not open."""
    found = []
    for route in client.app.router.routes:  # type: ignore[attr-defined]
        scope = scope_of(route, ("/healthz", "/readyz", "/metrics", "/docs", "/redoc", "/openapi.json"))
        if isinstance(route, Route) and scope != access.OPEN and not route.path.startswith("/docs"):
            found += [(method, route.path, scope) for method in sorted(route.methods or ())]
    return found


def ask(client: TestClient, method: str, path: str, **more: Any) -> Any:
    for name, value in PATH_VALUES.items():
        path = path.replace("{" + name + "}", value)
    return client.request(method, path, **more)


def test_every_endpoint_names_a_scope_and_refuses_without_it(client: TestClient) -> None:
    found = routes(client)
    assert len(found) == len(set(found)) >= 15
    for method, path, scope in found:
        assert scope in SCOPES
        assert scope != access.ADMIN, f"{method} {path} says no scope"
        nobody = ask(client, method, path)
        assert nobody.status_code == 401, path
        assert nobody.headers["www-authenticate"].startswith("Bearer")
        other = next(each for each in SCOPES if each not in (scope, access.ADMIN))
        refused = ask(client, method, path, headers=bearer(other))
        assert refused.status_code == 403, path
        assert refused.headers["content-type"] == "application/problem+json"
        assert (refused.json()["needs"], refused.json()["status"]) == (scope, 403)
        assert TOKENS[other] not in refused.text
        for allowed in (scope, access.ADMIN):
            assert ask(client, method, path, headers=bearer(allowed)).status_code not in (401, 403), path


@pytest.mark.parametrize("address", ["/seldon/default/flights/api/v1.0/feedback", "/api/v1.0/feedback?model=flights"])
def test_feedback_for_a_model_that_the_token_is_not_for_is_forbidden_in_seldon_s_words(
    parts: Parts, address: str
) -> None:
    token = new_token()
    grant = Grant("other", frozenset({access.LABELS_WRITE}), ("default/other",))
    book = AccessBook((TokenEntry(grant, digest_of(token)),))
    client = TestClient(make_app(parts, parts.store, FixedHealth(), Access(lambda: book)))
    headers = {"Authorization": f"Bearer {token}", "Seldon-Puid": "request-1"}
    answer = client.post(address, json={"reward": 1}, headers=headers)
    assert answer.status_code == answer.json()["status"]["code"] == 403
    assert "model 'default/flights' is not among those" in answer.json()["status"]["info"]


def test_another_method_of_an_endpoint_asks_as_well(client: TestClient) -> None:
    assert client.put("/v1/labels").status_code == 401
    assert client.put("/v1/labels", headers=bearer(access.LABELS_WRITE)).status_code == 405


def test_nothing_of_a_body_is_read_before_it_is_known_who_sends_it(client: TestClient) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/labels/upload",
        "raw_path": b"/v1/labels/upload",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"content-type", b"multipart/form-data; boundary=x")],
    }
    asyncio.run(client.app(scope, receive, send))
    assert sent[0]["status"] == 401


def test_health_and_metrics_are_open_unless_said_otherwise(parts: Parts, client: TestClient) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"):
        assert client.get(path).status_code == 200, path
    closed = TestClient(make_app(parts, parts.store, FixedHealth(), Access(lambda: BOOK), open_paths=("/healthz",)))
    assert closed.get("/metrics").status_code == 401
    assert closed.get("/metrics", headers=bearer(access.OPERATIONS_READ)).status_code == 200
    assert closed.get("/healthz").status_code == 200


def test_the_description_names_scheme_scopes_and_no_models(client: TestClient) -> None:
    description = client.get("/openapi.json").json()
    assert "flights" not in description["info"]["description"]
    post = description["paths"]["/v1/labels"]["post"]
    assert post["security"] == [{"token": [access.LABELS_WRITE]}]
    assert {"401", "403"} <= post["responses"].keys()
    assert description["paths"]["/healthz"]["get"]["security"] == []


def test_every_answer_is_counted_by_endpoint_and_status(parts: Parts) -> None:
    counted: list[tuple[str, int]] = []
    app = FastAPI()

    @app.get("/v1/{name}", openapi_extra=needs(access.DATA_READ))
    def one(name: str) -> str:
        return name

    guard_app(app, Access(lambda: BOOK), (), time.time, lambda path, status: counted.append((path, status)))
    client = TestClient(app)
    client.get("/v1/secret")
    client.get("/v1/secret", headers=bearer(access.DATA_READ))
    client.get("/nowhere/secret")
    assert counted == [("/v1/{name}", 401), ("/v1/{name}", 200), ("none", 404)]


@pytest.mark.parametrize("path", ["/v1/labels", "/v1/labels/upload", "/api/v1.0/feedback"])
@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson", "multipart/form-data; boundary=x"])
def test_a_client_that_goes_away_is_no_fault_of_ours(parts: Parts, path: str, kind: str) -> None:
    app = make_app(parts, parts.store, FixedHealth())
    arriving: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"", "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return arriving.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "http_version": "1.1"}
    asyncio.run(app({**scope, "headers": [(b"content-type", kind.encode())]}, receive, send))
    assert sent[0]["status"] == 499


def test_errors_have_one_form(client: TestClient) -> None:
    allowed = bearer(access.ADMIN)
    answers = [
        client.get("/nowhere"),
        client.get("/v1/deadletters?limit=0", headers=allowed),
        client.get("/v1/deadletters/a/1", headers=allowed),
        client.post("/v1/labels", content=b"[{", headers=allowed),
    ]
    assert [answer.status_code for answer in answers] == [404, 422, 404, 400]
    for answer in answers:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"]
        assert answer.json()["status"] == answer.status_code


def test_a_file_of_tokens_is_followed_and_nothing_of_it_is_logged(
    tmp_path: Path, parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    first, second = new_token(), new_token()
    file = tmp_path / "tokens.yaml"
    file.write_text(written(first))
    told: list[Any] = []
    followed = Access(followed_file(file, told.append))
    client = TestClient(make_app(parts, parts.store, FixedHealth(), followed))

    def status(token: str) -> int:
        return client.post("/v1/labels", json=as_json(1), headers={"Authorization": f"Bearer {token}"}).status_code

    assert (status(first), status(second)) == (200, 401)
    swapped = tmp_path / "next.yaml"
    swapped.write_text(written(second))
    swapped.replace(file)
    assert (status(first), status(second)) == (401, 200)
    file.write_text("tokens: [{name: broken}]")
    assert status(second) == 200
    file.unlink()
    assert status(second) == 200
    assert [fault is None for fault in told] == [True, False, False]
    assert first not in caplog.text
    assert second not in caplog.text
    assert digest_of(second) not in caplog.text


def written(token: str) -> str:
    return entry_yaml([TokenEntry(Grant("feed", frozenset({access.LABELS_WRITE})), digest_of(token))])


def test_tokens_may_come_from_the_environment_but_not_from_two_places(tmp_path: Path) -> None:
    token = new_token()
    found = access_of("collector", "0.0.0.0", AccessSettings(tokens=written(token)))
    assert found.grant(f"Bearer {token}", 0.0).name == "feed"
    with pytest.raises(SettingsError, match="both given"):
        access_of("collector", "0.0.0.0", AccessSettings(tokens_file=tmp_path / "x", tokens=written(token)))
    with pytest.raises(SettingsError, match="cannot be read"):
        access_of("collector", "0.0.0.0", AccessSettings(tokens_file=tmp_path / "x"))
