"""The head of an answer as the client shall see it."""

from driftline import names
from logger_sidecar.http1.exchange import Exchange
from logger_sidecar.http1.heads import Head, rewritten

_ID_NAME = names.HEADER_REQUEST_ID.encode()


def answer_head(head: Head, exchange: Exchange, *, closes: bool, keeps: bool) -> bytes:
    """The model server's, with the request's id where it is an inference's.

    ``closes``: the connection ends behind the answer; else ``keeps``: it is told that it does not (HTTP/1.0).
    """
    added = b""
    without: tuple[bytes, ...] = ()
    if exchange.route is not None:
        if not head.names_request_id:
            added = exchange.id_line
        elif head.request_id != exchange.request_id:
            # The caller must learn the id that the event carries, or its label would find nothing.
            added, without = exchange.id_line, (_ID_NAME,)
    options: tuple[bytes, ...] = ()
    if closes:
        options = (b"close",)
    elif keeps:
        options = (b"keep-alive",)
    if head.must_rewrite or without or options:
        return rewritten(head, without=without, added=added, options=options)
    return head.open_end + exchange.id_end if added else head.raw
