"""Where a part's tokens come from: a file that is followed while it runs, or the environment."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from driftline.access import Access, AccessBook, FollowedBook, check_exposure, is_loopback
from driftline.errors import SettingsError

_log = logging.getLogger("driftline.tokens")


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """Who may use what a part serves; settings of the parts that serve over HTTP begin with these.

    ``auth``: tokens; none, where something in front asks for them; or auto: tokens where there are some.
    ``tokens_file``: what 'driftline tokens create' writes, followed while running; ``tokens``: the content of such a
    file, as the environment of a container gives it. ``open_paths``: endpoints that need no token.
    """

    auth: Literal["auto", "tokens", "none"] = "auto"
    tokens_file: Path | None = None
    tokens: str = field(default="", repr=False)
    open_paths: tuple[str, ...] = ("/healthz", "/metrics")


def _ignore_reload(_fault: SettingsError | None) -> None:
    """Report nothing."""


def access_of(
    part: str,
    host: str,
    settings: AccessSettings,
    on_reload: Callable[[SettingsError | None], None] = _ignore_reload,
    *,
    may_be_open: bool = False,
) -> Access:
    """How ``part`` decides who may; raises SettingsError where it would listen to other machines without tokens.

    ``auto`` without tokens listens to this machine only; with ``may_be_open`` to others as well, and the log says so
    once. ``on_reload``: told when the file was read again, and of its fault where it could not be.
    """
    auth, tokens_file, tokens = settings.auth, settings.tokens_file, settings.tokens
    has_tokens = tokens_file is not None or bool(tokens)
    if tokens_file is not None and tokens:
        raise SettingsError(part, ["'tokens_file' and 'tokens' are both given; one of them is enough"])
    check_exposure(part, "localhost" if may_be_open else host, auth, has_tokens=has_tokens)
    if not has_tokens and auth == "auto":
        who = "this machine" if is_loopback(host) else f"whoever reaches {host or 'any of its addresses'}"
        _log.warning("%s asks for no tokens: %s may use all of it ('driftline tokens create' makes some)", part, who)
    if tokens:
        book = AccessBook.parse(tokens, f"{part} tokens")
        return Access(lambda: book)
    return Access() if tokens_file is None else Access(followed_file(tokens_file, on_reload))


def followed_file(path: Path, on_reload: Callable[[SettingsError | None], None] = _ignore_reload) -> FollowedBook:
    """The tokens of a file, read again when it changes; raises SettingsError when it cannot be read now."""

    def told(fault: SettingsError | None) -> None:
        if fault is None:
            _log.info("the tokens of %s were read again", path)
        else:
            _log.error("the tokens stay as they were: %s", fault)
        on_reload(fault)

    try:
        return FollowedBook(lambda: path.read_text(encoding="utf-8"), lambda: _stamp(path), str(path), told)
    except OSError as error:
        raise SettingsError("tokens_file", [f"{path} cannot be read: {error.strerror}"]) from error


def _stamp(path: Path) -> tuple[int, int, int] | None:
    # Mounted secrets are swapped by a link: the file's number changes even where its time does not.
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
