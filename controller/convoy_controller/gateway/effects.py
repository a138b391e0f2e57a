"""What the gateway's core asks its shell to do; plain data, carried out by `service` or by the simulator."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from convoy_schema.errors import ConvoyError
from convoy_schema.frames import Frame
from convoy_schema.names import Generation
from numpy.typing import NDArray


class SendFrame(NamedTuple):
    """Publish `frame` to `receiver` at QoS 0; what does not arrive is sent again by the core's own timers."""

    receiver: str
    frame: Frame


class Complete(NamedTuple):
    """All rows of a request are there: int8 (rows, *shape of the output tensor)."""

    request: int
    outputs: NDArray[np.int8]
    generation: Generation


class Fail(NamedTuple):
    """The request ends without an answer."""

    request: int
    error: ConvoyError


class Report(NamedTuple):
    """Something changed that the controller waits for: publish a report now rather than at the next second."""


Effect = SendFrame | Complete | Fail | Report
