"""Faults of boards in what they do with frames and generations; `broken_boards` plants them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from planting import Faults, wrap

FAULTS = Faults()
fault = FAULTS.fault


# Frames ---------------------------------------------------------------------------------------------------------------


@fault("B34", "B47", "B48")
def rounds_otherwise() -> None:
    from convoy_device.stage import Stage

    def made(honest: Any) -> Any:
        def compute(self: Any, job: Any, run: Any) -> Any:
            return tuple(
                replace(each, data=bytes([each.data[0] ^ 1]) + each.data[1:]) for each in honest(self, job, run)
            )

        return compute

    wrap(Stage, "compute", made)


@fault("B35")
def numbers_its_answers_itself() -> None:
    outgoing(lambda frame: replace(frame, requests=tuple(each + 1 for each in frame.requests)))


@fault("B36")
def always_takes_the_first_way() -> None:
    from convoy_device import stage

    wrap(stage, "choose", lambda honest: lambda batch, hops: hops[0])


@fault("B42")
def forgets_how_long_it_took() -> None:
    outgoing(lambda frame: replace(frame, residence_us=frame.residence_us[:-1]))


def outgoing(change: Callable[[Any], Any]) -> None:
    from convoy_device.stage import Stage
    from convoy_schema import framing

    def made(honest: Any) -> Any:
        def send(self: Any, job: Any, tensors: Any, now: float) -> Any:
            topic, payload = honest(self, job, tensors, now)
            return topic, framing.encode(change(framing.decode(payload)))

        return send

    wrap(Stage, "outgoing", made)


def checks(change: Callable[[Any, Any, Any], tuple[Any, Any]]) -> None:
    """`change` makes of (stage, topic, frame) what is checked in their place."""
    from convoy_device.stage import Stage

    wrap(Stage, "_check", lambda honest: lambda self, topic, frame: honest(self, *change(self, topic, frame)))


@fault("B37")
def computes_another_generation() -> None:
    """A frame that says so itself; the topic's it looks at."""
    checks(lambda stage, topic, frame: (topic, replace(frame, generation=topic.generation)))


@fault("B38")
def computes_another_stage() -> None:
    def change(stage: Any, topic: Any, frame: Any) -> tuple[Any, Any]:
        number = stage._assignment.stage
        return replace(topic, stage=number), replace(frame, stage=number)

    checks(change)


@fault("B39")
def computes_for_anyone() -> None:
    def change(stage: Any, topic: Any, frame: Any) -> tuple[Any, Any]:
        return replace(topic, sender=(stage._assignment.previous or (frame.gateway,))[0]), frame

    checks(change)


@fault("B40")
def does_not_look_at_types() -> None:
    def change(stage: Any, topic: Any, frame: Any) -> tuple[Any, Any]:
        return topic, replace(frame, tensors=tuple(replace(each, dtype="int8") for each in frame.tensors))

    checks(change)


@fault("B41")
def ignores_budgets() -> None:
    from convoy_device.stage import Stage

    checks(lambda stage, topic, frame: (topic, replace(frame, budget_ms=1000.0)))
    wrap(Stage, "next", lambda honest: lambda self, now: self._queue.popleft() if self._queue else None)


@fault("B43")
def answers_once() -> None:
    """It takes a frame that comes again for a repetition, and keeps silent."""
    from convoy_device.stage import Stage

    seen: set[Any] = set()

    def made(honest: Any) -> Any:
        def accept(self: Any, topic: Any, frame: Any, now: float) -> str:
            reason = "repeated" if (self.key, frame.batch) in seen else str(honest(self, topic, frame, now))
            if not reason:
                seen.add((self.key, frame.batch))
            return reason

        return accept

    wrap(Stage, "accept", made)


@fault("B44")
def does_not_count_refusals() -> None:
    from convoy_device import daemon
    from convoy_device.stage import Stage

    wrap(daemon, "Pulse", lambda honest: lambda refused, **more: honest(refused={}, **more))
    wrap(Stage, "pulse", lambda honest: lambda self: replace(honest(self), refused={}))


@fault("B45")
def promises_more_than_it_takes() -> None:
    from convoy_device.stage import Stage

    wrap(Stage, "pulse", lambda honest: lambda self: replace(honest(self), credits=1000))


@fault("B46")
def computes_what_was_retained() -> None:
    from convoy_device.daemon import Daemon

    def made(honest: Any) -> Any:
        def message(self: Any, role: Any, topic: str, payload: bytes, retained: bool) -> None:
            honest(self, role, topic, payload, retained and "/from/" not in topic)

        return message

    wrap(Daemon, "_message", made)


# Generations ----------------------------------------------------------------------------------------------------------


def drops(is_dropped: Callable[[Any, Any], bool]) -> None:
    """Whether of all assignments one is not held."""
    from convoy_device.bringup import BringUp

    def made(honest: Any) -> Any:
        def desire(self: Any, assignments: Any) -> Any:
            wanted = tuple(assignments)
            return honest(self, [each for each in wanted if not is_dropped(each, wanted)])

        return desire

    wrap(BringUp, "desire", made)


@fault("B47", "B11")
def breaks_before_it_makes() -> None:
    from convoy_schema.messages.desired import Role

    drops(lambda one, all_: one.role is Role.SERVING and any(each.role is Role.STAGED for each in all_))


@fault("B48")
def does_not_drain() -> None:
    from convoy_schema.messages.desired import Role

    drops(lambda one, all_: one.role is Role.DRAINING)


@fault("B49")
def never_lets_go() -> None:
    from convoy_device.bringup import BringUp

    def made(honest: Any) -> Any:
        def desire(self: Any, assignments: Any) -> Any:
            wanted = list(assignments)
            keys = {each.key for each in wanted}
            kept = [each.assignment for each in self._records.values() if each.assignment.key not in keys]
            return honest(self, wanted + kept) if len(wanted) == 1 else honest(self, wanted)

        return desire

    wrap(BringUp, "desire", made)
