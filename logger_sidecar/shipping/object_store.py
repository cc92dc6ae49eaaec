"""Where objects are put: a bucket of S3, of whatever speaks S3, or of Google's storage. The module that knows obstore.

obstore is the Rust object_store library: both kinds of store with their credential chains (environment, web identity,
instance metadata, service account), retries and atomic multi-part uploads, in one compiled library of 15 MB. pyarrow's
file systems need the 150 MB that only Parquet needs otherwise; boto3 and gcsfs are two libraries with two trees of
dependencies and, for gcsfs, an event loop per thread. obstore keeps threads, which a fork would lose: the shipper is
started as a program and never forks.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import GCSStore, S3Store

from driftline.errors import SettingsError, UnavailableError
from logger_sidecar.shipping.sink_urls import SinkUrl

#: The name of an object stands twice in what the library says, before the store's own answer, which tells why.
_FAULT_LENGTH = 1000


class Bucket:
    """A bucket, or a part of one under a prefix."""

    def __init__(self, url: SinkUrl) -> None:
        self._name = url.name
        self._address = url.address
        self._prefix = url.path.strip("/")
        try:
            self._store = _s3(url) if url.scheme == "s3" else _gcs(url)
        except (BaseError, ValueError, OSError) as error:
            raise SettingsError(f"sink '{url.name}'", [_first_line(error)]) from error

    def put(self, key: str, data: bytes) -> None:
        """Part of sink_objects.ObjectStore."""
        path = f"{self._prefix}/{key}" if self._prefix else key
        try:
            obstore.put(self._store, path, data)
        except (BaseError, OSError) as error:
            raise UnavailableError(self._name, f"{self._address}: {_first_line(error)}") from error


# The library's own types of these dictionaries cannot be imported at run time.
def _client(url: SinkUrl, *, allow_http: bool) -> Any:
    options = {"timeout": timedelta(seconds=url.options["timeout"]), "allow_http": allow_http}
    if ca_file := url.options["ca_file"]:
        options["root_certificate"] = Path(ca_file).read_bytes()
    return options


def _retries(url: SinkUrl) -> Any:
    # A little, for a single answer that went wrong; a store that is away is waited for by the shipper.
    return {"max_retries": 2, "retry_timeout": timedelta(seconds=url.options["timeout"])}


def _s3(url: SinkUrl) -> S3Store:
    options = url.options
    config: Any = {"endpoint": options["endpoint"], "region": options["region"]}
    config = {name: value for name, value in config.items() if value}
    config["virtual_hosted_style_request"] = not options["path_style"]
    client = _client(url, allow_http=options["allow_http"])
    return S3Store(url.host, config=config, client_options=client, retry_config=_retries(url))


def _gcs(url: SinkUrl) -> GCSStore:
    options = url.options
    config: Any = {"base_url": options["endpoint"], "service_account": options["service_account_file"]}
    config = {name: value for name, value in config.items() if value}
    client = _client(url, allow_http=options["endpoint"].startswith("http://"))
    return GCSStore(url.host, config=config, client_options=client, retry_config=_retries(url))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:_FAULT_LENGTH] if lines else type(error).__name__
