"""Where payload files go: a directory, S3, Google's storage or Azure's, as pyarrow's file systems reach them."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pyarrow import fs

_AZURE = re.compile(r"(?:az|abfss?)://(?P<container>[^/@:?#]+)(?P<folder>/[^?#]*)?")
# As obstore has them, by which logged records are read from Azure (``files_from``).
_ACCOUNT, _ENDPOINT = "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ENDPOINT"
_CREDENTIALS = {"account_key": "AZURE_STORAGE_ACCOUNT_KEY", "sas_token": "AZURE_STORAGE_SAS_TOKEN"}


def open_file_system(root: Path | str, environ: Mapping[str, str] = os.environ) -> tuple[Any, str]:
    """The file system of a place, and the place's path in it.

    ``root``: a directory, or ``s3://BUCKET/FOLDER``, ``gs://BUCKET/FOLDER``, ``az://CONTAINER/FOLDER`` (also ``abfs://``),
    where account and credentials of the last are in ``environ``. Raises what pyarrow raises (ArrowException, OSError,
    ImportError), and ValueError.
    """
    if isinstance(root, Path):
        return fs.LocalFileSystem(), str(root.absolute())
    if azure := _AZURE.fullmatch(root):
        return _azure(environ), azure["container"] + (azure["folder"] or "")
    found: tuple[Any, str] = fs.FileSystem.from_uri(root)
    return found


def _azure(environ: Mapping[str, str]) -> Any:
    account = environ.get(_ACCOUNT)
    if not account:
        raise ValueError(f"{_ACCOUNT} does not say whose container it is")
    # Without one of them Azure's own chain is asked: a client's secret, a workload's or a machine's identity.
    options = {option: environ[name] for option, name in _CREDENTIALS.items() if environ.get(name)}
    if endpoint := environ.get(_ENDPOINT):
        options |= _authorities(account, endpoint)
    return fs.AzureFileSystem(account, **options)


def _authorities(account: str, endpoint: str) -> dict[str, str]:
    """Where the two services of an account are.

    >>> _authorities("logs", "https://logs.blob.core.usgovcloudapi.net")["dfs_storage_authority"]
    '.dfs.core.usgovcloudapi.net'
    >>> _authorities("logs", "http://127.0.0.1:10000/logs")["dfs_storage_authority"]
    '127.0.0.1:10000'
    """
    parts = urlsplit(endpoint)
    blob = parts.netloc.removeprefix(account)
    return {
        "blob_storage_authority": blob,
        "dfs_storage_authority": blob.replace(".blob.", ".dfs.", 1),
        "blob_storage_scheme": parts.scheme,
        "dfs_storage_scheme": parts.scheme,
    }
