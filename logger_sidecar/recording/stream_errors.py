r"""Whether a stream of server-sent events told of an error under its status 200, from the bytes of its end alone.

A server ends its stream with the error. So only the last bytes are looked at, and nothing is decoded: what
``finishing.stream_folding`` reads of the whole stream is known after it was decided what is kept. What looks like an
error and is none is kept as one, which costs an event and no weight.

>>> tells_error([b'data: {"choices": []}\n\n', b'data: {"error": {"message": "out of memory"}}\n\n'])
True
>>> tells_error([b'data: {"text": "say \\"error\\": 1", "error": null}\n\n'])
False
"""

import re
from collections.abc import Sequence

#: So much of a stream's end is looked at.
END_BYTES = 4096
_ERROR = re.compile(
    rb'(?<!\\)"(?:error"\s*:\s*(?!null\b)\S|(?:type|object)"\s*:\s*"error")|(?:^|[\r\n])event: ?error[\r\n]'
)


def tells_error(parts: Sequence[bytes]) -> bool:
    """Of a body as it was captured, in its ``parts``, without a content encoding."""
    end = b""
    for part in reversed(parts):
        end = bytes(part[-END_BYTES:]) + end
        if len(end) >= END_BYTES:
            break
    return _ERROR.search(end[-END_BYTES:]) is not None
