"""Bodies about the fleet as a whole, and who asks."""

from __future__ import annotations

from pydantic import Field

from convoy_controller.api.shapes.base import Answer
from convoy_controller.database.records import TokenRole


class Counters(Answer):
    """The fleet's counters: they only grow."""

    epoch: int
    revision: int
    generation: int
    intent: int


class About(Answer):
    """What answers here, and as whom it takes the caller."""

    version: str = Field(examples=["0.1.0"])
    instance: str = Field(description="Names the database; a restored copy has the same.")
    counters: Counters
    caller: str = Field(description="The token's name, or `local` where no token is needed.", examples=["local"])
    role: TokenRole
