"""Everything that can be altered between the one who signs and the board: none of it loads, each with its own reason.

Two real daemons on a real broker, one that has nothing to configure and one with the emulated fabric, are given every
kind of tampering at once, with honest models among them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import board_models as models
import numpy as np
from bitstream_mutations import RESETTING, Draft, mutate
from convoy_bitstreams import catalogue
from convoy_schema import codec
from convoy_schema.artifacts import Manifest, pack
from convoy_schema.bitstream import EMULATED_XC7Z020, Register
from convoy_schema.bundle import Method, ModelAnnouncement, ModuleImage, ShellImage, sign_again
from convoy_schema.messages.boards import Phase, Reported
from convoy_schema.messages.desired import Assignment, Slot
from convoy_schema.names import digest_of
from convoy_schema.signing import (
    Delegation,
    Floor,
    Purpose,
    SignedDelegation,
    SignedFloor,
    SigningKey,
    Statements,
    delegate,
    raw_public,
    set_floor,
)
from convoy_schema.topology import Kind
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fleet_bench import Fleet, boards_on, config_of, fleet_on

PART = EMULATED_XC7Z020.name
GEOMETRY = EMULATED_XC7Z020.geometry
OTHER_ROOT = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
#: What was signed last: the key that ends at 50 has ended.
NOW = 100


def key(
    serial: int,
    *purposes: Purpose,
    not_after: int = 0,
    site: str | None = None,
    root: Ed25519PrivateKey = models.KEY,
) -> SigningKey:
    private = Ed25519PrivateKey.from_private_bytes(serial.to_bytes(32, "big"))
    content = Delegation(raw_public(private.public_key()), serial, purposes or (Purpose.BUNDLE,), 10, site, not_after)
    return SigningKey(private, delegate(content, root))


def flipped(content: bytes, at: int = -1) -> bytes:
    changed = bytearray(content)
    changed[at] ^= 1
    return bytes(changed)


# The table ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One kind of tampering: what is announced, served and assigned, and what the board must say.

    `code` is that of the assignment's failure; where it is '' the board waits for what is right, and counts what came
    under `counted`. `manifests` and `blocks` replace what honest senders would send, by digest.
    """

    model: models.Model
    code: str
    words: str = ""
    announcement: ModelAnnouncement | None = None
    expected: str = ""
    counted: str = ""
    manifests: Mapping[str, tuple[bytes, bytes]] = field(default_factory=dict)
    damage: Callable[[bytes], bytes] | None = None
    method: Method = Method.ALLOCATE
    slots: tuple[Slot, ...] = ()
    is_emulated: bool = False

    @property
    def announced(self) -> ModelAnnouncement:
        return self.announcement or self.model.announcement

    @property
    def assignment(self) -> Assignment:
        board = "board-2" if self.is_emulated else "board-1"
        name = self.model.bundle.model
        made = models.alone(self.model, board, deployment=name, method=self.method, slots=self.slots)
        return replace(made, bundle=self.expected or self.announced.digest)


def small(name: str, width: int = 16) -> models.Model:
    return models.copies(1, width, name=name, images=False)


