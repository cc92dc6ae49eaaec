"""Payloads as clients' own encoders write them, without a server: one JSON line each. Runs in any client's environment.

``triton``: tritonclient's requests over HTTP and gRPC; ``kserve``: KServe's SDK; ``mlserver``: MLServer's codecs.
The table is the same everywhere: three rows of a (numbers), b (texts) and c (whole numbers).
"""

import base64
import json
import struct
import sys

import numpy as np

A = np.array([[0.5], [-2.0], [1e-3]], np.float32)
B = np.array([["Paris"], ["Köln"], [""]], object)
C = np.array([[1], [-(2**40)], [0]], np.int64)


def write(name, body, headers=None):
    body = bytes(body)
    print(json.dumps({"name": name, "body": base64.b64encode(body).decode(), "headers": headers or {}}))


def frame(message):
    body = message.SerializeToString()
    return b"\0" + struct.pack(">I", len(body)) + body


def triton():
    import ml_dtypes
    import tritonclient.grpc as grpc
    import tritonclient.http as http
    from tritonclient.grpc._utils import _get_inference_request

    for binary in (True, False):
        inputs = []
        for name, array, kind in (("a", A, "FP32"), ("b", B, "BYTES"), ("c", C, "INT64")):
            tensor = http.InferInput(name, array.shape, kind)
            tensor.set_data_from_numpy(array, binary_data=binary)
            inputs.append(tensor)
        body, length = http.InferenceServerClient.generate_request_body(inputs, request_id="r1")
        headers = {} if length is None else {"inference-header-content-length": str(length)}
        write("http binary" if binary else "http json", body, headers)
        write("http without its header", body)
    half = http.InferInput("a", A.shape, "FP16")
    half.set_data_from_numpy(A.astype(np.float16))
    write("half precision", *_with_header(http, [half]))
    brain = http.InferInput("a", A.shape, "BF16")
    brain.set_data_from_numpy(A.astype(ml_dtypes.bfloat16))
    write("brain floats", *_with_header(http, [brain]))
    shared = http.InferInput("a", A.shape, "FP32")
    shared.set_shared_memory("region", 12)
    write("shared memory", *_with_header(http, [shared]))
    inputs = []
    for name, array, kind in (("a", A, "FP32"), ("b", B, "BYTES"), ("c", C, "INT64")):
        tensor = grpc.InferInput(name, list(array.shape), kind)
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    options = {"model_version": "", "request_id": "r1", "outputs": None, "sequence_id": 0, "sequence_start": False}
    options |= {"sequence_end": False, "priority": 0, "timeout": None, "parameters": None}
    message = _get_inference_request(model_name="m", inputs=inputs, **options)
    write("grpc frame", frame(message))
    write("grpc bare", message.SerializeToString())


def _with_header(http, inputs):
    body, length = http.InferenceServerClient.generate_request_body(inputs)
    return body, ({} if length is None else {"inference-header-content-length": str(length)})


def kserve():
    from kserve import InferInput, InferRequest

    for binary in (True, False):
        inputs = []
        for name, array, kind in (("a", A, "FP32"), ("b", B, "BYTES"), ("c", C, "INT64")):
            tensor = InferInput(name, list(array.shape), kind)
            tensor.set_data_from_numpy(array, binary_data=binary)
            inputs.append(tensor)
        request = InferRequest(model_name="m", infer_inputs=inputs, request_id="r1")
        made = request.to_rest()
        body, length = made if isinstance(made, tuple) else (made, None)
        if isinstance(body, dict):
            body = json.dumps(body).encode()
        write(f"rest binary={binary}", body, {} if length is None else {"inference-header-content-length": str(length)})
        write(f"grpc binary={binary}", frame(request.to_grpc()))


def mlserver():
    from mlserver.codecs import NumpyCodec, NumpyRequestCodec, StringCodec
    from mlserver.grpc.converters import ModelInferRequestConverter
    from mlserver.types import InferenceRequest

    texts = StringCodec.encode_input("b", B[:, 0].tolist())
    request = InferenceRequest(inputs=[NumpyCodec.encode_input("a", A), texts, NumpyCodec.encode_input("c", C)])
    write("rest", request.model_dump_json(exclude_none=True).encode())
    write("rest with nulls", request.model_dump_json().encode())
    write("grpc", frame(ModelInferRequestConverter.from_types(request, "m", "1")))
    write("grpc raw", frame(ModelInferRequestConverter.from_types(request, "m", "1", use_raw=True)))
    write("numpy rest", NumpyRequestCodec.encode_request(A).model_dump_json(exclude_none=True).encode())


if __name__ == "__main__":
    {"triton": triton, "kserve": kserve, "mlserver": mlserver}[sys.argv[1]]()
