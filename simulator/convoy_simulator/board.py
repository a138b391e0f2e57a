"""A board in virtual time: the real daemon on a line, a disk, a part and a clock of its own."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convoy_bitstreams import floorplans
from convoy_device import effects
from convoy_device.agent import EXIT_REPLACED
from convoy_device.config import Config
from convoy_device.daemon import Daemon
from convoy_device.errors import FabricError
from convoy_device.fabric.emulated import EmulatedFabric
from convoy_device.log_ring import LogRing
from convoy_schema.surroundings import Surroundings
from convoy_schema.topology import Kind

from convoy_simulator.cpu import Process
from convoy_simulator.disk import ForgetfulDisk
from convoy_simulator.fabric_memory import States, VolatileMemory
from convoy_simulator.host import URL, Host
from convoy_simulator.life import Life
from convoy_simulator.network import Line, Network
from convoy_simulator.virtual_time import VirtualPool

#: Seconds that a board takes to boot.
BOOT_S = 20.0
#: How fast boards' clocks run: as quartz does, and one in so many as nothing does that is not broken.
QUARTZ, BROKEN, BROKEN_ONE_IN = (1.0, 1.0002, 0.9998), (1.03, 0.97), 40
#: Exit codes after which the service manager starts nothing: the configuration, and another daemon of this name.
_STAYS_DOWN = (2, EXIT_REPLACED)
#: Seconds of a core for each of a board's slow acts, as measured on the machine of calibration.toml.
SECONDS = {
    effects.StoreBlock: 0.0012,
    effects.FinishArtifact: 0.0035,
    effects.VerifyArtifacts: 0.024,
    effects.LoadLayers: 0.0016,
    effects.LoadShell: 0.038,
    effects.Configure: 0.010,
    effects.SelfTest: 0.0015,
}
_SAVE_S = 0.001
#: What syncs, and seconds that a disk takes for it: twice, for the bytes and for the name.
_SYNCS = (
    effects.FinishArtifact,
    effects.SaveModel,
    effects.SaveLastGood,
    effects.SaveEpoch,
    effects.SaveTrust,
    effects.SaveRestart,
)
SYNC_S = 0.005


@dataclass
class Watching:
    """Told of what must never happen, and of images that are loaded."""

    fault: Callable[[str], None]
    may_load: Callable[[bytes, str], bool]


class WatchedFabric(EmulatedFabric):
    """Every image that goes in is one that a signed bundle names."""

    watching: Watching
    board: str

    def load_shell(self, image: bytes) -> None:
        """See `Fabric`."""
        self._check(image, "")
        super().load_shell(image)

    def configure(self, partition: str, kind: Kind, image: bytes) -> None:
        """See `Fabric`."""
        self._check(image, partition)
        super().configure(partition, kind, image)

    def _check(self, image: bytes, partition: str) -> None:
        if not self.watching.may_load(image, partition):
            place = partition or "the shell"
            self.watching.fault(f"{self.board}: an image that no signed bundle names is loaded into {place}")


class WatchedMemory(VolatileMemory):
    """No partition is connected while its frames change. The next `failures` writes do not succeed."""

    watching: Watching
    board: str
    failures = 0

    def write(self, numbers: Any, frames: Any) -> None:
        """See `VolatileMemory`."""
        if self.failures:
            self.failures -= 1
            raise FabricError("the configuration port does not answer")
        for place in range(16):
            if self.flags(place) & 1 and self._concerns(place, numbers):
                self.watching.fault(f"{self.board}: partition {place} is connected while its frames change")
        super().write(numbers, frames)

    @staticmethod
    @functools.lru_cache(maxsize=256)
    def _frames_of(place: int) -> frozenset[int]:
        plans = [plan for plan in floorplans().values() if plan.partitions]
        regions = list(plans[0].regions.values())
        return frozenset(regions[place].tolist()) if place < len(regions) else frozenset()

    def _concerns(self, place: int, numbers: Any) -> bool:
        return not self._frames_of(place).isdisjoint(numbers.tolist())


class Board(Host):
    """One board. `start` it; faults are methods."""

    restart_s = 5.0
    rss_bytes = 24 * 1024 * 1024

    def __init__(
        self,
        name: str,
        site: str,
        network: Network,
        line: Line,
        watching: Watching,
        seed: int,
        *,
        key: Path,
        states: States,
        settings: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(name, site, network, line, watching.fault, seed)
        self._watching = watching
        self.config = Config(name, site, URL, Path("/virtual") / name, key, **(settings or {}))
        self.disk = ForgetfulDisk(self._step)
        self.memory = WatchedMemory(states, self._step)
        self.memory.watching, self.memory.board = watching, name
        #: How many of its seconds a second takes, and what its clock shows at the beginning.
        self.has_broken_clock = not self.chance.randrange(BROKEN_ONE_IN)
        self.rate = self.chance.choice(BROKEN if self.has_broken_clock else QUARTZ)
        self._clock_at = self.chance.uniform(0, 1000)
        #: How many times as long as usual the disk and the fabric take.
        self.slowness = 1.0
        self.sync_s = SYNC_S
        #: The processor that the disk and the fabric's work take; None: they take their time beside each other.
        self.cpu: Process | None = None
        self.daemon: Daemon | None = None
        self.is_powered = True
        #: For how long (seconds) its power is gone after the life that ends next.
        self._dark_s: float | None = None

    def _step(self, what: str) -> None:
        self.life.step(what)

    # What runs -------------------------------------------------------------------------------------------------------

    def process(self, surroundings: Surroundings) -> Coroutine[Any, Any, int]:
        """See `Host`."""
        fabric = WatchedFabric(
            Path("/virtual"), floorplans=floorplans(), offered=self.config.partitions, memory=self.memory
        )
        fabric.watching, fabric.board = self._watching, self.name
        life = self.life
        self.daemon = Daemon(
            self.config,
            VirtualPool(self._seconds_of, lambda: life.is_over),
            fabric=fabric,
            kept_log=_no_log(),
            disk=self.disk,
            surroundings=surroundings,
        )
        return self.daemon.run()

    def may_start(self) -> bool:
        """See `Host`."""
        return self.is_powered

    def cleared(self) -> None:
        """See `Host`."""
        self.disk.process_ends()

    def judge(self, outcome: object) -> bool:
        """See `Host`."""
        if outcome == EXIT_REPLACED:
            self.fault(f"{self.name}: the daemon thinks that another has its name")
        return super().judge(outcome) and outcome not in _STAYS_DOWN

    def clock(self) -> Callable[[], float]:
        """See `Host`."""
        loop = asyncio.get_running_loop()
        return lambda: self._clock_at + loop.time() * self.rate

    def _seconds_of(self, work: Callable[..., Any]) -> float:
        effect = work.args[0] if isinstance(work, functools.partial) and work.args else None
        seconds = SECONDS.get(type(effect), _SAVE_S) if effect is not None else _SAVE_S
        seconds *= self.slowness * self.chance.uniform(0.5, 1.5)
        waits = 2 * self.sync_s * self.slowness if isinstance(effect, _SYNCS) else 0.0
        if self.cpu is None:
            return seconds + waits
        now = asyncio.get_running_loop().time()
        return self.cpu.take(now, seconds) - now + waits

    # Faults ----------------------------------------------------------------------------------------------------------

    def lose_power(self, seconds: float = BOOT_S, within_steps: int = 0) -> None:
        """And have it again after `seconds`: nothing is in the part, and on disk what was synced.

        At once, or before one of the next `within_steps` steps of its process, which must come within as long.
        """
        if within_steps and self.is_up:
            self.kill(within_steps, seconds)
            self._dark_s = seconds
        else:
            self._go_dark(seconds)

    def spare(self, life: Life) -> None:
        """See `Host`."""
        super().spare(life)
        if life is self.life:
            self._dark_s = None

    def _ended(self) -> None:
        super()._ended()
        if self._dark_s is not None:
            self._go_dark(self._dark_s)

    def _go_dark(self, seconds: float) -> None:
        self._dark_s = None
        if not self.is_powered:
            return
        self.is_powered = False
        for link in self.links:
            link.vanish()
        self.life.end()
        self.disk.lose_power(self.chance)
        self.memory.lose_power()
        asyncio.get_running_loop().call_later(seconds, self._power_returns)

    def _power_returns(self) -> None:
        self.is_powered = True
        self.start()


@functools.lru_cache(maxsize=1)
def _no_log() -> LogRing:
    return LogRing(1, 1)
