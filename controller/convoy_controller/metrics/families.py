"""Every metric there is: name, kind, labels, and what it says. The documents are made from this list.

Names are in base units. Labels are bounded by the fleet (boards, deployments, gateways, holders of certificates) or by
the code; what anybody may make up (reasons that boards give) is bounded by `page.Reasons`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

#: By whom a family is exported.
CONTROLLER, GATEWAY, BOTH = "controller", "gateway", "controller, gateway"


class Kind(enum.Enum):
    """Of what kind, in Prometheus' words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, eq=False)
class Family:
    """One metric. `is_text`: label values may hold any text, and not only names."""

    name: str
    kind: Kind
    help: str
    by: str
    labels: tuple[str, ...] = ()
    is_text: bool = False


#: In the order in which they are exported and documented.
FAMILIES: list[Family] = []


def _family(kind: Kind, name: str, text: str, by: str, labels: tuple[str, ...], is_text: bool = False) -> Family:
    FAMILIES.append(Family(f"convoy_{name}", kind, text, by, labels, is_text))
    return FAMILIES[-1]


def _gauge(name: str, text: str, *labels: str, by: str = CONTROLLER) -> Family:
    return _family(Kind.GAUGE, name, text, by, labels)


def _info(name: str, text: str, *labels: str, by: str = CONTROLLER) -> Family:
    return _family(Kind.GAUGE, name, text, by, labels, is_text=True)


def _counter(name: str, text: str, *labels: str, by: str = CONTROLLER) -> Family:
    return _family(Kind.COUNTER, name, text, by, labels)


def _histogram(name: str, text: str, *labels: str, by: str = CONTROLLER) -> Family:
    return _family(Kind.HISTOGRAM, name, text, by, labels)


# The controller itself
CONTROLLER_INFO = _info("controller_info", "Always 1: the site and the version of the controller.", "site", "version")
IN_CHARGE = _gauge("controller_in_charge", "1 while this controller is in charge of its site; one that stands by: 0.")
EPOCH = _gauge("controller_epoch", "Epoch of the reign; it grows with each takeover from silence.")
GENERATION = _gauge("controller_generation", "Counter of the newest generation that was made in this epoch.")
REVISION = _gauge("controller_revision", "Newest revision of what boards and gateways are told.")
REFUSED_MESSAGES = _counter(
    "controller_refused_messages_total", "Messages that the controller could not take, by the code of why.", "reason"
)

# The broker, as each process sees it
BROKER_CONNECTED = _gauge("broker_connected", "1 while the connection to the broker stands.", "connection", by=BOTH)
BROKER_ATTEMPTS = _counter(
    "broker_connection_attempts_total", "Attempts to connect to the broker.", "connection", by=BOTH
)
BROKER_ROUND_TRIPS = _counter("broker_round_trips_total", "Answers of the broker.", "connection", by=BOTH)
BROKER_DROPPED = _counter(
    "broker_dropped_messages_total",
    "Messages dropped by our own link: no connection, or no room in its queue.",
    "connection",
    by=BOTH,
)
BROKER_UNSENT = _gauge(
    "broker_unsent_messages",
    "QoS 1 messages that wait for the broker's word or for their place.",
    "connection",
    by=BOTH,
)
PUBLISHED = _counter(
    "published_bytes_total",
    "Payload bytes that this process published: control, artifacts or activations.",
    "kind",
    by=BOTH,
)

