"""Whether a board gets on: what systemd's watchdog is fed by. Deterministic: sights and seconds in, a verdict out.

That the event loop turns is shown by being asked at all. The rest is looked at here: each link's round trips grow, or
it is known to be disconnected and its attempts do; no job in a lane is older than its limit; and the fabric's register
has answered lately.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Seconds without an answer of the broker or an attempt to connect. A ping goes every 5 s, and one without an answer
#: ends the connection after 10; looking up a name may take most of a minute.
LINK_S = 60.0
#: Seconds that one job on the disk or on the fabric may take. Every wait for hardware has a shorter limit of its own.
JOB_S = 120.0
#: Seconds between two questions to the fabric, and without an answer.
ASK_S = 10.0
ANSWER_S = 45.0


@dataclass(frozen=True)
class LinkSight:
    """Counters of a link that only grow."""

    name: str
    is_connected: bool
    round_trips: int
    attempts: int


@dataclass(frozen=True)
class Sight:
    """A board at a moment. `busy` is how long (seconds) each lane's present job has run, by the lane's name.

    `answers` counts what the fabric's register answered, `refusal` is what came instead last ('' : an answer).
    """

    links: tuple[LinkSight, ...]
    busy: tuple[tuple[str, float], ...] = ()
    answers: int = 0
    refusal: str = ""


class Progress:
    """One board's. Ask it at least every few seconds."""

    def __init__(self, now: float) -> None:
        self._links: dict[str, tuple[tuple[bool, int], float]] = {}
        self._answers = 0
        self._answered_at = now

    def stuck(self, sight: Sight, now: float) -> str:
        """What stands still, in words; '' while everything gets on."""
        found = [self._link(link, now) for link in sight.links]
        found += [f"a job on the {name} runs for {age:.0f} s" for name, age in sight.busy if age > JOB_S]
        found.append(self._fabric(sight, now))
        return "; ".join(reason for reason in found if reason)

    def _link(self, link: LinkSight, now: float) -> str:
        seen = link.is_connected, link.round_trips if link.is_connected else link.attempts
        before, since = self._links.get(link.name, (None, now))
        if seen != before:
            self._links[link.name] = seen, now
            return ""
        if now - since <= LINK_S:
            return ""
        what = "no answer of the broker" if link.is_connected else "no attempt to connect"
        return f"link {link.name}: {what} for {now - since:.0f} s"

    def _fabric(self, sight: Sight, now: float) -> str:
        if sight.answers != self._answers:
            self._answers, self._answered_at = sight.answers, now
        silent_s = now - self._answered_at
        # A question waits behind the job that runs, and for that there is a limit already.
        is_waiting = any(name == "fabric" for name, _ in sight.busy) and not sight.refusal
        if silent_s <= ANSWER_S or is_waiting:
            return ""
        return f"the fabric has not answered for {silent_s:.0f} s{f': {sight.refusal}' if sight.refusal else ''}"
