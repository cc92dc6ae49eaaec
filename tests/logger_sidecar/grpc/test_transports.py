"""gRPC over TLS and over Unix sockets, on either side of the sidecar."""

from pathlib import Path

import grpc
import pytest
import trustme

from tests.logger_sidecar.grpc.servers import INFER, call, channel, framed, infer_request, served
from tests.logger_sidecar.wire import sidecar


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> tuple[Path, Path, Path]:
    """The authority's certificate, and one of its own with its key."""
    issued = authority.issue_cert("localhost", "127.0.0.1", key_type=trustme.KeyType.ECDSA)
    root, chain, key = (tmp_path / name for name in ("root.pem", "chain.pem", "key.pem"))
    authority.cert_pem.write_to_path(str(root))
    issued.private_key_pem.write_to_path(str(key))
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    return root, chain, key


def test_both_sides_may_speak_tls(tmp_path: Path, files: tuple[Path, Path, Path]) -> None:
    root, chain, key = files
    secure = grpc.ssl_server_credentials([(key.read_bytes(), chain.read_bytes())])
    settings = {"tls_certificate": chain, "tls_key": key, "upstream_ca": root, "grpc_listen_port": 0}
    with (
        served(secure=secure) as server,
        sidecar(f"https://127.0.0.1:{server.port}", tmp_path / "spool", **settings) as running,
    ):
        trusted = grpc.ssl_channel_credentials(root.read_bytes())
        for port in (running.sidecar.listen_port, running.sidecar.grpc_port):
            with grpc.secure_channel(f"127.0.0.1:{port}", trusted) as made:
                big = infer_request(rest=b"\x3a\x80\x80\x40" + b"x" * (1 << 20))
                assert made.unary_unary(INFER)(big, timeout=60) == big
        events = running.events()
    assert [event.grpc_status for event in events] == [0, 0]
    assert events[0].truncated
    assert [event.model for event in events] == ["iris", "iris"]


def test_a_server_that_cannot_prove_who_it_is_is_unavailable(tmp_path: Path, files: tuple[Path, Path, Path]) -> None:
    root, _, _ = files
    other = trustme.CA().issue_cert("127.0.0.1")
    chain = b"".join(blob.bytes() for blob in other.cert_chain_pems)
    secure = grpc.ssl_server_credentials([(other.private_key_pem.bytes(), chain)])
    with (
        served(secure=secure) as server,
        sidecar(f"https://127.0.0.1:{server.port}", tmp_path / "spool", upstream_ca=root) as running,
        channel(running.sidecar.listen_port) as made,
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call(made, INFER, infer_request())
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert server.seen == []


def test_unix_sockets_carry_calls(tmp_path: Path) -> None:
    path, own = tmp_path / "model.sock", tmp_path / "own.sock"
    with (
        served(address=f"unix:{path}"),
        sidecar(f"unix:{path}", tmp_path / "spool", listen_socket=str(own)) as running,
    ):
        with grpc.insecure_channel(f"unix:{own}") as made:
            assert made.unary_unary(INFER)(infer_request(), timeout=60) == infer_request()
        [event] = running.events()
    assert event.response.body == framed(infer_request())
