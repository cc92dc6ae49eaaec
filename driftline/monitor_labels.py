"""Of a monitor: when labels come, what they name predictions by, and what they may say."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from driftline.monitor_parts import Duration, Part
from driftline.payload_paths import EVERY, parse_document_path


def _a_document_path(text: str) -> str:
    parse_document_path(text)
    return text


#: See ``driftline.payload_paths``.
DocumentPath = Annotated[str, AfterValidator(_a_document_path)]


class KeySpec(Part):
    """A business key by which labels may name a prediction; a text alone stands for ``column``. Give one place."""

    column: str | None = Field(None, min_length=1, description="Input column that holds the key of each row.")
    header: str | None = Field(None, min_length=1, description="Header of the request that holds its key.")
    path: DocumentPath | None = Field(
        None,
        description="Place in the JSON of the request, or behind `response.` of the answer, as for a column: "
        "`order.id`, `instances[*].id` for one key a row, `[*].id` where the JSON is a list.",
    )
    several: Literal["newest", "all", "refuse"] = Field(
        "newest", description="Which of several predictions with one key a label is for, of those that are stored."
    )

    @model_validator(mode="after")
    def _one_place(self) -> "KeySpec":
        given = [name for name in ("column", "header", "path") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of column, header and path (found {', '.join(given) or 'none'})")
        return self

    @property
    def per_row(self) -> bool:
        """Every row has a key of its own; else all rows of a request share one."""
        return self.column is not None or (self.path is not None and EVERY in parse_document_path(self.path).steps)


def _key_place(value: object) -> object:
    return {"column": value} if isinstance(value, str) else value


class LabelSpec(Part):
    """When labels come, what they name predictions by, and when accuracy is final."""

    expected_delay: Duration = Field(86400.0, description="By then most labels have arrived.")
    maturity: Duration = Field(7 * 86400.0, description="From then on a window's accuracy counts as final.")
    mature_share: float = Field(
        0.95,
        gt=0,
        le=1,
        description="A window's accuracy counts as final earlier once this share of its labels is expected to have "
        "come, by the delays seen so far.",
    )
    expected_share: float = Field(1.0, gt=0, le=1, description="Share of predictions that ever get a label.")
    timeout: Duration = Field(30 * 86400.0, description="Labels without a prediction are kept this long.")
    maximum_waiting: int = Field(200_000, ge=1, description="Labels without a prediction that are kept at once.")
    key: Annotated[KeySpec | None, BeforeValidator(_key_place, json_schema_input_type=str | KeySpec | None)] = Field(
        None, description="Business key of predictions, as a column's name or as below."
    )
    reward: Literal["judgement", "label"] | None = Field(
        None,
        description="What a reward without truth says: `judgement`, whether the prediction was right (classification, "
        "and its default), or `label`, that it is the true value itself.",
    )
    correct_from: float = Field(0.5, description="Rewards from here on judge a prediction right.")
    classes: tuple[str, ...] = Field(
        (),
        description="The only classes that labels may name (classification); others are refused. Without it any may "
        "come, but of a binary model only the two that its reference knows.",
    )

    def classes_fault(self, task: str, positive: str) -> str | None:
        """What is wrong with the classes for a model of this task and positive class; None: nothing.

        >>> LabelSpec(classes=("no", "yes")).classes_fault("binary", "1")
        "of a binary model are two, the positive one '1' among them (found no, yes)"
        """
        if not self.classes:
            return None
        if task not in ("binary", "multiclass"):
            return f"is for classification (task is {task})"
        if task == "binary" and not (len(set(self.classes)) == 2 and positive in self.classes):
            found = ", ".join(self.classes)
            return f"of a binary model are two, the positive one '{positive}' among them (found {found})"
        return None
