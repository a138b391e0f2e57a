"""What one holder of the root's public key believes: which delegations are in force, and how low a bundle may be.

Deterministic and without I/O: statements in, a new `Trust` out. It only ever learns: a serial, a floor and the newest
signed time never fall. Boards, gateways and the controller hold one each, and keep `Trust.statements` where it outlives
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from convoy_schema.errors import (
    ConvoyError,
    DelegationError,
    DelegationExpiredError,
    DelegationSupersededError,
    FloorError,
    SignatureError,
)
from convoy_schema.signing import (
    MOST_FLOORS,
    Delegation,
    Floor,
    Purpose,
    SignedDelegation,
    SignedFloor,
    Statements,
    fingerprint,
    is_delegated_by,
    is_floor_of,
    read_delegation,
    read_floor,
)


@dataclass(frozen=True)
class Trust:
    """`site` '' believes delegations for any site. The rest is what was learned; begin without."""

    root: Ed25519PublicKey
    site: str = ""
    newest: Mapping[Purpose, SignedDelegation] = field(default_factory=dict)
    #: By model; '' is every model's.
    floors: Mapping[str, SignedFloor] = field(default_factory=dict)
    #: Seconds since 1970: the newest time in anything that was signed and believed.
    signed_time: int = 0

    def __eq__(self, other: object) -> bool:
        """By what is believed; keys themselves do not compare."""
        if not isinstance(other, Trust):
            return NotImplemented
        own, others = fingerprint(self.root), fingerprint(other.root)
        return (own, self.site, self.statements) == (others, other.site, other.statements)

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def statements(self) -> Statements:
        """Everything learned, in an order that depends on nothing else: to publish, and to keep."""
        delegations = dict.fromkeys(self.newest[purpose] for purpose in Purpose if purpose in self.newest)
        floors = tuple(self.floors[model] for model in sorted(self.floors))
        return Statements(tuple(delegations), floors, self.signed_time)

    def delegation(self, purpose: Purpose) -> Delegation | None:
        """The delegation in force for `purpose`."""
        signed = self.newest.get(purpose)
        return None if signed is None else read_delegation(signed)

    def lowest(self, model: str) -> int:
        """The lowest serial that a bundle of `model` may have; 0 when there is no floor."""
        return max((read_floor(self.floors[name]).lowest for name in ("", model) if name in self.floors), default=0)

    # Learning --------------------------------------------------------------------------------------------------------

    def learn(self, statements: Statements) -> tuple[Trust, tuple[ConvoyError, ...]]:
        """What is believed after `statements`, and why some of them are not; nothing is forgotten."""
        trust, refused = self, []
        for delegation in statements.delegations:
            try:
                trust = trust.with_delegation(delegation)
            except ConvoyError as error:
                refused.append(error)
        for floor in statements.floors:
            try:
                trust = trust.with_floor(floor)
            except ConvoyError as error:
                refused.append(error)
        return trust, tuple(refused)

    def recall(self, statements: Statements) -> Trust:
        """What its holder kept of an earlier life: believed as far as it is signed, and its time as it is.

        A floor was judged when it was heard: that its key was replaced since, or ended, does not lower it.
        """
        trust, _ = self.learn(replace(statements, floors=()))
        floors = dict(trust.floors)
        for signed in statements.floors:
            try:
                model = next(iter(Trust(self.root, self.site).with_floor(signed).floors))
            except ConvoyError:
                continue
            if model not in floors or _rank(signed) > _rank(floors[model]):
                floors[model] = signed
        return replace(trust, floors=floors, signed_time=max(trust.signed_time, statements.signed_time))

    def with_delegation(self, signed: SignedDelegation) -> Trust:
        """Believe a delegation as far as it is newer than what is known; raises `DelegationError`."""
        if signed in self.newest.values():
            return self
        found = self._read(signed)
        self._check_site(found)
        trust = self._at(found.signed_at)
        newest = dict(self.newest)
        for purpose in found.purposes:
            known = self.delegation(purpose)
            if known is None or known.serial < found.serial:
                newest[purpose] = signed
        return replace(trust, newest=newest)

    def with_floor(self, signed: SignedFloor) -> Trust:
        """Believe a floor unless it is lower than what is known; raises `DelegationError` or `SignatureError`.

        Of equal ones that by the root is kept, or by the newer key: it will be believed for longer.
        """
        found = read_floor(signed)
        name = found.model or ""
        known = self.floors.get(name)
        if known is not None and _rank(signed) <= _rank(known):
            return self
        trust = self if signed.delegation is None else self.with_delegation(signed.delegation)
        key = trust.key_of(signed.delegation, Purpose.FLOOR)
        if not is_floor_of(signed, key):
            raise SignatureError(
                f"the floor {found.lowest} of {found.model or 'every model'} is not signed by the trusted key "
                f"{fingerprint(key)}: set it again with `convoy key floor set`",
                model=found.model,
            )
        if known is None and len(self.floors) >= MOST_FLOORS:
            raise SignatureError(f"at most {MOST_FLOORS} models have a floor: set one for every model instead")
        return replace(trust._credited(found, signed.delegation), floors={**trust.floors, name: signed})

    def _read(self, signed: SignedDelegation) -> Delegation:
        if not is_delegated_by(signed, self.root):
            raise DelegationError(
                f"a delegation was expected from the root key {fingerprint(self.root)}, one that it did not sign came: "
                "delegate with that root (`convoy key delegate`), or give this side the other root's trusted.pem",
                root=fingerprint(self.root),
            )
        return read_delegation(signed)

    def _check_site(self, delegation: Delegation) -> None:
        if delegation.site and self.site and delegation.site != self.site:
            raise DelegationError(
                f"delegation {delegation.serial} is for site {delegation.site}, this is site {self.site}: "
                "delegate a key for this site (`convoy key delegate --site`)",
                site=delegation.site,
            )

    def _at(self, time: int) -> Trust:
        return self if time <= self.signed_time else replace(self, signed_time=time)

    def _credited(self, floor: Floor, by: SignedDelegation | None) -> Trust:
        """A delegated key moves the time no further than the root lets it live: a stolen one could end all others."""
        return self._at(floor.signed_at if by is None else min(floor.signed_at, read_delegation(by).not_after))

    # Judging ---------------------------------------------------------------------------------------------------------

    def key_of(self, signed: SignedDelegation | None, purpose: Purpose) -> Ed25519PublicKey:
        """The key that may sign for `purpose` by that delegation; by none it is the root itself.

        Raises `DelegationError`, `DelegationSupersededError` or `DelegationExpiredError`.
        """
        if signed is None:
            return self.root
        found = self._read(signed)
        self._check_site(found)
        if purpose not in found.purposes:
            allowed = ", ".join(each.value for each in found.purposes) or "nothing"
            raise DelegationError(
                f"delegation {found.serial} is for {allowed}, a key for {purpose.value} is needed: "
                f"delegate one (`convoy key delegate --purpose {purpose.value}`)",
                serial=found.serial,
            )
        known = self.delegation(purpose)
        if known is not None and self.newest[purpose] != signed and found.serial <= known.serial:
            by = f"delegation {known.serial}" if known.serial > found.serial else "another of the same serial"
            raise DelegationSupersededError(
                f"delegation {found.serial} was replaced by {by}: what its key signed must be signed anew "
                "(`convoy key rotate`)",
                serial=found.serial,
                newest=known.serial,
            )
        if 0 < found.not_after < self.signed_time:
            raise DelegationExpiredError(
                f"delegation {found.serial} ended at {found.not_after} (seconds since 1970), and something signed at "
                f"{self.signed_time} was seen: delegate a new key and `convoy key rotate`",
                not_after=found.not_after,
                signed_time=self.signed_time,
            )
        try:
            return Ed25519PublicKey.from_public_bytes(found.key)
        except ValueError as error:
            raise DelegationError(f"delegation {found.serial} names no Ed25519 key: delegate anew") from error

    def check_floor(self, model: str, version: str, serial: int) -> None:
        """Raise `FloorError` when a bundle of that serial must not run any more."""
        lowest = self.lowest(model)
        if serial < lowest:
            raise FloorError(
                f"bundle {serial} of {model} (version {version}) was revoked: serial {lowest} is the lowest that may "
                f"run; deploy a version of serial {lowest} or above (`convoy models`)",
                model=model,
                serial=serial,
                lowest=lowest,
            )


def _rank(signed: SignedFloor) -> tuple[int, bool, int]:
    """Which of two floors of a model is kept: everyone must come to the same one, in whatever order they are heard."""
    by = signed.delegation
    return read_floor(signed).lowest, by is None, 0 if by is None else read_delegation(by).serial
