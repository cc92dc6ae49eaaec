"""TLS and Unix sockets on either side, with certificates of trustme and the standard library as the other end."""

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from driftline.errors import SettingsError
from driftline.names import SIDECAR_TLS_FAILURES
from driftline.settings import load
from logger_sidecar.settings import SidecarSettings
from tests.logger_sidecar.wire import OK, Running, Upstream, answering, post, read_message, sidecar
from tests.parts.processes import wait_until


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Who signs what these tests trust."""
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


def written(directory: Path, name: str, certificate: trustme.LeafCert) -> tuple[Path, Path]:
    """The certificate and its key as files, which replace those of before at once, as a mounted secret does."""
    paths = directory / f"{name}.pem", directory / f"{name}.key"
    for path, blobs in zip(paths, (certificate.cert_chain_pems, [certificate.private_key_pem]), strict=True):
        path.with_suffix(".new").write_bytes(b"".join(blob.bytes() for blob in blobs))
        path.with_suffix(".new").rename(path)
    return paths


def root(directory: Path, authority: trustme.CA) -> Path:
    path = directory / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@contextlib.contextmanager
def plain_upstream(answer: bytes = OK) -> Iterator[Upstream]:
    upstream = Upstream(answering(answer))
    yield upstream
    upstream.close()


@contextlib.contextmanager
def tls_upstream(context: ssl.SSLContext, answer: bytes = OK) -> Iterator[tuple[int, list[bytes]]]:
    """A model server behind TLS; what it was asked."""
    asked: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
            while request := read_message(secure):
                asked.append(request)
                secure.sendall(answer)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1], asked
        listener.shutdown(socket.SHUT_RDWR)


def secure_client(running: Running, context: ssl.SSLContext) -> ssl.SSLSocket:
    return context.wrap_socket(running.connect(), server_hostname="localhost")


def answered(running: Running, context: ssl.SSLContext) -> bytes:
    """What a request is answered with; nothing where there is no connection. With TLS 1.3 it breaks a moment later."""
    with contextlib.suppress(ssl.SSLError, ConnectionError), secure_client(running, context) as client:
        client.sendall(post())
        return client.recv(65536)
    return b""


def failures(running: Running) -> dict[tuple[str, str], int]:
    """Handshakes that failed, by side and reason."""
    name = SIDECAR_TLS_FAILURES.name
    found = re.findall(rf'{name}{{reason="(\w+)",side="(\w+)"}} (\d+)', running.admin("/metrics"))
    return {(side, reason): int(count) for reason, side, count in found}


def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_clients_speak_tls_and_their_inferences_are_logged(tmp_path: Path, authority: trustme.CA) -> None:
    certificate, key = written(tmp_path, "server", authority.issue_cert("localhost"))
    with plain_upstream() as upstream:
        files = {"tls_certificate": certificate, "tls_key": key}
        with sidecar(upstream.url, tmp_path / "spool", **files) as running:
            with secure_client(running, client_context(authority)) as client:
                for number in range(3):
                    client.sendall(post(b"{}", f"x-request-id: {number}"))
                    assert read_message(client).endswith(b"{}")
            assert failures(running) == {}
            with running.connect() as plain:
                plain.sendall(post())
                assert b"HTTP/1.1" not in plain.recv(100)
            with contextlib.suppress(ssl.SSLError):  # it does not know who signed the certificate
                secure_client(running, ssl.create_default_context())
            wait_until(lambda: len(failures(running)) == 2)
            assert failures(running) == {("client", "not_tls"): 1, ("client", "certificate_refused"): 1}
            assert [event.request_id for event in running.events()] == ["0", "1", "2"]


@pytest.mark.parametrize(("offered", "chosen"), [(["h2", "http/1.1"], "http/1.1"), (["h2"], "h2"), ([], None)])
def test_clients_get_http_1_1_where_they_can_and_grpc_its_h2(
    tmp_path: Path, authority: trustme.CA, offered: list[str], chosen: str | None
) -> None:
    certificate, key = written(tmp_path, "server", authority.issue_cert("localhost"))
    context = client_context(authority)
    if offered:
        context.set_alpn_protocols(offered)
    files = {"tls_certificate": certificate, "tls_key": key}
    with (
        sidecar("http://127.0.0.1:1", tmp_path / "spool", **files) as running,
        secure_client(running, context) as client,
    ):
        assert client.selected_alpn_protocol() == chosen


def test_a_client_without_the_certificate_asked_for_is_not_let_in(tmp_path: Path, authority: trustme.CA) -> None:
    certificate, key = written(tmp_path, "server", authority.issue_cert("localhost"))
    files = {"tls_certificate": certificate, "tls_key": key, "tls_client_ca": root(tmp_path, authority)}
    stranger, known = client_context(authority), client_context(authority)
    trustme.CA().issue_cert("client").configure_cert(stranger)
    authority.issue_cert("client").configure_cert(known)
    with plain_upstream() as upstream, sidecar(upstream.url, tmp_path / "spool", **files) as running:
        for context in (client_context(authority), stranger):
            assert not answered(running, context)
        assert failures(running) == {("client", "no_certificate"): 1, ("client", "certificate_untrusted"): 1}
        with secure_client(running, known) as client:
            client.sendall(post())
            assert read_message(client).endswith(b"{}")
        assert len(upstream.requests) == 1


@pytest.mark.parametrize("is_asked", [True, False])
def test_a_new_certificate_is_shown_to_new_connections_and_old_ones_stay(
    tmp_path: Path, authority: trustme.CA, is_asked: bool
) -> None:
    certificate, key = written(tmp_path, "server", authority.issue_cert("localhost", common_name="old"))
    files = {"tls_certificate": certificate, "tls_key": key, "response_timeout_s": 3.0}  # looks every 0.6 s

    def shown() -> bytes:
        with secure_client(running, client_context(authority)) as client:
            found = client.getpeercert(binary_form=True)
            assert found is not None
            return found

    with plain_upstream() as upstream, sidecar(upstream.url, tmp_path / "spool", **files) as running:
        before = shown()
        with secure_client(running, client_context(authority)) as old:
            key.write_text("half a key")
            if is_asked:
                running.loop.call_soon_threadsafe(running.sidecar._reload)
            threading.Event().wait(1.0)
            assert shown() == before
            written(tmp_path, "server", authority.issue_cert("localhost", common_name="new"))
            wait_until(lambda: shown() != before)
            old.sendall(post())
            assert read_message(old).endswith(b"{}")


def test_the_model_server_is_asked_over_tls_and_checked(tmp_path: Path, authority: trustme.CA) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    with tls_upstream(context) as (port, asked):
        ca = root(tmp_path, authority)
        with sidecar(f"https://localhost:{port}", tmp_path / "spool", upstream_ca=ca) as running:
            for _ in range(3):
                assert running.ask(post(b"{}", "x-request-id: a")).endswith(b"{}")
            assert running.admin("/readyz") == "ok\n"
            assert asked == [post(b"{}", "x-request-id: a")] * 3
            assert len(running.events()) == 3


@pytest.mark.parametrize(
    ("name", "trusted", "upstream_name", "status"),
    [
        ("elsewhere", True, "", 502),
        ("localhost", False, "", 502),
        ("elsewhere", True, "elsewhere", 200),
    ],
)
def test_a_model_server_that_cannot_show_who_it_is_gets_nothing(
    tmp_path: Path, authority: trustme.CA, name: str, trusted: bool, upstream_name: str, status: int
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    (authority if trusted else trustme.CA()).issue_cert(name).configure_cert(context)
    with tls_upstream(context) as (port, asked):
        files = {"upstream_ca": root(tmp_path, authority), "upstream_server_name": upstream_name}
        with sidecar(f"https://localhost:{port}", tmp_path / "spool", **files) as running:
            assert running.ask(post()).startswith(f"HTTP/1.1 {status} ".encode())
            if status == 502:
                assert asked == []
                assert failures(running) == {("upstream", "certificate_untrusted"): 1}
                assert 'upstream_errors_total{reason="tls"} 1.0' in running.admin("/metrics")


def test_a_plain_model_server_behind_an_https_address_is_no_fallback(tmp_path: Path, authority: trustme.CA) -> None:
    def script(upstream: Upstream, connection: socket.socket) -> None:
        upstream.requests.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    upstream = Upstream(script)
    address = f"https://localhost:{upstream.port}"
    with sidecar(address, tmp_path / "spool", upstream_ca=root(tmp_path, authority)) as running:
        assert running.ask(post(b"secret")).startswith(b"HTTP/1.1 502 ")
    upstream.close()
    assert len(upstream.requests) == 1
    assert b"secret" not in upstream.requests[0]


def test_the_sidecar_shows_its_certificate_to_a_model_server_that_asks(tmp_path: Path, authority: trustme.CA) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    certificate, key = written(tmp_path, "client", authority.issue_cert("sidecar"))
    files = {"upstream_ca": root(tmp_path, authority), "upstream_certificate": certificate, "upstream_key": key}
    with tls_upstream(context) as (port, _asked):
        with sidecar(f"https://localhost:{port}", tmp_path / "spool", **files) as running:
            assert running.ask(post()).endswith(b"{}")
        with sidecar(f"https://localhost:{port}", tmp_path / "s2", upstream_ca=files["upstream_ca"]) as running:
            answer = running.ask(post())
            assert answer.startswith(b"HTTP/1.1 502 ")
            assert b"CERTIFICATE_REQUIRED" in answer
            assert failures(running) == {("upstream", "certificate_refused"): 1}  # after the handshake: this is TLS 1.3
            assert 'upstream_errors_total{reason="tls"} 1.0' in running.admin("/metrics")


def test_unix_sockets_on_both_sides(tmp_path: Path) -> None:
    model, own = tmp_path / "model.sock", tmp_path / "own.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(model))
        listener.listen()

        def serve() -> None:
            while True:
                with contextlib.suppress(OSError):
                    connection, _ = listener.accept()
                    with connection:
                        while read_message(connection):
                            connection.sendall(OK)
                    continue
                return

        threading.Thread(target=serve, daemon=True).start()
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(own))
        with sidecar(f"unix:{model}", tmp_path / "spool", listen_socket=str(own)) as running:
            assert running.ask(post()).endswith(b"{}")
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(own))
                client.sendall(post())
                assert read_message(client).endswith(b"{}")
            running.stop()
            assert not own.exists()
        listener.shutdown(socket.SHUT_RDWR)


def test_every_fault_of_tls_is_named(tmp_path: Path, authority: trustme.CA) -> None:
    certificate, key = written(tmp_path, "one", authority.issue_cert("localhost"))
    _, other_key = written(tmp_path, "other", authority.issue_cert("localhost"))
    missing, empty = tmp_path / "missing.pem", tmp_path / "empty.pem"
    empty.write_text("nothing")
    cases: list[tuple[dict[str, object], str]] = [
        ({"tls_certificate": certificate}, "tls_key is empty, and tls_certificate is of no use without it"),
        ({"tls_key": key}, "tls_certificate is empty"),
        ({"tls_client_ca": certificate}, "tls_client_ca is given, and is of no use without"),
        ({"tls_certificate": certificate, "tls_key": other_key}, f"'{other_key}' does not fit the certificate"),
        ({"tls_certificate": missing, "tls_key": key}, f"'{missing}' cannot be read: No such file"),
        ({"tls_certificate": empty, "tls_key": key}, f"'{empty}' holds no certificate in PEM"),
        ({"tls_certificate": certificate, "tls_key": empty}, f"'{empty}' holds no private key in PEM"),
        ({"upstream_ca": certificate}, "upstream_ca is given, but upstream is not https"),
        ({"upstream": "https://a", "upstream_ca": empty}, f"'{empty}' holds no certificate in PEM"),
        ({"upstream": "https://a", "upstream_key": key}, "upstream_certificate is empty, and upstream_key"),
        ({"upstream": "unix:model.sock"}, "unix:/PATH"),
        ({"upstream": "https://a:0"}, "upstream is 'https://a:0'"),
        ({"upstream": "http://a..b:80"}, "upstream is 'http://a..b:80'"),
        ({"upstream": f"http://{'x' * 64}"}, "upstream is 'http://xxx"),
        ({"upstream": "http://localhost:9000"}, "upstream is the sidecar itself, at listen_port"),
        (
            {"grpc_upstream": "http://[::1]:7", "grpc_listen_port": 7},
            "grpc_upstream is the sidecar itself, at grpc_list",
        ),
        ({"upstream": "http://10.0.0.7:9000", "listen_host": "10.0.0.7"}, "upstream is the sidecar itself"),
        ({"upstream": "unix:/s", "listen_socket": "/s"}, "upstream is the sidecar itself, at listen_socket"),
        ({"listen_socket": "own.sock"}, "listen_socket is 'own.sock', which is not an absolute path"),
        ({"listen_socket": "/" + "a" * 110}, "longer than 107 bytes"),
        ({"listen_socket": "/no/such/own.sock"}, "whose directory does not exist"),
        ({"ready_path": "ready"}, "ready_path is 'ready', which is not a path"),
        ({"ready_path": "/a b\r\n"}, "which is not a path"),
        ({"max_upstream_connections": -1}, "max_upstream_connections is -1"),
    ]
    for given, fault in cases:
        with pytest.raises(SettingsError) as caught:
            load(SidecarSettings, "SIDECAR", environ={}, arguments=given)
        assert fault in str(caught.value), given
