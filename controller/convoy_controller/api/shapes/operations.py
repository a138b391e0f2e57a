"""Bodies about long work."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from convoy_controller.api.paging import Page
from convoy_controller.api.shapes.base import Answer, Date
from convoy_controller.database.records import OperationState


class OperationLine(Answer):
    """Long work. `done` of `total`, 0 while not known; `result` once it is done, `code` and `message` if it failed."""

    id: int
    kind: str = Field(examples=["import-model"])
    subject: str = Field(examples=["lenet5:1"])
    actor: str
    state: OperationState
    step: str
    done: int
    total: int
    result: dict[str, Any]
    code: str
    message: str
    started_at: Date
    ended_at: Date | None


class OperationPage(Page[OperationLine]):
    """Long work, the newest first."""
