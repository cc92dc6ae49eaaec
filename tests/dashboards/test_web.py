"""Every page, with content and without, and with content that would break careless pages."""

import dataclasses
import re
from functools import cache

import pytest

from dashboards.settings import WebSettings
from driftline.clock import ScaledClock
from driftline.settings import load
from driftline.testing import ManualClock
from tests.dashboards.fakes import (
    DAY_S,
    FIRST_S,
    NOW_S,
    FakePages,
    FakeReader,
    flights_alert,
    flights_page,
    flights_reader,
)
from tests.dashboards.html_check import read_html

NEWEST = int(FIRST_S + 29 * DAY_S)
MODEL = "/models/default/flights"
PAGES = (
    "/",
    MODEL,
    f"{MODEL}?version=2&variant=canary",
    f"{MODEL}/windows/{NEWEST}",
    f"{MODEL}/windows/{int(FIRST_S)}",
    f"{MODEL}/windows/{NEWEST}?segment=origin%3DJFK",
    f"{MODEL}?metric=auc",
    "/pages",
    "/pages/p1",
    "/report/default/flights",
)
HOSTILE = '"><script>alert(1)</script>'


@pytest.fixture(scope="module")
def full(client_over, reader):
    """Everything there is, to look at only."""
    page = flights_page(reader, flights_alert())
    kept = page.__class__(**{**{name: getattr(page, name) for name in page.__slots__}, "id": "p1"})
    return client_over(reader, FakePages({"p1": kept}))


@pytest.fixture(scope="module")
def seen(full):
    """What is at a path: the answer, and its page as it was read, once for all who look."""

    @cache
    def look(path):
        answer = full.get(path)
        return answer, read_html(answer.text)

    return look


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_whole_and_has_no_empty_section(seen, path):
    answer, found = seen(path)
    assert answer.status_code == 200
    assert found.faults == []
    assert all(len(section.strip()) > 20 for section in found.sections)
    assert not re.search(r"\bNone\b(?! of)|\bnan\b", found.text)


