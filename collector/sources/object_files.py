"""Files in an object store; the only module of this room that knows obstore. Loaded where an address asks for it."""

from collections.abc import Sequence

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from collector.sources.file_places import FileSeen
from driftline.errors import SettingsError, UnavailableError


class ObjectFiles:
    """Objects below ``address`` (``s3://BUCKET/PREFIX``, ``gs://``, ``az://``).

    Credentials and endpoints come from the environment, as the store's own tools have them. An object appears whole.
    """

    def __init__(self, address: str) -> None:
        try:
            self._store = from_url(address)
        except (BaseError, ValueError) as error:
            raise SettingsError("files_from", [f"'{address}' is no address of an object store: {error}"]) from error

    def list(self) -> Sequence[FileSeen]:
        """As ``FilePlace.list``."""
        try:
            return [
                FileSeen(str(one["path"]), round(one["last_modified"].timestamp() * 1e9), int(one["size"]))
                for chunk in obstore.list(self._store)
                for one in chunk
            ]
        except BaseError as error:
            raise UnavailableError("files", str(error)) from error

    def read(self, path: str) -> bytes | None:
        """As ``FilePlace.read``."""
        try:
            return bytes(obstore.get(self._store, path).bytes())
        except FileNotFoundError:
            return None
        except BaseError as error:
            raise UnavailableError("files", str(error)) from error
