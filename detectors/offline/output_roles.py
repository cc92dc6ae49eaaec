"""Which columns of training data are the truth and the model's answers, and what task follows from them.

>>> import pandas as pd
>>> frame = pd.DataFrame({"age": [30, 40, 50], "churned": ["no", "yes", "no"], "pred": ["no", "no", "no"]})
>>> found = output_roles(frame, "train.csv", Named(target="churned"))
>>> found.task, found.prediction, found.positive
('binary', 'pred', 'yes')
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.api import types

from detectors.counts.binning import category
from detectors.counts.frames import as_numbers
from detectors.offline.column_roles import column_role, is_number, shown
from detectors.offline.ranking_roles import RankingRoles, ranking_roles, ranking_spec
from detectors.statistics.reasons import percent
from driftline.errors import ReferenceDataError
from driftline.monitor_ranking import RankingSpec
from driftline.monitors import Task

#: Whole numbers with at most this many values are classes.
_MAXIMUM_CLASSES = 30
_PREDICTIONS = ("prediction", "predicted", "pred", "y_pred", "y_hat", "yhat", "output")
_SCORES = ("score", "probability", "proba", "y_score", "prediction_score", "y_proba", "predicted_probability")
_RANKING_SCORES = ("rank_score", "ranking_score", "model_score", "ranker_score")
_TRUTHS = ("target", "label", "y", "y_true", "truth", "actual")
_POSITIVES = ("1", "true", "True", "TRUE", "yes", "Yes", "y", "Y", "positive")


@dataclass(frozen=True, slots=True)
class OutputRoles:
    """Columns that are no inputs, None where there is none, and the task.

    ``others``: probabilities of single classes, which nothing is made of. ``positive``: the positive class of a binary
    task. ``because``: reasons, by part of the monitor. ``ranking``: how queries are judged, where rows are candidates.
    """

    task: Task
    target: str | None
    prediction: str | None
    score: str | None
    others: tuple[str, ...]
    positive: str
    because: Mapping[str, str]
    ranking: RankingSpec | None = None

    @property
    def names(self) -> frozenset[str]:
        """All of them."""
        query = None if self.ranking is None else self.ranking.query
        known = (self.target, self.prediction, self.score, query, *self.others)
        return frozenset(name for name in known if name is not None)


@dataclass(frozen=True, slots=True)
class Named:
    """What somebody said of a file: columns by their role, and the task; None where nothing was said."""

    target: str | None = None
    prediction: str | None = None
    score: str | None = None
    query: str | None = None
    task: Task | None = None


def output_roles(frame: pd.DataFrame, path: str, named: Named) -> OutputRoles:
    """The roles that are named, and by usual names those that are not.

    Raises ReferenceDataError where a named column is missing, or holds what its role cannot; ``path`` is what the
    message calls the file.
    """
    for role in ("target", "prediction", "score", "query"):
        if getattr(named, role) is not None:
            _require_values(frame, path, role, getattr(named, role))
    if named.query is not None or named.task in (None, "ranking"):
        found = ranking_roles(frame, named.target, named.query, certain=named.task == "ranking")
        if found is not None:
            return _of_ranking(frame, found, named.prediction or named.score)
    if named.task == "ranking":
        raise ReferenceDataError(f"{path}: which column tells queries apart? Say it (--query)")
    return _of_single_rows(frame, named)


def _require_values(frame: pd.DataFrame, path: str, role: str, name: str) -> None:
    """Raises ReferenceDataError where a named column is missing, or what it holds cannot be of its role."""
    if name not in frame.columns:
        known = ", ".join(str(column) for column in frame.columns)
        raise ReferenceDataError(f"{path}: the {role} column '{name}' is missing; it has {known}")
    no_value = column_role(name, frame[name]).role in ("nested", "vector")
    if no_value or (role == "score" and not is_number(frame[name])):
        held = shown(str(next(iter(frame[name].dropna()), "nothing")))
        wanted = "number" if role == "score" else "number or class"
        raise ReferenceDataError(f"{path}: the {role} column '{name}' holds {held}, no {wanted}")


def _of_single_rows(frame: pd.DataFrame, named: Named) -> OutputRoles:
    """The roles where each row is a prediction of its own: all tasks but rankings."""
    target, prediction, score = named.target, named.prediction, named.score
    because: dict[str, str] = {}
    taken = {target, prediction, score}
    of_target = () if target is None else (f"predicted_{target}", f"{target}_pred", f"{target}_hat")
    prediction = prediction or _find(frame, (*_PREDICTIONS, *of_target), taken)
    task = named.task or _task(frame, target, prediction, because)
    if named.task is not None:
        because["task"] = "As you said."
    if task == "regression":
        score = None
    elif score is None:
        score = _score(frame, target, taken | {prediction})
    because["prediction"] = _NO_ANSWERS if prediction is None else _AS_NAMED
    if task == "binary" and score is None and prediction is not None and _is_share(frame[prediction]):
        because["prediction"] = f"{prediction} has numbers between 0 and 1: it is the score. {_NO_ANSWERS}"
        score, prediction = prediction, None
    answer = target or prediction
    others = tuple(name for name in _class_probabilities(frame, target) if name not in (prediction, score))
    positive = "1" if answer is None or task != "binary" else _positive(frame[answer], because)
    return OutputRoles(task, target, prediction, score, others, positive, because)


def _of_ranking(frame: pd.DataFrame, found: RankingRoles, prediction: str | None) -> OutputRoles:
    """The prediction of a ranking is each candidate's score."""
    spec = ranking_spec(frame, found)
    known = prediction or _find(frame, (*_SCORES, *_RANKING_SCORES, *_PREDICTIONS), {found.target, found.query})
    because = {
        "task": f"Rows are candidates of queries, which {found.query} tells apart: "
        f"{len(frame) / max(int(frame[found.query].nunique()), 1):,.1f} of each on average.",
        "prediction": _NO_ANSWERS if known is None else _AS_NAMED,
        "ranking": "A request is a query. cutoff: the places that people look at. "
        + ("Only relevant candidates have a label: the others count as irrelevant from the first label on."
           if spec.unlabelled == "irrelevant" else "A query counts once all of its candidates have a label."),
    }  # fmt: skip
    return OutputRoles("ranking", found.target, known, None, (), "1", because, spec)


