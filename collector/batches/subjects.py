"""Whom a row is about, as the store knows them: by a keyed hash, found again only by those who have the secret."""

import hashlib
import hmac
from collections.abc import Sequence

from collector.labels.keys import row_keys
from collector.store.database import key_text
from driftline.columns import ColumnBatch
from driftline.events import InferenceEvent
from driftline.monitor_labels import KeySpec
from driftline.monitors import Monitor


class SubjectHasher:
    """Hashes subjects with the installation's secret, which every collector must share."""

    def __init__(self, secret: str = "") -> None:
        self._secret = secret.encode()

    def hash(self, namespace: str, model: str, subject: str) -> str:
        """128 bits of HMAC-SHA256 over the model and the subject, spelt as a UUID of version 8.

        Of each model apart, so that one person's rows cannot be put together across models by what is stored.
        """
        spelt = "\0".join((namespace, model, key_text(subject))).encode("utf-8", "replace")
        digest = hmac.new(self._secret, spelt, hashlib.sha256).hexdigest()
        return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"

    def subjects(self, monitor: Monitor, event: InferenceEvent, columns: ColumnBatch) -> Sequence[str | None]:
        """The subject of each of the event's rows, hashed; None where the request does not say."""
        spec = monitor.subject
        if spec is None:
            return [None] * columns.rows
        place = KeySpec(column=spec.column, header=spec.header, path=None, several="newest")
        known: dict[str | None, str | None] = {None: None}
        found = []
        for subject in row_keys(place, event, columns, range(columns.rows)):
            if subject not in known:
                known[subject] = self.hash(monitor.namespace, monitor.model, str(subject))
            found.append(known[subject])
        return found
