"""Requests whose tensors lie in shared memory: what they carry is not for us to see, and their events say so."""

from logger_sidecar.recording.event_frames import entry, with_entry

NOT_OBSERVABLE_SHARED_MEMORY = "shared_memory"
SHARED_MEMORY_REGION = b"shared_memory_region"
_RARE = b"g"
_BEHIND_RARE = len(SHARED_MEMORY_REGION) - SHARED_MEMORY_REGION.rindex(_RARE)
#: A request whose tensors lie in shared memory is short, because they are not in it.
SHARED_MEMORY_BODY_BYTES = 16384
_PROTOCOLS = frozenset({"v2", "v2-binary"})
_PROTOCOL_ENTRIES = tuple(entry("protocol", protocol) for protocol in _PROTOCOLS)


def shares_memory(protocol: str, request: bytes, size_bytes: int) -> str:
    """Why a request of so many bytes holds no data for us, where its tensors lie in shared memory; else empty."""
    if protocol in _PROTOCOLS and size_bytes < SHARED_MEMORY_BODY_BYTES and SHARED_MEMORY_REGION in request:
        return NOT_OBSERVABLE_SHARED_MEMORY
    return ""


def marked(stream: bytes, request: bytes) -> bytes:
    """The stream's part of an event's frame as it is for this request: says so where its tensors cannot be seen."""
    if len(request) >= SHARED_MEMORY_BODY_BYTES:
        return stream
    # Looking for one byte from the end is several times faster than looking for a word, and what follows the first few
    # words of a tensor in JSON are numbers.
    last = request.rfind(_RARE)
    if last < 0 or request.find(SHARED_MEMORY_REGION, 0, last + _BEHIND_RARE) < 0:
        return stream
    if not any(each in stream for each in _PROTOCOL_ENTRIES):
        return stream
    return with_entry(stream, "not_observable", NOT_OBSERVABLE_SHARED_MEMORY)
