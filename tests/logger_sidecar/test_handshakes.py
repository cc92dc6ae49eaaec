"""Handshakes that came to nothing, between objects in memory: each is counted once, by why."""

import contextlib
import ssl

import pytest
import trustme

from driftline import names
from driftline.testing import ManualClock
from logger_sidecar.proxy.handshakes import (
    CLIENT,
    NO_AGREEMENT,
    OURS_REFUSED,
    THEIRS_REFUSED,
    UNFINISHED,
    UPSTREAM,
    Handshakes,
)

LIMIT_S = 10.0


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


def contexts(authority: trustme.CA) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's, and one of a client that trusts it."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return server, client


def shake(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """Carry bytes from one side to the other until both are done, or one has failed and the other heard of it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(6):
        for side in list(sides):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                sides.remove(side)


def counted(handshakes: Handshakes) -> dict[tuple[str, str], float]:
    (family,) = handshakes.collect()
    samples = [sample for sample in family.samples if sample.name == names.SIDECAR_TLS_FAILURES.name]
    return {(sample.labels["side"], sample.labels["reason"]): sample.value for sample in samples}


def test_what_succeeds_is_not_counted_however_long_it_lasts(authority: trustme.CA) -> None:
    clock = ManualClock()
    handshakes = Handshakes(clock)
    server, client = contexts(authority)
    shake(handshakes.watch(server, CLIENT, LIMIT_S), handshakes.watch(client, UPSTREAM, LIMIT_S))
    clock.advance(2 * LIMIT_S)
    handshakes.tick()
    assert counted(handshakes) == {}


def test_each_side_says_why(authority: trustme.CA) -> None:
    handshakes = Handshakes(ManualClock())
    server, client = contexts(authority)
    handshakes.watch(server, CLIENT, LIMIT_S)
    shake(server, handshakes.watch(contexts(trustme.CA())[1], UPSTREAM, LIMIT_S))
    assert counted(handshakes) == {(UPSTREAM, THEIRS_REFUSED): 1, (CLIENT, OURS_REFUSED): 1}
    server.maximum_version, client.minimum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    shake(server, handshakes.watch(client, UPSTREAM, LIMIT_S))
    assert counted(handshakes)[CLIENT, NO_AGREEMENT] == counted(handshakes)[UPSTREAM, NO_AGREEMENT] == 1


def test_who_says_nothing_is_counted_once_its_time_is_over(authority: trustme.CA) -> None:
    clock = ManualClock()
    handshakes = Handshakes(clock)
    context = handshakes.watch(contexts(authority)[0], CLIENT, LIMIT_S)
    for _ in range(2):
        silent = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
        for _ in range(3):
            with pytest.raises(ssl.SSLWantReadError):
                silent.do_handshake()
        clock.advance(LIMIT_S / 2)
    handshakes.tick()
    assert counted(handshakes) == {(CLIENT, UNFINISHED): 1}
    clock.advance(LIMIT_S)
    handshakes.tick()
    handshakes.tick()
    assert counted(handshakes) == {(CLIENT, UNFINISHED): 2}


@pytest.mark.parametrize("has_heard", [False, True])
def test_a_certificate_refused_after_the_handshake_is_counted_by_the_first_read(
    authority: trustme.CA, has_heard: bool
) -> None:
    handshakes = Handshakes(ManualClock())
    server, client = contexts(authority)
    if not has_heard:
        server.verify_mode = ssl.CERT_REQUIRED
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    watched = handshakes.watch(client, UPSTREAM, LIMIT_S)
    asking = watched.wrap_bio(to_client, to_server, server_hostname="localhost")
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    for shake_hands in (asking.do_handshake, answering.do_handshake, asking.do_handshake, answering.do_handshake):
        with contextlib.suppress(ssl.SSLError):
            shake_hands()
    assert counted(handshakes) == {}
    if has_heard:
        answering.write(b"hello")
        assert asking.read(5) == b"hello"
        with pytest.raises(ssl.SSLWantReadError):
            asking.read(5)
        to_client.write(b"no record of TLS")
    with pytest.raises(ssl.SSLError, match="ALERT_CERTIFICATE_REQUIRED" if not has_heard else "WRONG_VERSION_NUMBER"):
        asking.read(5)
    assert counted(handshakes) == ({} if has_heard else {(UPSTREAM, OURS_REFUSED): 1})
