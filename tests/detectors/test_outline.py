"""A drafted monitor is one that a person would begin with, and one that works at once."""

import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from detectors.baselines.reference import build_reference
from detectors.offline.column_roles import column_role
from detectors.offline.fitness import weaknesses
from detectors.offline.outline import Draft, draft
from detectors.offline.outline_text import outline_text
from driftline.cli.analysis import analyze
from driftline.errors import ReferenceDataError
from driftline.monitors import VectorSpec, dump_monitor, parse_monitor
from driftline.results import Verdict


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = 400
    return pd.DataFrame(
        {
            "distance": rng.uniform(100, 4000, rows),
            "temp": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(50, 10, rows)),
            "carrier": rng.choice(["AA", "UA"], rows),
            "flight_id": [f"id-{place}" for place in range(rows)],
            "number": np.arange(7, 7 + rows),
            "at": pd.Timestamp("2013-12-01"),
            "prediction": rng.choice([0, 1], rows),
            "probability": rng.random(rows),
            "late": rng.choice([0, 1], rows),
        }
    )


def orders(rows: int = 3000) -> pd.DataFrame:
    """A table as shops have them, with every kind of column that is no measurement."""
    rng = np.random.default_rng(1)
    words = ["late", "good", "please", "ring", "the", "bell"]
    times = pd.Timestamp("2026-03-01") + pd.to_timedelta(np.sort(rng.uniform(0, 30, rows)), unit="D")
    return pd.DataFrame(
        {
            "order_id": [f"A-{number:05d}" for number in rng.permutation(rows)],
            "customerId": rng.integers(10_000, 11_000, rows),
            "placed_at": times.astype(str),
            "month": times.month,
            "store_id": rng.integers(1, 9, rows),
            "amount": rng.lognormal(3, 1, rows),
            "discount_rate": rng.beta(1, 8, rows),
            "is_new": rng.random(rows) < 0.2,
            "channel": rng.choice(["web", "app", "phone"], rows),
            "comment": [" ".join(rng.choice(words, 6)) + str(place) for place in range(rows)],
            "currency": "EUR",
            "coupon": pd.Series([None] * rows, dtype=object),
            "tags": [["a", "b"]] * rows,
            "returned": rng.choice(["no", "yes"], rows, p=[0.9, 0.1]),
        }
    )


def drafted(data: pd.DataFrame, target: str | None = None) -> Draft:
    return draft(data, model="m", reference_path="r.parquet", target=target)


def text_of(data: pd.DataFrame, found: Draft) -> str:
    reference = build_reference(data, found.monitor)
    return outline_text(found, weaknesses(data, found.monitor, reference, found.times))


def test_types_ranges_task_and_outputs_are_found() -> None:
    monitor = drafted(frame(), "late").monitor
    assert [(column.name, column.type) for column in monitor.columns] == [
        ("distance", "numeric"),
        ("temp", "numeric"),
        ("carrier", "categorical"),
    ]
    distance, temp, carrier = monitor.columns
    assert (distance.required, temp.required) == (True, False)
    assert distance.minimum == 0.0
    assert distance.maximum is not None
    assert 4000 < distance.maximum < 5000
    assert carrier.allowed == ("AA", "UA")
    assert (monitor.task, monitor.prediction.column, monitor.prediction.score) == (
        "binary",
        "prediction",
        "probability",
    )
    assert (monitor.prediction.positive, monitor.segments) == ("1", ())


def test_a_draft_survives_being_written_and_read_and_fits_its_own_data() -> None:
    monitor = drafted(frame(), "late").monitor
    again = parse_monitor(dump_monitor(monitor), "flights.yaml")
    assert again == monitor
    reference = build_reference(frame(), again)
    layout, vector = reference.layout, reference.counts[""]
    assert [layout.invalid(vector, index) for index in range(3)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("target", "task"),
    [
        ([0.1, 2.5, 3.7] * 20, "regression"),
        ([Decimal("0.10"), Decimal("2.50"), Decimal("3.70")] * 20, "regression"),
        (["a", "b", "c"] * 20, "multiclass"),
        (["yes", "no", "no"] * 20, "binary"),
    ],
)
def test_the_task_follows_from_the_target(target: list[object], task: str) -> None:
    data = pd.DataFrame({"x": np.arange(60.0) / 7, "y": target, "prediction": target})
    monitor = drafted(data, "y").monitor
    assert monitor.task == task
    if task == "binary":
        assert monitor.prediction.positive == "yes"
    build_reference(data, monitor)


