"""Where events go, said as URLs, so that file, environment and annotation say the same.

``kafka`` takes the Kafka settings. Every other sink is a URL whose query holds its options, and ``name`` gives it the
name under which it is counted and keeps its position:

>>> parse("https://broker/ns?form=kserve").name
'https-broker-ns'
>>> parse("s3://bucket/prefix?format=jsonl&name=archive").name
'archive'
>>> faults(["s3://bucket?format=xml"])
["sinks holds 's3://bucket?format=xml': format is 'xml'; it must be one of parquet, jsonl, kserve-json"]
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from driftline.errors import SettingsError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\Z")
_MAX_NAME = 100


@dataclass(frozen=True, slots=True)
class SinkUrl:
    """One sink, as it was written.

    ``options``: what the query says, read and checked; those left out have their defaults.
    """

    text: str
    scheme: str
    host: str
    port: int | None
    path: str
    name: str
    options: Mapping[str, Any]

    @property
    def address(self) -> str:
        """Scheme, host, port and path, without the options: what may stand in a log line."""
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}{self.path}" if self.scheme != "kafka" else "kafka"


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a sink. ``read`` raises ValueError with what it must be."""

    default: Any
    read: Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Scheme:
    """What a kind of sink may say.

    ``module``: the adapter, loaded only where such a sink is opened; ``extra``: which of the package's extras has what
    it imports.
    """

    module: str
    options: Mapping[str, Option]
    needs_host: bool = True
    path_alone: bool = False
    extra: str = "sidecar"


def _text(text: str) -> str:
    if not text:
        raise ValueError("a text with something in it")
    return text


