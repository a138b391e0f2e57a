"""What is asked of a board."""

from __future__ import annotations

from typing import NamedTuple

from convoy_controller.conformance.rules import Means, Rule

_TAP, _MAY_STOP = Means.TAP, Means.MAY_STOP


class _Said(NamedTuple):
    """A rule without its number."""

    sentence: str
    reason: str
    means: Means = Means.NOTHING


_SAID = (
    # Presence
    _Said(
        "After each connection it says `online`, with its session, on its `state`.",
        "A broker serves a dead board's retained `online`; only a fresh word proves life.",
        _TAP,
    ),
    _Said(
        "Everything it says in one life has the same session number, which is not 0.",
        "By the session a late word of an earlier life, or its will, is told from the present one.",
    ),
    _Said(
        "When its connection breaks, its will says `offline` with its session on `state`, retained.",
        "A death is seen in a moment instead of after three missed pulses.",
        _TAP,
    ),
    _Said(
        "`state`, `capability` and `reported` are published at QoS 1 and retained.",
        "A controller that starts later finds what boards are and hold.",
    ),
    _Said(
        "`pulse` is published at QoS 0 and not retained.",
        "A retained pulse would be a sign of life from the dead.",
    ),
    _Said(
        "With a live stage a pulse comes at least every `interval_ms`, which is at most 1000.",
        "Three missed pulses are a death, so a late one moves traffic for nothing.",
    ),
    _Said(
        "A `rebirth` is answered by state, capability, reported and pulse within `within_ms` and two seconds.",
        "A controller that lost sight asks, and takes silence for absence.",
    ),
    _Said(
        "Every message it publishes is on a topic of the contract, decodes, and keeps to its bound.",
        "What cannot be read is refused, and counts as silence.",
    ),
    _Said(
        "It publishes under its own name alone, frames included.",
        "Nobody may report or answer for another board; brokers with access rules deliver nothing of it.",
    ),
    _Said(
        "When another session says `online` under its name, it says nothing more.",
        "Two boards of one name would answer each other's frames.",
        _MAY_STOP,
    ),
    # Orders
    _Said(
        "It brings every assignment to `ready`, reports the revision, and repeats assignments whole in `held`.",
        "A controller that lost its database rebuilds it from what boards hold.",
    ),
    _Said(
        "A desired state of an older epoch than it has followed changes nothing.",
        "The epoch fences a controller that was asleep while another took over.",
    ),
    _Said(
        "A desired state of an older revision of the same epoch changes nothing.",
        "Messages may come late, and twice.",
    ),
    _Said(
        "A second, different desired state of the same epoch and revision changes nothing.",
        "Two controllers that share an epoch must not both be obeyed.",
    ),
    _Said(
        "A field that it does not know is ignored, wherever it stands.",
        "A newer controller may say more without breaking older boards.",
    ),
    _Said(
        "A message whose oldest spoken version is above its own is refused.",
        "What it cannot understand it must not half understand.",
    ),
    _Said(
        "An empty payload on `desired` changes nothing.",
        "Clearing what is retained is housekeeping, and no order to let go.",
    ),
    _Said(
        "Bytes that are no message, on any topic that it hears, end nothing: it goes on in the same session.",
        "One bad client must not stop a fleet.",
    ),
    _Said(
        "After a lost connection it serves on, in the same session, without being told anything again.",
        "A broker that restarts empty costs no deployment.",
        _TAP,
    ),
    # Bundles
    _Said(
        "A bundle signed by a key that the root did not delegate never becomes ready.",
        "Whoever reaches the broker must not get code onto a fabric.",
    ),
    _Said(
        "A bundle altered after it was signed never becomes ready.",
        "The signature covers everything by digest, and only if it is checked.",
    ),
    _Said(
        "A bundle announced with another's topology never becomes ready.",
        "Each may be genuine; together they are not what was signed.",
    ),
    _Said(
        "A bundle below its model's floor never becomes ready.",
        "A revoked version must stay refused, whatever a controller says.",
    ),
    _Said(
        "A bundle that runs stops when a floor above it comes.",
        "Revoking would mean little if it waited for the next start.",
    ),
    _Said(
        "A stage whose golden values do not come out, to the last bit, never becomes ready.",
        "A wrong module or a damaged parameter shows here, before any request.",
    ),
    _Said(
        "An artifact that does not unpack to its digest is never used.",
        "A manifest is not signed: the digest in the bundle is.",
    ),
    _Said(
        "What it refuses it reports as `failed` with a code and a message, and other assignments go on.",
        "An owner must see why, and one bad bundle must not stop the rest.",
    ),
    # Artifacts
    _Said(
        "At most 8 blocks that it asked for, over all artifacts, are outstanding.",
        "The controller's memory and the line are sized by it.",
    ),
    _Said(
        "A block that does not come is asked for again, at most 4 times a second.",
        "Blocks are multicast at QoS 0; asking in a loop would only fill the line.",
    ),
    _Said(
        "Each block is checked against the manifest when it comes; a damaged one is asked for again, alone.",
        "One bad block must not cost the artifact.",
    ),
    _Said(
        "A valid block that it did not ask for is kept, and not asked for later.",
        "Blocks go out once for the whole fleet.",
    ),
    _Said(
        "A manifest that is not there is asked for by a `want` without blocks.",
        "The broker may have forgotten what was retained.",
    ),
    _Said(
        "After a lost connection it asks only for blocks that it lacks.",
        "Large artifacts come in over bad lines.",
        _TAP,
    ),
    # Frames
    _Said(
        "Its answers are the exact int8 values of its layers, to the last bit.",
        "Replicas, and a placement and its successor, must not differ.",
    ),
    _Said(
        "An answer goes to the next holder, or to the frame's gateway, on the topic of the next stage, and "
        "repeats deployment, generation, gateway, batch and requests.",
        "The gateway knows its requests by them.",
    ),
    _Said(
        "Of several next boards it sends each batch to the one that weights and batch number choose.",
        "All branches of a batch must meet on one replica.",
    ),
    _Said(
        "A frame of another generation, in the topic or in the frame, is never computed.",
        "A mixed answer would be wrong, and nobody would notice.",
    ),
    _Said(
        "A frame of another stage is never computed.",
        "Its tensors may fit all the same.",
    ),
    _Said(
        "A frame from a sender that its assignment does not name is never computed.",
        "Who may write frames at all may write them to anyone.",
    ),
    _Said(
        "A frame whose tensors are not those of the cut, int8, of their shape and at most `batch_rows` rows, is never "
        "computed.",
        "What comes from outside must not reach the fabric unchecked.",
    ),
    _Said(
        "A frame whose budget is spent is never computed.",
        "Nobody waits for its answer any more.",
    ),
    _Said(
        "It appends its residence in microseconds and takes it off the budget.",
        "Time is charged without any clock that two machines share.",
    ),
    _Said(
        "A frame that comes again is answered again, alike.",
        "Frames are QoS 0: what was lost is sent again, and inference is pure.",
    ),
    _Said(
        "What it refuses is counted by reason in its pulses.",
        "Otherwise a refusal is a loss that nobody can explain.",
    ),
    _Said(
        "It answers every frame of a burst as large as its queue, and no pulse grants more credits than that.",
        "Windows are sized by it, so that nothing overflows.",
    ),
    _Said(
        "A retained frame is never computed.",
        "It is nobody's request, and would come again with each connection.",
        _TAP,
    ),
    # Generations
    _Said(
        "While a new generation is staged, the old one answers on, right.",
        "Make before break: fetching, configuring and testing cost no request.",
    ),
    _Said(
        "A draining assignment computes what reaches it.",
        "Requests on their way still get their answers.",
    ),
    _Said(
        "A generation that is no longer desired is let go: not reported, and its frames are refused.",
        "What nobody wants must not take room, nor answer.",
    ),
    # Later ones: a number that was given stays
    _Said(
        "A floor that neither the root nor its delegate signed changes nothing.",
        "Whoever reaches the broker could stop the fleet for good.",
    ),
)
BOARD_RULES = tuple(Rule(f"B{number}", *said) for number, said in enumerate(_SAID, start=1))
