"""y = 2 a + 3 b + 1 for MLServer; it also answers ``infer_stream`` with a response per row."""

from collections.abc import AsyncIterator

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Line(MLModel):
    """The model of the settings file beside it."""

    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        a, b = (NumpyCodec.decode_input(one) for one in sorted(payload.inputs, key=lambda one: one.name))
        output = NumpyCodec.encode_output("y", 2 * a + 3 * b + 1)
        return InferenceResponse(model_name=self.name, id=payload.id, outputs=[output])

    async def predict_stream(self, payloads: AsyncIterator[InferenceRequest]) -> AsyncIterator[InferenceResponse]:
        async for payload in payloads:
            yield await self.predict(payload)
