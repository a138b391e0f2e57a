"""What rows hold packed or in pieces, as plain data again. No SQL."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from convoy_schema import codec
from convoy_schema.errors import DecodeError
from convoy_schema.messages.desired import Intent

from convoy_controller.database.models import DeploymentRow
from convoy_controller.database.records import SavedDeployment, Symptom, SymptomKind

T = TypeVar("T")


def readable(kind: type[T], packed: bytes | None) -> T | None:
    """What a board once said; None where this version cannot read it: the board will say it again."""
    if packed is None:
        return None
    try:
        return codec.unpack(kind, packed)
    except DecodeError:
        return None


def saved_deployment(row: DeploymentRow) -> SavedDeployment:
    """A deployment's row as plain data."""
    intent = Intent(
        deployment=row.name,
        model=row.model,
        version=row.version,
        method=row.method,
        boards=row.boards,
        objective=row.objective,
        cut=row.cut,
        batch=row.batch,
        board_names=tuple(row.board_names.split(",")) if row.board_names else (),
        replicas=row.replicas,
        spare=row.spare,
    )
    return SavedDeployment(intent, row.wanted, row.intent_revision, row.state, row.message)


def symptoms(stored: Mapping[str, Any] | None) -> dict[SymptomKind, Symptom]:
    """What a row's column holds; a kind that is not known here is left out."""
    known = {kind.value: kind for kind in SymptomKind}
    return {
        known[name]: Symptom(known[name], datetime.fromisoformat(value["since"]), value["figures"])
        for name, value in (stored or {}).items()
        if name in known
    }
