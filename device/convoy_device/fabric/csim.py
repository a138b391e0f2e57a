"""The emulated fabric with the layer library's own kernels inside: their C++ compiled by g++, as they go to the board.

Configured by the same images through the same port. Each fabric has a copy of the kernels, with memories of its own: a
layer's parameters are streamed in when another layer of its kind ran before, as a board's are. Far slower than NumPy's
arithmetic, to which it must be equal to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from convoy_hls import HlsError, Kernel, KernelError, Library, library
from convoy_hls.kernel import Chain, Loaded
from convoy_schema.floorplan import Floorplan
from convoy_schema.layers import Prepared
from convoy_schema.network import PreparedNetwork
from convoy_schema.registers import identity, kind_of
from convoy_schema.topology import Kind
from numpy.typing import NDArray

from convoy_device.errors import FabricError
from convoy_device.fabric import Runnable
from convoy_device.fabric.emulated import EmulatedFabric


class CsimFabric(EmulatedFabric):
    """See `EmulatedFabric`. Raises `FabricError` where the kernels cannot be compiled (g++ and the HLS headers)."""

    name = "csim"

    def __init__(
        self,
        state_dir: Path,
        *,
        floorplans: Mapping[str, Floorplan],
        pace: float | None = None,
        offered: int | None = None,
        power_on: bool = False,
    ) -> None:
        self._library = _library()
        self._chain = Chain(self._library)
        #: Whose parameters the kernel of each kind holds, and the chain.
        self._loaded: dict[Kind, tuple[Prepared, Loaded]] = {}
        self._network: PreparedNetwork | None = None
        super().__init__(state_dir, floorplans=floorplans, pace=pace, offered=offered, power_on=power_on)

    def load_shell(self, image: bytes) -> None:
        """See `Fabric`; every kernel begins without parameters."""
        super().load_shell(image)
        self._loaded.clear()
        self._network = None

    def configure(self, partition: str, kind: Kind, image: bytes) -> None:
        """See `Fabric`; the module's identity register is read as on a board."""
        super().configure(partition, kind, image)
        answer = Kernel(self._library, kind).identity()
        if answer != identity(kind):
            found = kind_of(answer)
            raise FabricError(
                f"the module in partition {partition} should answer {identity(kind):08X} ({kind.value}) and answers "
                f"{answer:08X} ({found.value if found else 'no module of this library'})",
                partition=partition,
                kind=kind.value,
            )
        self._loaded.pop(kind, None)  # a module begins without parameters

    def compute(self, work: Runnable, inputs: Sequence[NDArray[np.int8]]) -> NDArray[np.int8]:
        """By the kernel of the layer's kind, or the chain, which is sent its parameters unless it holds them."""
        work.check(inputs)
        try:
            if isinstance(work, PreparedNetwork):
                return self._run_network(work, inputs[0])
            return self._run_layer(work, inputs)
        except KernelError as error:
            raise FabricError(f"{work.name} did not run on its kernel: {error}", layer=work.name) from error

    def _run_layer(self, layer: Prepared, inputs: Sequence[NDArray[np.int8]]) -> NDArray[np.int8]:
        prepared, loaded = self._loaded.get(layer.kind, (None, None))
        if loaded is None or prepared is not layer:
            self._loaded.pop(layer.kind, None)
            kernel = Kernel(self._library, layer.kind)
            given = layer.given
            loaded = kernel.load(given.layer, given.inputs, layer.output, given.parameters)
            self._loaded[layer.kind] = (layer, loaded)
        return loaded.run(layer.given.arrays(inputs))

    def _run_network(self, network: PreparedNetwork, images: NDArray[np.int8]) -> NDArray[np.int8]:
        if self._network is not network:
            self._network = None
            self._chain.load(network.topology, {layer.name: layer.parameters for layer in network.layers})
            self._network = network
        return self._chain.run(images)


def _library() -> Library:
    try:
        return library()
    except HlsError as error:
        raise FabricError(f"fabric csim: {error}; or set fabric to emulated") from error
