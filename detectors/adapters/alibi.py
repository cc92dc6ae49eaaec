"""alibi-detect's detectors, for monitors that name them; the only module that knows it.

From 0.11.5 on alibi-detect is under the Business Source Licence: production use needs a licence of its own. It is
therefore an extra, and nothing else here depends on it. It takes seconds and hundreds of megabytes to load, so it is
loaded by name when it is first asked.

Of one column it sees representative rows made from counts (``expansion.py``); of several at once, rows prepared as
those of our own tests are. What needs a deep-learning library runs on TensorFlow. Its p-values of permutations leave
the observed deal out and can be 0; it is counted in here, as it has to be for a test that keeps to its rate.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.adapters.expansion import category_codes, finite_rows
from detectors.multivariate.mmd import kernel_width
from detectors.multivariate.mmd_features import kernel_effect
from detectors.multivariate.prepared import Prepared, prepare
from detectors.statistics.evidence import ColumnSample, Evidence
from detectors.statistics.kolmogorov import kolmogorov_effect
from detectors.statistics.table_sample import NOTHING, TableEvidence, TableSample, telling
from driftline.errors import MonitorError

AVAILABLE = find_spec("alibi_detect") is not None
#: Whether it can run what it needs a deep-learning library for.
TENSORFLOW = AVAILABLE and all(find_spec(name) is not None for name in ("tensorflow", "tensorflow_probability"))

HINT = (
    "alibi-detect is not installed here; install driftline[alibi] (note: its licence, BSL 1.1, limits production use)"
)
TENSORFLOW_HINT = (
    "alibi-detect or TensorFlow is not installed here; install driftline[alibi-tensorflow] (note: alibi-detect's "
    "licence, BSL 1.1, limits production use)"
)

#: Rows of either side that are looked at: its matrices are whole, and made anew by every permutation.
MAXIMUM_ROWS, CONTEXT_ROWS = 500, 250
#: Permutations of the context-aware test, each of which inverts two matrices.
CONTEXT_PERMUTATIONS = 499
_FEWEST = 20
_FOLDS = 3


# --- one column -------------------------------------------------------------------------------------------------------
def ks(sample: ColumnSample) -> Evidence:
    """``KSDrift``: D and p-value; larger D is worse."""
    library = _library()
    before, now = finite_rows(sample)
    if not len(before) or not len(now):
        return Evidence(0.0, "larger_is_worse", None)
    found = library.KSDrift(before[:, None]).predict(now[:, None], drift_type="feature")["data"]
    return _evidence(found["distance"], found["p_val"])


def chi_square(sample: ColumnSample) -> Evidence:
    """``ChiSquareDrift``: statistic and p-value; a larger statistic is worse.

    alibi-detect compares with the reference's shares as if they were certain and cannot take a category that the
    reference lacks; such cells are left out and stay the business of our own detectors.
    """
    library = _library()
    before, now = category_codes(sample)
    known = np.unique(before)
    now = now[np.isin(now, known)]
    if len(known) < 2 or not len(now):
        return Evidence(0.0, "larger_is_worse", None)
    detector = library.ChiSquareDrift(before[:, None], categories_per_feature={0: [int(code) for code in known]})
    found = detector.predict(now[:, None], drift_type="feature")["data"]
    return _evidence(found["distance"], found["p_val"])


# --- several columns --------------------------------------------------------------------------------------------------
def mmd(sample: TableSample, rng: np.random.Generator, permutations: int, /) -> TableEvidence:
    """``MMDDrift``: the unbiased squared discrepancy; larger is worse.

    The kernel's width is that of our own ``mmd``: of both samples, so that it is the same whichever row is dealt where.
    """
    library, prepared = _tensorflow(), _prepared(sample, rng)
    if prepared is None:
        return NOTHING
    width = kernel_width(prepared.values.astype(np.float32), rng)
    with _seeded(rng):
        detector = library.MMDDrift(
            _before(prepared),
            backend="tensorflow",
            sigma=np.array([width], dtype=np.float32),
            configure_kernel_from_x_ref=False,
            n_permutations=permutations,
        )
        found = detector.predict(_now(prepared))["data"]
    square, furthest = float(found["distance"]), float(found["distance_threshold"])
    # The mean of the square with rows' own kernel values under no change is at most this.
    chance = 1.0 / prepared.n + 1.0 / prepared.m
    effect = kernel_effect(max(0.0, square + chance), chance, max(0.0, furthest + chance))
    return _finite(TableEvidence(_permuted(found, permutations), effect))


def lsdd(sample: TableSample, rng: np.random.Generator, permutations: int, /) -> TableEvidence:
    """``LSDDDrift``: the squared difference of densities by least squares; larger is worse. It bounds no effect."""
    library, prepared = _tensorflow(), _prepared(sample, rng)
    if prepared is None:
        return NOTHING
    with _seeded(rng):
        detector = library.LSDDDrift(_before(prepared), backend="tensorflow", n_permutations=permutations)
        found = detector.predict(_now(prepared))["data"]
    return _finite(TableEvidence(_permuted(found, permutations)))


def spot_the_diff(sample: TableSample, rng: np.random.Generator, _permutations: int, /) -> TableEvidence:
    """``SpotTheDiffDrift``: the Kolmogorov-Smirnov distance of what a small classifier says of unseen rows.

    The most telling columns are those along which it learnt to look. Larger is worse.
    """
    library, prepared = _tensorflow(), _prepared(sample, rng)
    if prepared is None:
        return NOTHING
    with _seeded(rng) as seed:
        detector = library.SpotTheDiffDrift(
            _before(prepared),
            backend="tensorflow",
            train_size=None,
            n_folds=_FOLDS,
            # Its own defaults start at random places and learn so little that the places say nothing of columns.
            initial_diffs=np.zeros((1, prepared.values.shape[1]), dtype=np.float32),
            learning_rate=0.1,
            epochs=5,
            batch_size=64,
            seed=seed,
        )
        found = detector.predict(_now(prepared))["data"]
    moved = np.zeros(len(sample.columns))
    np.add.at(moved, prepared.columns, np.abs(np.ravel(found["diffs"])))
    effect = kolmogorov_effect(float(found["distance"]), prepared.n, prepared.m)
    return _finite(TableEvidence(_evidence(found["distance"], found["p_val"]), effect, telling(sample.columns, moved)))


def context_mmd(sample: TableSample, rng: np.random.Generator, permutations: int, /) -> TableEvidence:
    """``ContextMMDDrift``: what changed beyond what another mix of the sample's ``context`` explains; larger is worse.

    It bounds no effect, and finds nothing where no column is context, or all are.
    """
    library, prepared = _tensorflow(), _prepared(sample, rng, CONTEXT_ROWS)
    if prepared is None:
        return NOTHING
    context = np.isin(np.array(sample.columns)[prepared.columns], sample.context)
    if context.all() or not context.any():
        return NOTHING
    permutations = min(permutations, CONTEXT_PERMUTATIONS)
    before, now = _before(prepared), _now(prepared)
    with _seeded(rng):
        detector = library.ContextMMDDrift(
            before[:, ~context], before[:, context], backend="tensorflow", n_permutations=permutations
        )
        found = detector.predict(now[:, ~context], now[:, context])["data"]
    return _finite(TableEvidence(_permuted(found, permutations)))


def _prepared(sample: TableSample, rng: np.random.Generator, limit: int = MAXIMUM_ROWS) -> Prepared | None:
    prepared = prepare(sample, rng, limit)
    return None if prepared is None or min(prepared.n, prepared.m) < _FEWEST else prepared


def _before(prepared: Prepared) -> NDArray[np.float32]:
    return prepared.values[: prepared.n].astype(np.float32)


def _now(prepared: Prepared) -> NDArray[np.float32]:
    return prepared.values[prepared.n :].astype(np.float32)


def _evidence(distances: NDArray[np.float32], p_values: NDArray[np.float32]) -> Evidence:
    statistic, p_value = float(np.ravel(distances)[0]), float(np.ravel(p_values)[0])
    return Evidence(statistic, "larger_is_worse", None if np.isnan(p_value) else p_value)


def _permuted(found: dict[str, Any], permutations: int) -> Evidence:
    """Its p-value is the share of permuted statistics that are as large; the observed one is one of them here."""
    large = round(float(found["p_val"]) * permutations)
    return Evidence(float(found["distance"]), "larger_is_worse", (1.0 + large) / (1.0 + permutations))


def _finite(found: TableEvidence) -> TableEvidence:
    # Where most rows are equal its kernels have no width.
    return found if np.isfinite(found.evidence.statistic) else NOTHING


@contextmanager
def _seeded(rng: np.random.Generator) -> Iterator[int]:
    """What it draws by chance comes from ``rng``; the process's own generators are as they were afterwards."""
    kept = random.getstate(), np.random.get_state()  # noqa: NPY002 - it knows no other
    seed = int(rng.integers(2**31))
    import_module("tensorflow").keras.utils.set_random_seed(seed)
    try:
        yield seed
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002


def _library() -> Any:
    if not AVAILABLE:
        raise MonitorError("detectors", [HINT])
    return import_module("alibi_detect.cd")


def _tensorflow() -> Any:
    if not TENSORFLOW:
        raise MonitorError("detectors", [TENSORFLOW_HINT])
    return _library()
