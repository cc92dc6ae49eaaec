"""Which inferences are kept, and with what weight.

>>> sampler = Sampler(rate=0.0, keep_slower_than_s=1.0)
>>> sampler.kept_rate("r1", failed=False, duration_s=0.1), sampler.kept_rate("r1", failed=False, duration_s=2.0)
(None, 1.0)
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


def is_sampled(request_id: str, rate: float) -> bool:
    """Whether this request is one of the share ``rate``: the same answer for the same id, wherever it is asked.

    The first 8 bytes of the id's BLAKE2b, read as a fraction of 2**64, are below the rate.
    """
    if rate >= 1.0:
        return True
    digest = hashlib.blake2b(request_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < rate * 2.0**64


@dataclass(frozen=True, slots=True)
class Sampler:
    """A share of all by their request id, and everything that an always-keep rule names.

    ``rate``: in [0, 1]. ``keep_errors``: keep what failed (status 500 or above, a gRPC status that blames the server,
    an error inside a stream). ``keep_slower_than_s``: keep what took longer. ``keep_headers``: keep requests with
    one of these headers (name in lower case, and value; a value of "" is any value; of a repeated header any one).
    """

    rate: float = 1.0
    keep_errors: bool = True
    keep_slower_than_s: float = math.inf
    keep_headers: Sequence[tuple[str, str]] = ()

    @property
    def keeps_all(self) -> bool:
        """Whether there is nothing to decide."""
        return self.rate >= 1.0

    def kept_rate(
        self, request_id: str, *, failed: bool, duration_s: float, headers: Mapping[str, str] | None = None
    ) -> float | None:
        """The rate at which inferences like this one are kept, in (0, 1]; None: this one is not.

        What a rule always keeps is kept at the rate 1, whatever its id says, so that weighting by 1/rate stays true.
        """
        if self.rate >= 1.0 or (failed and self.keep_errors) or duration_s > self.keep_slower_than_s:
            return 1.0
        if self.keep_headers and headers and self._is_kept_for(headers):
            return 1.0
        return self.rate if is_sampled(request_id, self.rate) else None

    def _is_kept_for(self, headers: Mapping[str, str]) -> bool:
        return any(
            name in headers and (wanted in ("", headers[name]) or wanted in headers[name].split(", "))
            for name, wanted in self.keep_headers
        )
