"""What rows that TrustyAI's service kept become: inferences of the V2 protocol, whatever form the rows were kept in."""

from collections.abc import Sequence
from typing import Any

import msgspec

from driftline.errors import EventError
from driftline.events import InferenceEvent, Payload
from driftline.records import Ignored

#: The tag of what clients asked; any other says what somebody made or marked, such as training data.
ORGANIC = "_trustyai_unlabeled"
#: What labels of its own are kept under: a model of this name.
TRUTHS = "-ground-truths"
#: TrustyAI's types as the protocol names them. Others are objects of the program that kept them.
DATATYPES = {
    "BOOL": "BOOL",
    "INT32": "INT32",
    "INT64": "INT64",
    "FLOAT": "FP32",
    "DOUBLE": "FP64",
    "STRING": "BYTES",
}

#: An inference, a row that is none, or why one cannot be read, with its bytes.
Item = InferenceEvent | Ignored | tuple[str, bytes]
#: A tensor as JSON of the V2 protocol has it.
Tensor = dict[str, Any]


class UnevenError(EventError):
    """As many rows as ids are not there: one file was written just now and the other not yet, or they never will."""


class MissingLibraryError(EventError):
    """What reads a file is not installed; once it is, the file can be read."""


def ignored(tag: str) -> Ignored:
    """A row that no client asked."""
    return Ignored(f"TrustyAI's {tag}"[:100])


def inference(
    event_id: str, model: str, request_id: str, time_ns: int, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> InferenceEvent:
    """An inference that the service saw; both halves have the same number of rows."""
    return InferenceEvent(
        id=event_id,
        source="trustyai",
        model=model,
        time_ns=time_ns,
        request_id=request_id,
        protocol="v2",
        status_code=200,
        request=_payload({"id": request_id, "inputs": inputs}),
        response=_payload({"model_name": model, "id": request_id, "outputs": outputs}),
    )


def name_of_one(names: Sequence[str]) -> str | None:
    """The name of the one tensor whose columns these are, which were numbered; None where each column was a tensor.

    >>> name_of_one(["data-0", "data-1"]), name_of_one(["age", "income"])
    ('data', None)
    """
    first = names[0].removesuffix("-0") if names else ""
    return first if names and list(names) == [f"{first}-{number}" for number in range(len(names))] else None


def _payload(document: Any) -> Payload:
    return Payload(content_type="application/json", body=msgspec.json.encode(document))
