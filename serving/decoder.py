"""From one inference event to the columns its monitor names: the collector's ``Decoder``.

It is ``serving.decode_many`` for a single event. What each column is taken from: ``serving.extraction``; how a format
is recognised: ``serving.recognition``.
"""

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
