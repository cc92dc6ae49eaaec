"""Who may do what: tokens with scopes, limited to models. No I/O: text comes in, decisions go out.

A token is random and shown once; what is kept of it is its SHA-256, so that whoever reads the list can use none of
them. A slow hash would add nothing: there are 256 random bits behind it, not a word that can be guessed.

>>> token = new_token()
>>> book = AccessBook.parse(
...     f"tokens: [{{name: feed, sha256: {digest_of(token)}, scopes: ['labels:write'], models: [default/flights]}}]"
... )
>>> grant = book.authenticate(f"Bearer {token}", now_s=0.0)
>>> grant.name, grant.allows("labels:write"), grant.allows_model("default/delay")
('feed', True, False)
"""

import base64
import binascii
import difflib
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from typing import Any

import yaml

from driftline.errors import DriftlineError, SettingsError

LABELS_WRITE = "labels:write"
EVENTS_WRITE = "events:write"
ALERTS_WRITE = "alerts:write"
DATA_READ = "data:read"
DATA_ERASE = "data:erase"
DEAD_LETTERS_READ = "deadletters:read"
DEAD_LETTERS_REPLAY = "deadletters:replay"
OPERATIONS_READ = "operations:read"
ADMIN = "admin"

#: Every scope, and what a token with it may do.
SCOPES: Mapping[str, str] = {
    LABELS_WRITE: "send labels and upload files of them",
    EVENTS_WRITE: "send inferences as events over HTTP",
    ALERTS_WRITE: "send alerts to the page desk, as Alertmanager does",
    DATA_READ: "read what is stored: the web pages, uploads, coverage, erasures, balances",
    DATA_ERASE: "erase what is stored of a request or a subject",
    DEAD_LETTERS_READ: "list and read dead letters, payloads included",
    DEAD_LETTERS_REPLAY: "replay dead letters",
    OPERATIONS_READ: "read metrics and health where these are not open",
    ADMIN: "all of these",
}
#: For endpoints that need no token.
OPEN = "open"
ALL_MODELS = "*"

_PREFIX = "dl_"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MODELS = re.compile(r"\*|[a-z0-9*-]+/[^/\s]+")
_KEYS = ("name", "sha256", "scopes", "models", "expires")


class AccessError(DriftlineError):
    """A request is refused; the message says why and never holds a token.

    ``status``: 401 when it is not known who asks, 403 when it is known and may not. ``needs``: the scope or model that
    lacks.
    """

    def __init__(self, status: int, detail: str, needs: str = "") -> None:
        self.status = status
        self.detail = detail
        self.needs = needs
        super().__init__(detail)


@dataclass(frozen=True, slots=True)
class Grant:
    """What the bearer of a token may do; ``models`` are NAMESPACE/MODEL, where ``*`` stands for anything."""

    name: str
    scopes: frozenset[str]
    models: tuple[str, ...] = (ALL_MODELS,)

    def allows(self, scope: str) -> bool:
        """Whether the scope is granted."""
        return scope in self.scopes or ADMIN in self.scopes

    def allows_model(self, model: str) -> bool:
        """Whether NAMESPACE/MODEL is among the models."""
        return any(pattern == ALL_MODELS or fnmatchcase(model, pattern) for pattern in self.models)

    @property
    def unlimited(self) -> bool:
        """Whether every model is allowed."""
        return ALL_MODELS in self.models

    def require(self, scope: str) -> None:
        """Raise AccessError unless the scope is granted."""
        if not self.allows(scope):
            raise AccessError(403, f"token '{self.name}' lacks the scope '{scope}' ({SCOPES[scope]})", scope)

    def require_model(self, model: str) -> None:
        """Raise AccessError unless NAMESPACE/MODEL is allowed."""
        if not self.allows_model(model):
            raise AccessError(403, f"token '{self.name}' is not for model '{model}'", model)

    def require_unlimited(self, what: str) -> None:
        """Raise AccessError unless the token is for all models, which ``what`` cannot be kept apart by."""
        if not self.unlimited:
            raise AccessError(403, f"token '{self.name}' is limited to some models, and {what}", ALL_MODELS)