def announcements() -> dict[str, Case]:
    """What is signed, who signed it, and what came with it."""
    cases: dict[str, Case] = {}

    def add(name: str, code: str, words: str, change: Callable[[ModelAnnouncement], ModelAnnouncement]) -> None:
        model = small(name)
        cases[name] = Case(model, code, words, change(model.announcement))

    def by(made: SigningKey) -> Callable[[ModelAnnouncement], ModelAnnouncement]:
        return lambda good: sign_again(good, made)

    def delegated(change: Callable[[SignedDelegation], SignedDelegation | None]) -> Any:
        good = key(1)
        assert good.delegation is not None
        return by(SigningKey(good.private, change(good.delegation)))

    other = models.copies(1, 32, name="other", images=False).announcement
    untrusted = r"is not signed by the trusted key [0-9a-f]{16}.*import the model again, or give"
    add("bundle-byte", "signature", untrusted, lambda a: replace(a, bundle=flipped(a.bundle)))
    add("signature-byte", "signature", untrusted, lambda a: replace(a, signature=flipped(a.signature)))
    add("signature-none", "signature", untrusted, lambda a: replace(a, signature=b""))
    add("signature-other-bundle", "signature", untrusted, lambda a: replace(a, signature=other.signature))
    add("key-unknown", "signature", untrusted, by(SigningKey(OTHER_ROOT)))
    add("key-without-delegation", "signature", untrusted, delegated(lambda d: None))
    add("key-beside-delegation", "signature", untrusted, by(SigningKey(OTHER_ROOT, key(6).delegation)))
    # The delegation itself is good, and would revoke those below: so this goes to the other board.
    cases["key-beside-delegation"] = replace(cases["key-beside-delegation"], is_emulated=True)
    not_ours = "expected from the root key [0-9a-f]{16}, one that it did not sign came.*convoy key delegate"
    add("delegation-other-root", "delegation", not_ours, by(key(9, root=OTHER_ROOT)))
    add("delegation-byte", "delegation", not_ours, delegated(lambda d: replace(d, content=flipped(d.content))))
    add("delegation-signature", "delegation", not_ours, delegated(lambda d: replace(d, signature=bytes(64))))
    add("delegation-purpose", "delegation", "is for floor, a key for bundle is needed", by(key(4, Purpose.FLOOR)))
    add("delegation-site", "delegation", "is for site elsewhere, this is site main", by(key(9, site="elsewhere")))
    add("delegation-old", "delegation-superseded", "delegation 1 was replaced by delegation 5", by(key(1)))
    add("delegation-ended", "delegation-expired", f"ended at 50 .* signed at {NOW} was seen", by(key(5, not_after=50)))
    add(
        "topology-other",
        "bundle-mixed",
        "names topology .* came with it",
        lambda a: replace(a, topology=other.topology),
    )
    add("topology-byte", "bundle-mixed", "names topology", lambda a: replace(a, topology=flipped(a.topology)))
    add("golden-input", "bundle-mixed", "values of 't-0' are not", lambda a: replace(a, probe_input=other.probe_input))
    add("golden-output", "bundle-mixed", "values of 't-1' are not", lambda a: replace(a, probe_output=b""))
    junk = b"signed, and no bundle"
    add(
        "bundle-junk",
        "decode",
        "is not MessagePack",
        lambda a: replace(a, bundle=junk, signature=models.KEY.sign(junk)),
    )
    wanted = "the assignment names bundle .*, bundle .* is announced"
    expected = models.copies(1, 24, name="bundle-other", images=False)
    cases["bundle-other"] = Case(expected, "bundle-mismatch", wanted, small("bundle-other").announcement,
                                 expected.announcement.digest)  # fmt: skip
    revoked = models.make(replace(small("revoked").topology, name="revoked"), {}, images=False, serial=4)
    cases["revoked"] = Case(revoked, "below-floor", "bundle 4 of revoked .* serial 5 is the lowest that may run")
    return cases


