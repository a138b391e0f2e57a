"""Why a board is where it is, in one sentence and with what to do about it.

Pure functions of `BoardFacts`: no SQL, no clock. The worst truth is told first. Called by the queries; `explanation`
has the order, and each noun of it a module of its own.
"""

from convoy_controller.database.explanations.explanation import explain
from convoy_controller.database.explanations.failures import CURES
from convoy_controller.database.explanations.presence import never_seen

__all__ = ["CURES", "explain", "never_seen"]
