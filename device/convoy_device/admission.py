"""Whether an image may come near the fabric: decided by its own words, once for each image and place, before any load.

The workbench asks here for every shell and module, whichever fabric is behind it; what was admitted is known by its
digest, so that a swap at run time costs a look-up. What the fabric's port refuses on top of that is its own affair.
"""

from __future__ import annotations

from collections.abc import Mapping

from convoy_schema.bitstream import PARTS, Region, Report, check_full, check_partial
from convoy_schema.floorplan import Floorplan

from convoy_device.errors import ImageRefusedError
from convoy_device.verification import PARTITIONED_SHELL

#: Images and places remembered; a network needs one for each kind and partition.
_REMEMBERED = 1024


class Admission:
    """Admits images for one part (its name; '' or unknown: a fabric without images, which are all refused).

    `with_crc`: the CRCs are compared too, which costs several times as much as everything else.
    """

    def __init__(self, part: str, floorplans: Mapping[str, Floorplan], *, with_crc: bool = True) -> None:
        self._name = part
        self._with_crc = with_crc
        self._part = PARTS.get(part)
        plan = floorplans.get(PARTITIONED_SHELL)
        self._regions: dict[str, Region] = {}
        if plan is not None and self._part is not None:
            for name, frames in plan.regions.items():
                others = {other: taken for other, taken in plan.regions.items() if other != name}
                self._regions[name] = Region(self._part, name, frames, others)
        self._admitted: set[tuple[str, str]] = set()

    def check_shell(self, digest: str, image: bytes) -> None:
        """Raise `ImageRefusedError` unless `image`, of that digest, is a full one of this part, whole and undamaged."""
        if (digest, "") in self._admitted:
            return
        if self._part is None:
            raise ImageRefusedError(f"part {self._name!r} has no rules for images: it takes none", part=self._name)
        self._conclude(digest, "", check_full(image, self._part, with_crc=self._with_crc))

    def check_module(self, partition: str, digest: str, image: bytes) -> None:
        """Raise `ImageRefusedError` unless `image`, of that digest, sets and resets `partition` and nothing else."""
        if (digest, partition) in self._admitted:
            return
        region = self._regions.get(partition)
        if region is None:
            known = ", ".join(self._regions) or "none"
            raise ImageRefusedError(
                f"there is no floorplan of a partition {partition!r} of {self._name}; known are {known}",
                partition=partition,
            )
        self._conclude(digest, partition, check_partial(image, region, with_crc=self._with_crc))

    def _conclude(self, digest: str, partition: str, report: Report) -> None:
        if report.findings:
            first = report.findings[0]
            place = f"partition {partition}" if partition else f"{self._name}, as a shell"
            more = f"; {len(report.findings) - 1} more rules are broken" if len(report.findings) > 1 else ""
            raise ImageRefusedError(
                f"image {digest[:12]} must not be loaded into {place}: {first}{more}",
                digest=digest,
                partition=partition,
                rule=first.rule.value,
                word=first.word,
            )
        if len(self._admitted) >= _REMEMBERED:
            self._admitted.clear()
        self._admitted.add((digest, partition))
