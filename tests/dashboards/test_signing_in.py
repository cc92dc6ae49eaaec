"""Who may see the pages, and how a browser shows it."""

import logging
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.routing import Route
from starlette.testclient import TestClient

from dashboards.settings import WebSettings
from dashboards.signing_in import COOKIE
from dashboards.web import create_app
from driftline import access
from driftline.access import SCOPES, Access, AccessBook, Grant, TokenEntry, digest_of, new_token
from driftline.guard import scope_of
from driftline.names import PAGE_DESK_PATH
from driftline.testing import ManualClock
from tests.dashboards.conftest import parse_plain
from tests.dashboards.fakes import MONITOR, NOW_S, FakePages, FakeReader, flights_alert, flights_page

TOKENS = {scope: new_token() for scope in SCOPES}
OTHER_MODEL, LAPSED = new_token(), new_token()
BOOK = AccessBook(
    (
        *(TokenEntry(Grant(scope, frozenset({scope})), digest_of(token)) for scope, token in TOKENS.items()),
        TokenEntry(Grant("other", frozenset({access.DATA_READ}), ("default/other",)), digest_of(OTHER_MODEL)),
        TokenEntry(Grant("lapsed", frozenset({access.ADMIN})), digest_of(LAPSED), expires_s=1.0),
    )
)
READER = TOKENS[access.DATA_READ]
BROWSER = {"accept": "text/html,application/xhtml+xml"}
VALUES = {
    "{namespace}": "default",
    "{model}": "flights",
    "{start}": "1384300800",
    "{page_id}": "p1",
}
PLAIN = WebSettings()
OPEN_PATHS = ("/healthz", "/metrics", "/static", "/api/v1/openapi.json")


def make(reader: FakeReader, settings: WebSettings = PLAIN, asked: Access | None = None) -> TestClient:
    page = flights_page(reader, flights_alert())
    kept = page.__class__(**{**{name: getattr(page, name) for name in page.__slots__}, "id": "p1"})
    app = create_app(
        reader,
        FakePages({"p1": kept}),
        lambda alert, since_s: flights_page(reader, alert),
        parse_plain,
        {MONITOR.name: MONITOR},
        ManualClock(NOW_S),
        settings,
        asked or Access(lambda: BOOK),
    )
    return TestClient(app, follow_redirects=False, base_url="https://pages.example")


@pytest.fixture
def client(reader):
    return make(reader)


def bearer(token):
    return {"authorization": f"Bearer {token}"}


def test_every_endpoint_names_a_scope_or_is_open_and_refuses_without_it(client) -> None:
    seen = set()
    for route in client.app.router.routes:
        scope = scope_of(route, OPEN_PATHS)
        if not isinstance(route, Route) or scope == access.OPEN:
            continue
        seen.add(scope)
        assert scope in SCOPES
        assert scope != access.ADMIN, f"{route.path} says no scope"
        path = route.path
        for name, value in VALUES.items():
            path = path.replace(name, value)
        for method in (route.methods or set()) - {"HEAD"}:
            assert client.request(method, path).status_code == 401, path
            refused = client.request(method, path, headers=bearer(TOKENS[access.LABELS_WRITE]))
            assert (refused.status_code, refused.json()["needs"]) == (403, scope)
            allowed = client.request(method, path, headers=bearer(TOKENS[scope]))
            assert allowed.status_code not in (401, 403), path
    assert seen == {access.DATA_READ, access.ALERTS_WRITE}


def test_health_metrics_and_what_the_form_needs_are_open_and_may_be_closed(reader, client) -> None:
    for path in (*OPEN_PATHS[:2], "/static/style.css", OPEN_PATHS[3], "/login"):
        assert client.get(path).status_code == 200, path
    closed = make(reader, WebSettings(open_paths=("/healthz",)))
    assert closed.get("/metrics").status_code == 401
    assert closed.get("/metrics", headers=bearer(TOKENS[access.OPERATIONS_READ])).status_code == 200
    assert closed.get("/healthz").status_code == 200


