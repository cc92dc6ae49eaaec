"""The monitor: one YAML file per model that says what is expected of it.

A monitor is read once, checked whole, and never changed. Wrong files are refused with every fault named by file, path,
value and, where one is close, the valid name. ``monitor_schema()`` is the JSON Schema that editors complete from.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from driftline.errors import MonitorError
from driftline.features import Datatype, Feature, feature_fault
from driftline.monitor_detectors import WEEK_S, DetectorSpec, ReferenceSpec, WindowSpec
from driftline.monitor_labels import LabelSpec
from driftline.monitor_parts import Duration, Part
from driftline.monitor_ranking import RankingSpec
from driftline.objectives import SloSet
from driftline.payload_paths import parse_path

#: Numbers of a vector that is kept beside its row.
LONGEST_KEPT = 4096
#: Numbers of a vector that can be watched.
LONGEST_VECTOR = 16_384

Task = Literal["binary", "multiclass", "regression", "ranking"]


def _a_path(text: str) -> str:
    parse_path(text)
    return text


#: See ``driftline.payload_paths``.
Path = Annotated[str, AfterValidator(_a_path)]


class ColumnSpec(Part):
    """One input column: its name in the payload, its type, and what makes a value invalid."""

    name: str = Field(min_length=1)
    type: Literal["numeric", "categorical"]
    required: bool = Field(False, description="A missing value fails validation.")
    minimum: float | None = Field(None, description="Smallest valid number.")
    maximum: float | None = Field(None, description="Largest valid number.")
    allowed: tuple[str, ...] | None = Field(None, description="The only valid categories.")
    drift: bool = Field(True, description="False keeps the column out of drift tests.")
    source: Path | None = Field(
        None,
        alias="from",
        description="Where the value is, when it is not the field or tensor of the column's name: `features[3]`, "
        "`messages[-1].content`, `response.answer`, `event.ttft_ms`. Without `response.` or `event.`: in the request.",
    )
    feature: Feature | None = Field(
        None,
        alias="as",
        description="What is watched of a text, vector, list or image, such as `characters` or `norm`.",
    )

    @model_validator(mode="after")
    def _rules_fit_the_type(self) -> "ColumnSpec":
        fault = feature_fault(self.feature, f"type is {self.type}", is_categorical=self.type == "categorical")
        if fault is not None:
            raise ValueError(f"as: {fault}")
        if self.type == "numeric" and self.allowed is not None:
            raise ValueError("allowed is for categorical columns; numeric ones have minimum and maximum")
        if self.type == "categorical" and not self.minimum is self.maximum is None:
            raise ValueError("minimum and maximum are for numeric columns; categorical ones have allowed")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum:g} is above maximum {self.maximum:g}")
        return self


class VectorSpec(Part):
    """A vector for each row, such as an embedding, watched as a whole: what moves, along whichever directions."""

    name: str = Field(min_length=1, description="Name of its field or tensor, and in results.")
    dimension: int = Field(
        ge=1, le=LONGEST_VECTOR, description="Its numbers. A vector of another length counts as missing."
    )
    source: Path | None = Field(
        None, alias="from", description="Where it is, as for a column: `response.embedding`, `data[*].vector`."
    )
    kept: bool = Field(
        False,
        description="Kept beside its row in the Parquet files of payloads, as a list of float32; up to 4,096 numbers.",
    )

    @model_validator(mode="after")
    def _no_longer_than_is_kept(self) -> "VectorSpec":
        if self.kept and self.dimension > LONGEST_KEPT:
            raise ValueError(f"kept is for up to {LONGEST_KEPT} numbers, not {self.dimension}")
        return self

    @property
    def distance(self) -> str:
        """The numeric column that each row gets of it: how far the nearest of the reference's centres is."""
        return f"{self.name}.distance"