def test_missing_columns_are_named() -> None:
    with pytest.raises(ReferenceDataError, match="the target column 'gone' is missing; it has distance"):
        drafted(frame(), "gone")
    with pytest.raises(ReferenceDataError, match="no column is left"):
        drafted(frame()[["late"]], "late")


@pytest.mark.parametrize("value", [{"a": 1}, [1, 2]])
def test_a_target_that_is_no_value_is_named_with_it(value: object) -> None:
    data = frame().assign(truth=pd.Series([value] * len(frame()), dtype=object))
    with pytest.raises(ReferenceDataError, match=re.escape(f"the target column 'truth' holds '{value}', no number or")):
        drafted(data, "truth")


def test_a_score_that_is_no_number_is_named_with_its_value() -> None:
    with pytest.raises(ReferenceDataError, match=r"the score column 'carrier' holds '(AA|UA)', no number"):
        draft(frame(), model="m", reference_path="r.parquet", target="late", score="carrier")


def test_what_cannot_be_watched_is_left_out_and_keeps_nobody_from_the_rest() -> None:
    data = frame().assign(**{"": 1.5, "endless": [np.inf, -np.inf] * (len(frame()) // 2)})
    found = drafted(data, "late")
    roles = {role.name: role for role in found.inputs}
    assert (roles[""].role, roles["endless"].role) == ("nameless", "empty")
    assert not {"", "endless"} & {column.name for column in found.monitor.columns}
    assert "no finite number in any row" in text_of(data, found)
    build_reference(data, found.monitor)


def test_what_is_no_measurement_is_recognised() -> None:
    found = drafted(orders(), "returned")
    assert {role.name: role.role for role in found.inputs} == {
        "order_id": "identifier",
        "customerId": "entity",
        "placed_at": "time",
        "month": "calendar",
        "store_id": "category",
        "amount": "numeric",
        "discount_rate": "numeric",
        "is_new": "boolean",
        "channel": "category",
        "comment": "text",
        "currency": "constant",
        "coupon": "empty",
        "tags": "nested",
    }
    tested = [name for name, _ in found.monitor.watched()]
    assert tested == ["store_id", "amount", "discount_rate", "is_new", "channel"]
    rate = found.monitor.column("discount_rate")
    assert (rate.minimum, rate.maximum) == (0.0, 1.0)
    assert found.times is not None
    assert (found.times.column, found.key, found.subject) == ("placed_at", "order_id", "customerId")
    assert found.segments == ("is_new", "channel", "store_id")


@pytest.mark.parametrize(
    ("name", "values", "role"),
    [
        ("created", np.arange(200) * 60 + 1_700_000_000, "time"),
        ("created", np.arange(200) * 60 + 17, "numeric"),
        ("when", [f"{day % 28 + 1:02d}/03/2026" for day in range(200)], "time"),
        ("hash", np.random.default_rng(0).integers(0, 2**62, 200), "identifier"),
        ("user_id", np.arange(200) % 120, "entity"),
        ("account_type_code", np.arange(200) % 5, "category"),
        ("children", np.arange(200) % 5, "numeric"),
        ("town", [f"town {number % 90}" for number in range(200)], "category"),
        ("year_built", 1900 + np.arange(200) % 120, "numeric"),
        ("price", np.arange(200) + 0.5, "numeric"),
    ],
)
def test_a_role_follows_from_values_and_name(name: str, values: object, role: str) -> None:
    assert column_role(name, pd.Series(values)).role == role


def test_a_file_without_answers_gives_a_monitor_that_works_without_comparing_them() -> None:
    data = orders()
    found = drafted(data, "returned")
    assert found.monitor.reference is not None
    assert not found.monitor.reference.predictions
    reference = build_reference(data, found.monitor)
    assert reference.performance == {}
    assert reference.layout.columns[reference.layout.index(found.monitor.prediction.column)].blank


def test_probabilities_in_the_place_of_answers_are_the_score_and_a_credit_score_is_an_input() -> None:
    data = frame().drop(columns="probability")
    data["prediction"] = np.linspace(0, 1, len(data))
    data["score"] = np.arange(len(data)) * 37 % 199 + 300
    monitor = drafted(data, "late").monitor
    assert (monitor.prediction.score, monitor.prediction.column) == ("prediction", "predicted")
    assert monitor.column("score").type == "numeric"


def test_a_column_that_gives_the_target_away_is_told() -> None:
    data = frame()
    data["delay"] = data["late"] * 20.0 + np.arange(len(data)) % 19
    text = text_of(data, drafted(data, "late"))
    (line,) = [line for line in text.splitlines() if "name: delay" in line]
    assert "GIVES THE TARGET AWAY" in line
    assert text.count("GIVES THE TARGET AWAY") == 1


@pytest.mark.parametrize("unit", [5e-324, 1e-310, 1e300, 1e306, 1.7e307])
def test_numbers_at_either_end_of_what_floats_hold_are_numbers_with_a_range_that_holds_them(unit: float) -> None:
    data = pd.DataFrame({"x": np.random.default_rng(0).integers(-10, 11, 300) * unit, "kind": ["a", "b", "c"] * 100})
    found = drafted(data, None)
    assert [role.role for role in found.inputs] == ["numeric", "category"]
    low, high = found.monitor.columns[0].minimum, found.monitor.columns[0].maximum
    assert (low is None and unit > 1e305) or low <= data["x"].min() <= data["x"].max() <= high
    assert parse_monitor(text_of(data, found), "m.yaml") == found.monitor


@pytest.mark.parametrize("spelt", [list, np.array, lambda numbers: str(list(numbers))])
def test_vectors_are_watched_as_wholes_alone_or_beside_columns(spelt) -> None:
    rng = np.random.default_rng(3)

    def rows(mean: float) -> pd.DataFrame:
        vectors = [spelt(each) for each in rng.normal(mean, 1.0, (600, 6)).tolist()]
        vectors[7] = None
        return pd.DataFrame({"embedding": vectors, "ragged": [[1.0] * (place % 9) for place in range(600)]})

    data = rows(0.0)
    found = drafted(data, None)
    assert [(role.role, role.dimension) for role in found.inputs] == [("vector", 6), ("nested", 0)]
    assert found.monitor.vectors == (VectorSpec(name="embedding", dimension=6),)
    assert parse_monitor(text_of(data, found), "m.yaml") == found.monitor
    beside = drafted(data.assign(price=rng.normal(size=600)), None)
    assert (len(beside.monitor.columns), len(beside.monitor.vectors)) == (1, 1)
    assert analyze(data, rows(0.7)).verdict is Verdict.DRIFTED
    assert analyze(data, rows(0.0)).verdict is Verdict.OK
    same = pd.DataFrame({"embedding": [spelt([1.0, 2.0])] * 300})
    assert analyze(same, same).verdict is Verdict.OK


def test_texts_alone_are_told_what_to_do() -> None:
    words = pd.DataFrame({"text": [f"three or four words {place}" for place in range(300)]})
    with pytest.raises(ReferenceDataError, match="add a column of their lengths, or of their vectors"):
        drafted(words, None)


def test_windows_follow_from_rows_and_times() -> None:
    a_week = drafted(orders(), "returned").monitor.windows  # a hundred orders a day
    assert (a_week.size, a_week.minimum_rows) == (7 * 86400.0, 300)
    assert drafted(frame(), "late").monitor.windows.minimum_rows == 100


@pytest.mark.parametrize(("data", "target"), [(frame(), "late"), (orders(), "returned"), (frame(), None)])
def test_the_file_reads_back_with_every_proposal_refused_and_with_every_one_taken(
    data: pd.DataFrame, target: str | None
) -> None:
    found = drafted(data, target)
    text = text_of(data, found)
    assert parse_monitor(text, "m.yaml") == found.monitor
    taken = parse_monitor(re.sub(r"(?m)^( *)# (?=(- \{|segments: |key: |subject: ))", r"\1", text), "m.yaml")
    assert taken.segments == found.segments
    assert (taken.labels.key is None) == (found.key is None)
    assert (taken.subject is None) == (found.subject is None)


@pytest.mark.parametrize(
    "name", ["two\nlines: x", "# no comment", "{a: b}", "say 'x', \"y\"", "\u2028\x85", "x: y", "ü"]
)
def test_no_name_or_value_breaks_the_file(name: str) -> None:
    data = pd.DataFrame(
        {
            name: np.arange(300) % 7 + 0.25,
            f"{name} id": [f"{name} {place}" for place in range(300)],
            f"{name} kind": [name, "other", "third"] * 100,
            f"{name} fixed": name,
            "y": [name, "no"] * 150,
        }
    )
    found = drafted(data, "y")
    assert parse_monitor(text_of(data, found), "m.yaml") == found.monitor
