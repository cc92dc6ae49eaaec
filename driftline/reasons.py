"""Why something became a dead letter: each reason with what it means and what to do.

The words are labels of counters and columns of the store; a test holds that every word the rooms use stands here.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """``meaning``: one sentence; ``advice``: what to do."""

    word: str
    meaning: str
    advice: str


_ALL = (
    # --- the collector ---------------------------------------------------------------------------------------------
    Reason(
        "unknown_model",
        "No monitor describes this model.",
        "Write a monitor ('driftline init'), start the collector with it and replay; or stop logging the model.",
    ),
    Reason(
        "bad_time",
        "The event's time lies before 1970 or too far ahead of the collector's clock.",
        "Set the clock of the host that logged it; replay once its time has come, or with a larger maximum_future_s.",
    ),
    Reason(
        "unstorable",
        "The database refuses one of its values.",
        "Read the detail; usually a number beyond what a column holds. Mend the model's output or the monitor.",
    ),
    Reason(
        "not_joined",
        "Half an inference reached a part that knows whole ones only, which is a fault of the collector.",
        "Start the collector with its sources set up (receive_events, topics), and report it.",
    ),
    Reason(
        "response_without_request",
        "An answer was logged, and its request never came in time.",
        "See whether the logger sends requests too (mode 'all'), and whether pairing waits long enough; replay "
        "once the request has come.",
    ),
    # --- codecs ----------------------------------------------------------------------------------------------------
    Reason(
        "malformed",
        "The bytes are not of the form that they say they are.",
        "Read the detail. If another program wrote it, mend that; if its form is a new one, add a codec and replay.",
    ),
    Reason(
        "unsupported_format",
        "No codec knows this form of payload.",
        "Name the protocol where it is logged, or add a codec for it; then replay.",
    ),
    Reason(
        "wrong_type",
        "A column holds values of another type than the monitor says.",
        "Compare the column's type in the monitor with what the model gets; correct one of them and replay.",
    ),
    Reason(
        "shape_mismatch",
        "Inputs and outputs, or the columns of one of them, have different numbers of rows or of values.",
        "See whether the monitor names as many columns as the tensors have, then replay.",
    ),
    Reason(
        "truncated",
        "The body was cut where it was logged, and the rest cannot be told from it.",
        "Raise the sidecar's max_body_bytes; what was cut is gone, so that a replay finds the same.",
    ),
    Reason(
        "not_observable",
        "The values never passed the logger: shared memory, encryption, a stream in both directions.",
        "Send tensors in the body where they are to be watched; for what was logged already nothing can be done.",
    ),
    Reason(
        "no_columns",
        "The payload is readable, and holds none of the monitor's columns.",
        "Compare the names in the monitor with those in the payload ('driftline deadletters show'), then replay.",
    ),
    Reason(
        "too_large",
        "It is larger than what is read at once.",
        "Raise the limit that the detail names and replay, or send less in one request.",
    ),
    Reason(
        "decoder_fault",
        "A codec failed in a way that is a fault of ours.",
        "Report it with the detail; after a new version, replay.",
    ),
    # --- the spool -------------------------------------------------------------------------------------------------
    Reason(
        "spool_overwritten",
        "The spool was full, and its oldest events made room before they were read.",
        "Give the spool more bytes, or the collector more time; the events are gone.",
    ),
    Reason(
        "corrupt_frame",
        "Bytes in the spool are damaged, and their checksum shows it.",
        "Look at the disk; the events are gone.",
    ),
    Reason(
        "newer_frame",
        "A frame of the spool is of a later format than this version reads.",
        "Run the version that wrote it, or a later one, until the spool is empty; what was stepped over is gone.",
    ),
    Reason(
        "bad_event",
        "A frame of the spool is whole, and is no event of this version.",
        "Run sidecar and collector of the same version, then replay.",
    ),
)

REASONS: Mapping[str, Reason] = {reason.word: reason for reason in _ALL}


def explain(word: str) -> Reason:
    """The reason behind a word; a general one for a word of another version.

    >>> explain("unknown_model").meaning
    'No monitor describes this model.'
    """
    return REASONS.get(
        word, Reason(word, "This version does not know the reason.", "Read the detail, and compare the versions.")
    )