class PredictionSpec(Part):
    """Where the answer is in the response: output tensor names (or response keys)."""

    column: str = Field("prediction", min_length=1, description="Output with the predicted class or number.")
    score: str | None = Field(None, description="Output with the probability of the positive class (binary).")
    positive: str = Field("1", description="The positive class (binary).")
    source: Path | None = Field(
        None, alias="from", description="Where the prediction is, as for a column; unless it says so, in the response."
    )
    feature: Feature | None = Field(None, alias="as", description="What is watched of it, as for a column.")
    score_from: Path | None = Field(None, description="Where the score is, as for a column; in the response.")

    @model_validator(mode="after")
    def _score_has_a_name(self) -> "PredictionSpec":
        if self.score_from is not None and self.score is None:
            raise ValueError("score_from needs score, the name that it goes by")
        if self.score == self.column:
            raise ValueError(f"score is '{self.score}', as column is: each needs a name; score_from says where one is")
        return self


class RetentionSpec(Part):
    """How long things are kept, counted from the time they speak of. Counters and window counts of others stay."""

    predictions: Duration = Field(90 * 86400.0, description="Prediction rows with their labels and keys.")
    payloads: Duration = Field(30 * 86400.0, description="Input columns of rows, in the store and as Parquet files.")
    results: Duration = Field(730 * 86400.0, description="Windows: their statistics, results and revisions.")
    dead_letters: Duration = Field(30 * 86400.0, description="Events that could not be used.")


class SubjectSpec(Part):
    """Whom a row is about, so that a person's rows can be erased. Give one place."""

    column: str | None = Field(None, min_length=1, description="Input column that names the subject of each row.")
    header: str | None = Field(None, min_length=1, description="Header of the request that names its subject.")

    @model_validator(mode="after")
    def _one_place(self) -> "SubjectSpec":
        if (self.column is None) == (self.header is None):
            raise ValueError("give one of column and header")
        return self


class PairingSpec(Part):
    """Loggers that send request and answer as two events (KServe, Seldon, ModelMesh): how long one waits."""

    timeout: Duration = Field(
        600.0, description="After this long a request, or an answer, without its other half counts as unpaired."
    )
    unpaired_requests: Literal["inputs", "drop"] = Field(
        "inputs",
        description="Requests without an answer: 'inputs' keeps their input columns, without a prediction; 'drop' only "
        "counts them.",
    )