#: What everybody may where no tokens are asked for.
EVERYBODY = Grant("everybody", frozenset({ADMIN}))


@dataclass(frozen=True, slots=True)
class TokenEntry:
    """One token of the list; ``expires_s``: seconds since the epoch, None: never."""

    grant: Grant
    sha256: str
    expires_s: float | None = None


@dataclass(frozen=True, slots=True)
class AccessBook:
    """All tokens that are known."""

    entries: tuple[TokenEntry, ...] = ()

    @classmethod
    def parse(cls, text: str, origin: str = "tokens") -> "AccessBook":
        """Read YAML or JSON, ``tokens:`` with a list; raises SettingsError that names every fault and no digest."""
        try:
            content = yaml.safe_load(text) or {}
        except yaml.YAMLError as error:
            place = getattr(error, "problem_mark", None)
            where = f" in line {place.line + 1}" if place is not None else ""
            raise SettingsError(origin, [f"is not YAML{where}"]) from error
        listed = content.get("tokens") if isinstance(content, dict) else None
        if not isinstance(listed, list):
            raise SettingsError(origin, ["holds no list 'tokens:'"])
        faults: list[str] = []
        entries = [_entry(each, f"token {number}", faults) for number, each in enumerate(listed, 1)]
        names = [entry.grant.name for entry in entries]
        faults += [f"token name '{name}' is used twice" for name in sorted({n for n in names if names.count(n) > 1})]
        if faults:
            raise SettingsError(origin, faults)
        return cls(tuple(entries))

    def authenticate(self, authorization: str | None, now_s: float) -> Grant:
        """The grant behind an ``Authorization`` header (Bearer, or Basic with the token as password).

        Raises AccessError with status 401. Every known token is compared, each in constant time.
        """
        if not authorization:
            raise AccessError(401, "a token is needed: 'Authorization: Bearer TOKEN'")
        token = _given_token(authorization)
        if token is None:
            raise AccessError(401, "the Authorization header is neither 'Bearer TOKEN' nor 'Basic' with it as password")
        digest = digest_of(token)
        found = None
        for entry in self.entries:
            if hmac.compare_digest(entry.sha256, digest):
                found = entry
        if found is None:
            raise AccessError(401, "the token is not known here; it may have been revoked")
        if found.expires_s is not None and now_s >= found.expires_s:
            raise AccessError(401, f"token '{found.grant.name}' has expired")
        return found.grant


class FollowedBook:
    """The tokens of a source that may change while a process runs.

    ``stamp`` says cheaply whether ``read`` would give something new. A list that is gone or faulty changes nothing:
    the old one stays in force, and ``on_reload`` is told the fault (None: it was read well).
    """

    def __init__(
        self,
        read: Callable[[], str],
        stamp: Callable[[], object],
        origin: str,
        on_reload: Callable[[SettingsError | None], None] = lambda _fault: None,
    ) -> None:
        self._read = read
        self._stamp = stamp
        self._origin = origin
        self._on_reload = on_reload
        self._seen = stamp()
        self._book = AccessBook.parse(read(), origin)

    def __call__(self) -> AccessBook:
        """The tokens now in force."""
        try:
            seen = self._stamp()
            if seen == self._seen:
                return self._book
            self._seen = seen
            self._book = AccessBook.parse(self._read(), self._origin)
        except SettingsError as fault:
            self._on_reload(fault)
        except OSError as error:
            self._on_reload(SettingsError(self._origin, [f"cannot be read: {error.strerror}"]))
        else:
            self._on_reload(None)
        return self._book


@dataclass(frozen=True, slots=True)
class Access:
    """How a process decides: by tokens, or that everybody may (``book`` None)."""

    book: Callable[[], AccessBook] | None = None

    def grant(self, authorization: str | None, now_s: float) -> Grant:
        """Who asks; raises AccessError with status 401."""
        return EVERYBODY if self.book is None else self.book().authenticate(authorization, now_s)

    def allow(self, authorization: str | None, scope: str, now_s: float) -> Grant:
        """Who asks, if they may what needs ``scope``; raises AccessError. What is open is not asked about."""
        if scope == OPEN:
            return EVERYBODY
        grant = self.grant(authorization, now_s)
        grant.require(scope)
        return grant


