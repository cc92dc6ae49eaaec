"""y = 2 a + 3 b + 1 on NVIDIA's Triton, which nvidia-pytriton brings.

Run as ``triton_server.py HTTP_PORT GRPC_PORT METRICS_PORT``.
"""

import sys
from typing import Any

import numpy as np
from bodies import TRITON_TOKEN
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig, TritonSecurityConfig


@batch
def line(a: Any, b: Any) -> dict[str, Any]:
    return {"y": 2 * a + 3 * b + 1}


def main(http_port: int, grpc_port: int, metrics_port: int) -> None:
    config = TritonConfig(http_port=http_port, grpc_port=grpc_port, metrics_port=metrics_port)
    with Triton(config=config, security_config=TritonSecurityConfig(access_token=TRITON_TOKEN)) as triton:
        triton.bind(
            model_name="line",
            infer_func=line,
            inputs=[Tensor(name=name, dtype=np.float64, shape=(1,)) for name in ("a", "b")],
            outputs=[Tensor(name="y", dtype=np.float64, shape=(1,))],
            config=ModelConfig(max_batch_size=64),
        )
        triton.serve()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
