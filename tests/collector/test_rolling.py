"""Many small files become few large ones, in a directory and in an object store, and every row stays once."""

import random
import uuid
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from collector.batches.payloads import PayloadFiles, PayloadWriter
from collector.batches.subjects import SubjectHasher
from collector.keeping.erasure import Eraser, Selector
from collector.keeping.rolling import SMALL_FILES, Roller
from collector.store.transaction import PayloadFile
from driftline.errors import SettingsError, UnavailableError
from tests.collector.helpers import HOUR_S, MONITOR, START_S, Parts, drain, event, records
from tests.collector.payload_rows import read_payloads
from tests.parts.azurite import azurite_server
from tests.parts.processes import refusing_socket
from tests.parts.stores import gcs_server


@pytest.fixture(params=["directory", pytest.param("s3", marks=pytest.mark.real)])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where payload files go."""
    if request.param == "directory":
        return tmp_path / "payloads"
    server: str = request.getfixturevalue("s3_server").removeprefix("http://")
    bucket = f"payloads-{uuid.uuid4().hex}"
    options = f"scheme=http&endpoint_override={quote(server)}&region=us-east-1"
    address = f"s3://key:secret@{bucket}/folder?{options}&allow_bucket_creation=true"
    place, _ = fs.FileSystem.from_uri(address)
    place.create_dir(bucket)
    return address


def fill(parts: Parts, batches: int, rows: int = 3, every_s: float = 60.0) -> None:
    """As many batches of a few rows, one ``every_s``."""
    for batch in range(batches):
        events = [event(batch * rows + number, at_s=START_S + every_s * batch + number) for number in range(rows)]
        drain(parts.collector(records(events, f"spool:{batch}")))


def test_an_hours_files_become_one_and_every_row_stays_once(parts: Parts, root: Path | str) -> None:
    parts.payloads = PayloadWriter(root)
    fill(parts, 36, every_s=200.0)
    before = read_payloads(root, parts.store.payload_files(), MONITOR, 0.0, 2 * START_S)
    assert len(parts.store.payload_files()) == 36
    roller = Roller(parts.store, parts.payloads.files)
    assert roller.run(START_S + HOUR_S) == 36  # neither hour has settled, but both have many files
    files = parts.store.payload_files()
    assert sorted(file.rows for file in files) == [54, 54]
    assert read_payloads(root, files, MONITOR, 0.0, 2 * START_S).equals(before)
    assert roller.run(START_S + 5 * HOUR_S) == 0
    assert parts.payloads.sweep(files, age_s=-1.0) == 0  # the small ones are gone already


def test_an_hour_that_goes_on_is_left_alone_until_it_has_many(parts: Parts, tmp_path: Path) -> None:
    parts.payloads = PayloadWriter(tmp_path)
    fill(parts, SMALL_FILES - 1)
    roller = Roller(parts.store, parts.payloads.files)
    assert roller.run(START_S + HOUR_S) == 0
    assert roller.run(START_S + 2 * HOUR_S) == SMALL_FILES - 1
    assert len(parts.store.payload_files()) == 1


def test_files_stay_within_their_bound(parts: Parts, tmp_path: Path) -> None:
    parts.payloads = PayloadWriter(tmp_path)
    fill(parts, 40)
    Roller(parts.store, parts.payloads.files, maximum_rows=25).run(START_S + 5 * HOUR_S)
    rows = [file.rows for file in parts.store.payload_files()]
    assert sum(rows) == 120
    assert max(rows) <= 25
    assert len(rows) <= 6
    for file in parts.store.payload_files():
        assert pq.read_metadata(tmp_path / file.path).num_rows == file.rows


def test_a_batch_over_two_hours_writes_a_file_of_each(parts: Parts, tmp_path: Path) -> None:
    parts.payloads = PayloadWriter(tmp_path)
    drain(parts.collector(records([event(number, at_s=START_S + 1800.0 * number) for number in range(4)])))
    files = parts.store.payload_files()
    assert [(file.rows, file.path.split("/")[2]) for file in files] == [
        (2, "hour=2084-01-29T16"),
        (2, "hour=2084-01-29T17"),
    ]


def test_a_crash_before_the_commit_leaves_what_the_sweep_removes(parts: Parts, tmp_path: Path) -> None:
    """The new file is there and nobody registered it: the old ones still count."""
    parts.payloads = PayloadWriter(tmp_path)
    fill(parts, 20)
    before = parts.store.payload_files()

    class Dying(PayloadFiles):
        def write(self, path, table):  # type: ignore[no-untyped-def]
            super().write(path, table)
            raise UnavailableError("payload directory", "killed")

    with pytest.raises(UnavailableError):
        Roller(parts.store, Dying(tmp_path)).run(START_S + 5 * HOUR_S)
    assert parts.store.payload_files() == before
    assert len(list(tmp_path.rglob("*.parquet"))) == 21
    assert parts.payloads.sweep(before, age_s=-1.0) == 1
    assert Roller(parts.store, parts.payloads.files).run(START_S + 5 * HOUR_S) == 20


def test_rows_are_erased_from_rolled_files_too(parts: Parts, root: Path | str) -> None:
    parts.payloads = PayloadWriter(root)
    fill(parts, 20)
    Roller(parts.store, parts.payloads.files).run(START_S + 5 * HOUR_S)
    eraser = Eraser(parts.store, SubjectHasher(), parts.clock, parts.payloads.files)
    erased = random.Random(3).sample(range(60), 10)
    for number in erased:
        assert (
            eraser.erase(Selector("default", "flights", "request_id", f"request-{number}"), "x").removed["payload_rows"]
            == 1
        )
    files = parts.store.payload_files()
    found = read_payloads(root, files, MONITOR, 0.0, 2 * START_S)["_request_id"].to_pylist()
    assert sorted(found) == sorted(f"request-{number}" for number in range(60) if number not in erased)
    assert parts.payloads.sweep(files, age_s=-1.0) == 0


def test_a_place_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="nowhere://x"):
        PayloadFiles("nowhere://x")
    with pytest.raises(SettingsError, match=r"nowhere://key:\*\*\*@x") as caught:
        PayloadFiles("nowhere://key:hid/den@x")
    assert "hid/den" not in str(caught.value)


def test_a_store_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    with refusing_socket() as (_, port):
        (tmp_path / "file").write_text("no directory")
        with pytest.raises(UnavailableError, match="cannot read"):
            PayloadFiles(f"s3://k:s@b/f?scheme=http&endpoint_override=127.0.0.1%3A{port}&region=x").read("a.parquet")


@pytest.mark.real
def test_googles_storage_takes_lists_and_gives_back_what_a_directory_does(
    gcs_reader: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:1")  # nobody is asked who we are
    with gcs_server(gcs_reader, tmp_path) as server:
        place = quote(server.endpoint.removeprefix("http://"))
        files = PayloadFiles(
            f"gs://anonymous@bucket/folder?scheme=http&endpoint_override={place}&retry_limit_seconds=1"
        )
        table = pa.table({"_row": list(range(1000))})
        for name in ("kept", "orphan"):
            files.write(f"model=flights/hour=1/{name}.parquet", table)
        assert files.read("model=flights/hour=1/kept.parquet") == table
        assert files.values("model=flights/hour=1/kept.parquet") == 1000
        kept = PayloadFile("model=flights/hour=1/kept.parquet", "default", "flights", 0.0, 1.0, 1000)
        assert files.sweep([kept]) == 0  # too young
        assert files.sweep([kept], age_s=-1.0) == 1
        assert server.names() == ["folder/model=flights/hour=1/kept.parquet"]
        files.remove([kept.path])
        assert files.read(kept.path) is None
    with pytest.raises(UnavailableError, match="cannot write"):
        files.write("a.parquet", table)


@pytest.mark.real
def test_azures_storage_takes_lists_and_gives_back_what_a_directory_does(
    azurite_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with azurite_server(azurite_program, tmp_path) as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        server.make_container("payloads")
        files = PayloadFiles("az://payloads/folder")
        table = pa.table({"_row": list(range(1000))})
        for name in ("kept", "orphan"):
            files.write(f"model=flights/hour=1/{name}.parquet", table)
        assert PayloadFiles("abfs://payloads/folder").read("model=flights/hour=1/kept.parquet") == table
        assert files.values("model=flights/hour=1/kept.parquet") == 1000
        kept = PayloadFile("model=flights/hour=1/kept.parquet", "default", "flights", 0.0, 1.0, 1000)
        assert files.sweep([kept]) == 0  # too young
        assert files.sweep([kept], age_s=-1.0) == 1
        assert [name for name in server.names("payloads") if name.endswith(".parquet")] == [f"folder/{kept.path}"]
        files.remove([kept.path])
        assert files.read(kept.path) is None
    with pytest.raises(UnavailableError, match="cannot read"):  # writing would try three times as often
        files.read("a.parquet")


def test_azure_asks_whose_container_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(SettingsError, match="AZURE_STORAGE_ACCOUNT_NAME"):
        PayloadFiles("az://payloads/folder")
