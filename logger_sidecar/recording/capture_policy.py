"""What is kept of the inferences."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from logger_sidecar.http1.routes import Route
from logger_sidecar.recording.sampling import Sampler


class StreamFields(TypedDict):
    """What all events of a stream say that are kept at one rate, as ``driftline.events.InferenceEvent`` names it."""

    source: str
    model: str
    model_version: str
    variant: str
    namespace: str
    protocol: str
    sample_rate: float


@dataclass(frozen=True, slots=True)
class CapturePolicy:
    """What is kept of the inferences, and what their events say about where they come from.

    ``model_samplers``: of models that do not go by ``sampler``. ``metadata``: of every event.
    """

    source: str
    namespace: str = "default"
    variant: str = "stable"
    sampler: Sampler = field(default_factory=Sampler)
    model_samplers: Mapping[str, Sampler] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)

    def stream_of(self, route: Route, variant: str, rate: float) -> StreamFields:
        """What events of this route and variant say of where they come from."""
        return {
            "source": self.source,
            "model": route.model,
            "model_version": route.version,
            "variant": variant,
            "namespace": self.namespace,
            "protocol": route.protocol,
            "sample_rate": rate,
        }

    def sampler_of(self, model: str) -> Sampler:
        """What decides which inferences of this model are kept."""
        return self.model_samplers.get(model, self.sampler)
