"""The commands for whoever runs the collector, against its API under a real server."""

import json
import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from collector.labels.uploads import UploadDesk, UploadWorker
from collector.store.migrate import migrate
from collector.store.store import Store
from driftline.access import Access
from driftline.cli.app import app
from driftline.errors import DriftlineError
from driftline.records import Malformed
from driftline.token_files import followed_file
from tests.collector.helpers import MONITORS, Parts, drain, event, records, tables
from tests.collector.running import RunningApi
from tests.collector.test_api import FixedHealth, make_app
from tests.collector.test_replay import OTHER
from tests.parts.postgres import PostgresServer

RUNNER = CliRunner()


def run(*arguments: str, **environ: str) -> str:
    done = RUNNER.invoke(app, arguments, env={"DRIFTLINE_CLOCK": "system", **environ}, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def refused(*arguments: str, **environ: str) -> str:
    with pytest.raises(DriftlineError) as caught:
        RUNNER.invoke(app, arguments, env=environ, catch_exceptions=False)
    return str(caught.value)


def made(file: Path, name: str, *scopes: str, model: str | None = None) -> str:
    """A token, as the command prints it."""
    given = [part for scope in scopes for part in ("--scope", scope)]
    given += [] if model is None else ["--model", model]
    done = RUNNER.invoke(app, ["tokens", "create", "--name", name, *given, "--file", str(file)])
    return done.stdout.strip().splitlines()[-1]


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    yield from _parts(f"sqlite:///{tmp_path}/store.db", tmp_path)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real)])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Parts]:
    """The parts over each kind of database."""
    if request.param == "sqlite":
        yield from _parts(f"sqlite:///{tmp_path}/store.db", tmp_path)
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    address = server.new_database()
    yield from _parts(address, tmp_path)
    server.drop_database(address)


def _parts(url: str, directory: Path) -> Iterator[Parts]:
    migrate(url)
    store = Store(url, prepare=False)
    yield Parts(store, directory=directory)
    store.close()


def test_dead_letters_are_listed_shown_tried_and_replayed(either: Parts) -> None:
    parts = either
    drain(parts.collector(records([event(number, model="trains") for number in range(3)], "kafka:t:0")))
    with RunningApi(make_app(parts, parts.store, FixedHealth())) as api:
        listed = run("deadletters", "list", "--url", api.url, "--model", "default/trains", "--since", "99999d")
        assert "kafka:t:0/20  default/trains  unknown_model" in listed
        assert "what to do: Write a monitor" in listed
        shown = run("deadletters", "show", "kafka:t:0/20", "--url", api.url)
        assert "event-000002" in shown
        assert '"distance":[200' in shown
        assert "not PARTITION/OFFSET" in refused("deadletters", "show", "nonsense", "--url", api.url)
        trial = RUNNER.invoke(app, ["deadletters", "replay", "--url", api.url])
        assert (trial.exit_code, "would be: 3 failed" in trial.output) == (1, True)
    parts.monitors = {**MONITORS, OTHER.name: OTHER}
    with RunningApi(make_app(parts, parts.store, FixedHealth())) as api:
        assert "would be: 3 stored" in run("deadletters", "replay", "--url", api.url)
        assert "replayed: 1 stored" in run("deadletters", "replay", "kafka:t:0/20", "--yes", "--url", api.url)
        report = json.loads(run("deadletters", "replay", "--yes", "--json", "--url", api.url))
        assert report["outcomes"] == {"stored": 2}
        assert "no dead letters fit" in run("deadletters", "list", "--url", api.url)
        assert len(json.loads(run("deadletters", "list", "--state", "replayed", "--json", "--url", api.url))) == 3


def test_more_dead_letters_than_are_shown_are_said_and_thousands_come_in_pages(parts: Parts) -> None:
    drain(parts.collector(records([Malformed("bad", "why", b"")] * 1203, "kafka:t:0")))
    with RunningApi(make_app(parts, parts.store, FixedHealth())) as api:
        assert "these are the newest 100, and there are more" in run("deadletters", "list", "--url", api.url)
        listed = run("deadletters", "list", "--limit", "1203", "--url", api.url)
        assert "1203 bad" in listed
        assert "there are more" not in listed
        trial = RUNNER.invoke(app, ["deadletters", "replay", "--limit", "5", "--url", api.url])
        assert "5 were looked at, as many as --limit allows" in trial.output


