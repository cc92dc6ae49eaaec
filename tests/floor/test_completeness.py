"""The balance: every inference in one term, whatever became of it."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from driftline import names
from driftline.completeness import Balance, Sample, balance_of, increases

FATES = st.sampled_from(
    ["stored", "copied", "undecodable", "replayed", "sampled_out", "dropped", "in the spool", "given up"]
)
STREAM = {"namespace": "default", "version": "1", "variant": "stable"}


def samples(fates: list[tuple[str, str]], collectors: int = 2) -> list[Sample]:
    """What the parts show of inferences (model, fate); every collector shows what is in the store."""
    sidecar: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
    store: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()

    def count(into: Counter[tuple[str, tuple[tuple[str, str], ...]]], metric: names.Metric, **labels: str) -> None:
        into[metric.name, tuple(labels.items())] += 1

    for model, fate in fates:
        stream = {**STREAM, "model": model}
        count(sidecar, names.SIDECAR_REQUESTS, **stream, code="200", protocol="v2")
        outcome = fate if fate in ("sampled_out", "dropped") else "logged"
        count(sidecar, names.CAPTURE_EVENTS, **stream, outcome=outcome, reason="full" if outcome == "dropped" else "")
        if fate in ("stored", "copied", "replayed"):
            count(store, names.COLLECTOR_EVENTS, **stream, outcome="stored", reason="")
        if fate == "copied":
            count(store, names.COLLECTOR_EVENTS, **stream, outcome="duplicate", reason="")
        if fate in ("undecodable", "replayed"):
            count(store, names.COLLECTOR_EVENTS, **stream, outcome="dead_letter", reason="malformed")
        if fate == "replayed":
            count(store, names.DEAD_LETTER_REPLAYS, namespace="default", model=model, outcome="stored")
        if fate == "in the spool":
            count(sidecar, names.SHIPPER_LAG_BYTES, sink="kafka")
        if fate == "given up":
            count(sidecar, names.SHIPPER_EVENTS, sink="kafka", outcome="failed", reason="too_large")
    found = [Sample(name, dict(labels), float(value), "sidecar") for (name, labels), value in sidecar.items()]
    for number in range(collectors):
        found += [Sample(name, dict(labels), float(n), f"collector-{number}") for (name, labels), n in store.items()]
    return found


def check(fates: list[tuple[str, str]], balance: Balance) -> None:
    counted = Counter(fates)
    for model in {model for model, _ in fates}:
        found = balance.models[f"default/{model}"]
        assert found.uncounted == 0
        assert found.missing == counted[model, "in the spool"] + counted[model, "given up"]
        assert found.arrived == sum(counted[model, fate] for fate in ("stored", "copied", "undecodable", "replayed"))
        assert found.duplicates == counted[model, "copied"]
    totals = Counter(fate for _, fate in fates)
    assert balance.closes == (not totals["in the spool"] and not totals["given up"])
    assert balance.lost.total() == totals["given up"]
    assert balance.unexplained == 0


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), FATES), min_size=1))
def test_every_inference_is_in_one_term(fates: list[tuple[str, str]]) -> None:
    check(fates, balance_of(samples(fates)))


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b"]), FATES)),
    st.lists(st.tuples(st.sampled_from(["a", "b"]), FATES.filter(lambda fate: fate != "in the spool")), min_size=1),
)
def test_between_two_readings_only_what_is_new_counts(
    before: list[tuple[str, str]], new: list[tuple[str, str]]
) -> None:
    before = [each for each in before if each[1] != "in the spool"]
    check(new, balance_of(increases(samples(before), samples(before + new))))


def test_what_nobody_accounts_for_is_said_to_be_lost() -> None:
    found = [each for each in samples([("a", "stored")] * 5) if each.name != names.COLLECTOR_EVENTS.name]
    balance = balance_of(found)
    assert (balance.missing, balance.unexplained) == (5, 5)
    assert any(told.startswith("5 are lost, and nothing says where; under traffic") for told in balance.sentences())


def test_what_waits_is_named_and_not_called_lost() -> None:
    balance = balance_of(samples([("a", "stored"), ("a", "in the spool")]))
    assert balance.unexplained == 0
    assert balance.sentences() == ["on its way: driftline_shipper_lag_bytes is 1"]
