"""Hardware handoffs say which part and which partitions, and anything else is refused."""

from __future__ import annotations

import pytest
from convoy_controller.errors import HandoffError
from convoy_controller.handoff import parse_handoff
from convoy_schema.bitstream import XC7Z020
from hypothesis import given, settings
from hypothesis import strategies as st
from real_bitstreams import real

TEXT = """<?xml version="1.0"?>
<EDKSYSTEM><SYSTEMINFO ARCH="zynq" DEVICE="{device}" NAME="mine" PACKAGE="clg400"/>
<MODULES>{modules}</MODULES></EDKSYSTEM>"""


def handoff(device: str = "7z020", modules: str = "") -> bytes:
    return TEXT.format(device=device, modules=modules).encode()


def test_a_real_handoff_names_its_partitions() -> None:
    found = parse_handoff(real("prio.hwh.gz"))
    assert (found.design, found.device, found.package) == ("prio", "7z020", "clg400")
    assert found.partitions == tuple(f"pr_{number}" for number in range(6))
    assert found.part is XC7Z020
    assert parse_handoff(real("prio_pr_0_gpio.hwh")).partitions == ()


@pytest.mark.parametrize("mark", ["RBD", "BLOCK_CONTAINER"])
def test_partitions_of_old_and_new_tools_are_found(mark: str) -> None:
    modules = f'<MODULE BDTYPE="{mark}" INSTANCE="rp0"/><MODULE INSTANCE="dma"/>'
    assert parse_handoff(handoff(modules=modules)).partitions == ("rp0",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "XML"),
        (b"<html/>", "EDKSYSTEM"),
        (b"<EDKSYSTEM/>", "SYSTEMINFO"),
        (b'<!DOCTYPE x [<!ENTITY a "aaaa">]><EDKSYSTEM/>', "document type"),
        ('<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><EDKSYSTEM/>'.encode("utf-16"), "document type"),
        *(
            (f'<?xml version="1.0" encoding="{name}"?><EDKSYSTEM/>'.encode(), "XML")
            for name in ("utf-7", "none", "idna")
        ),
    ],
)
def test_other_files_are_refused(content: bytes, words: str) -> None:
    with pytest.raises(HandoffError, match=words):
        parse_handoff(content)


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(HandoffError, match="7z045"):
        _ = parse_handoff(handoff("7z045")).part


def test_a_refusal_stays_short_whatever_it_is_about() -> None:
    with pytest.raises(HandoffError) as refused:
        assert parse_handoff(handoff(device="x" * 8000)).part
    assert len(str(refused.value)) < 400


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=200))
def test_garbage_is_refused(content: bytes) -> None:
    with pytest.raises(HandoffError):
        parse_handoff(content)
