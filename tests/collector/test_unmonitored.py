"""Models without a monitor are seen by name, and however many names are sent, what is counted stays bounded."""

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from collector.labels.desk import LabelDesk
from collector.store.unmonitored import UnmonitoredModels
from driftline import names
from driftline.cli.check import Scraped
from driftline.completeness import Sample, balance_of
from tests.collector.helpers import MONITORS, Parts, drain, event, label, records, tables

MAXIMUM = 3


def counted(parts: Parts, metric: names.Metric) -> Counter[tuple[str, str, str]]:
    """Namespace, model and outcome of what was counted."""
    found: Counter[tuple[str, str, str]] = Counter()
    for key, value in parts.store.totals().items():
        if key.metric == metric.name:
            named = dict(zip(metric.labels, key.labels, strict=True))
            found[named[names.NAMESPACE], named[names.MODEL], named[names.OUTCOME]] += value
    return found


def small(parts: Parts) -> Parts:
    parts.settings = replace(parts.settings, maximum_unmonitored_models=MAXIMUM)
    return parts


def test_the_first_models_without_a_monitor_are_counted_by_name_and_others_together(parts: Parts, url: str) -> None:
    small(parts)
    sent = [event(number, model=f"nobodys-{number % 5}", event_id=f"e{number}") for number in range(20)]
    drain(parts.collector(records(sent[:10])))
    # Another process knows the names that are counted already, whichever it meets first.
    drain(parts.collector(records([*reversed(sent[10:]), event(50)], "spool:1")))
    assert counted(parts, names.COLLECTOR_EVENTS) == {
        **{("default", f"nobodys-{number}", "dead_letter"): 4 for number in range(MAXIMUM)},
        ("unknown", "unknown", "dead_letter"): 8,
        ("default", "flights", "stored"): 1,
    }
    letters = [dict(row) for row in tables(url)["dead_letters"]]
    assert Counter(letter["model"] for letter in letters) == {f"nobodys-{number}": 4 for number in range(5)}
    assert {letter["detail"] for letter in letters if letter["model"] == "nobodys-4"} == {
        "no monitor for 'default/nobodys-4'; 'driftline init' writes one"
    }
    before = tables(url)
    drain(parts.collector(records(sent[:10])))
    assert tables(url) == before


def test_labels_of_models_without_a_monitor_are_counted_by_name_too(parts: Parts) -> None:
    desk = LabelDesk(
        parts.store, parts.statistics, parts.monitors, parts.clock, parts.metrics, maximum_unmonitored=MAXIMUM
    )
    receipt = desk.submit([label(1, 1, model=f"nobodys-{number}") for number in range(5)])
    assert receipt.outcomes == {"unknown_model": 5}
    drain(small(parts).collector(records([label(1, 1, model="nobodys-4"), label(1, 1, model="nobodys-0")])))
    assert counted(parts, names.LABELS) == {
        ("default", "nobodys-0", "unknown_model"): 2,
        ("default", "nobodys-1", "unknown_model"): 1,
        ("default", "nobodys-2", "unknown_model"): 1,
        ("unknown", "unknown", "unknown_model"): 3,
    }


def test_a_model_that_gets_a_monitor_makes_room_for_another(parts: Parts) -> None:
    small(parts)
    monitors = parts.monitors
    parts.monitors = {}
    drain(parts.collector(records([event(1), event(2, model="delay"), event(3, model="a")])))
    parts.monitors = monitors
    drain(parts.collector(records([event(number, model=f"later-{number}") for number in (4, 5, 6)], "spool:1")))
    names_of = {model for _, model, _ in counted(parts, names.COLLECTOR_EVENTS)}
    assert names_of == {*(monitor.model for monitor in MONITORS.values()), "a", "later-4", "later-5", "unknown"}


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=60))
def test_whatever_names_are_sent_few_are_counted(sent: list[tuple[str, str]]) -> None:
    models = UnmonitoredModels(MAXIMUM, {("default", "flights")})
    found = [models.named(*each) for each in sent]
    assert len({each for each in found if each not in {("unknown", "unknown"), ("default", "flights")}}) <= MAXIMUM
    assert found[:1] == [models.named(*each) for each in sent[:1]]
    assert all(len(part) <= 100 for each in [models.named("x" * 999, "y" * 999), *found] for part in each)


def test_the_balance_closes_for_a_model_without_a_monitor_and_doctor_names_it(parts: Parts) -> None:
    drain(parts.collector(records([event(number, model="nobodys") for number in range(3)])))
    of_model = {names.NAMESPACE: "default", names.MODEL: "nobodys"}
    samples = [
        Sample(names.SIDECAR_REQUESTS.name, {**of_model, "code": "200"}, 3.0),
        Sample(names.CAPTURE_EVENTS.name, {**of_model, "outcome": "logged", "reason": ""}, 3.0),
    ]
    for key, value in parts.store.totals().items():
        if key.metric == names.COLLECTOR_EVENTS.name:
            labels = dict(zip(names.COLLECTOR_EVENTS.labels, key.labels, strict=True))
            samples.append(Sample(key.metric, labels, float(value)))
    balance = balance_of(samples)
    assert balance.models["default/nobodys"].missing == 0
    assert balance.models["default/nobodys"].arrived == 3
    assert "unknown/unknown" not in balance.models
    assert Scraped(samples).models(names.COLLECTOR_EVENTS, names.REASON, "unknown_model") == ["default/nobodys"]