@pytest.mark.slow
def test_every_link_leads_somewhere(full):
    links = {link for path in PAGES for link in read_html(full.get(path).text).links if link.startswith("/")}
    windows = sorted(link for link in links if "/windows/" in link)
    few = windows[:: max(1, len(windows) // 6)]  # they differ in their times only
    for link in [*sorted(links - set(windows)), *few]:
        assert full.get(link).status_code == 200, link


@pytest.mark.parametrize("path", PAGES)
def test_nothing_is_loaded_from_elsewhere(seen, path):
    assert [load for load in seen(path)[1].loads if not load.startswith("/static/")] == []


def test_the_overview_says_how_things_stand(seen):
    text = " ".join(seen("/")[1].text.replace("\u202f", "~").split())
    assert "6 columns drifted on Thu 12 Dec 2013: temp, dewp, visib and 3 more." in text
    assert "newest 4 minutes ago" in text
    assert "46~% of the window labelled" in text
    assert "1 open page" in text
    assert "not enough to judge" in text


def test_accuracy_never_stands_without_its_interval_and_coverage(seen):
    for path in PAGES:
        text = seen(path)[0].text
        assert text.count('class="measure"') == text.count('class="interval"'), path
        for chunk in text.split('class="measure"')[1:]:
            assert "labelled" in chunk[:600] or "labels" in chunk[:600], path


def test_a_window_says_whether_its_accuracy_is_final_and_how_it_was_revised(seen):
    text = seen(f"{MODEL}/windows/{NEWEST}")[0].text
    assert "of the expected labels are in" in text
    assert "<h2>Revisions</h2>" in text
    assert "final</td>" in text


def test_the_page_holds_what_on_call_needs(seen):
    text = " ".join(seen("/pages/p1")[1].text.split())
    for part in (
        "correctness",
        "for 1 hour",
        "bad since",
        "1 Dec 2013",
        "What moved",
        "Worst segments",
        "origin=EWR",
        "Sample payloads",
        "00-4bf92f3577b34da6a3ce929d0e0e4736",
        "Runbook",
        "Ask",
        "driftline doctor",
    ):
        assert part in text, part
    order = [text.index(f" {name} drifted") for name in ("temp", "dewp", "visib", "precip")]
    assert order == sorted(order)


def test_from_the_page_one_click_leads_to_what_to_do_and_to_the_window(seen):
    answer, found = seen("/pages/p1")
    assert {"#runbook", f"{MODEL}/windows/{NEWEST}?version=1&variant=stable"} <= set(found.links)
    assert 'id="runbook"' in answer.text
    assert "from 0 (nothing) to 1 (all), with its 95 % interval; from 0.1" in " ".join(found.text.split())
    assert "1 open page" in " ".join(seen(MODEL)[1].text.split())


def test_what_is_open_is_called_by_what_it_asks_for_the_gravest_first(client, pages, reader):
    pages.kept.clear()

    def opened(severity, fingerprint, model="flights"):
        alert = flights_alert(model=model)
        labels = {**alert.labels, "severity": severity}
        page = flights_page(reader, dataclasses.replace(alert, labels=labels, fingerprint=fingerprint))
        pages.save_page(dataclasses.replace(page, id=f"{severity}-{fingerprint}", summary=f"{severity} {fingerprint}"))

    opened("ticket", "a")
    for path in ("/", MODEL):
        text = client.get(path).text
        assert 'class="badge v-warning" href="/pages/ticket-a">1 open ticket</a>' in text
        assert "open page" not in text
    for number in range(3):
        opened("ticket", f"t{number}")
    opened("page", "p")
    opened("info", "i")
    overview = client.get("/").text
    assert 'class="badge page" href="/pages/page-p">1 open page, 4 open tickets, 1 open alert</a>' in overview
    assert overview.index("page p</a>") < overview.index("ticket ")  # not behind "and 3 more"
    assert 'class="badge v-warning">open</span>' in client.get("/pages").text


def test_an_alert_that_is_over_is_not_told_as_if_it_fired(client, pages, reader):
    over = flights_alert("resolved")
    pages.save_page(flights_page(reader, over))
    (page,) = pages.kept
    told = client.get(f"/pages/{page}").text
    assert "It has been over since" in told
    assert "What it said: " in told
    ticket = dataclasses.replace(flights_alert(), labels={**over.labels, "severity": "ticket"}, fingerprint="t")
    pages.save_page(dataclasses.replace(flights_page(reader, over), follow_ups=(ticket,)))
    assert "another of this incident still fires" in client.get(f"/pages/{page}").text


def test_what_still_fires_stands_before_the_alerts_that_are_over(client, pages, reader):
    over = tuple(dataclasses.replace(flights_alert("resolved"), fingerprint=f"o{number}") for number in range(9))
    ticket = dataclasses.replace(flights_alert(), fingerprint="t")
    pages.save_page(dataclasses.replace(flights_page(reader, flights_alert("resolved")), follow_ups=(ticket, *over)))
    (page,) = pages.kept
    listed = client.get(f"/pages/{page}").text.partition("Alerts of this incident")[2].partition("</section>")[0]
    first, *others = listed.split("<li>")[1:]
    assert "still firing" in first
    assert len(others) == 10
    assert "still firing" not in "".join(others)
    assert "5 more that are over" in listed


@pytest.mark.parametrize("path", ["/pages/p1", f"{MODEL}/windows/{NEWEST}", "/report/default/flights"])
def test_a_columns_p_value_is_told_once(seen, path):
    told = [
        len(re.findall(r"\bp(?:-value)? ?(?:&lt;|<|=)", card))
        for card in re.split(r'<section class="card column|<tr>', seen(path)[0].text)[1:]
    ]
    assert max(told) == 1


def test_a_runbook_cannot_carry_markup(seen):
    answer, found = seen("/pages/p1")
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;alert" in answer.text
    assert found.tags["table"] >= 2


@pytest.mark.slow
def test_hostile_names_and_values_are_shown_not_run(make_client, pages):
    reader = flights_reader(hostile=HOSTILE)
    alert = flights_alert(model=HOSTILE)
    alert.labels["alertname"] = HOSTILE
    page = flights_page(reader, alert)
    pages.kept["p1"] = page.__class__(**{**{name: getattr(page, name) for name in page.__slots__}, "id": "p1"})
    client = make_client(reader)
    for path in PAGES:
        html = client.get(path).text
        assert "<script>alert" not in html, path
        assert read_html(html).faults == [], path
    assert "&lt;script&gt;alert(1)" in client.get(f"{MODEL}/windows/{NEWEST}").text


def test_with_nothing_stored_the_overview_says_what_to_do(make_client):
    client = make_client(FakeReader())
    text = read_html(client.get("/").text).text
    assert "No traffic yet" in text
    assert "driftline doctor" in text
    assert "default/flights" in text
    assert "No page has been received" in client.get("/pages").text


def test_a_model_with_estimates_only_shows_them_before_the_first_label(make_client, reader):
    told = [
        dataclasses.replace(found, detector=f"estimated_{found.detector}", coverage=None)
        if found.kind == "performance"
        else found
        for found in reader.results_
    ]
    client = make_client(dataclasses.replace(reader, results_=told))
    for path in (MODEL, f"{MODEL}?metric=estimated_accuracy", "/", "/report/default/flights"):
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert read_html(answer.text).faults == [], path
    assert "metric=estimated_accuracy" in client.get(MODEL).text


def test_a_stream_without_closed_windows_says_why(make_client, reader):
    client = make_client(FakeReader(streams_=reader.streams_[:1]))
    assert "No window has closed yet" in client.get("/").text
    assert "windows of 1 day" in client.get(MODEL).text


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/models/default/unheard", "There is no model default/unheard. Monitored models: default/flights."),
        (f"{MODEL}?version=9", "has no version '9'. It has version '1'"),
        (f"{MODEL}/windows/soon", "is not the start of a window"),
        (f"{MODEL}/windows/12", "No window that starts at 12 has been evaluated"),
        (f"{MODEL}/windows/{NEWEST}?segment=origin%3DXXX", "for segment"),
        ("/pages/unheard", "There is no page"),
        ("/somewhere", "There is nothing at /somewhere"),
        ("/report/default/unheard", "There is no model"),
    ],
)
def test_unknown_things_get_a_404_that_helps(full, path, told):
    answer = full.get(path)
    found = read_html(answer.text)
    assert answer.status_code == 404
    assert told in found.text
    assert found.faults == []


