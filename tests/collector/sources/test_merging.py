"""Several sources as one: shares, order, and what happens when one of them is away."""

from collections.abc import Sequence

import pytest

from collector.sources.merging import MergedSource
from driftline.errors import TransientError, UnavailableError
from driftline.records import Ignored, Reach, Record
from driftline.testing import ListSource


def items(partition: str, count: int) -> list[Record]:
    return [Record(partition, number, number + 1, Ignored(partition)) for number in range(count)]


class Away(ListSource):
    """A source that answers every second time."""

    asked = 0

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        self.asked += 1
        if self.asked % 2:
            raise UnavailableError("kafka", "gone")
        return super().poll(max_records, timeout_s)


def names(records: Sequence[Record]) -> list[str]:
    return [record.partition for record in records]


def test_everybody_has_a_share_and_the_main_source_has_the_rest() -> None:
    merged = MergedSource(ListSource(items("main", 9)), [ListSource(items("a", 9)), ListSource(items("b", 1))], print)
    assert names(merged.poll(6, 0)) == ["a", "a", "b", "main", "main", "main"]
    assert names(merged.poll(6, 0)) == ["a", "a", "main", "main", "main", "main"]
    rest = names(merged.poll(100, 0)) + names(merged.poll(100, 0.01))
    assert sorted(rest) == ["a"] * 5 + ["main"] * 2
    assert not merged.poll(5, 0.01)


def test_without_a_main_source_it_waits_for_the_others() -> None:
    merged = MergedSource(None, [ListSource(items("a", 2))], print)
    assert names(merged.poll(5, 0)) == ["a", "a"]
    assert not merged.poll(5, 0.02)


def test_whose_partition_it_is_hears_how_far_the_store_got() -> None:
    main, other = ListSource(items("main", 1)), ListSource(items("a", 1))
    merged = MergedSource(main, [other], print)
    merged.poll(5, 0)
    for partition in ("main", "a", "a lane of nobody's"):
        merged.acknowledge(partition, 1)
    assert (main.acknowledged, other.acknowledged) == ({"main": 1}, {"a": 1})
    merged.close()


def test_of_partitions_without_end_the_newest_are_remembered() -> None:
    files = ListSource([*items("old", 1), *items("new", 1)])
    merged = MergedSource(None, [files], print, remembered=1)
    merged.poll(1, 0)
    merged.poll(1, 0)
    for partition in ("old", "new"):
        merged.acknowledge(partition, 1)
    assert files.acknowledged == {"new": 1}


def test_one_that_is_away_is_told_of_and_holds_nobody_up() -> None:
    failed: list[TransientError] = []
    away = Away(items("away", 3))
    merged = MergedSource(ListSource(items("main", 4)), [away], failed.append)
    assert names(merged.poll(2, 0)) == ["main", "main"]
    assert names(merged.poll(2, 0)) == ["main", "main"]
    assert (away.asked, [str(error) for error in failed]) == (1, ["kafka is unavailable: gone"])


def test_the_main_sources_error_is_the_callers() -> None:
    merged = MergedSource(Away([]), [], print)
    with pytest.raises(UnavailableError):
        merged.poll(1, 0)


def test_what_the_others_gave_is_not_lost_with_the_main_sources_error() -> None:
    failed: list[TransientError] = []
    merged = MergedSource(Away([]), [ListSource(items("a", 2))], failed.append)
    assert names(merged.poll(5, 0)) == ["a", "a"]
    assert [str(error) for error in failed] == ["kafka is unavailable: gone"]


def test_every_source_says_its_own_lag() -> None:
    class Behind(ListSource):
        def lag(self) -> dict[str, int]:
            return {"a": 7}

        def held(self) -> dict[str, str]:
            return {"b": "do something"}

    assert MergedSource(ListSource([]), [Behind([])], print).held() == {"b": "do something"}
    assert MergedSource(ListSource([]), [Behind([])], print).lag() == {"a": 7}


def test_what_others_have_to_read_is_told_of_every_source() -> None:
    class Shared(ListSource):
        def elsewhere(self) -> dict[str, Reach]:
            return {"c": Reach(3, 9)}

    assert MergedSource(Shared([]), [ListSource([])], print).elsewhere() == {"c": Reach(3, 9)}