def artifacts() -> dict[str, Case]:
    """What the bundle names by digest."""
    digits = models.digits(images=False)
    convs = [layer for layer in digits.topology.layers if layer.kind is Kind.CONV2D]
    honest: dict[str, models.Model] = {}

    def network(name: str, seed: int = 0) -> models.Model:
        """`digits` of that name, with a digest of its own for each artifact that is going to be altered."""
        content = models.parameters((10, 384), 0.0005, 40 + len(honest) + seed)
        layers = tuple(
            replace(layer, parameters=digest_of(content)) if layer.name == "dense-1" else layer
            for layer in digits.topology.layers
        )
        blobs = {layer.parameters: digits.blobs[layer.parameters] for layer in convs if layer.parameters}
        topology = replace(digits.topology, name=name, layers=layers)
        honest[name] = models.make(topology, {**blobs, digest_of(content): content}, images=False)
        return honest[name]

    def dense(model: models.Model) -> str:
        return str(model.topology.layers[-1].parameters)

    def lying(digest: str, content: bytes) -> dict[str, tuple[bytes, bytes]]:
        """A manifest under that digest of other content, which its blocks fit."""
        manifest, packed = pack(content)
        return {digest: (codec.encode(replace(manifest, digest=digest)), packed)}

    damaged = "does not match its digest|should have digest|digest"
    cases: dict[str, Case] = {}
    model = network("parameters-other")
    other = digits.blobs[str(digits.topology.layers[-1].parameters)]
    cases["parameters-other"] = Case(model, "artifact-damaged", damaged, manifests=lying(dense(model), other))
    model = network("parameters-byte")
    cases["parameters-byte"] = Case(
        model, "artifact-damaged", damaged, manifests=lying(dense(model), flipped(model.blobs[dense(model)]))
    )
    model = network("parameters-short")
    cases["parameters-short"] = Case(
        model, "artifact-damaged", damaged, manifests=lying(dense(model), model.blobs[dense(model)][:-9])
    )
    model = small("golden-byte", 48)
    golden = model.bundle.golden[0].digest
    cases["golden-byte"] = Case(
        model, "artifact-damaged", damaged, manifests=lying(golden, flipped(model.blobs[golden]))
    )
    model = network("block-byte")
    cases["block-byte"] = Case(model, "", counted="block", damage=flipped, expected=model.announcement.digest)
    model = network("block-short")
    cases["block-short"] = Case(model, "", counted="block", damage=lambda c: c[:-1], expected=model.announcement.digest)
    model = network("manifest-digest")
    manifest, packed = pack(model.blobs[dense(model)])
    false = codec.encode(replace(manifest, digest="f" * 64))
    cases["manifest-digest"] = Case(model, "", counted="manifest", manifests={dense(model): (false, packed)})
    model = network("manifest-junk")
    cases["manifest-junk"] = Case(model, "", counted="manifest", manifests={dense(model): (b"\x81junk", packed)})
    model = network("manifest-hash")
    manifest, packed = pack(model.blobs[dense(model)])
    false = codec.encode(replace(manifest, hashes=(bytes(32), *manifest.hashes[1:])))
    cases["manifest-hash"] = Case(model, "", counted="block", manifests={dense(model): (false, packed)})
    # Signed by the fleet's own key, and wrong all the same.
    model = network("golden-values")
    wrong = (models.Array, np.zeros((models.GOLDEN_ROWS, 10), np.int8).tobytes())[1]
    parameters = {digest: model.blobs[digest] for layer in model.topology.layers if (digest := layer.parameters)}
    lied = models.make(model.topology, parameters, images=False, golden={"logits": wrong})
    cases["golden-values"] = Case(lied, "self-test", "'logits' differs from its golden values in .* of 40 elements")
    model = network("parameters-mixed")
    strange = network("strange", 500)
    layers = (*model.topology.layers[:-1], replace(model.topology.layers[-1], parameters=dense(strange)))
    cases["parameters-mixed"] = Case(_with_layers(model, layers, strange.blobs), "self-test", "differs from its golden")
    model = network("parameters-swapped")
    first, second = convs[0].parameters, convs[1].parameters
    swap = {first: second, second: first}
    layers = tuple(
        replace(layer, parameters=swap.get(layer.parameters, layer.parameters)) for layer in model.topology.layers
    )
    cases["parameters-swapped"] = Case(_with_layers(model, layers, {}), "topology", "conv-1")
    return cases


def _with_layers(model: models.Model, layers: Any, more: Mapping[str, bytes]) -> models.Model:
    topology = replace(model.topology, layers=tuple(layers))
    bundle = replace(model.bundle, topology=digest_of(codec.pack(topology)))
    return models.signed(bundle, topology, {**model.blobs, **more})


