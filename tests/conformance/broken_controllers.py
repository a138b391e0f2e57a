"""Controllers with one fault each: our own, in which something is planted before it starts.

`python broken_controllers.py FAULT controller ...` is `convoy controller ...` with that fault. `FAULTS` says at which
rules the conformance kit must fail it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from planting import Faults, change_wills, wrap

FAULTS = Faults()
fault = FAULTS.fault


def changes_what_it_publishes(change: Callable[[str, Any], Any]) -> None:
    """`change` makes of (topic, message) what is published in its place, None for nothing."""
    from convoy_controller.service import Controller

    def made(honest: Any) -> Any:
        def publish(self: Any, topic: str, message: Any) -> Any:
            changed = change(topic, message)
            return True if changed is None else honest(self, topic, changed)

        return publish

    wrap(Controller, "_publish", made)


@fault("C4")
def names_its_epoch_in_its_will() -> None:
    from convoy_schema import codec
    from convoy_schema.messages.gateways import ControllerState

    def named(will: tuple[str, bytes]) -> tuple[str, bytes]:
        topic, payload = will
        return topic, codec.encode(replace(codec.decode(ControllerState, payload), epoch=1))

    change_wills(named)


@fault("C1", also="C5 C23 C25")
def speaks_every_four_seconds() -> None:
    from convoy_schema.messages.gateways import ControllerState

    said: list[int] = []

    def change(topic: str, message: Any) -> Any:
        if not isinstance(message, ControllerState) or message.presence.value == "offline":
            return message
        said.append(1)
        return message if len(said) % 4 == 1 else None

    changes_what_it_publishes(change)


@fault("C5", also="C19 C24")
def gives_every_order_one_number() -> None:
    from convoy_schema.messages.desired import Desired

    def change(topic: str, message: Any) -> Any:
        return replace(message, revision=7) if isinstance(message, Desired) else message

    changes_what_it_publishes(change)


@fault("C14")
def serves_before_it_is_tested() -> None:
    from convoy_schema.messages.desired import Desired, Role

    def change(topic: str, message: Any) -> Any:
        if not isinstance(message, Desired):
            return message
        return replace(
            message,
            assignments=tuple(
                replace(each, role=Role.SERVING) if each.role is Role.STAGED else each for each in message.assignments
            ),
        )

    changes_what_it_publishes(change)


@fault("C12")
def sends_a_block_to_each_who_asks() -> None:
    from convoy_controller.delivery import Delivery

    def made(honest: Any) -> Any:
        def want(self: Any, board: str, asked: Any) -> None:
            for block in asked.blocks:
                content = self._catalogue.read_block(asked.digest, block)
                self.link.publish(self._topics.block(asked.digest, block), content)
            if not asked.blocks:
                honest(self, board, asked)

        return want

    wrap(Delivery, "_want", made)


@fault("C14", "C16", "C17")
def feeds_whatever_the_test_gave() -> None:
    from convoy_controller import reconciler

    wrap(reconciler, "probe_verdict", lambda honest: lambda gateway, placement: (True, ""))


@fault("C18")
def believes_no_goodbye() -> None:
    from convoy_controller.registry import Registry
    from convoy_schema.messages.boards import Presence

    def made(honest: Any) -> Any:
        def state(self: Any, name: str, said: Any, retained: bool, now: float) -> Any:
            if said.presence is Presence.OFFLINE:
                self.board(name).fresh_at = now + 60
                return []
            return honest(self, name, said, retained, now)

        return state

    wrap(Registry, "board_state", made)


@fault("C19")
def believes_any_death() -> None:
    from convoy_controller.registry import Registry

    def made(honest: Any) -> Any:
        def state(self: Any, name: str, said: Any, retained: bool, now: float) -> Any:
            return honest(self, name, replace(said, session=self.board(name).session or said.session), retained, now)

        return state

    wrap(Registry, "board_state", made)


@fault("C20")
def waits_for_a_goodbye() -> None:
    from convoy_controller import registry

    registry.MISSED_PULSES = 1000


@fault("C23")
def dies_of_garbage() -> None:
    from convoy_controller.intake import Intake

    wrap(Intake, "refuse", lambda honest: lambda self, code: os._exit(1))


@fault("C25", "C26", also="C27")
def hears_no_other_controller() -> None:
    from convoy_controller.service import Controller

    wrap(Controller, "_from_controller", lambda honest: lambda self, state, retained, now: None)


@fault("C27")
def does_not_mind_a_higher_epoch() -> None:
    from convoy_controller import service

    wrap(service, "contradiction", lambda honest: lambda reign, revision, heard: "")


def main() -> None:
    """Plant the fault, then be the controller."""
    from convoy_controller import cli

    FAULTS[sys.argv.pop(1)].plant()
    cli.main()


if __name__ == "__main__":
    main()
