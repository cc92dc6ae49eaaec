"""From a label as it was sent to one that can be stored: values spelt alike, rewards as the monitor takes them."""

from collections.abc import Collection
from typing import NamedTuple

from collector.labels.classes import class_fault
from collector.labels.keys import given_key
from collector.store.database import clean, key_text
from collector.store.spelling import class_name, number_text
from collector.store.waiting import BusinessKey, KeyedLabel, LabelKey, PendingLabel
from driftline.events import Label, label_faults
from driftline.monitors import Monitor

#: What may be stored and joined: a label by request id, or by business key.
Usable = PendingLabel | KeyedLabel

# A judgement can become a label only beside its prediction; until then it is kept under these spellings, which no
# class has: they begin with a control character.
_RIGHT = "\x1aright"
_WRONG = "\x1awrong"
#: A truth is known when it is sent, but for clocks that differ and days that are meant in another zone. One further
#: ahead would count as newer than every correction until its time comes.
AHEAD_MAX_S = 86_400.0


class Reading(NamedTuple):
    """A label that can be used, or every reason why not."""

    usable: Usable | None
    faults: list[str]


def read_label(label: Label, monitor: Monitor | None, now_s: float, classes: Collection[str] = ()) -> Reading:
    """The label, spelt as stored, or its faults by field and value. ``classes``: the only ones it may name, if any."""
    faults = label_faults(label)
    if not faults and label.observed_at_s is not None and label.observed_at_s > now_s + AHEAD_MAX_S:
        faults.append(f"observed_at_s {label.observed_at_s} is more than a day ahead of the collector's clock")
    if monitor is None:
        faults.append(f"model '{label.namespace}/{label.model}' has no monitor")
    else:
        faults.extend(_misfits(label, monitor, () if faults else classes))
    if faults or monitor is None:
        return Reading(None, faults)
    text = _text(label, monitor)
    observed_at_s = now_s if label.observed_at_s is None else label.observed_at_s
    if not label.key:
        key = LabelKey(label.namespace, label.model, key_text(label.request_id), label.row)
        return Reading(PendingLabel(key, text, observed_at_s, now_s), [])
    spec = monitor.labels.key
    row = 0 if spec is not None and spec.per_row else label.row
    business = BusinessKey(label.namespace, label.model, given_key(label.key), row)
    return Reading(KeyedLabel(business, text, observed_at_s, now_s), [])


def is_judgement(text: str) -> bool:
    """Whether a stored label is one only beside its prediction."""
    return text[:1] == _RIGHT[0]


def beside(monitor: Monitor, text: str | None, prediction: str | None) -> str | None:
    """A stored label beside its prediction: a judgement becomes the class that it leaves.

    Of a wrong answer among many classes only the wrong one is known: its label is ``not CLASS``.
    """
    if text not in (_RIGHT, _WRONG):
        return text
    if prediction is None or text == _RIGHT:
        return prediction if prediction is not None else text[1:]
    positive = class_name(monitor.prediction.positive)
    if monitor.task == "binary" and prediction != positive:
        return positive
    return f"not {prediction}"


def _misfits(label: Label, monitor: Monitor, classes: Collection[str]) -> list[str]:
    faults = []
    if label.key and monitor.labels.key is None:
        faults.append(f"key '{label.key}' names nothing: the monitor of '{monitor.name}' has no labels.key")
    if label.reward and monitor.reward_meaning is None:
        faults.append(
            f"value {label.value} is a reward, and labels.reward of '{monitor.name}' does not say its meaning"
        )
    elif monitor.predicts_numbers:
        try:
            number_text(label.value)
        except (ValueError, OverflowError):
            faults.append(f"value '{label.value}' is not a number, which a {monitor.task}'s label must be")
    elif classes and not (label.reward and monitor.reward_meaning == "judgement"):
        text = class_name(label.value)
        if text is not None and text not in classes:
            faults.append(class_fault(monitor, text, classes))
    return faults


def _text(label: Label, monitor: Monitor) -> str | None:
    if label.reward and monitor.reward_meaning == "judgement":
        return _RIGHT if float(label.value or 0.0) >= monitor.labels.correct_from else _WRONG
    text = number_text(label.value) if monitor.predicts_numbers else class_name(label.value)
    return None if text is None else clean(text)