class Monitor(Part):
    """What is expected of one model. See the module's docstring."""

    model: str = Field(min_length=1, pattern=r"^[A-Za-z0-9._-]+$", description="Name as in the request path.")
    namespace: str = Field("default", pattern=r"^[a-z0-9-]+$")
    task: Task
    columns: tuple[ColumnSpec, ...] = Field(
        (), description="Input columns. None is needed where `vectors` name what is watched."
    )
    prediction: PredictionSpec = PredictionSpec()
    ranking: RankingSpec = RankingSpec()
    tensors: dict[str, tuple[str, ...]] = Field(
        {}, description="Inputs with several values per row, and the column of each of these values, in order."
    )
    vectors: tuple[VectorSpec, ...] = Field((), description="Vectors that are watched as wholes, such as embeddings.")
    raw_datatype: Datatype | None = Field(
        None, description="Type of a request that is one raw tensor without JSON (Triton's binary form, header 0)."
    )
    segments: tuple[str, ...] = Field((), description="Categorical columns whose every value is watched apart.")
    maximum_segments: int = Field(
        20, ge=1, description="Values watched apart per segment column; others count only in all rows."
    )
    reference: ReferenceSpec | None = None
    windows: WindowSpec = WindowSpec()
    detectors: DetectorSpec = DetectorSpec()
    labels: LabelSpec = LabelSpec()
    pairing: PairingSpec = PairingSpec()
    retention: RetentionSpec = RetentionSpec()
    subject: SubjectSpec | None = Field(None, description="Whom rows are about: `column` or `header`.")
    slos: SloSet = SloSet()
    owner: str = Field("unowned", description="Who is paged; routes follow it.")
    runbook: str | None = Field(None, description="Address of the team's own runbook.")
    description: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> "Monitor":
        names = [column.name for column in self.columns]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"columns names {', '.join(repeated)} more than once")
        names += self._vector_names(names)
        for output in (self.prediction.column, self.prediction.score):
            if output in names:
                raise ValueError(f"prediction names '{output}', which is an input column")
        fault = feature_fault(self.prediction.feature, f"task is {self.task}", is_categorical=not self.predicts_numbers)
        if fault is not None:
            raise ValueError(f"prediction.as: {fault}")
        self._check_tensors()
        self._segments_fit()
        self._labels_fit({column.name: column for column in self.columns})
        self._objectives_fit()
        if 0 < self.detectors.kept_rows < self.windows.minimum_rows:
            raise ValueError(
                f"detectors.kept_rows {self.detectors.kept_rows} is below windows.minimum_rows "
                f"{self.windows.minimum_rows}: no window would have enough"
            )
        if self.reference is not None and self.reference.baseline == "seasonal" and WEEK_S % self.windows.size:
            raise ValueError("a seasonal baseline needs windows whose size divides a week")
        return self

    def _vector_names(self, taken: Sequence[str]) -> list[str]:
        if not self.columns and not self.vectors:
            raise ValueError("columns or vectors must name an input")
        names = [name for vector in self.vectors for name in (vector.name, vector.distance)]
        for place, name in enumerate(names):
            if name in taken or name in names[:place]:
                raise ValueError(f"vectors needs the name '{name}', which is there already")
        return names

    def _objectives_fit(self) -> None:
        for slo in self.slos.objectives:
            if slo.kind == "correctness" and self.task == "regression" and slo.tolerance is None:
                raise ValueError("the correctness objective of a regression needs a tolerance")
        spec = self.detectors.accuracy
        if spec.tolerance is not None and self.task != "regression":
            raise ValueError(f"detectors.accuracy.tolerance is for regressions (task is {self.task})")
        if self.task == "regression" and spec.floor is not None and spec.tolerance is None:
            raise ValueError("detectors.accuracy.floor of a regression needs a tolerance")

    def _segments_fit(self) -> None:
        types = {column.name: column.type for column in self.columns}
        for segment in self.segments:
            if types.get(segment) != "categorical":
                raise ValueError(f"segments names '{segment}', which is not a categorical column")
            if self.segments.count(segment) > 1:
                raise ValueError(f"segments names '{segment}' more than once")

    def _labels_fit(self, columns: Mapping[str, ColumnSpec]) -> None:
        key = self.labels.key
        if key is not None and key.column is not None:
            if key.column not in columns:
                raise ValueError(f"labels.key names '{key.column}', which is not an input column")
            if columns[key.column].drift:
                raise ValueError(f"labels.key names '{key.column}', a column with drift tests; give it drift: false")
        if self.subject is not None and self.subject.column is not None:
            column = self.subject.column
            if column not in columns:
                raise ValueError(f"subject names '{column}', which is not an input column")
            if columns[column].drift or column in self.segments:
                raise ValueError(
                    f"subject names '{column}', whose values are counted; give it drift: false, no segment"
                )
        if self.predicts_numbers and self.labels.reward == "judgement":
            raise ValueError(f"labels.reward 'judgement' is for classification; a {self.task}'s reward can be a label")

        fault = self.labels.classes_fault(self.task, self.prediction.positive)
        if fault is not None:
            raise ValueError(f"labels.classes {fault}")

    @property
    def predicts_numbers(self) -> bool:
        """Predictions and labels are numbers: of a regression, or a ranking's scores and grades; else classes."""
        return self.task in ("regression", "ranking")

    @property
    def reward_meaning(self) -> Literal["judgement", "label"] | None:
        """What a reward without truth says; None: nothing that this monitor knows of."""
        if self.labels.reward is not None:
            return self.labels.reward
        return None if self.predicts_numbers else "judgement"

    def _check_tensors(self) -> None:
        known = {column.name: column for column in self.columns}
        held: dict[str, str] = {}
        for tensor, names in self.tensors.items():
            for name in names:
                if name not in known:
                    raise ValueError(
                        f"tensors.{tensor} names '{name}', which is not a column{_did_you_mean(name, [*known])}"
                    )
                if name in held:
                    raise ValueError(f"tensors.{tensor} names '{name}', which is in tensors.{held[name]} already")
                if known[name].source is not None or known[name].feature is not None:
                    raise ValueError(f"tensors.{tensor} names '{name}', which says itself where it is from")
                held[name] = tensor

    @property
    def name(self) -> str:
        """``namespace/model``, unique among the monitors of one installation."""
        return f"{self.namespace}/{self.model}"

    def column(self, name: str) -> ColumnSpec:
        """The column of that name; raises KeyError."""
        return {column.name: column for column in self.columns}[name]

    def watched(self) -> tuple[tuple[str, Literal["numeric", "categorical"]], ...]:
        """Every column that drift tests look at, with its type.

        Inputs, what is made of vectors, then the outputs that the reference has.
        """
        inputs = tuple((column.name, column.type) for column in self.columns if column.drift) + self.distances()
        expected = self.reference is None or self.reference.predictions
        return inputs + self.outputs() if expected else inputs

    def distances(self) -> tuple[tuple[str, Literal["numeric", "categorical"]], ...]:
        """The numeric column that is made of each vector."""
        return tuple((vector.distance, "numeric") for vector in self.vectors)

    def outputs(self) -> tuple[tuple[str, Literal["numeric", "categorical"]], ...]:
        """The prediction and its score, where there is one, each with its type."""
        kind: Literal["numeric", "categorical"] = "numeric" if self.predicts_numbers else "categorical"
        prediction: tuple[tuple[str, Literal["numeric", "categorical"]], ...] = ((self.prediction.column, kind),)
        return prediction if self.prediction.score is None else (*prediction, (self.prediction.score, "numeric"))


