"""What the sidecar counts: plain numbers on the path, turned into Prometheus metrics when somebody scrapes.

Per stream of predictions: received = logged + sampled out + dropped + not yet written.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from prometheus_client.core import Exemplar, Metric

from driftline import names
from driftline.metric_families import counter_family, gauge_family, histogram_family
from logger_sidecar.http1.request_ids import id_text
from logger_sidecar.traces import parse_traceparent

OTHER = "other"
_BUCKETS_S = names.LATENCY_BUCKETS_S
#: So many durations are counted faster by sorting them.
_MANY = 2 * len(_BUCKETS_S)
#: Longest model, version or variant that is a label: each is on some thirty samples of every page.
_LABEL_CHARACTERS = 256
#: Longest set of labels that OpenMetrics allows on an exemplar.
_EXEMPLAR_CHARACTERS = 128


class StreamMeters:
    """Counters of one stream, and the receipt that the spool fills in.

    ``logged`` and ``lost_by_reason`` belong to the spool's thread, the others to the event loop: none needs a lock.
    """

    def __init__(self, model: str, version: str, variant: str) -> None:
        self.model, self.version, self.variant = model, version, variant
        self.requests: dict[tuple[str, int], int] = {}
        self.buckets: list[int] = [0] * (len(_BUCKETS_S) + 1)
        self.seconds = 0.0
        self.sampled_out = 0
        self.dropped: dict[str, int] = {}
        self.logged = 0
        self.lost_by_reason: dict[str, int] = {}
        #: Of some buckets of the latency histogram, one request that fell into it lately.
        self.examples: dict[int, Exemplar] = {}

    def example(self, seconds: float, at_s: float, request_id: str, traceparent: str | None) -> None:
        """Remember one answered request for the bucket that it fell into. ``at_s``: seconds since the epoch."""
        trace = parse_traceparent(traceparent)
        labels = {"request_id": id_text(request_id)} if trace is None else {"trace_id": trace.trace_id}
        if sum(len(name) + len(value) for name, value in labels.items()) <= _EXEMPLAR_CHARACTERS:
            self.examples[bisect_left(_BUCKETS_S, seconds)] = Exemplar(labels, seconds, at_s)

    def answered(self, counted: tuple[str, int], seconds: float) -> None:
        """One inference was answered. ``counted``: its protocol and status code."""
        self.requests[counted] = self.requests.get(counted, 0) + 1
        self.buckets[bisect_left(_BUCKETS_S, seconds)] += 1
        self.seconds += seconds

    def answered_many(self, counted: tuple[str, int], seconds: list[float]) -> None:
        """As ``answered`` for each; sorts ``seconds``, so that many are counted by looking at the bounds alone."""
        self.requests[counted] = self.requests.get(counted, 0) + len(seconds)
        self.seconds += sum(seconds)
        if len(seconds) < _MANY:
            for each in seconds:
                self.buckets[bisect_left(_BUCKETS_S, each)] += 1
            return
        seconds.sort()
        below = 0
        for rank, bound in enumerate(_BUCKETS_S):
            up_to = bisect_right(seconds, bound)
            self.buckets[rank] += up_to - below
            below = up_to
        self.buckets[-1] += len(seconds) - below

    def drop(self, reason: str) -> None:
        """One event was refused by the spool."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def written(self, count: int = 1) -> None:
        """Part of recorder_client.Receipt."""
        self.logged += count

    def lost(self, reason: str) -> None:
        """Part of recorder_client.Receipt."""
        self.lost_by_reason[reason] = self.lost_by_reason.get(reason, 0) + 1


