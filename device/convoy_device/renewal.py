"""Keeps a running board's certificate fresh: asks the service now and then, and has it renewed when that says so."""

from __future__ import annotations

import asyncio
import logging
import random

from convoy_schema.credentials import Credentials
from convoy_schema.errors import ConvoyError

from convoy_device.enrolling import renew

log = logging.getLogger(__name__)

#: Seconds between two questions, and after one that was not answered; each is drawn from its half to itself, so that a
#: fleet that starts at once does not ask at once. A certificate is due for a month: days without a service do no harm.
EVERY_S = 12 * 3600.0
RETRY_S = 600.0
FIRST_S = 60.0


async def keep_fresh(
    name: str,
    credentials: Credentials,
    address: str,
    chance: random.Random,
    *,
    first_s: float = FIRST_S,
    every_s: float = EVERY_S,
    retry_s: float = RETRY_S,
) -> None:
    """Until cancelled. What goes wrong is logged and tried again; the connections there are go on meanwhile."""
    loop = asyncio.get_running_loop()
    wait_s = first_s
    while True:
        await asyncio.sleep(chance.uniform(wait_s / 2, wait_s))
        wait_s = every_s
        try:
            if await loop.run_in_executor(None, renew, name, credentials, address):
                log.info("board %s: its certificate was renewed", name)
        except (ConvoyError, OSError) as error:
            log.warning("board %s: its certificate was not renewed: %s; trying again", name, error)
            wait_s = retry_s
