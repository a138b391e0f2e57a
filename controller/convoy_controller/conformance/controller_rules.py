"""What is asked of a controller."""

from __future__ import annotations

from typing import NamedTuple

from convoy_controller.conformance.rules import Means, Rule

_TAP, _KEY = Means.TAP, Means.KEY


class _Said(NamedTuple):
    """A rule without its number."""

    sentence: str
    reason: str
    means: Means = Means.NOTHING


_SAID = (
    # Who is in charge
    _Said(
        "While in charge it says so on `controller/state` each second: online, its session, an epoch from 1 on.",
        "Others stand by as long as they hear it, and take over when they do not.",
    ),
    _Said(
        "Every message it publishes is on a topic of the contract, decodes, and keeps to its bound.",
        "Boards refuse what they cannot read, and count it.",
    ),
    _Said(
        "Each channel is published at its QoS, and retained where it says so.",
        "A board that connects later finds its orders; commands and blocks must not come again.",
    ),
    _Said(
        "When its connection breaks, its will says `offline` with its session and epoch 0.",
        "A will is no goodbye: its author may still act, so nobody may go on in its epoch.",
        _TAP,
    ),
    # Orders
    _Said(
        "The (epoch, revision) of a board's `desired` never falls, changes with the content, and has its own epoch.",
        "Boards follow the highest, and refuse two orders of one number.",
    ),
    _Said(
        "An assignment of a generation never changes but in its role.",
        "No activation of one generation may be computed under another.",
    ),
    _Said(
        "The stages of a generation cover its network once, in order, and name each other as next and previous.",
        "Boards refuse frames from whom their assignment does not name.",
    ),
    # Models and artifacts
    _Said(
        "Every bundle that it assigns is announced, with topology and golden rows of the digests that it names.",
        "Boards verify before they touch their fabric, and wait until they can.",
    ),
    _Said(
        "What it announces is signed by the fleet's root, or by a key that the root delegated.",
        "Boards run nothing else.",
        _KEY,
    ),
    _Said(
        "A manifest that is asked for, by a `want` without blocks, is stated again.",
        "The broker may have forgotten what was retained.",
    ),
    _Said(
        "Every block that is asked for comes, fits its manifest, and the artifact unpacks to its digest.",
        "Boards check each block and the whole.",
    ),
    _Said(
        "A block that two boards ask for at once is sent once.",
        "Blocks are multicast, so that what is sent does not grow with the fleet.",
    ),
    _Said(
        "It sends no block that nobody asked for.",
        "Every board that fetches would have to take it.",
    ),
    # Generations
    _Said(
        "A new generation is `staged` until its boards are ready and every gateway has tested it.",
        "Make before break.",
    ),
    _Said(
        "A gateway is told to test a generation only when all its boards report it ready.",
        "Before that the test could only fail.",
    ),
    _Said(
        "A gateway is told to feed a generation only after its test passed.",
        "Requests never meet what gives wrong answers.",
    ),
    _Said(
        "A generation whose test failed is never fed, and another one follows.",
        "A wrong placement must not be a dead end.",
    ),
    # Presence
    _Said(
        "A board that says `offline` in its session gets its stage taken over by others, within 10 s.",
        "That is what a fleet is for.",
    ),
    _Said(
        "An `offline` of another session changes nothing.",
        "A will may come late, after the board is back.",
    ),
    _Said(
        "A board that misses its pulses gets its stage taken over within 10 s, whatever is retained.",
        "Brokers do not notice every death.",
    ),
    _Said(
        "A board known by retained words alone is asked for a rebirth, and gets no assignment.",
        "Retained words may be those of the dead.",
        _TAP,
    ),
    # Robustness
    _Said(
        "After a lost connection it restates every order, with the numbers it had.",
        "The broker may have restarted empty.",
        _TAP,
    ),
    _Said(
        "Bytes that are no message, on any topic that it hears, end nothing: it stays in charge in the same session.",
        "One bad client must not stop a fleet.",
    ),
    _Said(
        "A field that it does not know is ignored, wherever it stands.",
        "A newer board may say more.",
    ),
    _Said(
        "While another controller of a higher epoch speaks it gives no orders.",
        "Two that act would undo each other's work.",
    ),
    _Said(
        "It takes over from a silent one in an epoch above every one it heard, within 15 s.",
        "Boards follow the highest epoch, which fences the silent one when it wakes.",
    ),
    _Said(
        "When a board has followed an epoch above its own it begins anew above that, and takes nothing away.",
        "Its database may be an old one; what runs is the truth.",
    ),
)
CONTROLLER_RULES = tuple(Rule(f"C{number}", *said) for number, said in enumerate(_SAID, start=1))
