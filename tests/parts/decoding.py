"""One inference event decoded alone, by the decoder of many."""

from driftline.columns import ColumnBatch
from driftline.events import InferenceEvent
from driftline.monitors import Monitor
from serving.decode_many import decode_many


def decode(event: InferenceEvent, monitor: Monitor) -> ColumnBatch:
    """The rows of one inference; raises nothing but DecodeError, whose reasons are in ``serving.reasons``."""
    batch = decode_many([event], monitor)
    for _place, fault in batch.faults:
        raise fault
    return batch.columns
