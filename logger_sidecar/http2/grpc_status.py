"""What the status of a gRPC call means to metrics that count HTTP status codes.

The codes are those that google.rpc.Code names for each status
(https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto), so that availability rules need not know
of gRPC: 500 and above blames the server.
"""

from logger_sidecar.http2.frames import (
    CANCEL,
    ENHANCE_YOUR_CALM,
    INADEQUATE_SECURITY,
    NO_ERROR,
    REFUSED_STREAM,
)

OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED = range(8)
RESOURCE_EXHAUSTED, FAILED_PRECONDITION, ABORTED, OUT_OF_RANGE, UNIMPLEMENTED, INTERNAL = range(8, 14)
UNAVAILABLE, DATA_LOSS, UNAUTHENTICATED = range(14, 17)

_HTTP_CODES = {
    OK: 200,
    CANCELLED: 499,
    UNKNOWN: 500,
    INVALID_ARGUMENT: 400,
    DEADLINE_EXCEEDED: 504,
    NOT_FOUND: 404,
    ALREADY_EXISTS: 409,
    PERMISSION_DENIED: 403,
    RESOURCE_EXHAUSTED: 429,
    FAILED_PRECONDITION: 400,
    ABORTED: 409,
    OUT_OF_RANGE: 400,
    UNIMPLEMENTED: 501,
    INTERNAL: 500,
    UNAVAILABLE: 503,
    DATA_LOSS: 500,
    UNAUTHENTICATED: 401,
}

# https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, "Errors"; what it does not name is internal.
_STATUS_OF_RESET = {
    REFUSED_STREAM: UNAVAILABLE,
    CANCEL: CANCELLED,
    ENHANCE_YOUR_CALM: RESOURCE_EXHAUSTED,
    INADEQUATE_SECURITY: PERMISSION_DENIED,
    NO_ERROR: INTERNAL,
}

# https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md; what it does not name is unknown.
_STATUS_OF_HTTP = {
    400: INTERNAL,
    401: UNAUTHENTICATED,
    403: PERMISSION_DENIED,
    404: UNIMPLEMENTED,
    429: UNAVAILABLE,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: UNAVAILABLE,
}


def http_code(grpc_status: int) -> int:
    """The HTTP status code with the same meaning; 500 for a status that nobody defined.

    >>> http_code(OK), http_code(DEADLINE_EXCEEDED), http_code(77)
    (200, 504, 500)
    """
    return _HTTP_CODES.get(grpc_status, 500)


def status_of_reset(error: int) -> int:
    """The status that a caller sees when the server ends the stream with this HTTP/2 error code."""
    return _STATUS_OF_RESET.get(error, INTERNAL)


def status_of_http(code: int) -> int:
    """The status that a caller sees when the answer has this HTTP status code and no gRPC status."""
    return _STATUS_OF_HTTP.get(code, UNKNOWN)