def test_who_may_see_one_model_sees_its_letters_behind_those_of_others(parts: Parts, tmp_path: Path) -> None:
    file = tmp_path / "tokens.yaml"
    token = made(file, "reader", "deadletters:read", model="default/trains")
    drain(parts.collector(records([event(0, model="trains")], "kafka:t:0")))
    parts.clock.advance(60.0)
    drain(parts.collector(records([event(number, model="ships") for number in range(9)], "kafka:t:1")))
    with RunningApi(make_app(parts, parts.store, FixedHealth(), Access(followed_file(file)))) as api:
        listed = run("deadletters", "list", "--limit", "2", "--url", api.url, DRIFTLINE_TOKEN=token)
        assert "kafka:t:0/0  default/trains" in listed
        assert "ships" not in listed


def test_a_token_is_printed_once_kept_as_a_digest_and_asked_for(parts: Parts, tmp_path: Path) -> None:
    file = tmp_path / "tokens.yaml"
    token = made(file, "reader", "deadletters:read")
    assert token not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with RunningApi(make_app(parts, parts.store, FixedHealth(), Access(followed_file(file)))) as api:
        said = refused("deadletters", "list", "--url", api.url, DRIFTLINE_TOKEN="")
        assert "answers 401" in said
        assert "DRIFTLINE_TOKEN holds the token" in said
        assert "no dead letters fit" in run("deadletters", "list", "--url", api.url, DRIFTLINE_TOKEN=token)
        said = refused("deadletters", "replay", "--url", api.url, DRIFTLINE_TOKEN=token)
        assert "lacks the scope 'deadletters:replay'" in said
        assert token not in said
        run("tokens", "revoke", "reader", "--file", str(file))
        assert "answers 401" in refused("deadletters", "list", "--url", api.url, DRIFTLINE_TOKEN=token)


def test_tokens_are_listed_and_wrong_ones_refused(tmp_path: Path) -> None:
    file = tmp_path / "tokens.yaml"
    made(file, "feed", "labels:write", "data:read")
    assert "feed  data:read, labels:write  for *" in run("tokens", "list", "--file", str(file))
    assert "labels:write" in run("tokens", "scopes")
    again = ("tokens", "create", "--name", "feed", "--scope", "admin", "--file", str(file))
    assert "has a token 'feed' already" in refused(*again)
    assert "did you mean 'labels:write'" in refused("tokens", "create", "--name", "x", "--scope", "label:write")
    assert "has no token 'nobody'" in refused("tokens", "revoke", "nobody", "--file", str(file))
    shutil.rmtree(tmp_path)
    assert "cannot be read" in refused("tokens", "list", "--file", str(file))


def test_labels_are_sent_by_hand_and_what_became_of_them_is_told(parts: Parts) -> None:
    drain(parts.collector(records([event(1), event(2)])))
    with RunningApi(make_app(parts, parts.store, FixedHealth())) as api:
        by_hand = ("labels", "send", "--model", "flights", "--request-id")
        assert "1 row: 1 joined\n" in run(*by_hand, "request-1", "--value", "1", DRIFTLINE_URL=api.url)
        told = run(*by_hand, "request-9", "--value", "1", "--url", api.url)
        assert "1 row: 1 pending\npending ones wait for their predictions" in told
        assert "either --value or --withdraw" in refused(*by_hand, "request-1", "--url", api.url)
        assert "either --value or --withdraw" in refused(*by_hand, "request-1", "--value", "1", "--withdraw")
        assert "1 withdrawn" in run(*by_hand, "request-1", "--withdraw", "--url", api.url)
        unknown = RUNNER.invoke(
            app, ["labels", "send", "--model", "trains", "--key", "9", "--value", "1", "--url", api.url]
        )
        assert (unknown.exit_code, "1 row: 1 unknown_model" in unknown.output) == (1, True)


def test_lines_are_sent_in_pieces_and_faults_are_told_by_line(parts: Parts, tmp_path: Path) -> None:
    drain(parts.collector(records([event(1), event(2)])))
    file = tmp_path / "labels.ndjson"
    good = '{"request_id": "request-%d", "value": 1, "observed_at_s": 1387300000, "model": "flights", "row": 0}'
    lines = [good % 1, "", "{", *[good % 1] * 15_000, '{"request_id": "request-2"}', good % 2]
    file.write_text("\n".join(lines))
    assert file.stat().st_size > 1024 * 1024
    with RunningApi(make_app(parts, parts.store, FixedHealth())) as api:
        told = run("labels", "send", str(file), "--url", api.url)
        assert "15004 rows: 15000 duplicate, 2 invalid, 2 joined" in told
        assert "  line 3: Input data was truncated" in told
        assert "  line 15004: Object missing required field `value`" in told
        file.write_text("{\n{\n")
        none = RUNNER.invoke(app, ["labels", "send", str(file), "--url", api.url])
        assert (none.exit_code, "2 rows: 2 invalid" in none.output) == (1, True)
    missing = RUNNER.invoke(app, ["labels", "send", str(tmp_path / "nowhere.csv")])
    assert (missing.exit_code, "does not exist" in missing.output) == (2, True)