# Boards
BOARDS = _gauge("boards", "Boards by presence: online, offline, or unknown until something fresh comes.", "presence")
BOARDS_AT_TARGET = _gauge("boards_at_target", "Boards that hold, ready, what they are told.")
BOARDS_WITH_TARGET = _gauge("boards_with_target", "Boards that are told anything: those that have a target.")
BOARD_INFO = _info("board_info", "Always 1: what a board is.", "board", "part", "fabric", "shell", "software", "python")
BOARD_ONLINE = _gauge("board_online", "1 online, 0 offline; absent while its presence is unknown.", "board")
BOARD_LOSSES = _counter(
    "board_losses_total",
    "Times that a board went: it said goodbye, fell silent, or came back in a session nobody had announced.",
    "board",
)
BOARD_AT_TARGET = _gauge("board_at_target", "1 while a board that is told anything holds all of it, ready.", "board")
BOARD_AT_TARGET_SECONDS = _gauge(
    "board_at_target_seconds", "Seconds since the board reached what it is told; 0 while it has not.", "board"
)
BOARD_PHASE = _gauge(
    "board_assignments", "Assignments of an online board by phase; phases without any are left out.", "board", "phase"
)
BOARD_BLOCKED = _gauge("board_blocked", "1 while something keeps an online board from going on.", "board")
BOARD_SYMPTOM = _gauge(
    "board_symptom",
    "1 while the controller finds it by watching: flapping, stalled, slow-link, overloaded, unreadable; else absent.",
    "board",
    "symptom",
)
BOARD_LEFT_OUT = _gauge(
    "board_left_out",
    "1 while a board is left out of a deployment because it failed there; else absent.",
    "board",
    "deployment",
)
BOARD_DEGRADED = _gauge("board_degraded_partitions", "Partitions that stay decoupled after a failure.", "board")
BOARD_TEMPERATURE = _gauge("board_temperature_celsius", "Temperature of the chip, where it has a sensor.", "board")
BOARD_MEMORY = _gauge("board_resident_memory_bytes", "Memory of the board's daemon.", "board")
BOARD_UPTIME = _gauge("board_uptime_seconds", "Seconds since the board's daemon started.", "board")
BOARD_UPLINK = _gauge(
    "board_uplink_wait_seconds", "Median wait of a frame for the board's way out; absent: not measured.", "board"
)
BOARD_ROUND_TRIP = _gauge(
    "board_broker_round_trip_seconds", "Round trip from board to broker, as its kernel takes it to be.", "board"
)
BOARD_STORE = _gauge("board_store_bytes", "Bytes in the board's store of artifacts.", "board")
BOARD_STORE_QUOTA = _gauge("board_store_quota_bytes", "Bytes that its store may hold.", "board")
BOARD_PUBLISHED = _counter(
    "board_published_bytes_total", "Payload bytes that the board published, by kind.", "board", "kind"
)
BOARD_DROPPED = _counter(
    "board_dropped_frames_total", "Frames that the board's link dropped: no connection, or no room.", "board"
)
BOARD_REFUSED = _counter(
    "board_refused_messages_total",
    "Messages that the board refused, by reason; frames of a stage apart.",
    "board",
    "reason",
)

# Stages: one board's part of one deployment
STAGE_INFO = _info(
    "stage_info",
    "Always 1: which stage of which generation a board holds.",
    "board",
    "deployment",
    "stage",
    "generation",
)
STAGE_FRAMES = _counter("stage_frames_total", "Frames that a board computed.", "board", "deployment")
STAGE_ROWS = _counter("stage_rows_total", "Rows (images) that a board computed.", "board", "deployment")
STAGE_BUSY = _counter("stage_busy_seconds_total", "Seconds that a board computed.", "board", "deployment")
STAGE_REFUSED = _counter(
    "stage_refused_frames_total", "Frames that a stage refused, by reason.", "board", "deployment", "reason"
)
STAGE_QUEUED = _gauge("stage_queued_frames", "Frames that wait in a board's queue.", "board", "deployment")
STAGE_CREDITS = _gauge("stage_credits", "Frames for which a board's queue still has room.", "board", "deployment")
STAGE_RESIDENCE = _gauge(
    "stage_residence_seconds",
    "Median time of a frame on the board, queue included, last second.",
    "board",
    "deployment",
)

# Deployments
DEPLOYMENT_INFO = _info(
    "deployment_info",
    "Always 1: model and generation that a deployment serves.",
    "deployment",
    "model",
    "version",
    "generation",
)
DEPLOYMENT_SERVING = _gauge(
    "deployment_serving", "1 while a generation serves whose stages all have a board that can compute.", "deployment"
)
DEPLOYMENT_STATE = _gauge(
    "deployment_state", "1 for the state that its owner is shown, 0 for the others.", "deployment", "state"
)
DEPLOYMENT_BOARDS = _gauge("deployment_boards", "Boards of the generation that serves.", "deployment")
DEPLOYMENT_PERIOD = _gauge(
    "deployment_planned_period_seconds", "The plan's bound: seconds for each row at full load.", "deployment"
)
ASSIGNMENTS = _gauge(
    "deployment_assignments",
    "Assignments by the phase that boards report; phases without any are 0.",
    "deployment",
    "phase",
)
PLANS = _counter(
    "deployment_generations_total",
    "Generations made, by cause: initial, or a re-plan: changed, lost, leaving, better.",
    "deployment",
    "cause",
)
ABANDONED = _counter("deployment_abandoned_generations_total", "Generations given up before they served.", "deployment")
PLAN_FAILURES = _counter(
    "deployment_plan_failures_total", "Times that no plan was found, each told once.", "deployment"
)
RECOVERY = _histogram(
    "deployment_recovery_seconds",
    "From the last words of a lost board until the deployment serves, whole, again.",
    "deployment",
)
RECOVERING = _gauge(
    "deployment_recovering_seconds", "Seconds since the loss that it has not recovered from; 0: none.", "deployment"
)

