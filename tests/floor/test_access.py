"""Tokens and what they allow."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.access import (
    ADMIN,
    DATA_ERASE,
    LABELS_WRITE,
    SCOPES,
    AccessBook,
    AccessError,
    FollowedBook,
    Grant,
    TokenEntry,
    check_exposure,
    digest_of,
    entry_yaml,
    new_token,
)
from driftline.errors import SettingsError


def book(*entries: TokenEntry) -> AccessBook:
    """A list that went through its file."""
    return AccessBook.parse(entry_yaml(entries))


def entry(token: str, *scopes: str, name: str = "feed", **more: object) -> TokenEntry:
    models = more.pop("models", ("*",))
    return TokenEntry(Grant(name, frozenset(scopes), models), digest_of(token), **more)


def refused(found: AccessBook, header: str | None, now_s: float = 0.0) -> AccessError:
    with pytest.raises(AccessError) as caught:
        found.authenticate(header, now_s)
    return caught.value


def test_only_the_digest_of_a_token_is_kept_and_it_is_sha256() -> None:
    token = new_token()
    written = entry_yaml([entry(token, LABELS_WRITE)])
    assert token not in written
    assert hashlib.sha256(token.encode()).hexdigest() in written


def test_tokens_are_long_and_never_the_same() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert min(map(len, tokens)) >= 43


@given(st.lists(st.sampled_from(sorted(SCOPES)), min_size=1), st.sampled_from(sorted(SCOPES)))
def test_a_token_allows_its_scopes_and_admin_allows_all(given_scopes: list[str], asked: str) -> None:
    token = new_token()
    grant = book(entry(token, *given_scopes)).authenticate(f"Bearer {token}", 0.0)
    assert grant.allows(asked) == (asked in given_scopes or ADMIN in given_scopes)


def test_a_token_may_stand_as_the_password_of_an_url() -> None:
    token = new_token()
    header = base64.b64encode(f"anybody:{token}".encode()).decode()
    assert book(entry(token, LABELS_WRITE)).authenticate(f"Basic {header}", 0.0).name == "feed"


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Digest x", "Basic !!", "Basic eDp5", "Bearer wrong-token"]
)
def test_what_is_no_known_token_is_answered_401_without_an_echo(header: str | None) -> None:
    error = refused(book(entry(new_token(), ADMIN)), header)
    assert error.status == 401
    assert "wrong-token" not in str(error)


def test_an_expired_token_is_refused_from_its_last_second_on() -> None:
    token = new_token()
    found = book(entry(token, ADMIN, expires_s=1000.0))
    assert found.authenticate(f"Bearer {token}", 999.0).name == "feed"
    assert refused(found, f"Bearer {token}", 1000.0).status == 401


@pytest.mark.parametrize(
    ("models", "model", "allowed"),
    [
        (("*",), "any/thing", True),
        (("default/flights",), "default/flights", True),
        (("default/flights",), "default/flights2", False),
        (("team-a/*",), "team-a/x", True),
        (("team-a/*",), "team-b/x", False),
    ],
)
def test_a_token_is_for_its_models(models: tuple[str, ...], model: str, allowed: bool) -> None:
    assert Grant("a", frozenset({ADMIN}), models).allows_model(model) == allowed


def test_what_lacks_is_named() -> None:
    with pytest.raises(AccessError, match="'feed' lacks the scope 'data:erase'") as caught:
        Grant("feed", frozenset({LABELS_WRITE})).require(DATA_ERASE)
    assert (caught.value.status, caught.value.needs) == (403, DATA_ERASE)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("nothing: here", "no list 'tokens:'"),
        ("tokens: [{]", "not YAML in line 1"),
        ("tokens: [7]", "token 1 is not a mapping"),
        ("tokens: [{name: a, sha256: short, scopes: [admin]}]", "sha256 is not 64"),
        (f"tokens: [{{name: a, sha256: {'0' * 64}, scopes: [label:write]}}]", "did you mean 'labels:write'"),
        (
            f"tokens: [{{name: a, sha256: {'0' * 64}, scopes: [admin], models: [flights]}}]",
            "'flights' is not NAMESPACE",
        ),
        (f"tokens: [{{name: a, sha256: {'0' * 64}, scopes: [admin], expires: soon}}]", "expires is not a moment"),
        (f"tokens: [{{name: a, sha256: {'0' * 64}, scopes: [admin], secret: x}}]", "unknown key 'secret'"),
        ("tokens: [{sha256: 5}]", "token 1 has no name"),
    ],
)
def test_a_wrong_list_is_refused_with_every_fault(text: str, fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        AccessBook.parse(text)


def test_two_tokens_of_one_name_are_refused() -> None:
    with pytest.raises(SettingsError, match="'feed' is used twice"):
        book(entry(new_token(), ADMIN), entry(new_token(), ADMIN))


def test_a_changed_list_is_followed_and_a_broken_one_changes_nothing() -> None:
    first, second = new_token(), new_token()
    text = [entry_yaml([entry(first, ADMIN)])]
    told: list[SettingsError | None] = []
    followed = FollowedBook(lambda: text[0], lambda: text[0], "file", told.append)
    assert followed().authenticate(f"Bearer {first}", 0.0)
    text[0] = entry_yaml([entry(second, ADMIN)])
    assert followed().authenticate(f"Bearer {second}", 0.0)
    refused(followed(), f"Bearer {first}")
    text[0] = "tokens: 5"
    assert followed().authenticate(f"Bearer {second}", 0.0)
    assert [fault is None for fault in told] == [True, False]


@pytest.mark.parametrize(
    ("host", "auth", "has_tokens", "fault"),
    [
        ("0.0.0.0", "auto", False, "driftline tokens create"),
        ("", "auto", False, "driftline tokens create"),
        ("10.0.0.7", "auto", False, "driftline tokens create"),
        ("127.0.0.1", "tokens", False, "there are none"),
        ("127.0.0.1", "none", True, "leave one of them out"),
    ],
)
def test_a_part_that_would_ask_nobody_does_not_start(host: str, auth: str, has_tokens: bool, fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        check_exposure("collector", host, auth, has_tokens=has_tokens)


@pytest.mark.parametrize(
    ("host", "auth", "has_tokens"),
    [("127.0.0.1", "auto", False), ("0.0.0.0", "none", False), ("0.0.0.0", "auto", True), ("::1", "auto", False)],
)
def test_a_part_that_asks_or_need_not_ask_starts(host: str, auth: str, has_tokens: bool) -> None:
    check_exposure("collector", host, auth, has_tokens=has_tokens)
