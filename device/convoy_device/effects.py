"""What a board's agent wants done. `Done` or `Failed` answers each effect of the store and the fabric, in any order."""

from __future__ import annotations

from dataclasses import dataclass

from convoy_schema.artifacts import Manifest
from convoy_schema.bundle import ModelAnnouncement
from convoy_schema.messages.boards import BoardState, Capability, Reported, Want
from convoy_schema.messages.desired import Assignment, Desired
from convoy_schema.names import Generation
from convoy_schema.signing import Statements
from convoy_schema.topology import Kind

from convoy_device.events import Role
from convoy_device.verification import StagePlan

#: (deployment, generation): what names an assignment on a board.
Key = tuple[str, Generation]

# Links: not answered, except a publication that was dropped ----------------------------------------------------------


@dataclass(frozen=True)
class Subscribe:
    """Ask for a filter."""

    role: Role
    topic: str
    qos: int


@dataclass(frozen=True)
class Unsubscribe:
    """Give a filter up."""

    role: Role
    topic: str


@dataclass(frozen=True)
class Publish:
    """Send on one of the board's own leaves, at QoS 1. Answered by `Failed` when it was dropped."""

    role: Role
    leaf: str
    message: BoardState | Capability | Reported | Want
    retain: bool = True


@dataclass(frozen=True)
class EmitPulse:
    """Send a pulse with the executor's figures."""

    epoch: int
    revision: int
    interval_ms: int
    refused: dict[str, int]


@dataclass(frozen=True)
class SendLog:
    """Send what was logged since record `after` of the log's `session`, as far as one message takes it."""

    session: int
    after: int


# The store -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StoreBlock:
    """Write a block that its manifest accepts."""

    manifest: Manifest
    block: int
    content: bytes


@dataclass(frozen=True)
class FinishArtifact:
    """Unpack a complete download, check its digest, keep it."""

    manifest: Manifest


@dataclass(frozen=True)
class SaveModel:
    """Keep a verified announcement."""

    digest: str
    announcement: ModelAnnouncement


@dataclass(frozen=True)
class SaveLastGood:
    """Keep assignments that are all ready."""

    desired: Desired


@dataclass(frozen=True)
class SaveEpoch:
    """Keep the newest epoch heard."""

    epoch: int


@dataclass(frozen=True)
class SaveRestart:
    """Keep the token by which the daemon is about to restart, so that it does so once."""

    token: str


@dataclass(frozen=True)
class SaveTrust:
    """Keep which keys may sign, the floors, and the newest signed time."""

    statements: Statements


@dataclass(frozen=True)
class CollectGarbage:
    """What is referenced; other models and downloads go at once, other artifacts when their room is needed."""

    artifacts: frozenset[str]
    models: frozenset[str]


@dataclass(frozen=True)
class DropArtifacts:
    """Artifacts that nothing has referred to for a while."""

    artifacts: frozenset[str]


@dataclass(frozen=True)
class VerifyArtifacts:
    """Hash every artifact of a stage again."""

    plan: StagePlan


@dataclass(frozen=True)
class LoadLayers:
    """Read a stage's parameters and prepare its layers."""

    plan: StagePlan


# The fabric: one at a time -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LoadShell:
    """Configure the whole fabric; every partition is blank afterwards."""

    shell: str
    image: str


@dataclass(frozen=True)
class ModuleLoad:
    """One partial bitstream into one partition."""

    partition: str
    kind: Kind
    image: str


@dataclass(frozen=True)
class Configure:
    """Load modules, each as a transaction of its own."""

    loads: tuple[ModuleLoad, ...]


@dataclass(frozen=True)
class SelfTest:
    """Golden values through a loaded stage, exact to the bit."""

    plan: StagePlan


# The executor: not answered ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Activate:
    """Let frames in, or change the routes of a stage that is live."""

    assignment: Assignment


@dataclass(frozen=True)
class Deactivate:
    """Refuse frames from now on, and let go of what was loaded."""

    key: Key


@dataclass(frozen=True)
class Stop:
    """End the daemon."""

    reason: str
    code: int


FabricEffect = LoadShell | Configure | SelfTest
StoreEffect = (
    StoreBlock
    | FinishArtifact
    | SaveModel
    | SaveLastGood
    | SaveEpoch
    | SaveRestart
    | SaveTrust
    | CollectGarbage
    | DropArtifacts
    | VerifyArtifacts
    | LoadLayers
)
LinkEffect = Subscribe | Unsubscribe | Publish | EmitPulse | SendLog
Effect = LinkEffect | StoreEffect | FabricEffect | Activate | Deactivate | Stop
