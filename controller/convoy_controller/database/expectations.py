"""What an owner takes for true of what he is about to change, so that nobody overwrites what he has not seen.

Checked inside the transaction that writes. Revisions are of the intent counter: they only grow.
"""

from __future__ import annotations

from dataclasses import dataclass

from convoy_controller.errors import StaleError, UnsaidError


@dataclass(frozen=True)
class Expected:
    """`revisions`: it is at one of these; None: not said. `present`, `absent`: it is there, or is not.

    `must_say` refuses to replace what is there when nothing of this is said.
    """

    revisions: frozenset[int] | None = None
    present: bool = False
    absent: bool = False
    must_say: bool = False

    def check(self, what: str, revision: int | None, is_wanted: bool) -> None:
        """Whether `what`, at `revision` (None: there never was any), is as expected; raises what it is not."""
        at = "is not there" if revision is None else f"is at revision {revision}"
        if self.revisions is not None and revision not in self.revisions:
            wanted = ", ".join(map(str, sorted(self.revisions))) or "none"
            raise StaleError(
                f"{what} {at}, revision {wanted} was to be changed: read it again and decide anew", revision=revision
            )
        if self.present and not is_wanted:
            raise StaleError(f"{what} is not there, and was to be changed: read it again and decide anew")
        if self.absent and is_wanted:
            raise StaleError(f"{what} {at}, and was not to be there yet: read it and decide anew", revision=revision)
        if self.must_say and is_wanted and self.revisions is None and not self.present:
            raise UnsaidError(
                f"{what} {at}: say in If-Match which revision is to be changed, or * for any", revision=revision
            )


#: Whatever is there, as an owner does who sits before it.
ANYTHING = Expected()


@dataclass(frozen=True)
class Change:
    """Revisions of what is wanted: `before`, None where there never was any, and `after`.

    `created`: it was not wanted before.
    """

    before: int | None
    after: int
    created: bool
