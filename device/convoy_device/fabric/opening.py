"""Opens the fabric that a board's configuration names. The daemon calls it once, in its main thread."""

from __future__ import annotations

from pathlib import Path

from convoy_bitstreams import floorplans

from convoy_device.errors import FabricError
from convoy_device.fabric import Fabric
from convoy_device.fabric.emulated import EmulatedFabric
from convoy_device.fabric.processor import ProcessorFabric

#: Names that `open_fabric` knows.
FABRICS = ("emulated", "processor")


def open_fabric(
    name: str, state_dir: Path, *, pace: float | None = None, partitions: int | None = None, power_on: bool = False
) -> Fabric:
    """The fabric called `name`, one of `FABRICS`; its state, if it has any, lies in `state_dir`.

    `pace`, `partitions` and `power_on` concern the emulated fabric alone. Raises `FabricError` for an unknown name, or
    state that cannot be opened or is another daemon's.
    """
    if name == "emulated":
        return EmulatedFabric(state_dir, floorplans=floorplans(), pace=pace, offered=partitions, power_on=power_on)
    if name == "processor":
        return ProcessorFabric()
    raise FabricError(f"fabric must be one of {', '.join(FABRICS)}, {name!r} came", fabric=name)
