"""Boards with one fault each: our own daemon, in which something is planted before it starts.

`python broken_boards.py FAULT run --config FILE` is `convoy-device run` with that fault. `FAULTS` says at which rules
the conformance kit must fail it.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import broken_frames
from planting import Faults, change_wills, wrap

FAULTS = Faults(broken_frames.FAULTS)
fault = FAULTS.fault


# What it says of itself -----------------------------------------------------------------------------------------------


@fault("B2")
def another_session_in_pulses() -> None:
    from convoy_device import daemon

    wrap(daemon, "Pulse", lambda honest: lambda session, **more: honest(session=session + 1, **more))


@fault("B3")
def leaves_no_will() -> None:
    change_wills(lambda will: None)


@fault("B5")
def retains_pulses() -> None:
    from convoy_schema.link import Link

    def made(honest: Any) -> Any:
        def publish(self: Any, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> Any:
            return honest(self, topic, payload, qos=qos, retain=retain or topic.endswith("/pulse"))

        return publish

    wrap(Link, "publish", made)


@fault("B4")
def does_not_retain_reported() -> None:
    from convoy_schema.link import Link

    def made(honest: Any) -> Any:
        def publish(self: Any, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> Any:
            return honest(self, topic, payload, qos=qos, retain=retain and not topic.endswith("/reported"))

        return publish

    wrap(Link, "publish", made)


@fault("B6")
def pulses_every_five_seconds() -> None:
    from convoy_device import reporting

    reporting.PULSE_LIVE_S = 5.0


@fault("B7")
def ignores_rebirth() -> None:
    from convoy_device.reporting import Reporter

    wrap(Reporter, "rebirth", lambda honest: lambda self, within_ms, now: None)


@fault("B8")
def has_a_topic_of_its_own() -> None:
    from convoy_device.daemon import Daemon

    def made(honest: Any) -> Any:
        def pulse(self: Any, effect: Any) -> None:
            honest(self, effect)
            link = next(iter(self._links.values()))
            link.publish(f"{self._topics.prefix}boards/{self._board}/debug", b"all is well")

        return pulse

    wrap(Daemon, "_pulse", made)


@fault("B9")
def answers_as_another() -> None:
    from convoy_device.stage import Stage

    def made(honest: Any) -> Any:
        def topic_of(self: Any, receiver: str) -> Any:
            return str(honest(self, receiver)).replace("/from/board-1/", "/from/board-2/")

        return topic_of

    wrap(Stage, "_topic_of", made)


@fault("B10")
def stays_when_its_name_is_taken() -> None:
    from convoy_device.agent import Agent

    wrap(Agent, "_state", lambda honest: lambda self, state, retained, now: [])


# Orders ---------------------------------------------------------------------------------------------------------------


def obeys(is_so: Callable[[Any, Any], bool]) -> None:
    from convoy_device.agent import Agent

    def made(honest: Any) -> Any:
        def obey(self: Any, desired: Any) -> Any:
            if self._desired is not None and is_so(self._desired, desired):
                self._desired, self._epoch = None, 0
            return honest(self, desired)

        return obey

    wrap(Agent, "_obey", made)


@fault("B12")
def obeys_an_older_epoch() -> None:
    obeys(lambda current, desired: desired.epoch < current.epoch)


@fault("B13")
def obeys_an_older_revision() -> None:
    obeys(lambda current, desired: desired.epoch == current.epoch and desired.revision < current.revision)


@fault("B14")
def obeys_a_second_order_of_a_revision() -> None:
    obeys(lambda current, desired: (desired.epoch, desired.revision) == (current.epoch, current.revision))


@fault("B15")
def refuses_unknown_fields() -> None:
    from convoy_device import events, inbox

    def made(honest: Any) -> Any:
        def read(board: str, topics: Any, topic: str, payload: bytes, retained: bool) -> Any:
            event = honest(board, topics, topic, payload, retained)
            if isinstance(event, events.DesiredReceived):
                import msgpack

                known = {each.name for each in dataclasses.fields(event.desired)} | {"v"}
                if set(msgpack.unpackb(payload)) - known:
                    return events.Refused("desired", "there is an unknown field")
            return event

        return read

    wrap(inbox, "read", made)


@fault("B16")
def takes_any_version() -> None:
    from convoy_schema import version

    wrap(version, "check", lambda honest: lambda current, oldest: None)


@fault("B17")
def takes_a_cleared_order_for_an_order() -> None:
    from convoy_device import events
    from convoy_device.agent import Agent
    from convoy_device.daemon import Daemon

    def made(honest: Any) -> Any:
        def message(self: Any, role: Any, topic: str, payload: bytes, retained: bool) -> None:
            if topic.endswith("/desired") and not payload:
                current = self._agent._desired
                self._post(events.DesiredReceived(replace(current, revision=current.revision + 1, assignments=())))
            else:
                honest(self, role, topic, payload, retained)

        return message

    assert Agent
    wrap(Daemon, "_message", made)


@fault("B18")
def dies_of_garbage() -> None:
    from convoy_device import events, inbox

    def made(honest: Any) -> Any:
        def read(*arguments: Any) -> Any:
            event = honest(*arguments)
            if isinstance(event, events.Refused) and "is not MessagePack" in event.message:
                os._exit(1)
            return event

        return read

    wrap(inbox, "read", made)


@fault("B19", "B11")
def forgets_everything_with_its_connection() -> None:
    from convoy_device.agent import Agent

    def made(honest: Any) -> Any:
        def disconnected(self: Any, role: Any) -> Any:
            honest(self, role)
            if role.value == "control":
                self._desired = None
                self._forgotten = self._bringup.desire(())

        return disconnected

    def connected(honest: Any) -> Any:
        def connect(self: Any, role: Any, now: float) -> Any:
            return [*getattr(self, "_forgotten", []), *honest(self, role, now)]

        return connect

    def deaf(honest: Any) -> Any:
        """What is retained does not reach it: it would bring everything back."""

        def message(self: Any, role: Any, topic: str, payload: bytes, retained: bool) -> None:
            if not (retained and topic.endswith("/desired")):
                honest(self, role, topic, payload, retained)

        return message

    from convoy_device.daemon import Daemon

    wrap(Agent, "_disconnected", made)
    wrap(Agent, "_connected", connected)
    wrap(Daemon, "_message", deaf)


# Bundles --------------------------------------------------------------------------------------------------------------


@fault("B20", "B21")
def does_not_check_signatures() -> None:
    from convoy_schema import bundle

    wrap(bundle, "is_signed", lambda honest: lambda content, signature, key: True)


@fault("B22")
def loads_a_mixed_bundle() -> None:
    from convoy_schema import bundle, codec
    from convoy_schema.errors import MixedBundleError
    from convoy_schema.topology import Topology

    def made(honest: Any) -> Any:
        def verify(announcement: Any, trust: Any) -> Any:
            try:
                return honest(announcement, trust)
            except MixedBundleError:
                read = codec.unpack(bundle.Bundle, announcement.bundle), codec.unpack(Topology, announcement.topology)
                return bundle.VerifiedModel(
                    announcement.digest, *read, announcement.probe_input, announcement.probe_output
                )

        return verify

    wrap(bundle, "verify", made)


@fault("B23", "B24")
def ignores_floors() -> None:
    from convoy_schema.trust import Trust

    wrap(Trust, "check_floor", lambda honest: lambda self, model, version, serial: None)


@fault("B50", also="B24")
def believes_anyones_floor() -> None:
    from convoy_schema import trust

    wrap(trust, "is_floor_of", lambda honest: lambda signed, key: True)


@fault("B24")
def runs_on_when_it_was_revoked() -> None:
    from convoy_device.bringup import BringUp

    def made(honest: Any) -> Any:
        def learn(self: Any, statements: Any, now: float) -> Any:
            self.trust, refused = self.trust.learn(statements)
            return [], refused

        return learn

    wrap(BringUp, "learn", made)


@fault("B25")
def makes_no_golden_test() -> None:
    from convoy_device.workbench import Workbench

    wrap(Workbench, "_test", lambda honest: lambda self, plan: None)


@fault("B26")
def does_not_check_contents() -> None:
    import zlib

    from convoy_device import store

    wrap(store, "unpack", lambda honest: lambda manifest, packed: zlib.decompress(packed))

    def made(honest: Any) -> Any:
        return lambda self, digest: (self._artifacts / digest).read_bytes()

    wrap(store.Store, "read", made)


@fault("B27")
def keeps_its_refusals_to_itself() -> None:
    from convoy_device.agent import Agent
    from convoy_schema.messages.boards import Phase

    def made(honest: Any) -> Any:
        def report(self: Any, record: Any) -> Any:
            said = honest(self, record)
            return replace(said, phase=Phase.VERIFYING, code="", message="") if said.phase is Phase.FAILED else said

        return report

    wrap(Agent, "_report", made)


# Artifacts ------------------------------------------------------------------------------------------------------------


@fault("B28", also="B30 B31")
def asks_for_everything_at_once() -> None:
    from convoy_device import fetching
    from convoy_schema import artifacts

    artifacts.WINDOW = fetching.WINDOW = 64

    def made(honest: Any) -> Any:
        def asks(self: Any, now: float) -> Any:
            return [
                (digest, blocks[start : start + 8])
                for digest, blocks in honest(self, now)
                for start in range(0, max(1, len(blocks)), 8)
            ]

        return asks

    wrap(fetching.Fetcher, "asks", made)


@fault("B29", also="B28 B30 B31 B33")
def asks_in_a_loop() -> None:
    from convoy_device import fetching
    from convoy_schema import artifacts

    artifacts.ASK_AGAIN_S = fetching.ASK_AGAIN_S = fetching.MOST_PATIENCE_S = 0.05


@fault("B30", "B31", "B33")
def does_not_check_blocks() -> None:
    """It starts anew when in the end the whole does not unpack, and so asks again for what it had."""
    from convoy_schema.artifacts import Manifest

    wrap(Manifest, "accepts", lambda honest: lambda self, block, content: 0 <= block < self.blocks)


@fault("B31")
def drops_what_it_overhears() -> None:
    from convoy_device.fetching import Fetcher

    def made(honest: Any) -> Any:
        def block(self: Any, digest: str, number: int, content: bytes, now: float) -> Any:
            fetch = self._fetches.get(digest)
            is_asked = fetch is not None and fetch.assembly is not None and number in fetch.assembly.asked
            return honest(self, digest, number, content, now) if is_asked else None

        return block

    wrap(Fetcher, "block", made)


@fault("B32")
def waits_for_manifests() -> None:
    from convoy_device.fetching import Fetcher

    wrap(Fetcher, "asks", lambda honest: lambda self, now: [ask for ask in honest(self, now) if ask[1]])


@fault("B33", "B31")
def starts_over_after_a_loss() -> None:
    from convoy_device.fetching import Fetcher

    def made(honest: Any) -> Any:
        def ask_anew(self: Any, now: float) -> None:
            honest(self, now)
            for fetch in self._fetches.values():
                if fetch.assembly is not None:
                    fetch.assembly.have.clear()
                    fetch.written.clear()

        return ask_anew

    wrap(Fetcher, "ask_anew", made)


def main() -> int:
    """Plant the fault, then be the daemon."""
    from convoy_device import cli

    FAULTS[sys.argv[1]].plant()
    return cli.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
