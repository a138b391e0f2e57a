"""Opens the fabric that a board's configuration names. The daemon calls it once, in its main thread."""

from __future__ import annotations

from pathlib import Path

from convoy_bitstreams import floorplans

from convoy_device.errors import FabricError
from convoy_device.fabric import Fabric
from convoy_device.fabric.emulated import EmulatedFabric
from convoy_device.fabric.processor import ProcessorFabric

#: Names that `open_fabric` knows.
FABRICS = ("emulated", "csim", "processor", "pynq")


def open_fabric(
    name: str, state_dir: Path, *, pace: float | None = None, partitions: int | None = None, power_on: bool = False
) -> Fabric:
    """The fabric called `name`, one of `FABRICS`; its state, if it has any, lies in `state_dir`.

    `pace`, `partitions` and `power_on` concern the emulated fabric and `csim` alone. Raises `FabricError` for another
    name, or state that cannot be opened or is another daemon's, and for `pynq` where there is no such board.
    """
    if name == "emulated":
        return EmulatedFabric(state_dir, floorplans=floorplans(), pace=pace, offered=partitions, power_on=power_on)
    if name == "csim":
        # Here, because it compiles the kernels: where that is not wanted nothing of it is needed.
        from convoy_device.fabric.csim import CsimFabric

        return CsimFabric(state_dir, floorplans=floorplans(), pace=pace, offered=partitions, power_on=power_on)
    if name == "processor":
        return ProcessorFabric()
    if name == "pynq":
        return _open_board(state_dir)
    raise FabricError(f"fabric must be one of {', '.join(FABRICS)}, {name!r} came", fabric=name)


def _open_board(state_dir: Path) -> Fabric:
    try:
        # Here, because only a board has the package, and there it takes seconds to import.
        from convoy_device.fabric.pynq.board import open_board
    except ImportError as error:
        raise FabricError(
            f"fabric pynq needs the pynq package, which cannot be imported: {error}; on a PYNQ image run convoy-device "
            "from its environment, /usr/local/share/pynq-venv; elsewhere set fabric to emulated or processor"
        ) from error
    from convoy_device.fabric.pynq.fabric import PynqFabric

    state_dir.mkdir(parents=True, exist_ok=True)
    return PynqFabric(open_board(state_dir), state_dir, floorplans=floorplans())
