"""Requests of the V2 protocol for the network of digits, as tests send them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from convoy_controller.gateway.protocol import HEADER_LENGTH
from numpy.typing import NDArray

PIXELS = np.random.default_rng(11).integers(0, 256, (3, 1, 28, 28)).astype(np.uint8)


def json_request(array: NDArray[np.generic], datatype: str, **more: Any) -> dict[str, Any]:
    tensor = {"name": "image", "datatype": datatype, "shape": list(array.shape), "data": array.tolist()}
    return {"inputs": [tensor], **more}


def binary_request(array: NDArray[np.generic], datatype: str, **more: Any) -> tuple[bytes, dict[str, str]]:
    size = {"binary_data_size": array.nbytes}
    tensor = {"name": "image", "datatype": datatype, "shape": list(array.shape), "parameters": size}
    head = json.dumps({"inputs": [tensor], **more}).encode()
    return head + array.tobytes(), {HEADER_LENGTH: str(len(head))}
