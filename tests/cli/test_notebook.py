"""What a notebook holds: tables of any kind compared, shown as a page of its own, gone on with as a frame."""

from collections.abc import Callable
from decimal import Decimal
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from driftline.cli.analysis import Analysis, analyze
from driftline.cli.tables import Source
from driftline.errors import ReferenceDataError, SettingsError
from driftline.results import Verdict


def people(rows: int, seed: int, older: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"age": rng.normal(40 + older, 10, rows), "city": rng.choice(["A", "B", "C"], rows)})


BEFORE, NOW = people(2000, 1), people(1000, 2, older=8.0)


@pytest.fixture(scope="module")
def found() -> Analysis:
    return analyze(BEFORE, NOW)


class Elements(HTMLParser):
    """Names of the elements of a text, and the page within a frame."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.within = dict(attrs).get("srcdoc") or self.within


def test_a_notebook_shows_the_report_in_a_frame_of_its_own_so_that_its_styles_stay_there(found: Analysis) -> None:
    shown = Elements(found._repr_html_())
    assert shown.names == ["iframe"]
    assert unescape(shown.within) == unescape(found.html())


def test_printed_it_is_a_sentence(found: Analysis) -> None:
    assert repr(found).startswith("drifted: The 1\u202f000 rows of ")
    assert len(repr(found)) < 200


def test_results_are_a_frame_to_go_on_with(found: Analysis) -> None:
    frame = found.frame()
    assert len(frame) == len(found.results)
    age = frame[frame.column.eq("age") & frame.detector.eq("ks")].to_dict("records")[0]
    assert (age["verdict"], str(age["window"].tz)) == ("drifted", "UTC")
    assert age["effect_lower"] <= age["effect"] <= age["effect_upper"]
    assert frame.p_value.dtype == frame.effect.dtype == np.float64


@pytest.mark.parametrize(
    "form",
    [
        pa.Table.from_pandas,
        lambda frame: frame.astype({"age": "float64[pyarrow]", "city": "category"}),
        lambda frame: frame.astype({"age": object}),
        lambda frame: frame.assign(age=[Decimal(repr(value)) for value in frame.age]),
        lambda frame: frame.assign(age=[int(value) if place == 7 else value for place, value in enumerate(frame.age)]),
    ],
    ids=["arrow", "arrow-backed", "objects", "decimals", "mixed"],
)
def test_the_same_rows_give_the_same_whatever_holds_them(form: Callable[[pd.DataFrame], Source]) -> None:
    as_numbers = analyze(BEFORE, NOW).frame()
    again = analyze(form(BEFORE), form(NOW)).frame()
    kept = again.column.eq("age") & again.detector.eq("ks")
    assert again[kept].verdict.tolist() == ["drifted"]
    assert again.column.tolist() == as_numbers.column.tolist()


def test_columns_without_names_are_called_by_their_numbers() -> None:
    before, now = (pd.DataFrame(frame[["age"]].to_numpy()) for frame in (BEFORE, NOW))
    assert analyze(before, now).drifted == ("0",)
    two_lines = [pd.concat({"person": frame}, axis=1) for frame in (BEFORE, NOW)]
    assert analyze(*two_lines).drifted == ("person_age",)


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (pd.concat([BEFORE, BEFORE[["age"]]], axis=1), NOW, "the reference has several columns of one name: age"),
        (BEFORE, pd.concat([NOW, NOW[["age"]]], axis=1), "what came has several columns of one name: age"),
        (BEFORE.to_numpy(), NOW, "the reference is a numpy.ndarray; a frame of pandas or Polars"),
        (BEFORE, NOW.age, "what came is a pandas.Series; a frame"),
        (BEFORE, {"age": [1.0]}, "what came is a dict; a frame"),
    ],
)
def test_what_is_no_table_is_named(before: Source, now: Source, told: str) -> None:
    with pytest.raises(ReferenceDataError, match=told):
        analyze(before, now)


def test_numbers_spelt_as_texts_are_told_not_taken_for_names_alone() -> None:
    texts = [frame.assign(age=frame.age.astype(str)) for frame in (BEFORE, NOW)]
    assert "all spell numbers" in analyze(*texts).markdown()


def test_an_unknown_engine_is_refused_and_one_detector_needs_no_list() -> None:
    with pytest.raises(SettingsError, match="engine is 'dask', not one of python, spark"):
        analyze(BEFORE, NOW, engine="dask")  # type: ignore[arg-type]
    together = analyze(BEFORE, NOW, multivariate="mmd_features")
    assert together.verdict is Verdict.DRIFTED
    assert "mmd_features" in set(together.frame().detector)
