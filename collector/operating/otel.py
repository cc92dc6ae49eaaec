"""Spans through OpenTelemetry's SDK; the only module of this room that knows it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanContext, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from collector.operating.tracing import Attributes, Span
from driftline import __version__

_SERVICE = "driftline-collector"
_PREFIX = "driftline.collector."


class _OpenSpan:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def note(self, name: str, value: str | int | float) -> None:
        """Set an attribute."""
        self._span.set_attribute(_PREFIX + name, value)


class OtelTracing:
    """A ``Tracing`` whose spans go to ``processor``."""

    def __init__(self, processor: SpanProcessor, maximum_links: int) -> None:
        self.maximum_links = maximum_links
        resource = Resource.create({"service.name": _SERVICE, "service.version": __version__})
        self._provider = TracerProvider(resource=resource)  # not the process's global one
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer(_SERVICE, __version__)

    @contextmanager
    def span(
        self,
        name: str,
        attributes: Attributes | None = None,
        links: Sequence[str] = (),
        parent: str | None = None,
        start_ns: int | None = None,
    ) -> Iterator[Span]:
        """See ``Tracing``."""
        contexts = [_span_context(each) for each in links[: self.maximum_links]]
        with self._tracer.start_as_current_span(
            name,
            context=_context(parent) if parent else None,
            attributes={_PREFIX + key: value for key, value in (attributes or {}).items()},
            links=[Link(context) for context in contexts if context.is_valid],
            start_time=start_ns,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield _OpenSpan(span)
            except Exception as error:
                # Its kind alone: what an error says may hold a value of a payload.
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise

    def past(self, name: str, start_ns: int, end_ns: int) -> None:
        """See ``Tracing``."""
        self._tracer.start_span(name, start_time=start_ns).end(end_ns)

    def close(self) -> None:
        """Deliver what is left; waits some seconds at most."""
        self._provider.shutdown()


def to_endpoint(endpoint: str, maximum_links: int) -> OtelTracing:
    """Spans by OTLP over HTTP to ``endpoint``, such as ``http://collector:4318/v1/traces``, off the working threads."""
    return OtelTracing(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=5)), maximum_links)


def _context(traceparent: str) -> Context:
    return TraceContextTextMapPropagator().extract({"traceparent": traceparent}, Context())


def _span_context(traceparent: str) -> SpanContext:
    return trace.get_current_span(_context(traceparent)).get_span_context()
