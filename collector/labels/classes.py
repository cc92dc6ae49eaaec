"""Which classes labels may name: a label of any other is a slip, not a truth."""

import difflib
from collections.abc import Collection, Mapping, Sequence

from collector.ports import WindowStatistics
from collector.store.spelling import class_name
from driftline.monitors import Monitor

#: Classes that a refusal names.
_NAMED = 20


def label_classes(monitors: Mapping[str, Monitor], statistics: WindowStatistics) -> dict[str, Collection[str]]:
    """The classes that labels of each model may name, spelt as stored; a model of which any may come is not there.

    They are what the monitor says (``labels.classes``), and of a binary model the two that its reference knows. Of many
    classes a reference may know some only: another one is then a class that came later, which no answer is right about.
    """
    found: dict[str, Collection[str]] = {}
    for name, monitor in monitors.items():
        classes: Sequence[str] = monitor.labels.classes
        if not classes and monitor.task == "binary":
            known = statistics.answers(monitor)
            classes = known if len({*known, monitor.prediction.positive}) == len(known) == 2 else ()
        if classes:
            found[name] = [spelt for each in classes if (spelt := class_name(each)) is not None]
    return found


def class_fault(monitor: Monitor, value: str, classes: Collection[str]) -> str:
    """Why a label of this class is refused."""
    known = list(classes)
    near = difflib.get_close_matches(value, known, 1)
    whose = "labels.classes" if monitor.labels.classes else "the classes of the reference"
    named = ", ".join(repr(each) for each in known[:_NAMED])
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    meant = f"; did you mean '{near[0]}'?" if near else ""
    return f"value '{value[:100]}' is none of {whose} of '{monitor.name}' ({named}{more}){meant}"
