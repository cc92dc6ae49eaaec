"""Services over gRPC that a test stands in for, on a port of their own."""

from collections.abc import Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager

import grpc


@contextmanager
def grpc_services(services: Mapping[str, Mapping[str, grpc.RpcMethodHandler]]) -> Iterator[int]:
    """The port on 127.0.0.1 where the methods of these services are answered."""
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers(
        tuple(grpc.method_handlers_generic_handler(name, methods) for name, methods in services.items())
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None)