_AS_NAMED = "As the response names them; the file has them under the same names."
_NO_ANSWERS = (
    "The file has no answers of the model, so that they are not compared with it ('predictions: false' below). Write "
    "the name that the output has in responses. To have answers compared, add them to the file and run init again."
)


def _find(frame: pd.DataFrame, usual: Sequence[str], taken: set[str | None]) -> str | None:
    known = {str(name).lower(): str(name) for name in frame.columns if name not in taken}
    return next((known[name.lower()] for name in usual if name.lower() in known), None)


def _score(frame: pd.DataFrame, target: str | None, taken: set[str | None]) -> str | None:
    """Found by its name alone it must look like one: a credit score is an input."""
    of_target = () if target is None else (f"{target}_probability", f"{target}_score", f"p_{target}")
    others = {str(name) for name in frame.columns if not _is_share(frame[name])}
    return _find(frame, (*_SCORES, *of_target), taken | others)


def _is_share(series: pd.Series) -> bool:
    """Numbers between 0 and 1, and not only these two."""
    if not types.is_float_dtype(series):
        return False
    values = as_numbers(series.dropna())
    return bool(len(values) and values.min() >= 0 and values.max() <= 1 and (values != np.floor(values)).any())


def _class_probabilities(frame: pd.DataFrame, target: str | None) -> tuple[str, ...]:
    """Columns named for a probability and a class of the target: ``proba_setosa``."""
    if target is None or frame[target].nunique() > _MAXIMUM_CLASSES:
        return ()
    classes = {str(category(value)).lower() for value in frame[target].dropna().unique()}
    pattern = re.compile(r"(p|prob|proba|probability|score)_(?P<of>.+)")
    matches = ((str(name), pattern.fullmatch(str(name).lower())) for name in frame.columns)
    return tuple(name for name, match in matches if match is not None and match["of"] in classes)


def _task(frame: pd.DataFrame, target: str | None, prediction: str | None, because: dict[str, str]) -> Task:
    answer = target or prediction
    if answer is None:
        named = _find(frame, _TRUTHS, set())
        hint = f" Is '{named}' the true value? Then say --target {named}." if named else ""
        because["task"] = f"A guess: neither a target nor a prediction is known.{hint}"
        return "binary"
    values = frame[answer].dropna()
    distinct, told = values.nunique(), f"The {'true value' if answer == target else 'prediction'}, {answer},"
    if distinct <= 2:
        listed = " and ".join(sorted(shown(str(category(value))) for value in values.unique()))
        because["task"] = f"{told} is one of two: {listed}."
        return "binary"
    number = is_number(values)
    if not number or (distinct <= _MAXIMUM_CLASSES and bool((as_numbers(values) % 1 == 0).all())):
        doubt = " If they are amounts rather than names, write regression." if number else ""
        because["task"] = f"{told} has {distinct} different values.{doubt}"
        return "multiclass"
    because["task"] = f"{told} is a number with {distinct:,} different values."
    return "regression"


def _positive(series: pd.Series, because: dict[str, str]) -> str:
    shares = {str(category(value)): float(share) for value, share in series.value_counts(normalize=True).items()}
    if not shares:
        return "1"
    usual = next((name for name in _POSITIVES if name in shares), None)
    chosen = usual or min(shares, key=lambda name: (shares[name], name))
    why = "by its name" if usual else "the rarer one; correct it if it is the other"
    because["positive"] = f"The positive class is {shown(chosen)}, {percent(shares[chosen])} of the rows: {why}."
    return chosen
