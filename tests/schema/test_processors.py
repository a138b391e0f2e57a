"""The rate of a board's processor, and assignments that leave layers to it."""

from __future__ import annotations

from dataclasses import replace

import msgpack
import pytest
from convoy_schema import codec
from convoy_schema.bundle import Method
from convoy_schema.costs import Cost
from convoy_schema.errors import DecodeError
from convoy_schema.messages.desired import Assignment, Intent, Role
from convoy_schema.names import Generation
from convoy_schema.processors import ProcessorRate

TOLD = Assignment(
    Intent("shop", "net", "1", Method.LIBRARY),
    Generation(1, 1),
    Role.SERVING,
    "0" * 64,
    0,
    1,
    ("conv", "dense"),
    (),
    (),
    (),
    64,
    8,
)


def test_the_slower_of_multiplying_and_moving_decides_and_a_call_is_paid_once_a_batch() -> None:
    rate = ProcessorRate(1000.0, 100.0, 0.5)
    assert rate.seconds(Cost(2000, 10, 20)) == 0.5 + 2.0
    assert rate.seconds(Cost(2000, 100, 200)) == 0.5 + 3.0
    assert rate.seconds(Cost(2000, 10, 20), 8) == 0.5 + 16.0


def test_an_assignment_leaves_only_its_own_layers_to_the_processor() -> None:
    some = replace(TOLD, processor=("dense",))
    assert codec.unpack(Assignment, codec.pack(some)) == some
    fields = msgpack.unpackb(codec.pack(some))
    fields["processor"] = ["dense", "softmax"]
    with pytest.raises(DecodeError, match="'softmax' is none of them"):
        codec.unpack(Assignment, msgpack.packb(fields))


def test_an_older_peers_assignment_leaves_none() -> None:
    fields = msgpack.unpackb(codec.pack(TOLD))
    del fields["processor"]
    assert codec.unpack(Assignment, msgpack.packb(fields)) == TOLD
