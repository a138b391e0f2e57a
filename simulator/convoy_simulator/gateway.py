"""A gateway in virtual time: the real service, with a new incarnation at each start."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from convoy_controller.errors import NameTakenError
from convoy_controller.gateway.service import GatewayService
from convoy_schema.surroundings import Surroundings
from convoy_schema.trust import Trust

from convoy_simulator.host import URL, Fault, Host
from convoy_simulator.network import Line, Network


class GatewayHost(Host):
    """A machine with a gateway."""

    def __init__(
        self, name: str, site: str, network: Network, line: Line, fault: Fault, seed: int, *, trust: Trust
    ) -> None:
        super().__init__(name, site, network, line, fault, seed)
        self._trust = trust
        self.service: GatewayService | None = None

    def process(self, surroundings: Surroundings) -> Coroutine[Any, Any, None]:
        """See `Host`."""
        session = surroundings.chance.getrandbits(62)
        self.service = GatewayService(self.name, self.site, URL, self._trust, session, surroundings=surroundings)
        return self.service.run()

    def judge(self, outcome: object) -> bool:
        """See `Host`."""
        if isinstance(outcome, NameTakenError):
            self.fault(f"{self.name}: the gateway thinks that another has its name")
        return super().judge(outcome)
