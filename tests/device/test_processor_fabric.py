"""The processor runs every kind and has nothing to load; fabrics are opened by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from convoy_device.errors import FabricError
from convoy_device.fabric import Fabric
from convoy_device.fabric.emulated import EmulatedFabric
from convoy_device.fabric.opening import FABRICS, open_fabric
from convoy_device.fabric.processor import ProcessorFabric
from convoy_schema.layers import prepare
from convoy_schema.topology import Kind, Layer, Tensor, Topology


def test_it_runs_layers_without_anything_loaded() -> None:
    fabric: Fabric = ProcessorFabric()
    layer = Layer("same", Kind.IDENTITY, ("x",), "y")
    tensors = (Tensor("x", (3, 4, 5), 0.1, 0), Tensor("y", (3, 4, 5), 0.1, 0))
    ready = prepare(layer, Topology("t", tensors, (layer,), "x", "y"), None)
    values = np.random.default_rng(1).integers(-128, 128, (7, 3, 4, 5), dtype=np.int8)
    assert np.array_equal(fabric.run(ready, [values]), values)
    assert all(fabric.runs(kind) for kind in Kind)


def test_it_has_no_shell_and_no_partition() -> None:
    fabric = ProcessorFabric(memory_bytes=1000, clock_hz=5)
    assert (fabric.facts.name, fabric.facts.part) == ("processor", "processor")
    assert (fabric.facts.memory_bytes, fabric.facts.clock_hz) == (1000, 5)
    assert fabric.facts.shells == ()
    assert fabric.facts.partitions == ()
    assert fabric.shell() == ""
    assert fabric.partitions() == ()
    with pytest.raises(FabricError, match="without images"):
        fabric.load_shell(b"")
    with pytest.raises(FabricError, match="no partition 'west'"):
        fabric.configure("west", Kind.DENSE, b"")
    fabric.quiesce()
    fabric.close()


def test_a_fabric_is_opened_by_its_name(tmp_path: Path) -> None:
    kinds = {"emulated": EmulatedFabric, "processor": ProcessorFabric}
    assert set(FABRICS) == {*kinds, "csim", "pynq"}, "which have tests of their own"
    for name, kind in kinds.items():
        fabric = open_fabric(name, tmp_path / name)
        assert isinstance(fabric, kind)
        assert fabric.facts.name == name
        fabric.close()
    with pytest.raises(FabricError, match="one of emulated, csim, processor, pynq, 'quantum' came"):
        open_fabric("quantum", tmp_path)
    with pytest.raises(FabricError, match="fabric pynq needs"):
        open_fabric("pynq", tmp_path)
