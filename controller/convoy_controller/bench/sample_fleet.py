"""A large fleet with its history, made within a database in minutes: what the queries' bench asks about.

Written by statements that make their rows themselves, the same in SQLite and PostgreSQL but for how they write a number
of rows, a date and a remainder. Of every thousand boards some are offline, failed, fetching, degraded or out of
service, and every hundredth comes and goes; each fifty share a deployment of 16 stages by three boards, with three
earlier generations; each five hundred are a group. History lies over the thirty days before `now`, thickest at its end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from convoy_schema import codec
from convoy_schema.bundle import Bundle, InputSpec, Method, ModelAnnouncement
from convoy_schema.messages.boards import Capability, Partition, Published, Pulse, Reported, StagePulse
from convoy_schema.messages.desired import Assignment, Intent, Role, Slot
from convoy_schema.messages.gateways import FeedReport, GatewayReported
from convoy_schema.names import Generation
from convoy_schema.topology import Kind, Layer, Tensor, Topology

from convoy_controller.database.condition_records import settle_all
from convoy_controller.database.engine import Database

DAY_S = 86_400
DAYS = 30
#: Boards that share a deployment (two of each fifty are free), that are a group, and the model versions there are.
SHARING, ASSIGNED, GROUPED, MODELS = 50, 48, 500, 20
#: Shares of all rows of history.
SHARES = {
    "events": 0.28,
    "sessions": 0.10,
    "absences": 0.10,
    "board_samples": 0.15,
    "board_minutes": 0.12,
    "board_hours": 0.06,
    "stage_samples": 0.08,
    "stage_minutes": 0.05,
    "stage_hours": 0.02,
    "feed_samples": 0.02,
    "feed_minutes": 0.01,
    "feed_hours": 0.01,
}


@dataclass(frozen=True)
class Size:
    """How many boards, and how many rows of history."""

    boards: int
    history: int

    @property
    def deployments(self) -> int:
        """Each on as many boards as any other."""
        return max(1, self.boards // SHARING)


class SampleFleet:
    """What is written where, and what may be asked about it. `now` is the moment at which the fleet stands."""

    def __init__(self, database: Database, size: Size, now: datetime) -> None:
        self.database, self.size = database, size
        self.now = now.replace(microsecond=0)
        self._is_sqlite = database.engine.dialect.name == "sqlite"
        self._end = int(self.now.timestamp())

    # The dialects ----------------------------------------------------------------------------------------------------

    def _rows(self, count: int) -> str:
        """A table `n` of the numbers i from 0 to below `count`."""
        if self._is_sqlite:
            more = f"SELECT i + 1 FROM c WHERE i < {count - 1}"
            return f"(WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL {more}) SELECT i FROM c) AS n"
        return f"generate_series(0, {count - 1}) AS n(i)"

    def _date(self, seconds: str) -> str:
        """The date `seconds` before now."""
        if self._is_sqlite:
            return f"strftime('%Y-%m-%d %H:%M:%f000', {self._end} - ({seconds}), 'unixepoch')"
        return f"to_timestamp({self._end} - ({seconds}))"

    def _hour(self, seconds: str, step: int) -> str:
        """The date `seconds` before now, down to whole steps."""
        return self._date(f"{self._end} - ({self._end} - ({seconds})) / {step} * {step}")

    def _board(self, number: str) -> str:
        return f"printf('board-%06d', {number})" if self._is_sqlite else f"'board-' || lpad(({number})::text, 6, '0')"

    def _deployment(self, number: str) -> str:
        return f"printf('net-%05d', {number})" if self._is_sqlite else f"'net-' || lpad(({number})::text, 5, '0')"

    def _group(self, number: str) -> str:
        return f"printf('group-%04d', {number})" if self._is_sqlite else f"'group-' || lpad(({number})::text, 4, '0')"

    def _text(self, number: str) -> str:
        return f"CAST({number} AS TEXT)"

    # What there is ---------------------------------------------------------------------------------------------------

    def make(self) -> None:
        """Write all of it, settle every board's condition, and have the database count its rows for its plans."""
        for statement, blobs in (*self._current(), *self._history()):
            with self.database.write() as db:
                db.connection().exec_driver_sql(statement, blobs or None)
        settle_all(self.database, self.now)
        self._analyze()

    def _analyze(self) -> None:
        engine = self.database.engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql("ANALYZE" if self._is_sqlite else "VACUUM ANALYZE")

    def _blob(self, name: str) -> str:
        return f":{name}" if self._is_sqlite else f"%({name})s"

    def _insert(self, table: str, columns: dict[str, str], source: str, **blobs: bytes) -> tuple[str, dict[str, bytes]]:
        statement = f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(columns.values())} FROM {source}"
        if not self._is_sqlite:  # a remainder is no parameter
            statement = re.sub(r"%(?!\()", "%%", statement)
        return statement, blobs

    def _json(self, text: str) -> str:
        return text if self._is_sqlite else f"CAST({text} AS JSON)"

    def _current(self) -> Iterable[tuple[str, dict[str, bytes]]]:
        boards = self.size.boards
        yield from self._models()
        yield self._boards_rows()
        yield self._insert(
            "board_statistics",
            {
                "board": self._board("i"), "session": "i", "at": self._date("i % 30"), "uptime_ms": "1000000",
                "rss_bytes": "60000000 + i", "frames": "i * 7", "rows": "i * 7 * 32", "queued": "i % 4",
                "refused": "i % 3", "control_bytes": "1000", "activation_bytes": "100000",
                "pulse": self._blob("pulse"), "temperature_c": "40.0 + i % 20",
            },
            self._rows(boards),
            pulse=codec.pack(_pulse()),
        )  # fmt: skip
        yield self._insert(
            "board_wishes",
            {
                "board": self._board("i * 5"),
                "drained_at": f"CASE WHEN i % 100 = 7 THEN {self._date('7200')} END",
                "restart_token": "''", "restart_at": "NULL", "forced": "FALSE",
                "labels": self._json("'{\"hall\": \"' || " + self._text("i % 40") + " || '\"}'"), "revision": "i + 1",
            },
            self._rows(boards // 5),
        )  # fmt: skip
        yield self._insert(
            "board_labels",
            {"board": self._board("i * 5"), "key": "'hall'", "value": self._text("i % 40")},
            self._rows(boards // 5),
        )
        groups = max(1, boards // GROUPED)
        members = "json_group_array(board)" if self._is_sqlite else "json_agg(board)"
        yield self._insert(
            "board_group_members",
            {"group_name": self._group(f"i / {GROUPED}"), "board": self._board("i")},
            self._rows(groups * GROUPED if boards >= GROUPED else boards),
        )
        yield self._insert(
            "board_groups",
            {
                "name": "group_name", "site": "'site-' || " + self._text("substr(group_name, 10, 1)"),
                "boards": members, "note": "''", "revision": "1", "changed_at": self._date("86400"),
            },
            "board_group_members GROUP BY group_name",
        )  # fmt: skip
        yield from self._placements()
        yield from self._gateways()

    def _boards_rows(self) -> tuple[str, dict[str, bytes]]:
        away = "CASE WHEN i % 1000 < 25 THEN 'offline' WHEN i % 1000 < 28 THEN 'unknown' ELSE 'online' END"
        return self._insert(
            "boards",
            {
                "name": self._board("i"), "session": "i", "presence": away,
                "presence_since": self._date("i * 37 % 600000"), "presence_reason": "'three pulses missed'",
                "first_seen": self._date(str(DAYS * DAY_S)), "last_seen": self._date("i % 30"),
                "part": "'xc7z020clg400-1'", "fabric": "'pynq'", "software": "'0.1.0'",
                "capability": self._blob("capability"),
                "desired_epoch": "1", "desired_revision": "i + CASE WHEN i % 1000 = 77 THEN 2 ELSE 1 END",
                "desired_at": self._date("i % 90000"), "reported_epoch": "1", "reported_revision": "i + 1",
                "reported_at": self._date("i % 90000"), "shell": "'partitions'",
                "blocked": "CASE WHEN i % 1000 IN (101, 301) THEN 'the store is full' ELSE '' END",
                "degraded": "CASE WHEN i % 1000 IN (201, 401) THEN 'p0' ELSE '' END",
                "store_bytes": "300000000", "store_quota": "1000000000", "reported": self._blob("reported"),
            },
            self._rows(self.size.boards),
            capability=codec.pack(_capability()),
            reported=codec.pack(_reported()),
        )  # fmt: skip

    def _models(self) -> Iterable[tuple[str, dict[str, bytes]]]:
        for number in range(MODELS):
            digest, announcement = _digest("bundle", number), _announcement(number)
            yield self._insert(
                "models",
                {
                    "name": f"'model-{number // 4}'", "version": f"'{number % 4 + 1}'", "serial": str(number % 4 + 1),
                    "digest": f"'{digest}'", "announcement": self._blob("announcement"),
                    "imported_at": self._date(str((MODELS - number) * DAY_S)),
                },
                "(SELECT 1) AS one",
                announcement=codec.encode(announcement),
            )  # fmt: skip
        for number in range(MODELS):
            yield self._insert(
                "artifacts",
                {
                    "digest": f"'{_digest('parameters', number)}'", "size": "100000", "packed_size": "60000",
                    "kind": "'parameters'", "manifest": self._blob("manifest"), "created_at": self._date("86400"),
                },
                "(SELECT 1) AS one",
                manifest=b"manifest",
            )  # fmt: skip
        for number in range(MODELS):
            yield self._insert(
                "artifact_references",
                {"bundle": f"'{_digest('bundle', number)}'", "artifact": f"'{_digest('parameters', number)}'"},
                "(SELECT 1) AS one",
            )

    def _placements(self) -> Iterable[tuple[str, dict[str, bytes]]]:
        count = self.size.deployments
        yield self._insert(
            "deployments",
            {
                "name": self._deployment("i"), "model": "'model-' || " + self._text(f"i % {MODELS} / 4"),
                "version": self._text(f"i % {MODELS} % 4 + 1"), "method": "'library'", "boards": str(ASSIGNED),
                "objective": "'throughput'", "cut": "'replicated'", "batch": "32", "intent_revision": "i + 1",
                "wanted": "TRUE", "state": "'serving'", "message": "''", "created_at": self._date("2592000"),
                "changed_at": self._date("i * 977 % 600000"),
            },
            self._rows(count),
        )  # fmt: skip
        bundles = " ".join(f"WHEN {number} THEN '{_digest('bundle', number)}'" for number in range(MODELS))
        stages = [{"layers": [f"layer-{at}"], "boards": [f"b{at}"]} for at in range(16)]
        plan = str({"period_s": 0.001, "batch_rows": 32, "stages": stages}).replace("'", '"')
        yield self._insert(
            "generations",
            {
                "deployment": self._deployment("i / 4"), "epoch": "1", "counter": "i + 1",
                "state": "CASE WHEN i % 4 = 3 THEN 'serving' ELSE 'retired' END", "reason": "'asked for'",
                "plan": f"'{plan}'", "created_at": self._date("i * 977 % 2000000"),
                "changed_at": self._date("i * 977 % 2000000"),
                "bundle": f"CASE i / 4 % {MODELS} {bundles} END",
            },
            self._rows(count * 4),
        )  # fmt: skip
        phase = (
            "CASE WHEN g.state <> 'serving' THEN 'ready' WHEN i % 97 = 5 THEN 'failed' "
            "WHEN i % 89 = 7 THEN 'fetching' ELSE 'ready' END"
        )
        yield self._insert(
            "assignments",
            {
                "generation_id": "g.id", "board": self._board(f"i / {ASSIGNED} * {SHARING} + i % {ASSIGNED}"),
                "stage": f"i % {ASSIGNED} / 3", "stages": "16",
                "layers": self._json("'[\"layer-' || " + self._text(f"i % {ASSIGNED} / 3") + " || '\"]'"),
                "slots": "'{}'", "packed": self._blob("packed"), "phase": phase, "step": "''",
                "done_bytes": "65536", "total_bytes": "200000",
                "code": f"CASE WHEN {phase} = 'failed' THEN 'signature' ELSE '' END",
                "message": f"CASE WHEN {phase} = 'failed' THEN 'the bundle is not signed' ELSE '' END",
                "retryable": "FALSE", "changed_at": self._date("i * 31 % 900000"),
            },
            f"{self._rows(count * ASSIGNED)} JOIN generations g "
            f"ON g.deployment = {self._deployment(f'i / {ASSIGNED}')}",
            packed=codec.pack(_assignment()),
        )  # fmt: skip

    def _gateways(self) -> Iterable[tuple[str, dict[str, bytes]]]:
        feeds = tuple(
            FeedReport(
                f"net-{n:05}", Generation(1, 4 * n + 4), (), (), 3, 1000, 990, 1, latency_p50_us=4000, hop_us=300
            )
            for n in range(min(200, self.size.deployments))
        )
        reported = GatewayReported(1, 1, 1, "http://127.0.0.1:1", feeds, Published())
        yield self._insert(
            "gateways",
            {
                "name": "'gateway-' || " + self._text("i"), "session": "1", "presence": "'online'",
                "presence_since": self._date("90000"), "first_seen": self._date("2592000"),
                "last_seen": self._date("1"),
                "address": "'http://127.0.0.1:1'", "epoch": "1", "revision": "1", "reported": self._blob("reported"),
            },
            self._rows(3),
            reported=codec.pack(reported),
        )  # fmt: skip

    # History ---------------------------------------------------------------------------------------------------------

    def _history(self) -> Iterable[tuple[str, dict[str, bytes]]]:
        yield self._events()
        yield self._sessions()
        yield self._absences()
        yield self._presence_hours()
        yield from self._telemetry()

    def _count(self, table: str) -> int:
        return max(1, int(self.size.history * SHARES[table]))

    def _events(self) -> tuple[str, dict[str, bytes]]:
        count, boards = self._count("events"), self.size.boards
        number = f"(i * 7919 + i / 13) % {boards}"
        # The newest event of a board is of a kind that does not leave it out.
        kinds = " ".join(
            f"WHEN {at} THEN '{kind}'" for at, kind in enumerate(("online", "offline", "phase", "refused"))
        )
        return self._insert(
            "events",
            {
                "at": self._date(f"({count} - 1 - CAST(i AS BIGINT)) * {DAYS * DAY_S} / {count}"),
                "severity": "CASE WHEN i % 50 = 1 THEN 'error' WHEN i % 5 = 1 THEN 'warning' ELSE 'info' END",
                "kind": f"CASE i % 5 {kinds} ELSE 'deployment' END",
                "board": self._board(f"CAST({number} AS INTEGER)" if self._is_sqlite else number),
                "deployment": f"CASE WHEN i % 5 > 1 THEN {self._deployment(f'({number}) / {SHARING}')} END",
                "generation": "NULL", "sentence": "'what happened to a board, in one sentence of usual length'",
                "data": "'{}'",
            },
            self._wide(count),
        )  # fmt: skip

    def _wide(self, count: int) -> str:
        """As `_rows`, in whole numbers that do not overflow when they are multiplied."""
        return self._rows(count) if self._is_sqlite else f"generate_series(0::bigint, {count - 1}) AS n(i)"

    def _flapping(self, count: int) -> tuple[str, str]:
        """A board's number, and the how-manieth of its rows: half of the rows are of every hundredth board."""
        boards = self.size.boards
        few = max(1, boards // 100)
        number = f"CASE WHEN i % 2 = 0 THEN i / 2 % {boards} ELSE i / 2 % {few} * 100 % {boards} END"
        return number, f"CASE WHEN i % 2 = 0 THEN i / 2 / {boards} ELSE i / 2 / {few} END"

    def _sessions(self) -> tuple[str, dict[str, bytes]]:
        count = self._count("sessions")
        number, _ = self._flapping(count)
        age = f"({count} - i) * {DAYS * DAY_S} / {count}"
        return self._insert(
            "sessions",
            {
                "board": self._board(f"({number})"), "session": "1000000 + i", "started_at": self._date(age),
                "ended_at": f"CASE WHEN i < {count} - {self.size.boards} THEN {self._date(f'({age}) - 40')} END",
                "reason": "'replaced by another session'",
            },
            self._wide(count),
        )  # fmt: skip

    def _absences(self) -> tuple[str, dict[str, bytes]]:
        count = self._count("absences")
        number, _ = self._flapping(count)
        age = f"({count} - i) * {DAYS * DAY_S} / {count}"
        return self._insert(
            "absences",
            {
                "board": self._board(f"({number})"), "is_certain": "i % 10 > 0", "session": "1000000 + i",
                "began_at": self._date(age), "ended_at": self._date(f"({age}) - 30"),
                "reason": "'three pulses missed'",
            },
            self._wide(count),
        )  # fmt: skip

    def _presence_hours(self) -> tuple[str, dict[str, bytes]]:
        boards = self.size.boards
        first = f"CASE WHEN i = {DAYS * 24} THEN {boards} ELSE i % 7 - 3 END"
        return self._insert(
            "presence_hours",
            {
                "at": self._hour("i * 3600", 3600), "online": first, "online_s": f"1800.0 * ({first})",
                "offline": "3 - i % 7", "offline_s": "1800.0 * (3 - i % 7)", "unknown": "0", "unknown_s": "0.0",
            },
            self._rows(DAYS * 24 + 1),
        )  # fmt: skip

    def _telemetry(self) -> Iterable[tuple[str, dict[str, bytes]]]:
        for span, step, most in (("samples", 10, 3 * 3600), ("minutes", 60, 3 * DAY_S), ("hours", 3600, DAYS * DAY_S)):
            for noun in ("board", "stage", "feed"):
                yield self._measured(noun, span, step, most)

    def _measured(self, noun: str, span: str, step: int, most_s: int) -> tuple[str, dict[str, bytes]]:
        """Each series has a row a step; as many series as there are rows for, the same that deployments have."""
        table = f"{noun}_{span}"
        alike = 3 if noun == "feed" else ASSIGNED  # series of one deployment
        steps = max(1, min(most_s // step, self._count(table) // ASSIGNED))
        series = min(max(1, self._count(table) // steps // alike), self.size.deployments) * alike
        age, which = f"i / {series} * {step}", f"i % {series}"
        # In the order of time, as they are written.
        since = f"{(steps - 1) * step} - ({age})"
        at = self._date(since) if span == "samples" else self._hour(since, step)
        columns = {"at": at, **self._key(noun, which), **_counts(noun), **_gauges(noun, span)}
        if span != "samples":
            columns["samples"] = str(step // 10)
        return self._insert(table, columns, self._wide(series * steps))

    def _key(self, noun: str, which: str) -> dict[str, str]:
        board = self._board(f"({which}) / {ASSIGNED} * {SHARING} + ({which}) % {ASSIGNED}")
        if noun == "board":
            return {"board": board}
        deployment = f"({which}) / {ASSIGNED}" if noun == "stage" else f"({which}) / 3 % {self.size.deployments}"
        placed = {
            "deployment": self._deployment(deployment),
            "generation": f"'1-' || {self._text(f'({deployment}) * 4 + 4')}",
        }
        if noun == "stage":
            return {"board": board, **placed, "stage": f"({which}) % {ASSIGNED} / 3"}
        return {"gateway": f"'gateway-' || {self._text(f'({which}) % 3')}", **placed}


def _counts(noun: str) -> dict[str, str]:
    names = {
        "board": "starts elapsed_ms frames rows refused control_bytes artifact_bytes activation_bytes",
        "stage": "elapsed_ms frames rows busy_us refused",
        "feed": "elapsed_ms accepted answered failed retried late refused",
    }[noun].split()
    values = {"elapsed_ms": "10000", "busy_us": "5000000 + i % 1000000", "starts": "0", "refused": "0", "failed": "0"}
    return {name: values.get(name, "100 + i % 50") for name in names}


def _gauges(noun: str, span: str) -> dict[str, str]:
    raw = {"board": "queued rss_bytes", "stage": "queued residence_us",
           "feed": "in_flight waiting latency_p50_us latency_p99_us hop_us"}  # fmt: skip
    rolled = {
        "board": "queued_sum queued_max rss_bytes_max temperature_samples",
        "stage": "queued_sum queued_max residence_us_sum residence_us_max",
        "feed": "in_flight_sum in_flight_max waiting_sum waiting_max latency_p50_us_sum latency_p99_us_max "
        "hop_us_sum hop_samples",
    }
    found = dict.fromkeys((raw if span == "samples" else rolled)[noun].split(), "1 + i % 40")
    if noun == "board":
        found |= (
            {"temperature_c": "45.5"} if span == "samples" else {"temperature_sum": "45.5", "temperature_max": "46"}
        )
    return found


# Blobs ---------------------------------------------------------------------------------------------------------------


def _digest(kind: str, number: int) -> str:
    return f"{len(kind):02x}{number:062x}"


def _capability() -> Capability:
    partitions = tuple(Partition(f"p{number}", (Kind.CONV2D, Kind.DENSE)) for number in range(4))
    return Capability(
        1, "xc7z020clg400-1", "pynq", ("layers", "partitions"), partitions, 100_000_000, 1 << 29, 32, "0.1.0"
    )


def _reported() -> Reported:
    return Reported(1, 1, 1, "partitions", (), (), 1000, 2000, held=(_assignment(),))


def _assignment() -> Assignment:
    intent = Intent("net-00000", "model-0", "1", Method.LIBRARY)
    return Assignment(
        intent, Generation(1, 4), Role.SERVING, _digest("bundle", 0), 0, 16, ("layer-0",), (Slot("p0", Kind.CONV2D),),
        (), (), 32, 32,
    )  # fmt: skip


def _pulse() -> Pulse:
    stage = StagePulse("net-00000", Generation(1, 4), 1000, 32_000, 1, 3, 900_000, 700)
    return Pulse(1, 1, 4, 1000, 60_000, 50_000_000, (stage,), Published(10, 20, 30))


def _announcement(number: int) -> ModelAnnouncement:
    tensors = tuple(Tensor(f"t{at}", (16,), 0.5, 0) for at in range(17))
    layers = tuple(
        Layer(f"layer-{at}", Kind.IDENTITY, (f"t{at}",), f"t{at + 1}", parameters=_digest("parameters", number))
        for at in range(16)
    )
    topology = codec.pack(Topology("net", tensors, layers, "t0", "t16"))
    bundle = Bundle(
        f"model-{number // 4}", str(number % 4 + 1), number % 4 + 1, _digest("topology", number), (), 1, (), (),
        InputSpec("t0", "N"), "t16", ("no", "yes"),
    )  # fmt: skip
    return ModelAnnouncement(topology, codec.pack(bundle), b"", b"", b"")
