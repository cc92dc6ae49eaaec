"""TrustyAI's HDF5 files, written here as its service in Python writes them, become the inferences that it saw."""

import base64
import gzip
import io
import json
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from collector.labels.from_seldon import read_feedback
from collector.sources import trustyai_files
from collector.sources.file_places import Directory
from collector.sources.files import DONE, LANE, FilesSource
from collector.sources.hdf5_messages import Fault, Wanted
from collector.sources.hdf5_tables import read_table
from collector.sources.interpreting import Interpreter
from collector.sources.trustyai_rows import UnevenError
from driftline.errors import EventError
from driftline.events import InferenceEvent
from driftline.records import Malformed
from serving.decode_many import decode_many
from tests.collector.helpers import MONITORS
from tests.collector.sources.test_trustyai_files import MONITOR

INTERPRETER = Interpreter(MONITORS, read_feedback)
ORGANIC = "_trustyai_unlabeled"
AT = "2026-03-13T10:56:54.724179+00:00"
INPUTS = (["distance", "carrier", "night"], ["DOUBLE", "STRING", "BOOL"])
OUTPUTS = (["late"], ["INT64"])


def packed(rows: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Rows with texts: each as JSON in gzip, all in bytes of one length."""
    return np.array([[np.void(gzip.compress(json.dumps(row).encode(), 1, mtime=0))] for row in rows], dtype="V1024")


class Volume:
    """The volume of the service: a file per data set, to which rows are appended."""

    def __init__(self, directory: Path, model: str = "flights", file: str = "trustyai.hdf5") -> None:
        self._directory = directory
        self._model = model
        self._file = file

    def keep(self, inputs: Any, outputs: Any, request_id: str, tag: str = ORGANIC, at: str = AT) -> None:
        self.append("inputs", inputs if isinstance(inputs, np.ndarray) else packed(inputs), INPUTS)
        self.append("outputs", outputs if isinstance(outputs, np.ndarray) else np.array(outputs), OUTPUTS)
        self.mark(len(inputs), request_id, tag, at)

    def mark(self, rows: int, request_id: str, tag: str = ORGANIC, at: str = AT) -> None:
        names = ["id", "iso_time", "unix_timestamp", "tags"]
        self.append("metadata", packed([[f"{request_id}_{row}", at, 1.7e9, [tag]] for row in range(rows)]), (names, []))

    def append(self, part: str, rows: np.ndarray[Any, Any], columns: tuple[list[str], list[str]]) -> None:
        name = f"{self._model}_{part}"
        with h5py.File(self.path(part), "a") as file:
            if name in file:
                file[name].resize(len(file[name]) + len(rows), axis=0)
                file[name][-len(rows) :] = rows
                return
            made = file.create_dataset(name, data=rows, maxshape=(None, *rows.shape[1:]), chunks=True)
            made.attrs["column_names"], made.attrs["is_bytes"] = columns[0], rows.dtype.kind == "V"
            if columns[1]:
                made.attrs["column_types"] = columns[1]

    def path(self, part: str) -> Path:
        return self._directory / f"{self._model}_{part}_{self._file}"


def read(volume: Volume) -> list[Any]:
    path = volume.path("metadata").as_posix()
    others = [Path(other).read_bytes() for other in trustyai_files.companions(path)]
    return list(trustyai_files.read_stored(path, volume.path("metadata").read_bytes(), others))


def tensors(event: Any, half: str) -> list[dict[str, Any]]:
    assert isinstance(event, InferenceEvent), event
    found: list[dict[str, Any]] = json.loads(getattr(event, half).body)["inputs" if half == "request" else "outputs"]
    return found


def test_rows_become_the_inferences_that_they_were(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    volume.keep([[1.5, "AA", True]], [[1]], "a")
    volume.keep([[2.0, "B, C", False], [1e10, 'Ü"\n', True]], [[0], [1]], "b_7")
    volume.keep([[3.0, "AA", True]], [[1]], "b_7")  # asked again under the same id
    one, two, three = read(volume)
    assert (one.model, one.request_id, one.time_ns) == ("flights", "a", 1_773_399_414_724_179_000)
    assert (two.request_id, three.request_id) == ("b_7", "b_7")
    assert len({one.id, two.id, three.id}) == 3
    decoded = decode_many([one, two, three], MONITOR)
    assert not decoded.faults
    assert decoded.columns.numeric["distance"].tolist() == [1.5, 2.0, 1e10, 3.0]
    assert decoded.columns.text["carrier"].tolist() == ["AA", "B, C", 'Ü"\n', "AA"]
    assert decoded.columns.text["night"].tolist() == ["1", "0", "1", "1"]
    assert decoded.columns.text["late"].tolist() == ["1", "0", "1", "1"]


@pytest.mark.parametrize("types", [[], ["FLOAT"] * 3, ["UNKNOWN"] * 3])
def test_numbered_columns_are_the_one_tensor_that_they_were(tmp_path: Path, types: list[str]) -> None:
    volume = Volume(tmp_path, "a_metadata_b")
    rows = np.array([[0.5, 1.0, np.nan], [3.0, 4.0, 5.0]])
    volume.append("inputs", rows, (["data-0", "data-1", "data-2"], types))
    volume.append("outputs", np.array([7, 8]), (["late"], []))
    volume.mark(2, "a")
    (event,) = read(volume)
    datatype = "FP32" if types[:1] == ["FLOAT"] else "FP64"
    assert event.model == "a_metadata_b"
    assert tensors(event, "request") == [
        {"name": "data", "shape": [2, 3], "datatype": datatype, "data": [0.5, 1.0, None, 3.0, 4.0, 5.0]}
    ]
    assert tensors(event, "response") == [{"name": "late", "shape": [2], "datatype": "INT64", "data": [7, 8]}]


def test_tensors_of_more_dimensions_keep_their_shape(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    volume.append("inputs", np.arange(12).reshape(1, 2, 3, 2), (["image-0", "image-1"], []))
    volume.append("outputs", packed([["cat", "dog"]]), (["labels-0", "labels-1"], []))
    volume.mark(1, "a")
    (event,) = read(volume)
    assert [(one["shape"], one["data"]) for one in tensors(event, "request")] == [([1, 2, 3, 2], list(range(12)))]
    assert tensors(event, "response") == [
        {"name": "labels", "shape": [1, 2], "datatype": "BYTES", "data": ["cat", "dog"]}
    ]


def test_whole_numbers_beside_fractions_are_whole_again(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    volume.append("inputs", np.array([[1.0, 2.5]]), (["count", "share"], ["INT64", "DOUBLE"]))
    volume.append("outputs", np.array([[0.25]]), (["late"], []))
    volume.mark(1, "a")
    volume.append("inputs", np.array([[1.5, 2.5]]), ([], []))
    volume.append("outputs", np.array([[np.inf]]), ([], []))
    volume.mark(1, "b")
    good, bad = read(volume)
    assert [one["data"] for one in tensors(good, "request")] == [[1], [2.5]]
    assert "1.5 is no whole number" in bad[0]


def test_what_no_client_asked_is_ignored(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    volume.keep([[1.0, "AA", True]], [[1]], "t", tag="TRAINING")
    volume.keep([[1.0, "AA", True]], [[1]], "s")
    first, second = read(volume)
    assert first.what == "TrustyAI's TRAINING"
    assert second.request_id == "s"


def test_an_index_that_says_something_else_costs_its_own_rows(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    volume.keep([[1.0, "AA", True]], [[1]], "a", at="yesterday")
    volume.append("inputs", packed([[1.0, "AA", True]]), INPUTS)
    volume.append("outputs", np.array([[1]]), OUTPUTS)
    volume.append("metadata", packed([{"id": "b"}]), ([], []))
    volume.keep([[1.0, "AA"]], [[1]], "short")
    volume.keep([[1.0, "AA", True]], [[1]], "c")
    *bad, good = read(volume)
    assert [text.split(":", 1)[0] for text, _ in bad] == ["record 0", "record 1", "record 2"]
    assert "not id, time, seconds and tags" in bad[1][0]
    assert "the shape [2] and 3 columns" in bad[2][0]
    assert good.request_id == "c"


class Runs:
    """Says when it is unpickled."""

    def __reduce__(self) -> Any:
        return sys.exit, ("a pickle was read",)


def test_rows_that_an_earlier_version_pickled_are_refused_unread(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    volume.append("inputs", np.array([[np.void(pickle.dumps(Runs()))]], dtype="V1024"), INPUTS)
    volume.append("outputs", np.array([[1]]), OUTPUTS)
    volume.mark(1, "a")
    with pytest.raises(EventError, match="pickled are not read"):
        read(volume)


def test_values_that_are_said_to_be_elsewhere_are_refused(tmp_path: Path) -> None:
    secret, path = tmp_path / "secret", tmp_path / "set.hdf5"
    secret.write_bytes(bytes(range(64)))
    with h5py.File(path, "w") as file:
        file.create_dataset("set", (8, 1), "V8", external=[(str(secret), 0, 64)])
    assert refused(path) == "'set' is no data set whose values are in the file"
    with h5py.File(path, "w") as file:
        file["set"] = h5py.ExternalLink(str(secret), "/")
    assert refused(path) == "the file holds no data set 'set'"
    with h5py.File(path, "w") as file:
        file.create_dataset("set", (1 << 40, 1), "V1024", chunks=(8, 1))
    assert "are said to hold" in refused(path)


def refused(path: Path) -> str:
    found = read_table(Wanted("set", path.read_bytes()))
    assert isinstance(found, Fault)
    return found.detail


@pytest.mark.parametrize(("place", "byte"), [(8, 99), (961, 166)])  # at the second h5py 3.16 ends its process
def test_damaged_files_are_refused_whatever_becomes_of_their_reader(tmp_path: Path, place: int, byte: int) -> None:
    volume = Volume(tmp_path)
    for number in range(4):
        volume.keep([[1.5, "AA", True]], [[1]], f"r{number}")
    damaged = bytearray(volume.path("metadata").read_bytes())
    damaged[place] = byte
    volume.path("metadata").write_bytes(damaged)
    with pytest.raises(UnevenError):
        read(volume)


# --- as a source --------------------------------------------------------------------------------------------------
def source(directory: Path) -> FilesSource:
    return FilesSource(Directory(directory, 0.0), {}.get, INTERPRETER, list_every_s=0.0)


@pytest.mark.parametrize("file", ["trustyai.hdf5", "trustyai_inference_data.hdf5", "data.csv"])
def test_files_that_grow_are_gone_on_with_and_no_row_comes_twice(tmp_path: Path, file: str) -> None:
    volume = Volume(tmp_path, file=file)
    reading = source(tmp_path)
    volume.keep([[1.5, "AA", True]], [[1]], "a")
    Volume(tmp_path, "flights-ground-truths", file).keep([[1.5, "AA", True]], [[1]], "x")  # TrustyAI's own labels
    (tmp_path / f"trustyai_internal_partial_payloads_inputs_{file}").write_bytes(b"halves that wait")
    assert [one.content.request_id for one in reading.poll(10, 0)] == ["a"]  # type: ignore[union-attr]
    assert reading.poll(10, 0) == []
    volume.keep([[1.5, "AA", True]], [[1]], "b")  # the file has room for it, and keeps its size
    assert [one.content.request_id for one in reading.poll(10, 0)] == ["b"]  # type: ignore[union-attr]


def test_files_that_do_not_fit_are_looked_at_once_more_before_they_are_refused(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    reading = source(tmp_path)
    volume.keep([[1.5, "AA", True]], [[1]], "a")
    volume.mark(1, "b")  # its values are about to be written
    assert reading.poll(10, 0) == []
    (refused,) = reading.poll(10, 0)
    assert isinstance(refused.content, Malformed)
    assert "there are 2 ids, 1 inputs and 1 outputs" in refused.content.detail
    assert refused.next_offset == DONE
    with pytest.raises(UnevenError, match="broken HDF5"):
        trustyai_files.read_stored(str(volume.path("metadata")), b"\x89HDF\r\n\x1a\n torn", [b"", b""])


def test_where_the_library_lacks_the_files_wait_and_are_read_once_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Volume(tmp_path).keep([[1.5, "AA", True]], [[1]], "a")
    with monkeypatch.context() as lacking:
        lacking.setitem(sys.modules, "h5py", None)
        without = source(tmp_path)
        assert without.poll(10, 0) == []
        assert without.lag() == {LANE: 0}
    assert "'flights_metadata_trustyai.hdf5' waits" in caplog.text
    assert "pip install 'driftline[hdf5]'" in caplog.text
    assert [one.content.request_id for one in source(tmp_path).poll(10, 0)] == ["a"]  # type: ignore[union-attr]


def test_bytes_of_values_that_are_none_are_kept_for_the_dead_letter(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    volume.keep([[{"__type__": "bytes", "data": base64.b64encode(b"x").decode()}, "AA", True]], [[1]], "a")
    ((told, raw),) = read(volume)
    assert "is no value of type FP64" in told
    assert b"a_0" in raw
    assert io.BytesIO(raw).read(1) == b"["
