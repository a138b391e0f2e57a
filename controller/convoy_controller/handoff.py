"""Hardware handoffs (.hwh) of Vivado: the part and the reconfigurable partitions that a design has.

They carry no columns, whatever else they say; those come from a floorplan or from the command line.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

from convoy_schema.bitstream import PARTS, Part

from convoy_controller.errors import HandoffError

#: How block designs mark a reconfigurable partition: before Vivado 2021, and since.
_RECONFIGURABLE = ("RBD", "BLOCK_CONTAINER")


@dataclass(frozen=True)
class Handoff:
    """`device` and `package` as Vivado writes them (7z020, clg400); `partitions` by their instances' names."""

    design: str
    device: str
    package: str
    partitions: tuple[str, ...]

    @property
    def part(self) -> Part:
        """The part; raises `HandoffError` if it is not one that images can be checked for."""
        for part in PARTS.values():
            if part.text == self.device:
                return part
        known = ", ".join(part.text for part in PARTS.values())
        raise HandoffError(f"the handoff is for device {self.device[:80]!r}; known are {known}", device=self.device)


class _Builder(ElementTree.TreeBuilder):
    """Refuses a document type, in whatever encoding, before the entities that it could declare."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise HandoffError("a handoff has no document type, this file has one: it is another XML file")


def parse_handoff(content: bytes) -> Handoff:
    """Take a handoff apart; raises `HandoffError` for anything else."""
    try:
        root = ElementTree.fromstring(content, ElementTree.XMLParser(target=_Builder()))
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the latter two for encodings
        raise HandoffError(f"a handoff must be XML: {str(error)[:200]}") from error
    system = root.find("SYSTEMINFO")
    if root.tag != "EDKSYSTEM" or system is None or not system.get("DEVICE"):
        raise HandoffError("a handoff must be an EDKSYSTEM with SYSTEMINFO and its DEVICE; this is another XML file")
    modules = (module for module in root.iter("MODULE") if module.get("BDTYPE") in _RECONFIGURABLE)
    names = tuple(dict.fromkeys(module.get("INSTANCE", "") for module in modules))
    return Handoff(system.get("NAME", ""), system.get("DEVICE", ""), system.get("PACKAGE", ""), names)
