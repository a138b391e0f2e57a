"""Names, digests and generations: the identifiers that topics and messages share."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Annotated

from convoy_schema.bounds import Pattern, Range
from convoy_schema.errors import TopicError

#: Boards, gateways, sites, deployments, models and versions: one MQTT level, safe in a file name.
NAME_PATTERN = r"[a-z0-9-]{1,63}"
#: Layers and tensors: free-form, they never appear in a topic.
LABEL_PATTERN = r"[^\x00-\x1f\x7f]{1,200}"

Name = Annotated[str, Pattern(NAME_PATTERN)]
Label = Annotated[str, Pattern(LABEL_PATTERN)]
#: SHA-256, lower-case hexadecimal.
Digest = Annotated[str, Pattern(r"[0-9a-f]{64}")]
_MOST = 2**63 - 1
#: Any counter, session or size on the wire: what MessagePack's signed 64 bits hold.
Count = Annotated[int, Range(0, _MOST)]

_name = re.compile(NAME_PATTERN)
# One form for each generation: 01-1 would be another topic of the same meaning.
_generation = re.compile("(0|[1-9][0-9]{0,18})-(0|[1-9][0-9]{0,18})")


def check_name(text: str, what: str = "name") -> str:
    """Return `text`, or raise `TopicError` that says what a name may hold."""
    if not _name.fullmatch(text):
        raise TopicError(f"{what} {text[:80]!r} must be 1 to 63 of a-z, 0-9 and '-'", what=what, text=text[:80])
    return text


def digest_of(content: bytes) -> str:
    """SHA-256 of `content`, lower-case hexadecimal: the name of an artifact."""
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, order=True)
class Generation:
    """The number of a placement. A later epoch always wins, whatever the counter."""

    epoch: Count
    counter: Count

    def __str__(self) -> str:
        return f"{self.epoch}-{self.counter}"

    @staticmethod
    def parse(text: str) -> Generation:
        """Read the form of `str(generation)`; raise `TopicError` for anything else."""
        found = _generation.fullmatch(text)
        epoch, counter = (int(found[1]), int(found[2])) if found else (-1, -1)
        if not (0 <= epoch <= _MOST and 0 <= counter <= _MOST):
            raise TopicError(f"generation {text[:60]!r} must be EPOCH-COUNTER, as in 1-17", text=text[:60])
        return Generation(epoch, counter)
