"""The small parts, each against an oracle: windows, values, validation, assembly, settings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.batches.positions import Positions
from collector.batches.validation import validate
from collector.batches.windows import group_positions
from collector.settings import PREFIX, CollectorSettings
from collector.store.spelling import class_name
from collector.store.states import StateBook, StateCache
from collector.store.transaction import PositionMove, StateKey, WindowRef, WindowState
from driftline.columns import ColumnBatch
from driftline.errors import SettingsError
from driftline.event_windows import windows_of
from driftline.settings import load
from serving.column_values import text
from tests.collector.helpers import MONITOR


@given(st.lists(st.floats(0, 4e9)), st.sampled_from([0.1, 1.0, 7.0, 60.0, 3600.0, 86400.0]))
def test_every_moment_is_inside_its_window_and_windows_tile(times_s: list[float], size_s: float) -> None:
    moments_s = np.array(times_s, dtype=np.float64)
    starts_s, ends_s = windows_of(moments_s, size_s)
    assert (starts_s <= moments_s).all()
    assert (moments_s < ends_s).all()
    assert ends_s - starts_s == pytest.approx(size_s, abs=1e-6)
    again_starts_s, again_ends_s = windows_of(starts_s, size_s)
    assert again_starts_s.tolist() == starts_s.tolist()
    assert again_ends_s.tolist() == ends_s.tolist()


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(5, 7), st.sampled_from([0.0, 3600.0])), min_size=1))
def test_groups_are_those_of_a_dictionary(keys: list[tuple[int, int, float]]) -> None:
    wanted: dict[tuple[int, int, float], list[int]] = {}
    for place, key in enumerate(keys):
        wanted.setdefault(key, []).append(place)
    found = group_positions([np.array(part) for part in zip(*keys, strict=True)])
    assert [group.tolist() for group in found] == list(wanted.values())


@given(st.lists(st.integers(0, 10**10)))
def test_windows_of_whole_seconds_are_aligned_to_the_epoch(times_s: list[int]) -> None:
    starts_s, _ = windows_of(np.array(times_s, dtype=np.float64), 3600.0)
    assert starts_s.tolist() == [time_s // 3600 * 3600 for time_s in times_s]


@given(st.integers(-(10**12), 10**12))
def test_a_whole_number_is_one_class_however_it_is_spelt(number: int) -> None:
    assert class_name(number) == class_name(float(number)) == class_name(str(number)) == class_name(f"{number}.0")


@given(st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.booleans())
def test_a_label_s_class_is_spelt_as_the_payload_s_however_large(number: float | bool) -> None:
    (payload,) = text("answer", [number])
    assert class_name(number) == class_name(payload)


def test_an_absent_required_column_fails_every_row() -> None:
    found = validate(MONITOR, ColumnBatch(3, {}, {"carrier": np.array(["AA", "ZZ", None], dtype=object)}))
    assert not found.valid.any()
    assert {key: mask.tolist() for key, mask in found.failures.items()} == {
        ("distance", "missing"): [True, True, True],
        ("carrier", "not_allowed"): [False, True, False],
    }


def test_a_state_that_was_not_committed_is_forgotten() -> None:
    cache = StateCache(10)
    key = StateKey("p", WindowRef(1, "", 0.0, 1.0))
    reads: list[list[StateKey]] = []

    def read(keys: object) -> dict[StateKey, WindowState]:
        reads.append(list(keys))  # type: ignore[call-overload]
        return {key: WindowState(b"old", 3)}

    failed = StateBook(cache)
    failed.load([key], read)
    failed.update(key, lambda state: (state or b"") + b"+1", 1)
    again = StateBook(cache)
    again.load([key], read)
    again.update(key, lambda state: (state or b"") + b"+2", 2)
    assert again.changed() == {key: WindowState(b"old+2", 5)}
    again.committed()
    after = StateBook(cache)
    after.load([key], read)
    assert len(reads) == 2


def test_settings_name_every_fault() -> None:
    environ = {"DRIFTLINE_COLLECTOR_PORT": "99999", "DRIFTLINE_COLLECTOR_COMMIT_INTERVAL_S": "0"}
    with pytest.raises(SettingsError, match=r"commit_interval_s.*port is 99999"):
        load(CollectorSettings, PREFIX, environ=environ)
    chosen = load(CollectorSettings, PREFIX, environ={"DRIFTLINE_COLLECTOR_BOOTSTRAP": "a:1, b:2"})
    assert chosen.kafka.bootstrap == ("a:1", "b:2")


def test_positions_of_files_without_end_do_not_gather_and_nothing_else_of_them_is_trusted() -> None:
    stored: dict[str, int] = {}
    positions, cache = Positions(stored.get, limit=3), StateCache(100)
    for number in range(50):
        file, lane = f"files:{number}", "files"
        moves = [PositionMove(each, positions.of(each), (positions.of(each) or 0) + 1) for each in (file, lane)]
        stored |= {move.partition: move.next_offset for move in moves}
        cache.keep({StateKey(each, WindowRef(1, "", 0.0, 60.0)): WindowState(b"", number) for each in (file, lane)})
        gone = positions.moved(moves)
        cache.drop(gone)
        assert gone == ({f"files:{number - 2}"} if number > 1 else set())
        stored["files:0"] = 7  # somebody else moved it
    assert positions.of("files:0") == 7
    assert positions.of("files") == 50
    assert [number for number in range(50) if _keeps(cache, f"files:{number}")] == [48, 49]
    assert _keeps(cache, "files")


def _keeps(cache: StateCache, partition: str) -> bool:
    try:
        return cache.get(StateKey(partition, WindowRef(1, "", 0.0, 60.0))) is not None
    except KeyError:
        return False
