"""Makes what the demo's parts read: the model in a repository, the reference, the monitor."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

from driftline.cli.story import flights
from driftline.cli.wiring import load_monitor_files
from driftline.monitors import Monitor
from serving.sklearn_model import save_sklearn_model

MODEL = "flight-delay"
VERSION = "1"


@dataclass(frozen=True, slots=True)
class Prepared:
    """Where the demo's files lie, and what it replays."""

    monitor: Monitor
    monitors_dir: Path
    models_dir: Path
    data: flights.Flights
    held_out_accuracy: float


def prepare(directory: Path) -> Prepared:
    """Train the model and write model, reference and monitor below ``directory``, whose old contents are removed."""
    if directory.exists():
        shutil.rmtree(directory)
    monitors_dir, models_dir = directory / "monitors", directory / "models"
    monitors_dir.mkdir(parents=True)
    data = flights.load_flights()
    model = flights.train(data.training)
    known = flights.categories(data.training)
    save_sklearn_model(
        models_dir,
        MODEL,
        VERSION,
        model,
        inputs=[(name, "BYTES" if name in flights.CATEGORICAL else "FP64") for name in flights.FEATURES],
        categories=known,
        prediction="late",
        score="late_probability",
    )
    scored = with_predictions(data.reference, model, known)
    scored.to_parquet(monitors_dir / "reference.parquet")
    story = Path(__file__).parent / "flights.yaml"
    shutil.copyfile(story, monitors_dir / "flights.yaml")
    (file,) = load_monitor_files(monitors_dir).values()
    accuracy = float((scored["late"] == scored["label"].astype(str)).mean())
    return Prepared(file.monitor, monitors_dir, models_dir, data, accuracy)


def with_predictions(
    rows: pd.DataFrame, model: HistGradientBoostingClassifier, known: dict[str, tuple[str, ...]]
) -> pd.DataFrame:
    """The rows' features and label with the model's answer beside them, as a reference is written."""
    score = model.predict_proba(flights.encode(rows, known))[:, 1]
    answer = pd.Series(score >= 0.5, index=rows.index).astype(int).astype(str)
    return rows[[*flights.FEATURES, "label"]].assign(late=answer, late_probability=score)
