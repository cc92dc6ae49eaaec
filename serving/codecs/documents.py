"""Which protocol a JSON document is of, told by its members, and its tensors."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec

from driftline.errors import DecodeError
from serving import reasons
from serving.codecs import (
    generate,
    mlflow,
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_responses,
    seldon,
    tf_serving,
    torchserve,
    v1,
    v2_json,
)
from serving.codecs.reading import OBJECT, REQUEST, Half, Reading, Wanted
from serving.tensors import Tensor

Json: TypeAlias = Mapping[str, Any]


class _Protocol(NamedTuple):
    """How one protocol is known and read. ``loose``: see ``Reading.loose``."""

    format: str
    fits: Callable[[Json], bool]
    read: Callable[[Json, Wanted, int | None], list[Tensor]]
    loose: bool = True


def read(document: Any, half: Half, wanted: Wanted, rows: int | None = None) -> Reading:
    """The tensors of a document; raises DecodeError.

    ``rows``: how many rows the request had, where an answer does not say which of its parts belong to which.
    """
    if not isinstance(document, dict):
        return _read_values(document, half, wanted)
    for protocol in _REQUESTS if half == REQUEST else _ANSWERS:
        if protocol.fits(document):
            return Reading(protocol.format, protocol.read(document, wanted, rows), document, loose=protocol.loose)
    if seldon.is_message(document):
        if seldon.JSON in document and "data" not in document:
            inner = _read_inner(document[seldon.JSON], half, wanted, rows)
            return Reading("seldon", inner.tensors, document, loose=inner.loose)
        return Reading("seldon", seldon.tensors(document, wanted.names), document)
    return _read_object(document, half, wanted)


def _read_inner(document: Any, half: Half, wanted: Wanted, rows: int | None) -> Reading:
    if isinstance(document, dict) and seldon.JSON in document:
        raise DecodeError(reasons.UNSUPPORTED_FORMAT, f"the {half} has {seldon.JSON} within {seldon.JSON}")
    return read(document, half, wanted, rows)


def _read_values(document: Any, half: Half, wanted: Wanted) -> Reading:
    """A body that is a list of rows, or a single value."""
    rows = document if isinstance(document, list) else [document]
    if half == REQUEST and not isinstance(document, list):
        raise DecodeError(reasons.UNSUPPORTED_FORMAT, "the request is a single JSON value, which has no columns")
    return Reading("rows", v1.rows_to_tensors("the list", rows, wanted.names), document)


def _read_object(document: Json, half: Half, wanted: Wanted) -> Reading:
    found = torchserve.object_tensors(document, wanted.names)
    if found or wanted.paths:
        return Reading(OBJECT, found, document, loose=False)
    if half != REQUEST and (classes := torchserve.class_tensors(document, wanted.positive)):
        return Reading("classes", classes, document)
    shown = ", ".join(sorted(map(str, document))[:5])[:80]
    raise DecodeError(
        reasons.UNSUPPORTED_FORMAT,
        f"the {half} is a JSON object of no known protocol ({_KNOWN[half]}), and has no field that the monitor names; "
        f"its fields are: {shown or 'none'}",
    )


def _is_v2(name: str) -> Callable[[Json], bool]:
    def fits(document: Json) -> bool:
        field = document.get(name)
        return isinstance(field, list) and bool(field) and isinstance(field[0], dict) and "datatype" in field[0]

    return fits


def _read_v2(name: str) -> Callable[[Json, Wanted, int | None], list[Tensor]]:
    def read_tensors(document: Json, wanted: Wanted, _rows: int | None) -> list[Tensor]:
        try:
            parts = msgspec.convert(document[name], list[v2_json.JsonTensor])
        except (msgspec.ValidationError, RecursionError) as error:
            told = str(error).replace("`$", f"`$.{name}")
            raise DecodeError(reasons.MALFORMED, f"the body breaks the V2 protocol: {told}") from error
        return v2_rows([v2_json.to_tensor(part) for part in parts], wanted)

    return read_tensors


def v2_rows(tensors: list[Tensor], wanted: Wanted) -> list[Tensor]:
    """V2's tensors, or the fields of its rows where an only tensor holds whole rows, each an object."""
    if len(tensors) == 1 and isinstance(tensors[0].values, list) and isinstance(next(iter(tensors[0].values), 0), dict):
        return v1.rows_to_tensors(tensors[0].name, tensors[0].values, wanted.names)
    return tensors


def _has(*names: str) -> Callable[[Json], bool]:
    return lambda document: not set(names).isdisjoint(document)


def _results(document: Json, wanted: Wanted, _rows: int | None) -> list[Tensor]:
    found = tf_serving.results(document, wanted.positive)
    return v1.rows_to_tensors("results", document["results"], wanted.names) if found is None else found


#: Both ways: a request and an answer are told apart by what they hold alone.
_GENERATE = _Protocol(
    "generate",
    generate.is_document,
    lambda document, wanted, _: generate.tensors(document, wanted.names),
    loose=False,
)
_REQUESTS: Sequence[_Protocol] = (
    _Protocol("v2", _is_v2("inputs"), _read_v2("inputs")),
    _Protocol("v1", _has("instances"), lambda document, wanted, _: v1.request_tensors(document, wanted.names)),
    _Protocol("tf_serving", _has("inputs"), lambda document, wanted, _: v1.request_tensors(document, wanted.names)),
    _Protocol("mlflow", mlflow.is_request, lambda document, wanted, _: mlflow.request_tensors(document, wanted.names)),
    _Protocol(
        "tf_serving",
        _has("examples"),
        lambda document, wanted, _: v1.rows_to_tensors("examples", tf_serving.examples(document), wanted.names),
    ),
    _Protocol(
        "openai_chat",
        openai_chat.is_request,
        lambda document, _w, _r: openai_chat.request_tensors(document),
        loose=False,
    ),
    _GENERATE,
    _Protocol(
        "openai_completions",
        lambda document: "prompt" in document and "model" in document,
        lambda document, _w, _r: openai_completions.request_tensors(document),
        loose=False,
    ),
    _Protocol(
        "openai_input",
        lambda document: "input" in document and "model" in document,
        lambda document, _w, _r: openai_responses.request_tensors(document),
        loose=False,
    ),
)
_ANSWERS: Sequence[_Protocol] = (
    _Protocol("v2", _is_v2("outputs"), _read_v2("outputs")),
    _Protocol("v1", _has("predictions"), lambda document, wanted, _: v1.response_tensors(document, wanted.names)),
    _Protocol("tf_serving", _has("outputs"), lambda document, wanted, _: v1.response_tensors(document, wanted.names)),
    _Protocol(
        "openai_chat", openai_chat.is_answer, lambda document, _w, _r: openai_chat.answer_tensors(document), loose=False
    ),
    _Protocol(
        "openai_completions",
        openai_completions.is_answer,
        lambda document, _w, rows: openai_completions.answer_tensors(document, rows or 1),
        loose=False,
    ),
    _Protocol(
        "openai_embeddings",
        openai_embeddings.is_answer,
        lambda document, _w, _r: openai_embeddings.answer_tensors(document),
        loose=False,
    ),
    _Protocol(
        "openai_responses",
        openai_responses.is_answer,
        lambda document, _w, _r: openai_responses.answer_tensors(document),
        loose=False,
    ),
    _GENERATE,
    _Protocol("tf_serving", _has("results"), _results),
)
_KNOWN = {
    "request": "it has none of instances, inputs, dataframe_split, examples, data, messages, prompt, input, text_input",
    "response": "it has none of predictions, outputs, data, choices, output, text_output, results",
}
