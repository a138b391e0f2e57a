"""What the reconciler asks its shell to do, in the order in which it must happen."""

from __future__ import annotations

from dataclasses import dataclass

from convoy_schema.messages.desired import Desired
from convoy_schema.messages.gateways import GatewayDesired

from convoy_controller.candidate import PlanRequest
from convoy_controller.database.records import DeploymentState, NewEvent
from convoy_controller.placement import Placement


@dataclass(frozen=True)
class SaveGeneration:
    """Persist this placement before anything that follows is published."""

    placement: Placement


@dataclass(frozen=True)
class PublishDesired:
    """Tell a board everything it must hold."""

    board: str
    desired: Desired


@dataclass(frozen=True)
class PublishGatewayDesired:
    """Tell a gateway what to feed."""

    gateway: str
    desired: GatewayDesired


@dataclass(frozen=True)
class DeploymentChanged:
    """A deployment's state, as its owner sees it."""

    name: str
    state: DeploymentState
    message: str


@dataclass(frozen=True)
class Record:
    """A line of the fleet's history."""

    event: NewEvent


@dataclass(frozen=True)
class PlanWanted:
    """Make this plan, in whatever thread, and bring it by `Reconciler.planned`; nobody else hears of it."""

    request: PlanRequest


#: What is written down, and then told.
Decision = SaveGeneration | PublishDesired | PublishGatewayDesired | DeploymentChanged | Record
Effect = Decision | PlanWanted