def images() -> dict[str, Case]:
    """What would be loaded into the fabric: signed by the fleet's own key, so only its structure tells."""
    good_shell = catalogue().read(catalogue().shell("layers", PART).digest)
    module = catalogue().module("partitions", PART, "west", Kind.IDENTITY)
    partial = catalogue().read(module.digest)
    booting = Draft.of(good_shell, GEOMETRY)
    booting.set(booting.packets(Register.WBSTAR)[0], 0x400000)
    cases: dict[str, Case] = {}

    def shell(name: str, image: bytes, code: str, words: str, part: str = PART) -> None:
        model = small(name)
        bundle = replace(model.bundle, shells=(ShellImage("layers", part, digest_of(image)),))
        made = models.signed(bundle, model.topology, {**model.blobs, digest_of(image): image})
        cases[name] = Case(made, code, words, is_emulated=True)

    shell("shell-other-part", good_shell, "part-mismatch", f"this board is a {PART}, .* are for xc7z010", "xc7z010")
    shell("shell-bit", flipped(good_shell, len(good_shell) // 2), "image-refused", "must not be loaded into .* crc")
    shell("shell-cut", good_shell[: len(good_shell) // 2 & ~3], "image-refused", "must not be loaded")
    shell("shell-boots", booting.sealed(), "image-refused", "value: WBSTAR is set to 00400000")
    shell("shell-partial", partial, "image-refused", "as a shell")
    plain = catalogue().shell("partitions", PART)
    for name, image, words in (
        ("module-foreign-reset", mutate(partial, RESETTING["unmask a static column"][0], GEOMETRY), "reset-mask"),
        ("module-elsewhere", catalogue().read(catalogue().module("partitions", PART, "east", Kind.IDENTITY).digest),
         "partition west: frames-outside"),
    ):  # fmt: skip
        model = small(name)
        entry = ModuleImage("partitions", PART, "west", Kind.IDENTITY, digest_of(image))
        bundle = replace(model.bundle, shells=(plain,), modules=(entry,))
        blobs = {**model.blobs, digest_of(image): image, plain.digest: catalogue().read(plain.digest)}
        made = models.signed(bundle, model.topology, blobs)
        slots = (Slot("west", Kind.IDENTITY),)
        cases[name] = Case(made, "image-refused", words, method=Method.LIBRARY, slots=slots, is_emulated=True)
    return cases


def statements() -> tuple[Statements, int]:
    """The truth, and beside it what would revoke the honest models; how many of those there are."""
    honest = "honest-1"
    by_root = SigningKey(models.KEY)
    good = set_floor(Floor("revoked", 5, NOW), by_root)
    forged = (
        replace(set_floor(Floor(honest, 1, NOW), by_root), content=codec.pack(Floor(honest, 9, NOW))),
        replace(set_floor(Floor(honest, 9, NOW), by_root), signature=bytes(64)),
        set_floor(Floor(honest, 9, NOW), SigningKey(OTHER_ROOT)),
        set_floor(Floor(honest, 9, NOW), key(9, Purpose.FLOOR, root=OTHER_ROOT)),
        set_floor(Floor(honest, 9, NOW), key(5)),
        SignedFloor(b"junk", models.KEY.sign(b"junk")),
    )
    ended = key(5, not_after=50)
    assert ended.delegation is not None
    bad = replace(ended.delegation, content=flipped(ended.delegation.content))
    return Statements((ended.delegation, bad), (good, *forged)), len(forged) + 1


# The run --------------------------------------------------------------------------------------------------------------


class Heard(dict[str, Reported]):
    """The newest report of each board, and every failure that any of them ever told, by deployment."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: dict[str, tuple[str, str]] = {}
        self.phases: dict[str, set[Phase]] = {}

    def __setitem__(self, board: str, reported: Reported) -> None:
        super().__setitem__(board, reported)
        for report in reported.assignments:
            self.phases.setdefault(report.deployment, set()).add(report.phase)
            if report.code:
                self.failures.setdefault(report.deployment, (report.code, report.message))


def send(fleet: Fleet, cases: Mapping[str, Case]) -> None:
    damages: dict[str, Callable[[bytes], bytes]] = {}
    for case in cases.values():
        fleet.packed.update(case.model.packed())
    for case in cases.values():
        bundle = case.model.bundle
        topic = fleet.topics.model(bundle.model, bundle.version)
        fleet.link.publish(topic, codec.encode(case.announced), qos=1, retain=True)
        for manifest, _ in case.model.packed().values():
            false = case.manifests.get(manifest.digest)
            payload = codec.encode(manifest) if false is None else false[0]
            fleet.link.publish(fleet.topics.manifest(manifest.digest), payload, qos=1, retain=True)
        for digest, (payload, packed) in case.manifests.items():
            fits = fleet.packed[digest][0]
            if case.code:
                fits = codec.decode(Manifest, payload)
            fleet.packed[digest] = (fits, packed)
        if case.damage is not None:
            damages[str(case.model.topology.layers[-1].parameters)] = case.damage
    fleet.tamper = lambda digest, block, content: damages[digest](content) if digest in damages else content


def test_nothing_that_was_tampered_with_is_loaded_and_each_says_what_it_is(broker: Any, tmp_path: Path) -> None:
    cases = {**announcements(), **artifacts(), **images()}
    assert len(cases) >= 35
    assert all(name == case.model.bundle.model for name, case in cases.items())
    shells = [
        catalogue().shell("partitions", PART).digest,
        catalogue().module("partitions", PART, "west", Kind.IDENTITY).digest,
    ]
    honest = {
        "honest-1": Case(small("honest-1"), ""),
        "honest-2": Case(
            models.with_images(models.copies(1, name="honest-2"), shells), "", method=Method.LIBRARY,
            slots=(Slot("west", Kind.IDENTITY),), is_emulated=True,
        ),
    }  # fmt: skip
    told, forged = statements()

    async def scenario() -> Heard:
        configs = [config_of(broker.url, tmp_path, "board-1"), config_of(broker.url, tmp_path, "board-2", "emulated")]
        async with fleet_on(broker.url) as fleet, boards_on(*configs):
            fleet.reported = heard = Heard()
            fleet.link.publish(fleet.topics.trust(), codec.encode(told), qos=1, retain=True)
            for config in configs:
                kept = config.state_dir / "trust"
                await fleet.until(lambda kept=kept: kept.exists(), "what was said is kept")
            send(fleet, {**cases, **honest})
            everyone = [*cases.values(), *honest.values()]
            for board, is_emulated in (("board-1", False), ("board-2", True)):
                held = tuple(case.assignment for case in everyone if case.is_emulated is is_emulated)
                fleet.desire({board: held})
            expected = {name for name, case in cases.items() if case.code}
            await fleet.until(lambda: heard.failures.keys() >= expected, "every failure")
            await fleet.until(lambda: all(Phase.READY in heard.phases[name] for name in honest), "the honest ones")
            for counter, least in (("block", 3), ("manifest", 2)):
                await fleet.until(lambda c=counter, n=least: refused(fleet, "board-1", c) >= n, f"{counter} refused")
            for board in ("board-1", "board-2"):
                await fleet.until(lambda board=board: refused(fleet, board, "trust") == forged, "forgeries refused")
            # What is live is what is honest, and the fabric holds what that needs.
            live = {name for name in heard.phases if Phase.READY in heard.phases[name]}
            assert live == set(honest)
            assert fleet.reported["board-2"].shell == "partitions"
            modules = {each.partition: each.module for each in fleet.reported["board-2"].partitions}
            assert modules == {"west": Kind.IDENTITY, "centre": None, "east": None}
            return heard

    heard = asyncio.run(scenario())
    wrong = {
        name: (heard.failures.get(name), case.code, case.words)
        for name, case in cases.items()
        if not is_as_expected(heard.failures.get(name), case)
    }
    assert not wrong, "\n".join(f"{name}: {found}" for name, found in wrong.items())


def refused(fleet: Fleet, board: str, reason: str) -> int:
    pulse = fleet.pulses.get(board)
    return 0 if pulse is None else pulse.refused.get(reason, 0)


def is_as_expected(found: tuple[str, str] | None, case: Case) -> bool:
    if not case.code:
        return found is None
    return found is not None and found[0] == case.code and re.search(case.words, found[1], re.DOTALL) is not None
