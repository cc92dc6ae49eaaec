"""y = 2 a + 3 b + 1 on KServe's Python server. Run as ``kserve_server.py HTTP_PORT GRPC_PORT``."""

import sys
from typing import Any

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer


class Line(Model):
    """V1 rows of ``{"a": ..., "b": ...}`` and V2 tensors."""

    def __init__(self) -> None:
        super().__init__("line")
        self.ready = True

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        if not isinstance(payload, InferRequest):
            return {"predictions": [2 * row["a"] + 3 * row["b"] + 1 for row in payload["instances"]]}
        inputs = {one.name: one.as_numpy() for one in payload.inputs}
        y = 2 * inputs["a"] + 3 * inputs["b"] + 1
        output = InferOutput(name="y", shape=list(y.shape), datatype="FP64")
        binary = payload.use_binary_outputs or any(
            (one.parameters or {}).get("binary_data") for one in payload.request_outputs or []
        )
        output.set_data_from_numpy(y, binary_data=bool(binary))
        return InferResponse(
            response_id=payload.id, model_name="line", infer_outputs=[output], use_binary_outputs=bool(binary)
        )


if __name__ == "__main__":
    ModelServer(http_port=int(sys.argv[1]), grpc_port=int(sys.argv[2]), workers=1).start([Line()])
