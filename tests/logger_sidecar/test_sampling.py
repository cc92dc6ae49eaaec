"""Sampling: the same answer everywhere, the share that was asked for, and what rules keep whatever the share says."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logger_sidecar.recording.sampling import Sampler, is_sampled


@given(st.text(max_size=40), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_rate_keeps_what_a_lower_one_keeps(request_id: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert is_sampled(request_id, low) <= is_sampled(request_id, high)


def test_the_share_kept_is_the_rate() -> None:
    kept = sum(is_sampled(f"request-{number}", 0.2) for number in range(20_000))
    assert abs(kept - 4000) < 5 * (20_000 * 0.2 * 0.8) ** 0.5
    assert is_sampled("x", 1.0)
    assert not is_sampled("x", 0.0)


@pytest.mark.parametrize(
    ("failed", "duration_s", "headers", "kept"),
    [
        (False, 0.1, {}, None),
        (True, 0.1, {}, 1.0),
        (False, 2.5, {}, 1.0),
        (False, 2.0, {}, None),
        (False, 0.1, {"x-debug": "anything"}, 1.0),
        (False, 0.1, {"x-tenant": "gold"}, 1.0),
        (False, 0.1, {"x-tenant": "platinum"}, 1.0),
        (False, 0.1, {"x-tenant": "silver"}, None),
    ],
)
def test_rules_keep_at_rate_one_what_the_share_would_not(
    failed: bool, duration_s: float, headers: dict[str, str], kept: float | None
) -> None:
    wanted = (("x-debug", ""), ("x-tenant", "gold"), ("x-tenant", "platinum"))
    sampler = Sampler(rate=0.0, keep_slower_than_s=2.0, keep_headers=wanted)
    assert sampler.kept_rate("r", failed=failed, duration_s=duration_s, headers=headers) == kept


def test_errors_need_not_be_kept() -> None:
    sampler = Sampler(rate=0.0, keep_errors=False)
    assert sampler.kept_rate("r", failed=True, duration_s=math.inf) is None


@given(st.lists(st.booleans(), min_size=1, max_size=200), st.floats(0.05, 1))
def test_weights_of_the_kept_say_how_many_there_were(failures: list[bool], rate: float) -> None:
    """Horvitz and Thompson: what rules keep counts once, everything else 1/rate times."""
    sampler = Sampler(rate=rate)
    for number, failed in enumerate(failures):
        kept = sampler.kept_rate(str(number), failed=failed, duration_s=0.0)
        assert kept in ((1.0,) if failed or rate == 1.0 else (rate, None))
