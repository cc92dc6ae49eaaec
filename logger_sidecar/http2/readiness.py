"""Whether a server speaks HTTP/2: it begins each connection with its settings, whoever calls (RFC 9113, 3.4)."""

import asyncio

from logger_sidecar.http2.frames import HEAD_BYTES, PREFACE, SETTINGS, frame, unpack_head


async def ask_over_http2(reader: asyncio.StreamReader, transport: asyncio.WriteTransport) -> str:
    """Why a server at the other end takes no gRPC, as ``proxy.readiness.Ask``; empty when it does."""
    transport.write(PREFACE + frame(SETTINGS, 0, 0))
    try:
        _, _, kind, _, _ = unpack_head(await reader.readexactly(HEAD_BYTES))
    except asyncio.IncompleteReadError:
        kind = None
    return "" if kind == SETTINGS else "does not speak HTTP/2, and so no gRPC"
