"""`FleetClient`: each question to the API and each wish as a method, typed by the views of the database."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, TypeVar

import httpx

from convoy_controller.api_client.answers import error_of, unreachable
from convoy_controller.api_client.following import Notice, follow
from convoy_controller.api_client.structure import structured
from convoy_controller.database.records import SavedCollection
from convoy_controller.database.status_views import (
    Changed,
    DeploymentHops,
    Holder,
    Problem,
    Spread,
    StateCounts,
)
from convoy_controller.database.views import (
    Activity,
    AuditLine,
    BoardDetail,
    BoardWishes,
    DeploymentLine,
    EventLine,
    FleetLine,
    GatewayLine,
    GenerationLine,
    GroupLine,
    LogLine,
    LogState,
    ModelLine,
    OperationLine,
    PlanView,
    TokenLine,
    Why,
)
from convoy_controller.errors import ApiAnswerError

PREFIX = "/api/v1"
#: Items asked for in one page.
PAGE = 1000
#: Seconds for an answer, and for the connection before it.
ANSWER_S, CONNECT_S = 30.0, 5.0
#: Seconds that an upload may stand still.
UPLOAD_S = 120.0
#: Seconds of silence after which a stream counts as lost; the server says something every 15.
SILENCE_S = 45.0

T = TypeVar("T")


@dataclass(frozen=True)
class RemovedModel:
    """What became of `convoy model remove`; `artifacts` are those that the version named."""

    model: str
    version: str
    digest: str
    artifacts: int


@dataclass(frozen=True)
class NewToken:
    """A token that was made, and its text, which is known to nobody else."""

    line: TokenLine
    token: str


@dataclass(frozen=True)
class ForgottenBoard:
    """What became of `convoy board forget`."""

    board: str
    last_seen: datetime | None


Query = Mapping[str, str | int | bool | None]


class FleetClient:
    """One fleet. `http` is where requests go; closed with the client. `place` names it to people."""

    def __init__(self, http: httpx.Client, place: str) -> None:
        self._http = http
        self.place = place

    def __enter__(self) -> FleetClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection, or of the application in this process."""
        self._http.close()

    # Boards ----------------------------------------------------------------------------------------------------------

    def boards(self) -> tuple[FleetLine, ...]:
        """Every board with its condition, by name."""
        return tuple(self._items(FleetLine, "/boards"))

    def board(self, name: str) -> BoardDetail:
        """Everything known of one; raises `NotFoundError`."""
        return self._get(BoardDetail, f"/boards/{name}")

    def why(self, name: str) -> Why:
        """Why it is where it is; an unknown name gives condition `never-seen`."""
        return self._get(Why, f"/boards/{name}/why")

    def ask_for_log(self, board: str) -> int:
        """Have a board asked for what it has logged since the last time; the request's number."""
        return int(self._send("POST", f"/boards/{board}/log-requests")["asked"])

    def log_state(self, board: str) -> LogState:
        """How far a board's log has come."""
        return self._get(LogState, f"/boards/{board}/log-requests")

    def log_lines(self, board: str, **wanted: str | int | None) -> tuple[LogLine, ...]:
        """Lines of a board's log that are kept: `limit`, `after`, `level`, `since`."""
        found = self._json("GET", f"/boards/{board}/log", query=wanted)
        return tuple(structured(LogLine, item) for item in _list(found, "items"))

    def wishes(self, board: str) -> BoardWishes:
        """Whether it is to be drained or to restart, and its labels."""
        return self._get(BoardWishes, f"/boards/{board}/wishes")

    def drain(self, board: str) -> BoardWishes:
        """Take it out of every deployment."""
        return structured(BoardWishes, self._send("PUT", f"/boards/{board}/drain"))

    def undrain(self, board: str) -> BoardWishes:
        """Let it take part again."""
        return structured(BoardWishes, self._send("DELETE", f"/boards/{board}/drain"))

    def restart(self, board: str, forced: bool) -> BoardWishes:
        """Have its daemon start anew; `forced`: though it serves."""
        return structured(BoardWishes, self._send("POST", f"/boards/{board}/restart", {"forced": forced}))

    def label(self, board: str, labels: Mapping[str, str]) -> BoardWishes:
        """Give it labels, in place of those it has."""
        return structured(BoardWishes, self._send("PUT", f"/boards/{board}/labels", {"labels": dict(labels)}))

    # Status ----------------------------------------------------------------------------------------------------------

    def states(self, by: str) -> tuple[StateCounts, ...]:
        """How many boards are in which condition: of the `fleet`, of each `site` or of each `group`."""
        return tuple(self._items(StateCounts, "/fleet/states", {"by": by}))

    def problems(self, most: int) -> tuple[Problem, ...]:
        """At most so many boards that are not what they should be, the worst first."""
        return tuple(self._items(Problem, "/fleet/problems", most=most))

    def changed(self, **since: str | int | None) -> Changed:
        """What is not as it was; `since` a date, or `event` a number."""
        return self._get(Changed, "/fleet/changed", since)

    def availability(self, board: str | None, since: str, until: str) -> dict[str, Any]:
        """How much of a time a board was there, or with None the fleet, as the API says it."""
        path = "/fleet/availability" if board is None else f"/boards/{board}/availability"
        found: dict[str, Any] = self._json("GET", path, query={"since": since, "until": until})
        return found

    def hops(self, deployment: str) -> DeploymentHops:
        """Every hop of a deployment over the last minute."""
        return self._get(DeploymentHops, f"/deployments/{deployment}/hops")

    def spread(self, model: str, version: str) -> Spread:
        """How far a model version is on the boards."""
        return self._get(Spread, f"/models/{model}/{version}/spread")

    def holders(self, model: str, version: str, most: int) -> tuple[Holder, ...]:
        """At most so many boards that are to have a model version."""
        return tuple(self._items(Holder, f"/models/{model}/{version}/holders", most=most))

    # Groups ----------------------------------------------------------------------------------------------------------

    def groups(self, board: str | None = None) -> tuple[GroupLine, ...]:
        """Every group by name, or those with that board."""
        return tuple(self._items(GroupLine, "/groups", {"board": board}))

    def group(self, name: str) -> GroupLine:
        """One; raises `NotFoundError`."""
        return self._get(GroupLine, f"/groups/{name}")

    def set_group(self, name: str, wanted: Mapping[str, Any], seen: GroupLine | None) -> GroupLine:
        """Make it, in place of what was `seen` of it; raises `ApiStaleError` when that is old."""
        head = {"If-None-Match": "*"} if seen is None else {"If-Match": f'"{seen.revision}"'}
        return structured(GroupLine, self._json("PUT", f"/groups/{name}", body=wanted, headers=head))

    def remove_group(self, name: str) -> GroupLine:
        """Remove it; raises `NotFoundError`."""
        return structured(GroupLine, self._send("DELETE", f"/groups/{name}"))

    # Deployments and models ------------------------------------------------------------------------------------------

    def deployments(self, removed: bool = False) -> tuple[DeploymentLine, ...]:
        """Every deployment by name, those that ended if `removed`."""
        return tuple(self._items(DeploymentLine, "/deployments", {"removed": removed}))

    def deployment(self, name: str) -> DeploymentLine:
        """One; raises `NotFoundError`."""
        return self._get(DeploymentLine, f"/deployments/{name}")

    def deploy(self, name: str, wanted: Mapping[str, Any], seen: DeploymentLine | None) -> DeploymentLine:
        """Ask for a deployment, in place of what was `seen` of it; raises `ApiStaleError` when that is old."""
        is_there = seen is not None and seen.wanted
        head = {"If-Match": f'"{seen.intent_revision}"'} if seen is not None and is_there else {"If-None-Match": "*"}
        return structured(DeploymentLine, self._json("PUT", f"/deployments/{name}", body=wanted, headers=head))

    def scale(self, seen: DeploymentLine, wanted: Mapping[str, Any]) -> DeploymentLine:
        """Change on how many boards, or on which, it runs; raises `ApiStaleError` when `seen` is old."""
        head = {"If-Match": f'"{seen.intent_revision}"'}
        path = f"/deployments/{seen.deployment}"
        return structured(DeploymentLine, self._json("PATCH", path, body=wanted, headers=head))

    def undeploy(self, name: str) -> DeploymentLine:
        """Ask for a deployment to end."""
        return structured(DeploymentLine, self._json("DELETE", f"/deployments/{name}"))

    def what_if(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """How a model would be placed, as `convoy plan --json` prints it."""
        return self._send("POST", "/plan", wanted)

    def import_model(self, form: Mapping[str, Any], model: bytes, samples: bytes) -> OperationLine:
        """Upload an ONNX file and calibration samples (.npz); the operation that imports them."""
        files = {
            "model": ("model.onnx", model, "application/octet-stream"),
            "calibration": ("samples.npz", samples, "application/octet-stream"),
        }
        with self._answering():
            wait = httpx.Timeout(ANSWER_S, write=UPLOAD_S)
            answer = self._http.post(f"{PREFIX}/models", data=dict(form), files=files, timeout=wait)
        if answer.is_error or answer.is_redirect:
            raise error_of(answer)
        return structured(OperationLine, _object(answer))

    def operation(self, number: int) -> OperationLine:
        """How far long work is."""
        return self._get(OperationLine, f"/operations/{number}")

    def remove_model(self, model: str, version: str) -> RemovedModel:
        """Take a version out of the catalogue."""
        return structured(RemovedModel, self._json("DELETE", f"/models/{model}/{version}"))

    def forget_board(self, name: str) -> ForgottenBoard:
        """Forget a board that is gone for good."""
        return structured(ForgottenBoard, self._json("DELETE", f"/boards/{name}"))

    def plan_of(self, deployment: str, generation: str = "") -> PlanView:
        """Who runs which layers: of the generation that serves, else of the newest."""
        path = f"generations/{generation}" if generation else "plan"
        return self._get(PlanView, f"/deployments/{deployment}/{path}")

    def generations(self, deployment: str, limit: int) -> tuple[GenerationLine, ...]:
        """The newest placements, the newest first."""
        found = self._json("GET", f"/deployments/{deployment}/generations", query={"limit": limit})
        return tuple(structured(GenerationLine, item) for item in _list(found, "items"))

    def models(self) -> tuple[ModelLine, ...]:
        """Every published model version."""
        return tuple(self._items(ModelLine, "/models"))

    # History and gateways --------------------------------------------------------------------------------------------

    def gateways(self) -> tuple[GatewayLine, ...]:
        """Every gateway, by name."""
        return tuple(self._items(GatewayLine, "/gateways"))

    def events(self, limit: int, **wanted: str | int | None) -> tuple[EventLine, ...]:
        """The newest `limit` events, the oldest first; filtered by `board` and `deployment`."""
        found = list(self._items(EventLine, "/events", wanted, most=limit))
        return tuple(reversed(found))

    def events_around(self, at: datetime, limit: int, **wanted: str | None) -> tuple[EventLine, ...]:
        """At most `limit` events before a moment and as many from then on, the oldest first; filtered as `events`."""
        found = self._json("GET", "/events/around", query={"at": at.isoformat(), "limit": limit, **wanted})
        return tuple(structured(EventLine, each) for each in _list(found, "events"))

    def follow(self, after: int, **wanted: str | None) -> Iterator[EventLine | Notice]:
        """Events behind number `after` as they happen, for ever; filtered by `board` and `deployment`."""

        @contextmanager
        def connect(last: int) -> Iterator[Iterator[str]]:
            given = {name: value for name, value in {**wanted, "after": str(last)}.items() if value is not None}
            wait = httpx.Timeout(CONNECT_S, read=SILENCE_S)
            with (
                self._answering(),
                self._http.stream("GET", f"{PREFIX}/changes", params=given, timeout=wait) as answer,
            ):
                if answer.is_error or answer.is_redirect:
                    answer.read()
                    raise error_of(answer)
                yield answer.iter_lines()

        return follow(connect, after)

    def ask_clearing(self, *, dry_run: bool, orphans: bool) -> SavedCollection:
        """Ask the controller in charge to clear what nobody refers to, or to say what it would."""
        return structured(SavedCollection, self._send("POST", "/clearings", {"dry_run": dry_run, "orphans": orphans}))

    def clearing(self, number: int) -> SavedCollection:
        """How far that is."""
        return self._get(SavedCollection, f"/clearings/{number}")

    def activity(self) -> Activity:
        """Every board's and every feed's latest counters."""
        return self._get(Activity, "/activity")

    # Tokens ----------------------------------------------------------------------------------------------------------

    def tokens(self) -> tuple[TokenLine, ...]:
        """Every token that ever was, by name."""
        return tuple(self._items(TokenLine, "/tokens"))

    def create_token(self, name: str, role: str, expires_at: datetime | None) -> NewToken:
        """Make a token, which is told here and never again."""
        body = {"name": name, "role": role, "expires_at": None if expires_at is None else expires_at.isoformat()}
        return structured(NewToken, self._send("POST", "/tokens", body))

    def revoke_token(self, name: str) -> TokenLine:
        """Let it count no more; raises `NotFoundError`."""
        return structured(TokenLine, self._send("DELETE", f"/tokens/{name}"))

    def audit(self, limit: int, **wanted: str | None) -> tuple[AuditLine, ...]:
        """The newest `limit` writes that came over the API, the oldest first; filtered by `actor` and `since`."""
        return tuple(reversed(list(self._items(AuditLine, "/audit", wanted, most=limit))))

    # Requests --------------------------------------------------------------------------------------------------------

    def _get(self, kind: type[T], path: str, query: Query | None = None) -> T:
        return structured(kind, self._json("GET", path, query=query))

    def _send(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        found = self._json(method, path, body=body)
        if not isinstance(found, dict):
            raise ApiAnswerError(f"the server's answer to {method} {path} is no object: is it a convoy API?")
        return found

    def _items(self, kind: type[T], path: str, query: Query | None = None, most: int | None = None) -> Iterator[T]:
        """Every item of a list, page by page."""
        wanted = dict(query or {})
        left = most
        while True:
            wanted["limit"] = PAGE if left is None else min(PAGE, left)
            page = self._json("GET", path, query=wanted)
            items = _list(page, "items")
            yield from (structured(kind, item) for item in items)
            left = None if left is None else left - len(items)
            wanted["cursor"] = page.get("next")
            if not wanted["cursor"] or not items or left == 0:
                return

    def _json(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The answer's JSON; None where it has no body."""
        given = {name: _text(value) for name, value in (query or {}).items() if value is not None}
        content = None if body is None else json.dumps(body).encode()
        kind = {} if body is None else {"Content-Type": "application/json"}
        with self._answering():
            answer = self._http.request(
                method, f"{PREFIX}{path}", params=given, content=content, headers={**kind, **(headers or {})}
            )
        if answer.is_error or answer.is_redirect:
            raise error_of(answer)
        return _object(answer) if answer.content else None

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise unreachable(self.place, error) from error


def _object(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except (ValueError, RecursionError) as error:
        raise ApiAnswerError(f"{answer.request.url.host} does not answer in JSON: is it a convoy API?") from error


def _list(page: Any, key: str) -> list[Any]:
    found = page.get(key) if isinstance(page, dict) else None
    if not isinstance(found, list):
        raise ApiAnswerError("the server's answer is no list: is it a convoy API?")
    return found


def _text(value: str | int | bool | None) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
