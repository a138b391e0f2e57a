"""The Python client: `convoy.connect("http://gateway:8080").infer(array)`, or `convoy.AsyncClient` under asyncio.

It speaks the Open Inference Protocol (KServe V2) with binary tensors over the standard library, and needs the schema
and NumPy only. A `Client` may be used from many threads.
"""

from convoy.async_client import AsyncClient
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
from convoy.results import GatewayStatus, ModelInfo, Result

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "ConnectionFailedError",
    "DeadlineExceededError",
    "GatewayStatus",
    "InvalidInputError",
    "ModelInfo",
    "OverloadedError",
    "Result",
    "ServerFailedError",
    "UnavailableError",
    "UnknownModelError",
    "connect",
]
