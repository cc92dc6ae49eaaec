"""Sockets to listen on, made without the loop's help: asked by a host's name it would start threads, and keep them.

In a process of one thread the kernel and the C library take shorter ways: no reference is counted for the descriptor of
a system call, no lock is taken in malloc.
"""

import contextlib
import socket
from collections.abc import Sequence


def bound_sockets(host: str, port: int) -> Sequence[socket.socket]:
    """One for each address of ``host``; an empty one is every interface. Raises OSError, where the port is taken, too.

    >>> [one] = bound_sockets("127.0.0.1", 0)
    >>> one.getsockname()[0]
    '127.0.0.1'
    >>> one.close()
    """
    try:
        infos = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, "no name of a host") from error
    with contextlib.ExitStack() as failed:
        bound = []
        for family, kind, protocol, _, address in dict.fromkeys(infos):
            try:
                one = failed.enter_context(socket.socket(family, kind, protocol))
            except OSError:
                continue  # a family that this system does not have
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
            bound.append(one)
        failed.pop_all()
    if not bound:
        raise OSError(f"'{host}' has no address that this system can listen on")
    return bound