def new_token() -> str:
    """A fresh token of 256 random bits."""
    return _PREFIX + secrets.token_urlsafe(32)


def digest_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def check_exposure(part: str, host: str, auth: str, *, has_tokens: bool) -> None:
    """Raise SettingsError where a part would listen to other machines without tokens."""
    if auth == "tokens" and not has_tokens:
        raise SettingsError(part, ["'auth' is tokens, and there are none: give 'tokens_file' or 'tokens'"])
    if auth == "none" and has_tokens:
        raise SettingsError(part, ["'auth' is none, and there are tokens: leave one of them out"])
    if auth == "auto" and not has_tokens and not is_loopback(host):
        advice = (
            f"'host' {host} can be reached from elsewhere and there are no tokens: make some with 'driftline tokens "
            "create' and give 'tokens_file', or say auth 'none' where something in front asks for them"
        )
        raise SettingsError(part, [advice])


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("")
    (True, True, False, False)
    """
    return host in ("localhost", "::1", "[::1]") or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None


def entry_yaml(entries: Sequence[TokenEntry]) -> str:
    """The list as it is written to a file."""
    listed = []
    for entry in entries:
        one: dict[str, Any] = {
            "name": entry.grant.name,
            "sha256": entry.sha256,
            "scopes": sorted(entry.grant.scopes),
            "models": list(entry.grant.models),
        }
        if entry.expires_s is not None:
            one["expires"] = datetime.fromtimestamp(entry.expires_s, UTC).isoformat()
        listed.append(one)
    return yaml.safe_dump({"tokens": listed}, sort_keys=False)


def scope_faults(scopes: Sequence[str]) -> list[str]:
    """A sentence per scope that does not exist, with the nearest that does."""
    faults = []
    for scope in scopes:
        if scope not in SCOPES:
            near = difflib.get_close_matches(scope, SCOPES, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(SCOPES)}"
            faults.append(f"'{scope}' is not a scope; {hint}")
    return faults


def model_faults(models: Sequence[str]) -> list[str]:
    """A sentence per pattern that can name no model."""
    return [f"'{model}' is not NAMESPACE/MODEL" for model in models if not _MODELS.fullmatch(model)]


def _given_token(authorization: str) -> str | None:
    scheme, _, rest = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip() or None
    if scheme.lower() == "basic":
        # Loggers that can be told nothing but an URL send what stands in it before the @.
        try:
            return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[2] or None
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return None
    return None


def _entry(given: object, place: str, faults: list[str]) -> TokenEntry:
    one: dict[Any, Any] = given if isinstance(given, dict) else {}
    if not isinstance(given, dict):
        faults.append(f"{place} is not a mapping of {', '.join(_KEYS)}")
    faults += [f"{place} has the unknown key '{key}'" for key in one if key not in _KEYS]
    name = str(one.get("name") or "")
    if not name:
        faults.append(f"{place} has no name")
    sha256 = str(one.get("sha256") or "")
    if not _SHA256.fullmatch(sha256):
        faults.append(f"{place}: sha256 is not 64 hexadecimal digits; 'driftline tokens create' writes them")
    scopes = _texts(one, "scopes", (), place, faults)
    if not scopes:
        faults.append(f"{place} has no scopes")
    models = _texts(one, "models", (ALL_MODELS,), place, faults)
    faults += [f"{place}: {fault}" for fault in (*scope_faults(scopes), *model_faults(models))]
    return TokenEntry(Grant(name, frozenset(scopes), models), sha256, _expiry(one.get("expires"), place, faults))


def _texts(
    one: Mapping[Any, Any], key: str, default: tuple[str, ...], place: str, faults: list[str]
) -> tuple[str, ...]:
    value = one.get(key, default)
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        faults.append(f"{place}: {key} is not a list of texts")
        return default
    return tuple(value)


def _expiry(value: object, place: str, faults: list[str]) -> float | None:
    if value is None:
        return None
    try:
        # YAML reads moments itself.
        moment = datetime.fromisoformat(value.isoformat() if isinstance(value, date) else str(value))
    except ValueError:
        faults.append(f"{place}: expires is not a moment such as 2027-01-31T00:00:00+00:00")
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