def test_a_browser_is_asked_for_a_token_and_led_on_to_what_it_wanted(client) -> None:
    wanted = "/models/default/flights?metric=auc"
    asked = client.get(wanted, headers=BROWSER)
    assert asked.status_code == 303
    form = client.get(asked.headers["location"], headers=BROWSER)
    assert 'name="next" value="/models/default/flights?metric=auc"' in form.text
    refused = client.post("/login", data={"token": "guess", "next": wanted})
    assert (refused.status_code, COOKIE in client.cookies) == (401, False)
    entered = client.post("/login", data={"token": READER, "next": wanted})
    assert (entered.status_code, entered.headers["location"]) == (303, wanted)
    cookie = entered.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    page = client.get(wanted, headers=BROWSER)
    assert page.status_code == 200
    assert "Sign out" in page.text
    client.post("/logout")
    assert client.get(wanted, headers=BROWSER).status_code == 303


def test_a_token_in_an_address_is_taken_out_of_it_before_anything_is_shown(client, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    answer = client.get(f"/models/default/flights?metric=auc&token={READER}", headers=BROWSER)
    assert (answer.status_code, answer.headers["location"]) == (303, "/models/default/flights?metric=auc")
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert READER not in answer.text
    page = client.get(answer.headers["location"], headers=BROWSER)
    assert page.status_code == 200
    assert READER not in page.text
    assert page.headers["referrer-policy"] == "same-origin"
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("httpx")]
    assert not any(READER in line for line in ours)


def test_a_wrong_token_in_an_address_leads_to_the_form_without_it(client) -> None:
    for token in ("guess", LAPSED, "ä"):
        answer = client.get("/pages", params={"token": token}, headers=BROWSER)
        assert answer.status_code == 303
        assert parse_qs(urlsplit(answer.headers["location"]).query) == {"next": ["/pages"]}
        assert COOKIE not in client.cookies


def test_a_form_leads_nowhere_else(client) -> None:
    for wanted in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\r\nb: c"):
        entered = client.post("/login", data={"token": READER, "next": wanted})
        assert entered.headers["location"] == "/"


def test_a_cookie_is_for_reading_only_and_ends_with_its_token(reader) -> None:
    entries = list(BOOK.entries)
    client = make(reader, asked=Access(lambda: AccessBook(tuple(entries))))
    client.post("/login", data={"token": TOKENS[access.ADMIN], "next": "/"})
    assert client.get("/", headers=BROWSER).status_code == 200
    assert client.post(PAGE_DESK_PATH, json={"alerts": []}).status_code == 401
    assert client.post(PAGE_DESK_PATH, json={"alerts": []}, headers=bearer(TOKENS[access.ALERTS_WRITE])).is_success
    entries.clear()
    assert client.get("/", headers=BROWSER).status_code == 303


def test_the_cookie_is_sent_over_tls_alone_where_the_pages_are(reader) -> None:
    secured = make(reader, WebSettings(external_url="https://pages.example"))
    plain = make(reader, WebSettings(external_url="http://pages.example"))
    cookies = [each.post("/login", data={"token": READER}).headers["set-cookie"] for each in (secured, plain)]
    assert ["secure" in cookie.lower() for cookie in cookies] == [True, False]


def test_a_token_for_one_model_sees_no_other(client) -> None:
    headers = {**BROWSER, **bearer(OTHER_MODEL)}
    assert client.get("/models/default/flights", headers=headers).status_code == 403
    assert client.get("/report/default/flights", headers=headers).status_code == 403
    assert client.get("/pages/p1", headers=headers).status_code == 404
    assert client.get("/api/v1/pages/p1", headers=headers).status_code == 404
    for path in ("/", "/pages"):
        assert "flights" not in client.get(path, headers=headers).text
    for path in ("/api/v1/streams", "/api/v1/pages"):
        assert client.get(path, headers=headers).json() == []
    refused = client.get("/api/v1/results?namespace=default&model=flights", headers=headers)
    assert refused.status_code == 403


def test_without_tokens_everything_is_open_and_a_token_in_an_address_still_goes(reader) -> None:
    client = make(reader, asked=Access())
    assert client.get("/", headers=BROWSER).status_code == 200
    assert "Sign out" not in client.get("/").text
    answer = client.get("/pages?token=anything")
    assert (answer.status_code, answer.headers["location"]) == (303, "/pages")
    assert "set-cookie" not in answer.headers
