"""TrustyAI's files, written here as its service writes them, become the inferences that it saw, as they grow."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from collector.labels.from_seldon import read_feedback
from collector.sources.file_places import Directory
from collector.sources.files import DONE, FilesSource
from collector.sources.interpreting import Interpreter
from collector.sources.trustyai_files import read_stored
from collector.sources.trustyai_rows import UnevenError
from driftline.errors import EventError
from driftline.events import InferenceEvent
from driftline.monitors import Monitor
from driftline.records import Ignored, Malformed
from serving.decode_many import decode_many
from tests.collector.helpers import MONITORS

INTERPRETER = Interpreter(MONITORS, read_feedback)
ORGANIC = "_trustyai_unlabeled"
#: Names, types and values as a request with two tensors and an answer with one of one column leave them.
INPUTS = [("distance", "DOUBLE"), ("carrier", "STRING"), ("night", "BOOL")]
OUTPUTS = [("late-0", "INT64")]
MONITOR = Monitor.model_validate(
    {
        "model": "flights",
        "task": "binary",
        "columns": [
            {"name": "distance", "type": "numeric"},
            {"name": "carrier", "type": "categorical"},
            {"name": "night", "type": "categorical"},
        ],
        "prediction": {"column": "late"},
    }
)


def java(value: Any) -> str:
    """A value as Java's CSV writer there has it: texts in quotes and otherwise as they are, the rest by toString."""
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool):
        return str(value).lower()
    return "NaN" if value != value else str(value).replace("e+", "E").replace("inf", "Infinity")


def schema(columns: Sequence[tuple[str, str]], first: int, spelling: str = "columnIndex") -> dict[str, Any]:
    items = {name: {"type": kind, "name": name, spelling: first + place} for place, (name, kind) in enumerate(columns)}
    return {"items": items, "nameMapping": {}, "nameMappedItems": items, "nameMappedKeySet": list(items), "id": None}


class Volume:
    """The volume of TrustyAI's service: it appends to both CSV files and writes the metadata anew."""

    def __init__(self, directory: Path, model: str = "flights") -> None:
        self._stem = directory / model
        self._model = model
        self._rows = 0

    def keep(self, rows: Sequence[Sequence[Any]], ids: Sequence[str], at: str, tag: str = ORGANIC) -> None:
        self.write("metadata.json", self.metadata(len(rows)))
        self.append("data.csv", "".join(",".join(map(java, row)) + "\n" for row in rows))
        self.append("internal_data.csv", "".join(f"{tag},{each},{at}\n" for each in ids))

    def metadata(self, rows: int, inputs: Any = INPUTS, spelling: str = "columnIndex") -> str:
        self._rows += rows
        found = {
            "inputSchema": schema(inputs, 0, spelling),
            "outputSchema": schema(OUTPUTS, len(inputs), spelling),
            "inputTensorName": "input",
            "outputTensorName": "output",
            "observations": self._rows,
            "recordedInferences": True,
            "modelId": self._model,
            "jointNameAliases": {},
        }
        return json.dumps(found)

    def write(self, name: str, text: str) -> None:
        self._path(name).write_text(text)
        os.utime(self._path(name), (1, 1))

    def append(self, name: str, text: str) -> None:
        with self._path(name).open("a") as file:
            file.write(text)
        os.utime(self._path(name), (1, 1))

    def files(self) -> tuple[bytes, list[bytes]]:
        index, *others = (self._path(name).read_bytes() for name in ("internal_data.csv", "data.csv", "metadata.json"))
        return index, others

    def _path(self, name: str) -> Path:
        return self._stem.with_name(f"{self._model}-{name}")


def read(volume: Volume) -> list[Any]:
    return list(read_stored("kept/flights-internal_data.csv", *volume.files()))


