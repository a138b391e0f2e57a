"""Which deployment methods this controller can place, of all that the contract names.

Asked before anything is written down, so that an owner hears of a refusal at once. Called by `database.intents`, by
the demonstration, and by the query that lists what a model can be deployed by.
"""

from __future__ import annotations

from convoy_schema.bundle import Method

from convoy_controller.errors import MethodUnavailableError

#: `stream` means the whole network on each board, under the shell `fixed`: no plan is made for that yet.
PLACEABLE = (Method.ALLOCATE, Method.LIBRARY)


def check_placeable(method: Method) -> None:
    """Raise `MethodUnavailableError`, which names the methods there are, unless `method` is one of them."""
    if method not in PLACEABLE:
        known = ", ".join(each.value for each in PLACEABLE)
        raise MethodUnavailableError(
            f"method {method.value} cannot be placed by this version: choose one of {known}", method=method.value
        )
