"""Why a payload cannot become columns: the bounded words of ``DecodeError.reason``, safe as label values."""

#: The body is not what its format promises: broken JSON, a missing field, bytes that do not add up.
MALFORMED = "malformed"
#: No codec knows the format (gRPC, a form, JSON without tensors or instances, an unknown compression).
UNSUPPORTED_FORMAT = "unsupported_format"
#: A value is not of its column's type, such as text in a numeric column.
WRONG_TYPE = "wrong_type"
#: Rows, shapes or element counts contradict each other.
SHAPE_MISMATCH = "shape_mismatch"
#: The body was cut at the capture limit.
TRUNCATED = "truncated"
#: The values never crossed the wire (shared memory).
NOT_OBSERVABLE = "not_observable"
#: Nothing in the payload carries the name of a column, and nothing fits by shape.
NO_COLUMNS = "no_columns"
#: The body is larger than may be unpacked.
TOO_LARGE = "too_large"
#: The decoder itself failed on the payload; a fault of ours.
DECODER_FAULT = "decoder_fault"

ALL = (
    MALFORMED,
    UNSUPPORTED_FORMAT,
    WRONG_TYPE,
    SHAPE_MISMATCH,
    TRUNCATED,
    NOT_OBSERVABLE,
    NO_COLUMNS,
    TOO_LARGE,
    DECODER_FAULT,
)