def parse_monitor(text: str, file: str) -> Monitor:
    r"""Read one monitor from YAML; raises MonitorError with every fault of the file.

    >>> parse_monitor("model: iris\ntask: multiclass\ncolums: []", "iris.yaml")
    Traceback (most recent call last):
    driftline.errors.MonitorError: iris.yaml: colums: is not known here; did you mean 'columns'?
    """
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise MonitorError(file, [f"is not YAML: {' '.join(str(error).split())}"]) from error
    if not isinstance(data, dict):
        held = {type(None): "nothing", str: "a text", list: "a list"}.get(type(data), type(data).__name__)
        raise MonitorError(file, [f"holds {held}, not a mapping of fields"])
    try:
        return Monitor.model_validate(data)
    except ValidationError as error:
        raise monitor_error(file, data, error) from error


def monitor_error(subject: str, data: object, error: ValidationError) -> MonitorError:
    """Every fault of ``data``, which was to be a monitor, in the words of a person who writes one."""
    return MonitorError(subject, _faults([dict(fault) for fault in error.errors()], data))


def dump_monitor(monitor: Monitor) -> str:
    """The monitor as YAML that :func:`parse_monitor` reads back to an equal monitor; defaults left out."""
    data = monitor.model_dump(mode="json", exclude_defaults=True, by_alias=True)
    for slo, dumped in zip(monitor.slos.objectives, data.get("slos", {}).get("objectives", ()), strict=False):
        dumped["kind"] = slo.kind
    text = str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))
    if any(mark in text for mark in "\x85\u2028\u2029"):  # line ends to YAML, which would be folded away unescaped
        text = str(yaml.safe_dump(data, sort_keys=False, allow_unicode=False))
    return text


