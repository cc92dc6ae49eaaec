import math
import random
from typing import Any

import numpy as np

from driftline.columns import ColumnBatch
from driftline.events import InferenceEvent
from serving import reasons
from serving.decode_many import decode_many
from tests.parts.decoding import decode
from tests.serving.fuzzing import check_batch
from tests.serving.payload_examples import V2_REQUEST, V2_RESPONSE, event, monitor, tensor

V1_REQUEST = {"instances": [{"age": 5, "city": "Oslo"}]}
GOOD = event(V2_REQUEST, V2_RESPONSE)
ERROR = event(b"", b"", status_code=500)
BROKEN = event(b"{", V2_RESPONSE)
OTHER = event(V1_REQUEST, {"predictions": [1]})


def rows(batch: ColumnBatch) -> list[dict[str, Any]]:
    """Each row by name, without what is missing."""
    listed = {name: values.tolist() for name, values in (*batch.numeric.items(), *batch.text.items())}
    return [
        {name: values[row] for name, values in listed.items() if not is_missing(values[row])}
        for row in range(batch.rows)
    ]


def is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def test_the_rows_of_many_events_are_those_of_each_with_their_places() -> None:
    batch = decode_many([GOOD, BROKEN, ERROR, OTHER, GOOD], monitor())
    assert batch.events.tolist() == [0, 0, 3, 4, 4]
    assert batch.rows.tolist() == [0, 1, 0, 0, 1]
    assert [(place, fault.reason) for place, fault in batch.faults] == [(1, reasons.MALFORMED)]
    expected = [row for one in (GOOD, OTHER, GOOD) for row in rows(decode(one, monitor()))]
    assert rows(batch.columns) == expected


def test_no_events_are_no_rows() -> None:
    for events in ([], [ERROR], [BROKEN]):
        batch = decode_many(events, monitor())
        assert (batch.columns.rows, len(batch.events), len(batch.rows)) == (0, 0, 0)
        assert batch.events.dtype == batch.rows.dtype == np.intp


def test_a_column_that_only_some_events_have_is_missing_in_the_others() -> None:
    def age_or_city(name: str, value: Any, datatype: str) -> InferenceEvent:
        return event({"inputs": [tensor(name, [value], datatype)]}, V2_RESPONSE | {"outputs": []})

    batch = decode_many([age_or_city("age", 1, "FP64"), age_or_city("city", "Rome", "BYTES")], monitor())
    assert rows(batch.columns) == [{"age": 1.0}, {"city": "Rome"}]


ROW = {"age": 31, "income": 1000.5, "city": "Paris", "id": "x"}
ANSWERS = (
    {"predictions": [{"default": 1, "probability": 0.75}]},
    {"predictions": [1]},
    {"predictions": [[0.25, 0.75]]},
)
V1_REQUESTS: tuple[Any, ...] = (
    {"instances": [ROW]},
    {"instances": [ROW | {"age": None}], "signature_name": "serving_default"},
    {"instances": [dict(reversed(ROW.items()))]},
    {"instances": [ROW], "inputs": [1]},
    {"instances": [ROW], "unheard": "of"},
    {"instances": [ROW, ROW | {"age": 32}]},
    {"instances": [ROW, {"city": "Rome"}]},
    {"instances": [ROW | {"age": [33]}]},
    {"instances": [ROW | {"city": {"b64": "Um9tZQ=="}}]},
    {"instances": [ROW | {"age": "no number"}]},
    {"instances": [ROW | {"id": {"deep": 1}}]},
    {"instances": [{"id": 1}]},
    {"instances": [[1, 2, "Oslo"]]},
    {"instances": [{}]},
    {"instances": []},
)


def test_v1_events_that_look_alike_are_read_together_as_each_is_alone() -> None:
    rng = random.Random(5)
    events = [
        event(rng.choice(V1_REQUESTS[:2] if rng.random() < 0.5 else V1_REQUESTS), rng.choice(ANSWERS))
        for _ in range(600)
    ]
    # NaN is no JSON, and a chunked answer is one row.
    events += [event(b'{"instances":[{"age":NaN,"income":1,"city":"a","id":"x"}]}', ANSWERS[0])] * 2
    events += [event(V1_REQUESTS[0], ANSWERS[1], chunk_count=3)] * 2
    check_batch(events, monitor())
    batch = decode_many(events, monitor())
    assert len(batch.faults) > 50
    assert len(batch.events) > 300
