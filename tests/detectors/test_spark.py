"""What Spark's executors count is what one process counts, to the last digit; without Spark, and on two executors."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from detectors.baselines.reference import build_reference
from detectors.offline import spark
from detectors.offline.files import OfflineWindows, Span
from detectors.offline.outline import draft
from driftline.cli.analysis import analyze
from driftline.cli.label_files import LabelFile
from driftline.errors import ReferenceDataError, SettingsError
from driftline.monitors import parse_monitor
from driftline.results import StreamKey
from driftline.testing import ManualClock

DAY_S = 86400.0
ROLES = {"target": "late", "prediction": "said", "score": "probability", "time": "at"}


def on_executors(test: Callable[..., None]) -> Callable[..., None]:
    """A test that starts a JVM, which takes minutes on a busy machine."""
    for mark in (
        pytest.mark.timeout(1800),
        pytest.mark.extras,
        pytest.mark.skipif(not spark.AVAILABLE, reason="PySpark is not installed (make spark)"),
        pytest.mark.skipif(shutil.which("java") is None and "JAVA_HOME" not in os.environ, reason="there is no Java"),
    ):
        test = mark(test)  # each gives back a test
    return test


def rows(count: int, seed: int, warmer: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"temp": rng.normal(10 + warmer, 5, count), "carrier": rng.choice(["AA", "UA", "DL"], count)})
    frame["late"] = (frame.temp + rng.normal(0, 5, count) > 12).astype(int)
    frame["said"] = (frame.temp > 12).astype(int)
    frame["probability"] = 1 / (1 + np.exp(-(frame.temp - 12) / 3))
    frame.loc[::17, "temp"] = np.nan
    frame["flight"] = np.arange(count)
    frame["at"] = 1.7e9 + np.arange(count) * 3 * DAY_S / count
    return frame


def as_it_is(piece: pd.DataFrame) -> pd.DataFrame:
    return piece


def test_partitions_counted_apart_and_added_in_any_order_are_the_whole() -> None:
    monitor = parse_monitor(
        "model: m\ntask: binary\nprediction: {column: said, score: probability}\nsegments: [carrier]\n"
        "columns: [{name: temp, type: numeric}, {name: carrier, type: categorical}]\n"
        "reference: {path: r, label: late}",
        "m.yaml",
    )
    reference, frame = build_reference(rows(2000, 1), monitor), rows(1200, 2, warmer=1.0)
    frame["late"] = frame["late"].where(frame.index % 5 > 0)
    stream, span = StreamKey("default", "m", "", "stable"), Span(0.0, 1.0, "at")
    whole, merged = (OfflineWindows(monitor, reference, stream, span) for _ in range(2))
    whole.add(frame)
    counting = spark.Counting(monitor, reference, stream, span, as_it_is)
    numbered = pa.Table.from_pandas(frame.assign(**{spark.ROW: np.arange(len(frame))}), preserve_index=False)
    told = [
        tuple(line.values())
        for start in (900, 0, 300, 600)
        for batch in counting(iter(numbered.slice(start, 300).to_batches(max_chunksize=77)))
        for line in batch.to_pylist()
    ]
    spark.include(merged, reversed(told))
    assert merged.rows == whole.rows == 1200
    assert merged.states() == whole.states()
    assert merged.evaluate() == whole.evaluate()
    assert list(counting(iter(()))) == []


def candidates(queries: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(3, 9, queries)
    grade = rng.integers(0, 3, sizes.sum())
    return pd.DataFrame(
        {
            "query": np.repeat(rng.permutation(queries), sizes),
            "country": np.repeat(rng.choice(["de", "fr"], queries), sizes),
            "price": rng.gamma(2.0, size=len(grade)),
            "score": grade + rng.normal(0.0, 0.5 + seed, len(grade)),
            "relevance": grade,
        }
    )


def test_a_partition_of_whole_queries_may_come_in_any_batches() -> None:
    frame = candidates(300, 1)
    monitor = draft(candidates(300, 0), model="m", reference_path="r").monitor
    reference = build_reference(candidates(300, 0), monitor)
    stream, span = StreamKey("default", "m", "", "stable"), Span(0.0, 1.0)
    whole, merged = (OfflineWindows(monitor, reference, stream, span) for _ in range(2))
    whole.add(frame)
    counting = spark.Counting(monitor, reference, stream, span, as_it_is)
    numbered = frame.assign(**{spark.ROW: np.arange(len(frame))})
    for part in (numbered["query"] % 3 == 0, numbered["query"] % 3 > 0):
        table = pa.Table.from_pandas(numbered[part].sort_values(["query", spark.ROW]), preserve_index=False)
        told = [tuple(line.values()) for batch in counting(iter(table.to_batches(77))) for line in batch.to_pylist()]
        spark.include(merged, told)
    assert merged.rows == whole.rows == len(frame)
    assert merged.evaluate() == whole.evaluate()


def test_what_spark_is_not_for_is_said() -> None:
    with pytest.raises(SettingsError, match="reads Parquet, and the current rows are a frame"):
        analyze(rows(400, 1), rows(400, 2), engine="spark", **ROLES)
    with pytest.raises(SettingsError, match="'exact' and detectors of rows hold rows in memory"):
        analyze(rows(400, 1), "x.parquet", engine="spark", exact=True, **ROLES)
    if not spark.AVAILABLE:
        with pytest.raises(SettingsError, match=r"needs the extra: pip install 'driftline\[spark\]'"):
            analyze(rows(400, 1), "x.parquet", engine="spark", **ROLES)


#: For three Java processes that live for a minute: on this machine alone, and not compiled as for a day of work.
JAVA = {
    "SPARK_LOCAL_IP": "127.0.0.1",
    "SPARK_LOCAL_HOSTNAME": "localhost",
    "SPARK_EXECUTOR_MEMORY": "512m",
    "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto -Dspark.task.maxFailures=1",
}


@pytest.fixture(scope="module")
def session() -> Iterator[object]:
    """Two executors, each a process that results travel from."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in JAVA.items():
            patch.setenv(name, value)
        opened = spark.open_session("local-cluster[2,1,512]")
        opened.sparkContext.setLogLevel("OFF")
        opened.conf.set("spark.sql.files.maxPartitionBytes", "40000")
        opened.conf.set("spark.sql.codegen.wholeStage", "false")
        yield opened
        opened.stop()


