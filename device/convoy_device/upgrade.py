"""From one version of the daemon to another, and back by itself when the new one is not healthy in time.

What is under way is on disk before anything changes. The judge is the version that served before, in a unit of its own:
so it outlives the terminal, and after a loss of power it goes on at boot. `Verdict` is deterministic; the rest is its
shell.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

from convoy_device import condition
from convoy_device.condition import Condition
from convoy_device.environment import HOME, sync
from convoy_device.errors import InstallError
from convoy_device.installation import CONFIG, JUDGE, SERVICE, Installation

log = logging.getLogger(__name__)

PENDING = "pending.json"
OUTCOME = "last-upgrade.json"
#: Seconds for which a new version must be healthy without a break.
STEADY_S = 5.0
#: Seconds within which it must have become so, if nothing else is said.
WINDOW_S = 180.0
RUNTIME = Path("run/convoy")
#: Seconds that the verdict may come after the window: turning back takes some.
_JUDGED_S = 300.0


@dataclass(frozen=True)
class Pending:
    """An upgrade under way. `served` were ready before, under the desired state of that number."""

    before: str
    after: str
    window_s: float
    served: tuple[str, ...] = ()
    epoch: int = 0
    revision: int = 0


@dataclass(frozen=True)
class Outcome:
    """How the last upgrade ended; `version` is the one that serves now."""

    before: str
    after: str
    version: str
    reason: str

    @property
    def is_taken(self) -> bool:
        """Whether the new version stayed."""
        return self.version == self.after


class Verdict:
    """Watches a new version from `began` on (monotonic seconds)."""

    def __init__(self, pending: Pending, began: float) -> None:
        self._pending = pending
        self._deadline = began + pending.window_s
        self._healthy_since: float | None = None
        self._lack = "it was never seen"

    def look(self, unit: str, boards: tuple[Condition, ...], now: float) -> bool | None:
        """True: it stays. False: it goes, `reason` says why. None: not known yet.

        `unit` is systemd's word for the service's state: active, activating, failed, ...
        """
        self._lack = self._lacks(unit, boards)
        if unit == "failed":
            return False
        if self._lack:
            self._healthy_since = None
        elif self._healthy_since is None:
            self._healthy_since = now
        if self._healthy_since is not None and now - self._healthy_since >= STEADY_S:
            return True
        return False if now >= self._deadline else None

    @property
    def reason(self) -> str:
        """What it lacks."""
        return self._lack

    def _lacks(self, unit: str, boards: tuple[Condition, ...]) -> str:
        if unit == "failed":
            return "systemd has given it up"
        if unit != "active":
            told = f": {boards[0].sentence()}" if boards else ""
            return f"it is {unit or 'not there'}, not ready{told}"
        if not boards:
            return "it says nothing about its condition"
        if any(board.version != self._pending.after for board in boards):
            return f"version {boards[0].version} runs, not {self._pending.after}"
        lacking = next((board for board in boards if board.stuck or not board.is_ready), None)
        if lacking is not None:
            return lacking.sentence()
        return self._unserved(boards)

    def _unserved(self, boards: tuple[Condition, ...]) -> str:
        """What it does not run, though it is asked to: or though it ran before, and nobody has asked for else since."""
        held = {each.deployment: each for board in boards for each in board.held}
        waiting = [each for each in held.values() if each.phase != "ready"]
        if waiting:
            code = f" ({waiting[0].code})" if waiting[0].code else ""
            return f"{waiting[0].deployment} {waiting[0].generation} is {waiting[0].phase}{code}"
        newest = max((board.epoch, board.revision) for board in boards)
        gone = [name for name in self._pending.served if name not in held]
        if gone and newest <= (self._pending.epoch, self._pending.revision):
            return f"{gone[0]} ran before and does not now"
        return ""


class Upgrade:
    """The changes of version of one installation."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._environments = installation.environments
        self._home = installation.root / HOME

    def begin(self, version: str, wheels: Path | None, window_s: float) -> Outcome:
        """Install `version`, change to it, and wait for the verdict on it.

        Raises `InstallError` when it was not even tried: nothing has changed then.
        """
        before = self._environments.named("current")
        if not before:
            raise InstallError("nothing is installed here: use convoy-device install")
        if before == version:
            return Outcome(before, version, version, "it is the version that serves")
        if (self._home / PENDING).exists():
            raise InstallError(f"another upgrade is under way: systemctl status {JUDGE}")
        self._environments.make(version, wheels)
        try:
            self._environments.run(
                self._of(version, "check", "--config", f"/{CONFIG}"), f"version {version} is unusable"
            )
        except InstallError:
            self._environments.keep_only([before, self._environments.named("previous")])
            raise
        self._note(PENDING, dataclasses.asdict(self._pending(before, version, window_s)))
        self._environments.point("previous", before)
        self._turn(version)
        self._installation.system("systemctl", "start", JUDGE, check=False, timeout_s=window_s + _JUDGED_S)
        return self._outcome(version)

    def judge(self) -> Outcome | None:
        """Wait for the verdict on what is under way, and carry it out; None when nothing is."""
        pending = self._read_pending()
        if pending is None:
            return None
        if self._environments.named("current") != pending.after:
            return self._end(pending, pending.before, "the power went before it was tried")
        verdict = Verdict(pending, time.monotonic())
        stays: bool | None = None
        while stays is None:
            time.sleep(0.25)
            unit = self._installation.system("systemctl", "show", "--value", "-p", "ActiveState", SERVICE).strip()
            boards = condition.read(self._installation.root / RUNTIME)
            stays = verdict.look(unit, boards, time.monotonic())
        if stays:
            return self._end(pending, pending.after, "ready, connected, and running what it ran")
        log.error("version %s goes, %s comes back: %s", pending.after, pending.before, verdict.reason)
        self._turn(pending.before)
        return self._end(pending, pending.before, verdict.reason)

    def _pending(self, before: str, after: str, window_s: float) -> Pending:
        boards = condition.read(self._installation.root / RUNTIME)
        served = {held.deployment for board in boards for held in board.held if held.phase == "ready"}
        epoch, revision = max(((board.epoch, board.revision) for board in boards), default=(0, 0))
        return Pending(before, after, window_s, tuple(sorted(served)), epoch, revision)

    def _turn(self, version: str) -> None:
        """Let `version` serve, with the units that it brings."""
        self._environments.point("current", version)
        try:
            self._environments.run(self._of(version, "install", "--units-only"), f"the units of version {version}")
        except InstallError as error:
            log.error("%s", error)  # the judge will see whether it runs under those that are there
        self._installation.start()

    def _end(self, pending: Pending, version: str, reason: str) -> Outcome:
        outcome = Outcome(pending.before, pending.after, version, reason)
        self._note(OUTCOME, dataclasses.asdict(outcome))
        (self._home / PENDING).unlink()
        sync(self._home)
        keep = [pending.before, pending.after] if outcome.is_taken else [pending.before]
        self._environments.keep_only(keep)
        log.info("upgrade from %s to %s: %s serves (%s)", pending.before, pending.after, version, reason)
        return outcome

    def _outcome(self, version: str) -> Outcome:
        try:
            outcome = Outcome(**json.loads((self._home / OUTCOME).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise InstallError(f"the upgrade has no verdict: {error}; see journalctl -u {JUDGE}") from error
        if outcome.after != version or (self._home / PENDING).exists():
            raise InstallError(f"the upgrade has no verdict yet; see systemctl status {JUDGE}")
        return outcome

    def _read_pending(self) -> Pending | None:
        try:
            found = json.loads((self._home / PENDING).read_text(encoding="utf-8"))
            return Pending(**{**found, "served": tuple(found["served"])})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InstallError(f"{self._home / PENDING} cannot be read: {error}; remove it") from error

    def _note(self, name: str, content: object) -> None:
        """Have a file on disk when this returns, whole or not at all."""
        new = self._home / f".{name}.new"
        with new.open("w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._home / name)
        sync(self._home)

    @staticmethod
    def _of(version: str, *arguments: str) -> list[str]:
        return [f"/{HOME}/{version}/bin/convoy-device", *arguments]