def monitor_schema() -> dict[str, Any]:
    """The JSON Schema of a monitor file."""
    schema = Monitor.model_json_schema(mode="validation")
    schema["anyOf"] = [{"required": [name], "properties": {name: {"minItems": 1}}} for name in ("columns", "vectors")]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "driftline monitor"}


def _faults(errors: Sequence[dict[str, Any]], data: object) -> list[str]:
    # Items that are wrong themselves are missing from their list; that the list is then too short is no news.
    broken = {tuple(error["loc"][:-1]) for error in errors}
    above = {path[:depth] for path in broken for depth in range(1, len(path) + 1)}
    return [
        _fault(error, data) for error in errors if not (error["type"] == "too_short" and tuple(error["loc"]) in above)
    ]


#: Pydantic's messages in the words of a person who writes YAML.
_PLAIN = {
    "tuple_type": "must be a list",
    "model_type": "must be a mapping of fields",
    "string_type": "must be a text; write a number in quotes",
    "union_tag_not_found": "needs a kind",
}


def _fault(error: dict[str, Any], data: object) -> str:
    location = list(error["loc"])
    if location[:2] == ["slos", "objectives"] and len(location) > 3:
        del location[3]  # pydantic tells the kind of the objective too; the file has no such level
    path = ".".join(_steps(location, data))
    kind = error["type"]
    if kind == "missing":
        return f"{path}: is required"
    if kind == "extra_forbidden":
        return f"{path}: is not known here{_did_you_mean(str(location[-1]), _fields_beside(error['loc']))}"
    if kind == "union_tag_invalid":
        kinds = [str(tag).strip(" '") for tag in error["ctx"]["expected_tags"].split(",")]
        tag = str(error["ctx"]["tag"])
        numbered = ".".join(str(step) for step in location)
        return f"{numbered}.kind: must be one of {', '.join(kinds)} (found '{tag}'){_did_you_mean(tag, kinds)}"
    if kind == "literal_error" and isinstance(error["input"], str):
        valid = re.findall(r"'([^']*)'", str(error["ctx"]["expected"]))
        found = error["input"][:_LONGEST_SHOWN]
        return f"{path}: must be one of {', '.join(valid)} (found '{found}'){_did_you_mean(found, valid)}"
    message = _PLAIN.get(kind) or str(error["msg"]).removeprefix("Value error, ")
    message = re.sub(r"^\w+ should", "must", message)
    value = repr(error.get("input"))
    shown = f" (found {value})" if len(value) <= _LONGEST_SHOWN and not isinstance(error["input"], dict) else ""
    return f"{path}: {message}{shown}" if path else f"{message}{shown}"


def _steps(location: Sequence[str | int], data: object) -> Iterator[str]:
    """The steps of a path, with a column's name and an objective's kind in place of their numbers."""
    held: Any = data
    for step in location:
        is_there = step in held if isinstance(held, Mapping) else isinstance(held, list) and isinstance(step, int)
        held = held[step] if is_there else None
        called = held.get("name", held.get("kind")) if isinstance(step, int) and isinstance(held, Mapping) else None
        yield called if isinstance(called, str) and called else str(step)


_LONGEST_SHOWN = 60


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def _fields_beside(location: Sequence[str | int]) -> list[str]:
    """The fields that are known where the last step of ``location`` was not."""
    parts: list[type[BaseModel]] = [Monitor]
    for step in location[:-1]:
        if any(step in part.model_fields for part in parts):
            parts = [inner for part in parts for inner in _parts_in(part.model_fields[str(step)].annotation)]
        elif isinstance(step, str):  # the kind of an objective
            parts = [part for part in parts if step in get_args(part.model_fields["kind"].annotation)]
    return sorted({field.alias or name for part in parts for name, field in part.model_fields.items()})


def _parts_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [part for inner in get_args(annotation) for part in _parts_in(inner)]
