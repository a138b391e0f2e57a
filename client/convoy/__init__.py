"""The Python client: `convoy.connect("http://gateway:8080").infer(array)`.

It speaks the Open Inference Protocol (KServe V2) with binary tensors over the standard library's HTTP, needs the schema
and NumPy only, and may be used from many threads.
"""

from convoy.client import Client, connect
from convoy.errors import (
    ClientError,
    ConnectionFailedError,
    DeadlineExceededError,
    InvalidInputError,
    OverloadedError,
    ServerFailedError,
    UnavailableError,
    UnknownModelError,
)
from convoy.results import ModelInfo, Result

__all__ = [
    "Client",
    "ClientError",
    "ConnectionFailedError",
    "DeadlineExceededError",
    "InvalidInputError",
    "ModelInfo",
    "OverloadedError",
    "Result",
    "ServerFailedError",
    "UnavailableError",
    "UnknownModelError",
    "connect",
]
