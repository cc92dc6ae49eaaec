"""TLS on either side: contexts made from files, checked before they are used, and made anew when the files change."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ALPN_HTTP1 = ("http/1.1",)
#: What a listener offers, preferred first: who can do with HTTP/1.1 gets it, for the model server may know no other;
#: clients of gRPC offer nothing but h2.
ALPN_BOTH = ("http/1.1", "h2")
ALPN_HTTP2 = ("h2",)


class TlsError(ValueError):
    """Files that make no TLS; the message is a sentence about one of them."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files in PEM. ``certificate``: one's own, with its chain, and its ``key``; ``authority``: whom to trust."""

    certificate: Path | None = None
    key: Path | None = None
    authority: Path | None = None

    def fingerprint(self) -> tuple[object, ...]:
        """Differs when one of the files was replaced or written; links, as of a mounted secret, are followed."""
        return tuple(_state(path) for path in (self.certificate, self.key, self.authority) if path is not None)


def server_context(files: TlsFiles, alpn: Sequence[str] = ALPN_BOTH) -> ssl.SSLContext:
    """For connections from clients; with an ``authority``, clients must show a certificate of its (mTLS).

    At least TLS 1.2. Raises TlsError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_own(context, files)
    if files.authority is not None:
        _load_authority(context, files.authority)
        context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(list(alpn))
    return context


def client_context(files: TlsFiles, alpn: Sequence[str] = ALPN_HTTP1) -> ssl.SSLContext:
    """For connections to the model server, which must show a certificate for its name that ``authority`` signed.

    Without an ``authority`` the system's are trusted. There is no unverified way. Raises TlsError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if files.authority is not None:
        _load_authority(context, files.authority)
    else:
        context.load_default_certs()
    if files.certificate is not None:
        _load_own(context, files)
    context.set_alpn_protocols(list(alpn))
    return context


def tls_fault(error: ssl.SSLError) -> str:
    """What the two sides could not agree on, in words."""
    return str(getattr(error, "verify_message", "")) or error.reason or str(error)


def _load_own(context: ssl.SSLContext, files: TlsFiles) -> None:
    certificate, key = files.certificate, files.key
    if certificate is None or key is None:
        raise TlsError("a certificate and its key are needed, both")
    if "-----BEGIN CERTIFICATE-----" not in _read(certificate):
        raise TlsError(f"'{certificate}' holds no certificate in PEM")
    text = _read(key)
    if "PRIVATE KEY-----" not in text:
        raise TlsError(f"'{key}' holds no private key in PEM")
    if "ENCRYPTED" in text:
        raise TlsError(f"'{key}' is encrypted, and nobody is there to type its password")
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:
        reason = getattr(error, "reason", None)
        if reason == "KEY_VALUES_MISMATCH":
            raise TlsError(f"'{key}' does not fit the certificate '{certificate}'") from error
        raise TlsError(f"'{certificate}' and '{key}' cannot be used: {reason or error.strerror or error}") from error


def _load_authority(context: ssl.SSLContext, path: Path) -> None:
    _read(path)
    try:
        context.load_verify_locations(path)
    except OSError as error:
        raise TlsError(f"'{path}' holds no certificate in PEM") from error


def _read(path: Path) -> str:
    try:
        return path.read_text("latin-1")
    except OSError as error:
        raise TlsError(f"'{path}' cannot be read: {error.strerror or error}") from error


def _state(path: Path) -> object:
    try:
        found = path.stat()
    except OSError as error:
        return error.errno
    return (found.st_mtime_ns, found.st_size, found.st_ino)
