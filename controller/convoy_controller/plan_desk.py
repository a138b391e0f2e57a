"""Where plans are made: in a thread of its own, since one of a large fleet takes a second and the loop must hear."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from convoy_controller.candidate import PlanAnswer, PlanRequest, answered
from convoy_controller.reconciler import Reconciler

log = logging.getLogger(__name__)


class PlanDesk:
    """One controller's; `on_plan` is called whenever a reconciler has been given one."""

    def __init__(self, on_plan: Callable[[], None]) -> None:
        self._on_plan = on_plan
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="planner")
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, reconciler: Reconciler, request: PlanRequest) -> None:
        """Have a plan made, and `reconciler` told."""
        task = asyncio.create_task(self._plan(reconciler, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _plan(self, reconciler: Reconciler, request: PlanRequest) -> None:
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._thread, answered, request)
        except Exception as error:  # a mistake of ours in one plan must not end the controller, nor be waited for
            log.exception("no plan could be made for %s", request.intent.deployment)
            answer = PlanAnswer(request, None, f"planning failed: {type(error).__name__}: {error}")
        reconciler.planned(answer)
        self._on_plan()

    async def close(self) -> None:
        """Wait for no plan any more."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._thread.shutdown(wait=False, cancel_futures=True)