# Gateways, as the controller sees them
GATEWAY_ONLINE = _gauge("gateway_online", "1 online, 0 offline; absent while its presence is unknown.", "gateway")
GATEWAY_LOSSES = _counter("gateway_losses_total", "Times that a gateway went.", "gateway")

# Artifacts on their way
BLOCKS_SENT = _counter("distributor_blocks_sent_total", "Blocks of artifacts that were sent, each to all who want it.")
BLOCKS_WANTED = _counter("distributor_blocks_wanted_total", "Blocks asked for, as often as any board asked.")
BLOCKS_WAITING = _gauge("distributor_waiting_blocks", "Blocks that are wanted and not sent yet.")
WANTS_REFUSED = _counter("distributor_refused_wants_total", "Wants that could not be read or met.")

# The database
WRITES = _histogram("database_write_seconds", "From handing a transaction over until it is committed or refused.")
WRITE_FAILURES = _counter("database_write_failures_total", "Attempts to write that the database did not take.")
WRITES_WAITING = _gauge("database_waiting_records", "Records of telemetry and events that wait to be written.")
DECISIONS_WAITING = _gauge("database_waiting_decisions", "Decisions that nobody may hear of before they are written.")
RECORDS_DROPPED = _counter("database_dropped_records_total", "Records for which there was no room while it was away.")
RECORDS_REFUSED = _counter("database_refused_records_total", "Records that the database refused for good.")

# Certificates
CERTIFICATE_ENDS = _gauge(
    "certificate_not_after_timestamp_seconds",
    "When the newest certificate of a holder ends that was not revoked, in seconds since 1970.",
    "holder",
)

# A gateway
GATEWAY_INFO = _info("gateway_info", "Always 1: name, site and version.", "gateway", "site", "version", by=GATEWAY)
GATEWAY_CONFIGURED = _gauge(
    "gateway_ready", "1 while all that this gateway is told to feed is ready, and something is.", by=GATEWAY
)
GATEWAY_EPOCH = _gauge("gateway_epoch", "Epoch of the controller that this gateway follows.", by=GATEWAY)
GATEWAY_REVISION = _gauge("gateway_revision", "Revision of what this gateway was told last.", by=GATEWAY)
FEED_INFO = _info(
    "gateway_feed_info",
    "Always 1: what a deployment's requests are answered by.",
    "deployment",
    "model",
    "version",
    "generation",
    by=GATEWAY,
)
FEED_READY = _gauge("gateway_deployment_ready", "1 while the deployment answers here.", "deployment", by=GATEWAY)
HTTP_REQUESTS = _counter(
    "gateway_http_requests_total",
    "Infer requests by outcome: answered, or the code of the error that was answered.",
    "outcome",
    by=GATEWAY,
)
REQUESTS_ACCEPTED = _counter("gateway_accepted_requests_total", "Requests accepted.", "deployment", by=GATEWAY)
REQUESTS = _counter(
    "gateway_requests_total",
    "Accepted requests that ended, by outcome: answered, failed, or cancelled by their caller.",
    "deployment",
    "outcome",
    by=GATEWAY,
)
REQUEST_ROWS = _counter("gateway_answered_rows_total", "Rows (images) answered.", "deployment", by=GATEWAY)
LATENCY = _histogram(
    "gateway_request_seconds", "From accepting a request to its answer, of those answered.", "deployment", by=GATEWAY
)
HOP = _gauge(
    "gateway_hop_seconds", "Median of recent frames between two stages, or a stage and us.", "deployment", by=GATEWAY
)
IN_FLIGHT = _gauge("gateway_in_flight_frames", "Frames whose answer is awaited.", "deployment", by=GATEWAY)
WINDOW = _gauge(
    "gateway_window_frames", "Frames that may be in flight: this gateway's share.", "deployment", by=GATEWAY
)
CREDITS = _gauge("gateway_credits", "Frames that may still be sent now.", "deployment", by=GATEWAY)
WAITING = _gauge("gateway_waiting_rows", "Rows that wait for their place in a frame.", "deployment", by=GATEWAY)
PENDING = _gauge("gateway_pending_requests", "Requests accepted and not ended, all deployments.", by=GATEWAY)
RETRIED = _counter("gateway_retried_frames_total", "Frames that were sent again.", "deployment", by=GATEWAY)
LATE = _counter("gateway_late_frames_total", "Answers that came when nobody awaited them.", "deployment", by=GATEWAY)
FRAMES_REFUSED = _counter(
    "gateway_refused_frames_total",
    "Answers of a deployment that were refused, by reason.",
    "deployment",
    "reason",
    by=GATEWAY,
)
STRAYS = _counter(
    "gateway_refused_messages_total",
    "Messages and frames of nobody's that were refused, by reason.",
    "reason",
    by=GATEWAY,
)