def test_rows_become_the_inferences_that_they_were(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    volume.keep([[1.5, "AA", True, 1]], ["a"], "2024-03-13T10:56:54.724179365")
    volume.keep([[2.0, "B, C", False, 0], [1e10, "Ü\nline", True, 1]], ["b", "b"], "2024-03-13T10:57")
    one, two = read(volume)
    assert (one.model, one.request_id, one.time_ns) == ("flights", "a", 1_710_327_414_724_179_365)
    assert (two.request_id, two.time_ns) == ("b", 1_710_327_420_000_000_000)
    assert one.id != two.id
    decoded = decode_many([one, two], MONITOR)
    assert not decoded.faults
    assert decoded.columns.numeric["distance"].tolist() == [1.5, 2.0, 1e10]
    assert decoded.columns.text["carrier"].tolist() == ["AA", "B, C", "Ü\nline"]
    assert decoded.columns.text["night"].tolist() == ["1", "0", "1"]
    assert decoded.columns.text["late"].tolist() == ["1", "0", "1"]


@pytest.mark.parametrize("spelling", ["columnIndex", "index"])
def test_numbered_columns_are_the_one_tensor_that_they_were(tmp_path: Path, spelling: str) -> None:
    volume = Volume(tmp_path)
    numbered = [(f"customer_data-{place}", "DOUBLE") for place in range(12)]
    volume.keep([[*map(float, range(11)), float("nan"), 1]], ["a"], "2024-03-13T10:56:54")
    volume.write("metadata.json", volume.metadata(0, numbered, spelling))
    (event,) = read(volume)
    (tensor,) = json.loads(event.request.body)["inputs"]
    assert (tensor["name"], tensor["shape"], tensor["datatype"]) == ("customer_data", [1, 12], "FP64")
    assert tensor["data"] == [*map(float, range(11)), None]
    (answer,) = json.loads(event.response.body)["outputs"]
    assert (answer["name"], answer["shape"], answer["data"]) == ("late", [1, 1], [1])


def test_what_no_client_asked_is_ignored(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    volume.keep([[1.0, "AA", True, 1]], ["t"], "2024-03-13T10:56:54", tag="TRAINING")
    volume.keep([[1.0, "AA", True, 1]], ["s"], "2024-03-13T10:56:54", tag="_trustyai_synthetic")
    assert [item.what for item in read(volume)] == ["TrustyAI's TRAINING", "TrustyAI's _trustyai_synthetic"]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ([1.0, "a", "maybe", 1], "neither true nor false"),
        ([float("inf"), "a", True, 1], "no number that JSON has"),
        ([1.0, "a", True, 1.5], "invalid literal"),
    ],
)
def test_a_row_that_cannot_be_read_stops_nothing(tmp_path: Path, row: list[Any], told: str) -> None:
    volume = Volume(tmp_path)
    volume.keep([row], ["bad"], "2024-03-13T10:56:54")
    volume.keep([[1.0, "AA", True, 1]], ["good"], "2024-03-13T10:56:54")
    bad, good = read(volume)
    assert told in bad[0]
    assert good.request_id == "good"


def test_files_that_break_their_form_are_refused_whole(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    volume.keep([[1.0, 'the "AA"', True, 1]], ["a"], "2024-03-13T10:56:54")
    with pytest.raises(EventError, match="is no CSV"):
        read(volume)
    volume.write("data.csv", '1.0,"a","b",true,1\n')
    with pytest.raises(EventError, match="row 0 has 5 values, its metadata has 4 columns"):
        read(volume)
    volume.write("data.csv", "")
    with pytest.raises(UnevenError, match="0 rows and 1 ids"):
        read(volume)
    volume.write("metadata.json", volume.metadata(0, [("x", "TENSOR")]))
    with pytest.raises(EventError, match="'x' holds TENSOR"):
        read(volume)
    volume.write("metadata.json", "{}")
    with pytest.raises(EventError, match="inputSchema"):
        read(volume)


# --- as a source --------------------------------------------------------------------------------------------------
def source(directory: Path, positions: dict[str, int]) -> FilesSource:
    return FilesSource(Directory(directory, 0.0), positions.get, INTERPRETER, list_every_s=0.0)


def test_files_that_grow_are_gone_on_with_and_no_row_comes_twice(tmp_path: Path) -> None:
    volume, positions = Volume(tmp_path), dict[str, int]()
    reading = source(tmp_path, positions)
    volume.keep([[1.0, "AA", True, 1]], ["a"], "2024-03-13T10:56:54")
    volume.keep([[1.0, "AA", True, 1]], ["b"], "2024-03-13T10:56:55")
    (tmp_path / "flights-ground-truths-internal_data.csv").write_text("x")  # TrustyAI's own labels
    first = reading.poll(10, 0)
    assert [(one.offset, one.next_offset) for one in first] == [(0, 1), (1, 2)]
    assert reading.poll(10, 0) == []
    volume.keep([[2.0, "AA", True, 1]], ["c"], "2024-03-13T10:56:56")
    assert [_ids(one) for one in reading.poll(10, 0)] == ["c"]
    # After a restart what was committed is not read again, and what was not is.
    positions["files:flights-internal_data.csv"] = 1
    assert [_ids(one) for one in source(tmp_path, positions).poll(10, 0)] == ["b", "c"]


def test_files_that_do_not_fit_are_looked_at_once_more_before_they_are_refused(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    reading = source(tmp_path, {})
    volume.keep([[1.0, "AA", True, 1]], ["a"], "2024-03-13T10:56:54")
    volume.append("data.csv", '2.0,"BB",false,0\n')  # its id is about to be written
    assert reading.poll(10, 0) == []
    volume.append("internal_data.csv", f"{ORGANIC},b,2024-03-13T10:56:55\n")
    assert [_ids(one) for one in reading.poll(10, 0)] == ["a", "b"]
    volume.append("internal_data.csv", f"{ORGANIC},c,2024-03-13T10:56:55\n")
    assert reading.poll(10, 0) == []
    (refused,) = reading.poll(10, 0)
    assert isinstance(refused.content, Malformed)
    assert "2 rows and 3 ids" in refused.content.detail
    assert refused.next_offset == DONE


def test_files_of_which_one_lacks_are_refused_by_name(tmp_path: Path) -> None:
    Volume(tmp_path).append("internal_data.csv", f"{ORGANIC},a,2024-03-13T10:56:54\n")
    (record,) = source(tmp_path, {}).poll(10, 0)
    assert isinstance(record.content, Malformed)
    assert "'flights-data.csv' is missing" in record.content.detail


def _ids(record: Any) -> str:
    assert isinstance(record.content, InferenceEvent | Ignored), record
    return record.content.request_id if isinstance(record.content, InferenceEvent) else record.content.what
