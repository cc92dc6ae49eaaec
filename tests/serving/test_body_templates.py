import json
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.event_runs import EventList, EventRun
from driftline.events import InferenceEvent, Payload
from driftline.joined_bytes import JoinedBytes
from serving.body_templates import template_of
from tests.serving.fuzzing import CURIOUS, MONITOR, check_batch
from tests.serving.payload_examples import event

#: What may stand between the brackets of a tensor: values, several, none, half of one, and what only looks like one.
DATA = (
    "1", "2.5", "-0", "-0.0", "null", "true", '"2.5"', '"Oslo"', '"a,b"', '"x]"', '"\\u005d"', '"a', 'b"', "1,2", "",
    " ", "1 ", "1,", ",1", "1e999", "9" * 400, "{}", '{"a":1}', "[1]", "1],[2", '"\n"', '"\\ud800"', '"\xe9"', "01",
)  # fmt: skip
IDS = ("r-1", "r-2345", "", 'a\\"b', "a]b", "\\u0041", "\xe9", "x" * 80, "a\nb", '","inputs":[],"x":"')
SPELLINGS = (
    """{{"id":"{id}","inputs":[{{"name":"age","shape":[1],"datatype":"FP64","data":[{first}]}},
    {{"name":"city","shape":[1],"datatype":"BYTES","data":[{second}]}}]}}""",
    """{{"inputs": [{{"name": "x", "shape": [1, 3], "datatype": "FP64", "data": [ 1, {first}, {second} ]}}],
    "id": "{id}"}}""",
    """{{"parameters":{{"id":"[{id}]"}},"inputs":[{{"shape":[1,1],"data":[{first}],"datatype":"INT64","name":"age"}},
    {{"name":"city","datatype":"BYTES","parameters":{{"data":[1]}},"shape":[1],"data":[{second}]}}]}}""",
)
ANSWER = Payload(
    body=json.dumps(
        {"id": "q", "outputs": [{"name": "default", "shape": [1], "datatype": "INT64", "data": [1]}]}
    ).encode()
)


def run_of(events: Sequence[InferenceEvent]) -> EventList:
    """Events that differ in their bodies alone, the second of them as one that stands apart."""
    places = np.array([0, *range(2, len(events))], np.intp)
    chosen = [events[place] for place in places.tolist()]
    run = EventRun(
        msgspec.structs.replace(events[0], request=Payload(), response=Payload()),
        [event.id for event in chosen],
        np.array([event.time_ns for event in chosen]),
        [event.request_id for event in chosen],
        {},
        JoinedBytes([event.request.body for event in chosen]),
        JoinedBytes([event.response.body for event in chosen]),
    )
    return EventList([(places, run)], {1: events[1]})


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(SPELLINGS),
    st.lists(st.tuples(st.sampled_from(DATA), st.sampled_from(DATA), st.sampled_from(IDS)), max_size=14),
)
def test_bodies_spelt_alike_are_read_together_as_each_is_alone(
    spelling: str, drawn: list[tuple[str, str, str]]
) -> None:
    plain = [("1", '"Oslo"', "r-1"), ("2.5", '"Rome"', "r-22")]
    texts = [
        spelling.format(first=first, second=second, id=name)
        for first, second, name in [*plain, *drawn, *plain * 4]  # so that there are enough to learn from
    ]
    events = [event(Payload(body=text.encode()), ANSWER) for text in texts]
    for monitor, many in ((MONITOR, events), (MONITOR, run_of(events)), (CURIOUS, run_of(events))):
        check_batch(many, monitor)


def test_a_body_that_differs_in_its_values_and_its_id_fits_and_any_other_does_not() -> None:
    def body(name: str, ages: list[Any], shape: int = 2) -> bytes:
        tensor = {"name": "age", "shape": [shape], "datatype": "FP64", "data": ages}
        return json.dumps({"id": name, "inputs": [tensor]}).encode()

    template = template_of(body("r1", [1, 2]), b"inputs", [[1, 2]])
    assert template is not None
    bodies = [body("r1", [1, 2]), body("request-17", [3.5, None]), body("r1", [1, 2], 3), b"", body("r1", ["]", 1])]
    joined = JoinedBytes(bodies)
    spans = zip(joined.starts.tolist(), joined.ends.tolist(), strict=True)
    found = [template.fit(joined.text, start, end) for start, end in spans]
    assert [None if match is None else match.groups() for match in found] == [
        (b"1, 2",),
        (b"3.5, null",),
        None,
        None,
        None,
    ]


def test_a_body_whose_data_are_not_what_was_read_has_no_template() -> None:
    for body in (
        b'{"inputs":[{"data":[1],"data":[2]}]}',
        b'{"inputs":[{"data":[[1,2]]}]}',
        b'{"inputs":[{"dat\\u0061":[3],"data":[1]}]}',
        b'{"inputs":[{"name":"a"}]}',
        b'{"inputs":[]}',
    ):
        assert template_of(body, b"inputs", [[1]]) is None