@on_executors
def test_executors_give_the_same_report_to_the_last_digit(session, tmp_path: Path) -> None:
    current = str(tmp_path / "current.parquet")
    rows(6_000, 2, warmer=2.0).to_parquet(current, row_group_size=500)
    assert session.read.parquet(current).rdd.getNumPartitions() >= 4
    reference = rows(4000, 1)
    apart = LabelFile(rows(6_000, 2, warmer=2.0)[["flight", "late"]], "flight")
    for labels in (None, apart):
        found = [
            analyze(reference, current, engine=engine, labels=labels, clock=ManualClock(2e9), **ROLES)
            for engine in ("python", "spark")
        ]
        assert found[0].results == found[1].results
        assert json.loads(found[0].json()) == json.loads(found[1].json())
        assert found[0].html() == found[1].html()
        assert {"temp", "probability"} <= set(found[1].drifted)  # the second follows from the first


@on_executors
@pytest.mark.parametrize("unit", ["ns", "us"])
def test_times_may_be_nanoseconds_as_pandas_writes_them(session, tmp_path: Path, unit: str) -> None:
    current = str(tmp_path / "current.parquet")
    seconds = rows(3_000, 2)["at"]
    times = pd.to_datetime(seconds, unit="s", utc=True).dt.as_unit(unit)
    rows(3_000, 2).assign(at=times, changed=times).to_parquet(current)
    found = [
        analyze(rows(4000, 1), current, engine=engine, clock=ManualClock(2e9), **ROLES)
        for engine in ("python", "spark")
    ]
    assert found[0].results == found[1].results
    assert len(found[1].report.history.windows) == 4


@on_executors
def test_executors_judge_queries_that_the_files_parts_cut(session, tmp_path: Path) -> None:
    current = str(tmp_path / "candidates.parquet")
    candidates(800, 1).to_parquet(current, row_group_size=500)
    found = [
        analyze(candidates(800, 0), current, engine=engine, clock=ManualClock(2e9)) for engine in ("python", "spark")
    ]
    assert found[0].results == found[1].results
    assert found[0].html() == found[1].html()
    assert [each.coverage for each in found[1].results if each.detector == "ndcg@10"] == [1.0]


@on_executors
def test_what_cannot_be_counted_is_told_in_a_sentence(session, tmp_path: Path) -> None:
    place = tmp_path / "cold.parquet"
    rows(100, 3).assign(temp="cold").to_parquet(place)
    with pytest.raises(ReferenceDataError, match="column 'temp' holds 'cold' in row"):
        analyze(rows(4000, 1), str(place), engine="spark", **ROLES)
    with pytest.raises(ReferenceDataError, match=r"cannot be counted with Spark: .*PATH_NOT_FOUND"):
        analyze(rows(4000, 1), str(tmp_path / "nowhere"), engine="spark", **ROLES)