def _choice(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return text

    return read


def _whole(lowest: int, highest: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and lowest <= int(text) <= highest):
            raise ValueError(f"a whole number from {lowest} to {highest}")
        return int(text)

    return read


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.0 < seconds < float("inf"):
        raise ValueError("a number of seconds above 0")
    return seconds


def _flag(text: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in words:
        raise ValueError("true or false")
    return words[text.lower()]


_BATCH = {
    "batch_events": Option(2000, _whole(1, 1_000_000)),
    "batch_bytes": Option(8 * 1024 * 1024, _whole(1, 1 << 30)),
}
#: Files rather than values: a password in a URL would stand in process lists and logs. They are read again when the
#: sink connects anew.
_TLS = {"ca_file": Option("", _text), "cert_file": Option("", _text), "key_file": Option("", _text)}
_HTTP = {
    "form": Option("kserve", _choice("kserve", "binary", "structured")),
    "inference_service": Option("", _text),
    "component": Option("predictor", _text),
    "connections": Option(8, _whole(1, 64)),
    "timeout": Option(10.0, _seconds),
    "token_file": Option("", _text),
    **_TLS,
    "batch_events": Option(200, _whole(1, 1_000_000)),
    "batch_bytes": Option(8 * 1024 * 1024, _whole(1, 1 << 30)),
}
_OTLP = {
    "spans": Option("sampled", _choice("sampled", "traced", "all")),
    "timeout": Option(10.0, _seconds),
    "token_file": Option("", _text),
    **_TLS,
    "batch_events": Option(512, _whole(1, 1_000_000)),
    "batch_bytes": Option(8 * 1024 * 1024, _whole(1, 1 << 30)),
}
_OBJECTS = {
    "format": Option("parquet", _choice("parquet", "jsonl", "kserve-json")),
    "compression": Option("zstd", _choice("none", "gzip", "zstd")),
    "batch_events": Option(50_000, _whole(1, 1_000_000)),
    "batch_bytes": Option(16 * 1024 * 1024, _whole(1, 1 << 30)),
    "max_age": Option(60.0, _seconds),
    "component": Option("predictor", _text),
    "timeout": Option(60.0, _seconds),
}
_S3 = {
    "endpoint": Option("", _text),
    "region": Option("", _text),
    "path_style": Option(True, _flag),
    "allow_http": Option(False, _flag),
    "ca_file": Option("", _text),
    **_OBJECTS,
}
_GCS = {
    "endpoint": Option("", _text),
    "service_account_file": Option("", _text),
    "ca_file": Option("", _text),
    **_OBJECTS,
}

#: Every kind of sink there is. A new one: an entry here and the module it names, which holds ``open_sink``.
SCHEMES: Mapping[str, Scheme] = {
    "kafka": Scheme("logger_sidecar.shipping.sink_kafka", {}, needs_host=False),
    "http": Scheme("logger_sidecar.shipping.sink_http", _HTTP),
    "https": Scheme("logger_sidecar.shipping.sink_http", _HTTP),
    "otlp+http": Scheme("logger_sidecar.shipping.sink_otlp", _OTLP, extra="otlp"),
    "otlp+https": Scheme("logger_sidecar.shipping.sink_otlp", _OTLP, extra="otlp"),
    "file": Scheme("logger_sidecar.shipping.sink_objects", _OBJECTS, needs_host=False, path_alone=True),
    "s3": Scheme("logger_sidecar.shipping.sink_objects", _S3),
    "gs": Scheme("logger_sidecar.shipping.sink_objects", _GCS),
}


def parse(text: str) -> SinkUrl:
    """The sink that ``text`` means; raises SettingsError with everything wrong with it."""
    subject = f"sinks holds '{_without_password(text)}'"
    try:
        parts = urlsplit(text if text != "kafka" else "kafka:")
        port = parts.port
    except ValueError as error:
        raise SettingsError(subject, [f"it is not a URL: {error}"]) from error
    scheme = SCHEMES.get(parts.scheme)
    if scheme is None:
        near = get_close_matches(parts.scheme or text, SCHEMES, n=1)
        raise SettingsError(
            subject,
            [f"it must be one of {', '.join(SCHEMES)}" + (f"; did you mean '{near[0]}'?" if near else "")],
        )
    found = _place_faults(scheme, parts)
    said = parse_qsl(parts.query, keep_blank_values=True)
    given = dict(said)
    found += [f"'{option}' is there more than once" for option in given if sum(option == one for one, _ in said) > 1]
    name = given.pop("name", "") or _name_of(parts.scheme, parts.netloc, parts.path)
    if not _NAME.match(name):
        found.append(f"its name '{name}' must be letters, digits, '-', '_' and '.', at most {_MAX_NAME}")
    options = _options(scheme.options, given, found)
    found += _secret_faults(parts.scheme, options)
    if found:
        raise SettingsError(subject, found)
    return SinkUrl(text, parts.scheme, parts.hostname or "", port, unquote(parts.path), name, options)


def faults(sinks: Sequence[str]) -> list[str]:
    """Everything wrong with a list of sinks, as sentences; two of one name would share one position."""
    found: list[str] = []
    names: dict[str, str] = {}
    for text in sinks:
        try:
            one = parse(text)
        except SettingsError as error:
            found.append(str(error))
            continue
        if one.name in names:
            found.append(
                f"sinks holds two of the name '{one.name}': '{names[one.name]}' and '{text}'; give one a name="
            )
        names[one.name] = text
    return found


def _place_faults(scheme: Scheme, parts: SplitResult) -> list[str]:
    found = []
    if parts.scheme == "kafka" and (parts.netloc or parts.path or parts.query):
        found.append("it must be 'kafka' alone; brokers and topic are the shipper's bootstrap_servers and topic")
    if parts.username or parts.password:
        found.append("it holds credentials; say where they are kept in a file, or in the environment of the store")
    if scheme.needs_host and not parts.hostname:
        found.append("it names no host")
    if scheme.path_alone and (parts.netloc or len(parts.path) < 2):
        found.append("it must be file:///PATH with an absolute path")
    if parts.fragment:
        found.append(f"'#{parts.fragment}' means nothing here")
    return found


def _secret_faults(scheme: str, options: Mapping[str, Any]) -> list[str]:
    found = []
    if bool(options.get("cert_file")) != bool(options.get("key_file")):
        found.append("cert_file and key_file belong together; one of them is missing")
    if scheme in ("http", "otlp+http") and any(options.get(option) for option in ("token_file", *_TLS)):
        found.append("a token or a certificate needs https")
    return found


def _options(known: Mapping[str, Option], given: Mapping[str, str], found: list[str]) -> dict[str, Any]:
    options = {name: option.default for name, option in known.items()}
    for name, text in given.items():
        option = known.get(name)
        if option is None:
            near = get_close_matches(name, known, n=1)
            found.append(f"'{name}' is not one of its options" + (f"; did you mean '{near[0]}'?" if near else ""))
            continue
        try:
            options[name] = option.read(text)
        except ValueError as error:
            found.append(f"{name} is '{text}'; it must be {error}")
    return options


def _name_of(scheme: str, host: str, path: str) -> str:
    words = re.findall(r"[A-Za-z0-9_.]+", f"{scheme} {host.rpartition('@')[2]} {path}")
    return "-".join(words)[:_MAX_NAME]


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@]*@", "//...@", text)
