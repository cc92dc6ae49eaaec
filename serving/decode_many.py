"""Many inference events of one monitor decoded at once: the collector's ``BatchDecoder``."""

from collections.abc import Sequence

import numpy as np

from driftline.columns import ColumnBatch, DecodedBatch
from driftline.errors import DecodeError
from driftline.events import InferenceEvent
from driftline.monitors import Monitor
from serving import reasons
from serving.decoder import decode
from serving.stacking import stack

_FAULTS = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError)


def decode_many(events: Sequence[InferenceEvent], monitor: Monitor) -> DecodedBatch:
    """The rows of all events, as ``serving.decoder.decode`` reads each of them; never raises for what they hold."""
    batches: list[ColumnBatch] = []
    faults: list[tuple[int, DecodeError]] = []
    counts = np.zeros(len(events), np.intp)
    for place, event in enumerate(events):
        try:
            batch = decode(event, monitor)
        except DecodeError as error:
            faults.append((place, error))
        except _FAULTS as error:
            faults.append((place, DecodeError(reasons.DECODER_FAULT, f"{type(error).__name__}: {error}")))
        else:
            if batch.rows:
                batches.append(batch)
                counts[place] = batch.rows
    owners = np.repeat(np.arange(len(events), dtype=np.intp), counts)
    firsts = np.cumsum(counts) - counts
    return DecodedBatch(stack(batches), owners, np.arange(len(owners), dtype=np.intp) - firsts[owners], faults)