def test_a_file_without_its_model_says_what_lacks(parts: Parts, tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("request_id,value\nrequest-1,1\n")
    with RunningApi(make_app(parts, parts.store, FixedHealth())) as api:
        told = refused("labels", "send", str(file), "--url", api.url)
        assert "answers 400: the file lacks the columns model (or name the model of all rows)" in told
        assert "upload" in run("labels", "upload", str(file), "--model", "flights", "--no-wait", "--url", api.url)


def test_a_request_is_erased_with_its_audit_and_stays_so(parts: Parts, tmp_path: Path) -> None:
    drain(parts.collector(records([event(1), event(2)])))
    file = tmp_path / "tokens.yaml"
    reader, privacy = made(file, "reader", "data:read"), made(file, "privacy", "data:erase", "labels:write")
    chosen = ("erase", "--model", "flights", "--request-id", "request-2")
    with RunningApi(make_app(parts, parts.store, FixedHealth(), Access(followed_file(file)))) as api:
        where = ("--url", api.url)
        assert "401" in refused(*chosen, *where)
        assert "lacks the scope 'data:erase'" in refused(*chosen, *where, DRIFTLINE_TOKEN=reader)
        assert "give one of --request-id and --subject" in refused("erase", "--model", "flights", *where)
        waiting = tmp_path / "labels.csv"
        waiting.write_text("request_id,value,model\nrequest-1,1,flights\nrequest-2,1,flights\n")
        run("labels", "upload", str(waiting), "--no-wait", *where, DRIFTLINE_TOKEN=privacy)
        erased = run(*chosen, *where, DRIFTLINE_TOKEN=privacy)
        assert "1  predictions" in erased
        assert "pending" not in erased
        assert "1 uploaded files of labels wait" in erased
        assert "audit entry 1" in erased
        nobody = run("erase", "--model", "flights", "--request-id", "nobody's", *where, DRIFTLINE_TOKEN=privacy)
        assert "nothing of it is stored for 'default/flights'" in nobody
        several = ("erase", "--model", "flights", "--model", "default/delay", "--request-id", "nobody's", *where)
        told = run(*several, DRIFTLINE_TOKEN=privacy).splitlines()
        assert [line for line in told if line.startswith("default/")] == ["default/flights", "default/delay"]
        assert "nothing of it is stored for 'default/delay'; what comes later will not be kept" in told
        assert "'default/flihgts': no monitor" in refused(
            "erase", "--model", "flihgts", "--request-id", "request-2", *where, DRIFTLINE_TOKEN=privacy
        )
        # What comes after is not kept: neither a copy of the event nor the label in the file that waits.
        drain(parts.collector(records([event(2), event(2, event_id="another")], "spool:1")))
        uploads = UploadDesk(parts.store, parts.directory / "uploads", parts.clock, 2)
        labels = parts.desk()
        assert UploadWorker(parts.store, labels, uploads, parts.clock).run_once(threading.Event())
        assert list((parts.directory / "uploads").iterdir()) == []
    stored = tables(f"sqlite:///{tmp_path}/store.db")
    assert [dict(row)["request_id"] for row in stored["predictions"]] == ["request-1"]
    assert [dict(row)["actor"] for row in stored["audit"]] == ["privacy"] * 4
    assert stored["labels_pending"] == []
    assert "request-2" not in repr({name: rows for name, rows in stored.items() if name != "uploads"})


def test_doctor_names_what_a_collector_waits_for(parts: Parts) -> None:
    health = FixedHealth()
    with RunningApi(make_app(parts, parts.store, health)) as api:
        given = ["doctor", "--address", f"collector={api.url}"]
        assert f"ok       collector: {api.url}/healthz answers 200, and is working" in RUNNER.invoke(app, given).output
        health.state = "waiting"
        assert "BROKEN   collector: it waits: as told" in RUNNER.invoke(app, given).output
        health.state = "stuck"
        assert f"BROKEN   collector: {api.url}/healthz answers 503" in RUNNER.invoke(app, given).output
    assert "what to do: start 'driftline collector'" in RUNNER.invoke(app, given).output
