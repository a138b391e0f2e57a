"""The broker that comes with pip: amqtt in a process of its own, for machines without Mosquitto.

`python -m convoy_controller.amqtt_broker PORT` serves MQTT 3.1.1 on the loopback interface until SIGTERM: anonymous,
nothing written to disk, no `$SYS`. asyncio sets TCP_NODELAY on every socket it accepts. It is for demonstrations: amqtt
neither enforces keepalive nor bounds its queues, and Convoy relies on neither. `broker.start_broker` runs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from typing import Any

from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig, ListenerType
from amqtt.session import Session

HOST = "127.0.0.1"
#: Seconds that clients get to be told; amqtt may wait much longer for one that does not answer.
SHUTDOWN_S = 1.0


class LoopbackBroker(Broker):  # type: ignore[misc]  # amqtt ships no types
    """amqtt's broker, mended where it fails a fleet."""

    def __init__(self, port: int) -> None:
        listener = ListenerConfig(type=ListenerType.TCP, bind=f"{HOST}:{port}")
        anonymous = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        super().__init__(BrokerConfig(listeners={"default": listener}, plugins=anonymous))

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        """Only to those who subscribed: amqtt hands a new client what any other client has ever asked for.

        It also waits for each of these deliveries; a filter added meanwhile would end its walk over the filters in an
        error, and leave the new client connected but unheard.
        """
        subscribers = self._subscriptions.get(subscription[0], ())
        if any(subscriber is session for subscriber, _ in subscribers):
            await super()._publish_retained_messages_for_subscription(subscription, session)


class _OneLine(logging.Formatter):
    """An exception is one line, not a page: amqtt logs one for every acknowledgement that a dying client owes."""

    def formatException(self, ei: Any) -> str:  # noqa: N802  # the base class's name
        return f"{ei[0].__name__}: {ei[1]}"


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for name in ("amqtt", "transitions"):
        logging.getLogger(name).setLevel(logging.ERROR)


async def serve(port: int) -> None:
    """Serve until SIGTERM or SIGINT; raises amqtt's `BrokerError` when the port is taken."""
    broker = LoopbackBroker(port)
    asked_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked_to_stop.set)
    await broker.start()
    await asked_to_stop.wait()
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(broker.shutdown(), SHUTDOWN_S)


def main(arguments: list[str]) -> int:
    """The command line: one argument, the port."""
    if len(arguments) != 1 or not arguments[0].isdigit():
        print("usage: python -m convoy_controller.amqtt_broker PORT", file=sys.stderr)
        return 2
    _log_to_stderr()
    asyncio.run(serve(int(arguments[0])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