class Meters:
    """All counters of one sidecar; a Prometheus collector.

    ``max_streams``: bound of the label values; a stream beyond it, one whose model the server does not know (404), or
    one with a name that is too long for a label counts under the model "other".
    """

    def __init__(
        self,
        namespace: str,
        max_streams: int,
        connections: Callable[[], int],
        inflight: Callable[[], int],
        spool: Callable[[], Sequence[tuple[names.Metric, float]]],
    ) -> None:
        self.bytes_in = 0
        self.bytes_out = 0
        #: The variant of answers that do not name one.
        self.variant = "stable"
        #: Called before the figures are told: what is not counted yet is counted now.
        self.before_collect: Callable[[], None] = _nothing
        self._namespace = namespace
        self._max_streams = max_streams
        self._connections = connections
        self._inflight = inflight
        self._spool = spool
        self._streams: dict[tuple[str, str, str], StreamMeters] = {}
        self._other = StreamMeters(OTHER, "", "")
        self._upstream_errors: dict[str, int] = {}
        self._unobserved: dict[str, int] = {}

    def follow(self, max_streams: int) -> None:
        """Bound the label values by this from now on; streams that are counted already stay."""
        self._max_streams = max_streams

    def stream(self, model: str, version: str, variant: str, status: int) -> StreamMeters:
        """The counters of one stream."""
        found = self._streams.get((model, version, variant))
        if found is None:
            longest = max(len(model), len(version), len(variant))
            if status == 404 or len(self._streams) >= self._max_streams or longest > _LABEL_CHARACTERS:
                return self._other
            found = self._streams[model, version, variant] = StreamMeters(model, version, variant)
        return found

    def upstream_error(self, reason: str) -> None:
        """The model server did not answer a request."""
        self._upstream_errors[reason] = self._upstream_errors.get(reason, 0) + 1

    def unobserved(self, reason: str) -> None:
        """A connection goes on, but what is on it is not understood any more."""
        self._unobserved[reason] = self._unobserved.get(reason, 0) + 1

    def collect(self) -> Iterable[Metric]:
        """Part of prometheus_client's Collector."""
        self.before_collect()
        streams = list(self._streams.values())
        if any(self._other.buckets):
            streams.append(self._other)
        yield self._requests(streams)
        yield self._latency(streams)
        yield self._events(streams)
        in_and_out = counter_family(names.SIDECAR_BYTES)
        in_and_out.add_metric(["in"], self.bytes_in)
        in_and_out.add_metric(["out"], self.bytes_out)
        yield in_and_out
        yield _by_reason(names.SIDECAR_UPSTREAM_ERRORS, self._upstream_errors)
        yield _by_reason(names.SIDECAR_UNOBSERVED, self._unobserved)
        gauges = [
            (names.SIDECAR_INFLIGHT, float(self._inflight())),
            (names.SIDECAR_CONNECTIONS, float(self._connections())),
            *self._spool(),
        ]
        for metric, value in gauges:
            yield gauge_family(metric, value)

    def _labels(self, stream: StreamMeters) -> list[str]:
        return [self._namespace, stream.model, stream.version, stream.variant]

    def _requests(self, streams: Sequence[StreamMeters]) -> Metric:
        family = counter_family(names.SIDECAR_REQUESTS)
        for stream in streams:
            for (protocol, status), count in list(stream.requests.items()):
                family.add_metric([*self._labels(stream), protocol, str(status)], count)
        return family

    def _latency(self, streams: Sequence[StreamMeters]) -> Metric:
        family = histogram_family(names.SIDECAR_LATENCY)
        bounds = [str(bound) for bound in _BUCKETS_S] + ["+Inf"]
        for stream in streams:
            total = 0
            cumulated: list[tuple[Any, ...]] = []
            examples = stream.examples
            for rank, (bound, count) in enumerate(zip(bounds, stream.buckets, strict=True)):
                total += count
                example = examples.get(rank)
                cumulated.append((bound, float(total)) if example is None else (bound, float(total), example))
            family.add_metric(self._labels(stream), cumulated, stream.seconds)
        return family

    def _events(self, streams: Sequence[StreamMeters]) -> Metric:
        family = counter_family(names.CAPTURE_EVENTS)
        for stream in streams:
            labels = self._labels(stream)
            family.add_metric([*labels, names.OUTCOME_LOGGED, ""], stream.logged)
            family.add_metric([*labels, names.OUTCOME_SAMPLED_OUT, ""], stream.sampled_out)
            for reasons in (stream.dropped, stream.lost_by_reason):
                for reason, count in list(reasons.items()):
                    family.add_metric([*labels, names.OUTCOME_DROPPED, reason], count)
        return family


def _nothing() -> None:
    pass


def _by_reason(metric: names.Metric, counted: Mapping[str, int]) -> Metric:
    family = counter_family(metric)
    for reason, count in list(counted.items()):
        family.add_metric([reason], count)
    return family
