"""What is kept of the inferences."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from logger_sidecar.recording.sampling import Sampler


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

    def sampler_of(self, model: str) -> Sampler:
        """What decides which inferences of this model are kept."""
        return self.model_samplers.get(model, self.sampler)