def test_a_monitored_model_without_traffic_gets_its_own_words(make_client):
    answer = make_client(FakeReader()).get(MODEL)
    assert answer.status_code == 404
    assert "has a monitor, but no prediction of it is stored yet" in answer.text


def test_ages_follow_the_clock_that_is_passed_in(make_client, reader):
    later = make_client(reader, clock=ManualClock(NOW_S + 2 * DAY_S)).get("/").text
    assert "newest 2 days ago" in later
    story = ScaledClock(wall_s=0.0, story_s=NOW_S, speed=3600.0, wall=lambda: 5.0)
    assert "newest 5 hours ago" in make_client(reader, clock=story).get("/").text


def test_the_theme_can_be_asked_for(full):
    assert '<html lang="en" data-theme="dark">' in full.get("/?theme=dark").text
    assert "data-theme" not in full.get("/?theme=<b>").text


def test_pages_forbid_scripts_from_elsewhere(full):
    policy = full.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy


def test_json_tells_the_same(full):
    streams = full.get("/api/v1/streams").json()
    assert streams[0]["rows"] == 26_412
    found = full.get(
        "/api/v1/results", params={"namespace": "default", "model": "flights", "version": "1", "since_s": NEWEST}
    ).json()
    assert {result["window"]["start_s"] for result in found} == {NEWEST}
    assert full.get("/api/v1/pages").json()[0]["id"] == "p1"
    assert full.get("/api/v1/pages/p1").json()["alert"]["labels"]["slo"] == "correctness"
    assert full.get("/api/v1/pages/none").status_code == 404
    assert full.get("/api/v1/openapi.json").json()["paths"]["/api/v1/streams"]


def test_health_counts_streams(full):
    assert full.get("/healthz").json()["streams"] == 2


def test_settings_name_wrong_values():
    chosen = load(WebSettings, "WEB", environ={"DRIFTLINE_WEB_PORT": "0", "DRIFTLINE_WEB_GRAFANA_URL": "http://g"})
    assert chosen.port == 0
    faults = WebSettings(port=70_000, refresh_s=0, external_url="pages", shown_windows=0).validate()
    assert len(faults) == 4
    assert WebSettings().validate() == []
