"""One reader who follows a page: a shell in a network, a file system view and processes of its own.

The namespaces make it possible to run a page's commands as they stand: ports are free, hosts have names, and whatever
a page leaves behind ends with it. Nothing else of the machine is touched: the reader's folder is a clone made of links.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

import pytest
from document_blocks import Command, Part, Step, begins, matches
from patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
#: Seconds that a command may take: a demo of three boards on a busy machine, a model that is imported.
COMMAND_S = 6 * PATIENCE_S
#: Names that pages give to machines of their readers.
HOSTS = ("localhost", "gateway-1", "gateway-2", "fleet.example", "lab.example", "broker.example")
#: What a shell keeps from one block to the next.
_KEEP = 'code=$?; trap - EXIT; export -p > "$PAGE_STATE"; printf "cd %q\\n" "$PWD" >> "$PAGE_STATE"; exit $code'
_BEGIN = (
    "ip link set lo up && mount --bind {hosts} /etc/hosts && mount -t tmpfs none /media && mkdir /media/stick"
    " && echo ready && read -r forever"
)


class PageFailureError(AssertionError):
    """A command of a page did not do what the page says."""


class Reader:
    """Follows pages one after the other; a context, which ends everything that was left running."""

    def __init__(self, folder: Path, environment: dict[str, str] | None = None, prelude: str = "") -> None:
        self._folder = folder
        self._state = folder / "state.sh"
        self._given, self._prelude = environment or {}, prelude
        self._begun = 0
        self._running: list[tuple[Command, subprocess.Popen[bytes], IO[bytes]]] = []

    def __enter__(self) -> Reader:
        clone, home = self._folder / "convoy", self._folder / "home"
        for made in (clone, home):
            made.mkdir(parents=True)
        for entry in ROOT.iterdir():
            if entry.name != ".git":
                (clone / entry.name).symlink_to(entry)
        (home / ".curlrc").write_text("fail-with-body\n")  # what a reader would see as an error ends the page
        hosts = self._folder / "hosts"
        hosts.write_text("".join(f"127.0.0.1 {name}\n" for name in HOSTS))
        self._environment = {
            "PATH": f"{ROOT / '.venv' / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "COLUMNS": "100",
            "NO_COLOR": "1",
            "PAGE_STATE": str(self._state),
            **self._given,
        }
        self._state.write_text(f"cd {shlex.quote(str(clone))}\n")
        self._enter_namespaces(hosts)
        return self

    def _enter_namespaces(self, hosts: Path) -> None:
        mapped = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        apart = ["unshare", *mapped, "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self._holder = subprocess.Popen(
            [*apart, "bash", "-c", _BEGIN.format(hosts=shlex.quote(str(hosts)))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            assert self._holder.stderr is not None
            pytest.skip(f"namespaces are not allowed here: {self._holder.stderr.read().strip()}")
        child = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text().split()[0]
        inside = ["--net", "--mount", "--pid"] + (["--user", "--preserve-credentials"] if mapped else [])
        self._nsenter = ["nsenter", "--target", child, *inside]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._running:
            self._interrupt()
        with suppress(subprocess.TimeoutExpired):
            self._holder.communicate("\n", timeout=10)
        self._holder.kill()
        self._holder.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def follow(self, step: Step) -> None:
        """Do what one block says; raises `PageFailureError`."""
        if step.part is Part.INTERRUPT:
            self._interrupt()
        for command in step.commands:
            try:
                if step.part is Part.BACKGROUND:
                    self._leave_running(command)
                else:
                    self._run(command, step.language)
            except PageFailureError as failure:
                raise PageFailureError(f"{step.page.relative_to(ROOT)}:{step.line}: {failure}") from None

    def bring_forward(self, text: str) -> None:
        """Make what was left running as `text` the newest, the one that Ctrl-C goes to."""
        self._running.sort(key=lambda running: running[0].text == text)

    def _start(self, text: str, output: IO[bytes] | int) -> subprocess.Popen[bytes]:
        script = f". {shlex.quote(str(self._state))}\ntrap {shlex.quote(_KEEP)} EXIT\n{text}\n"
        return subprocess.Popen(
            [*self._nsenter, "bash", "-e", "-o", "pipefail", "-c", script],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def _run(self, command: Command, language: str) -> None:
        text = command.text
        if language == "python":
            text = f"python -W error - <<'END_OF_BLOCK'\n{self._prelude}{text}\nEND_OF_BLOCK"
        # A file, since a pipe would stay open with what the command leaves behind.
        with (self._folder / "output").open("wb+") as log:
            process = self._start(text, log)
            try:
                code = process.wait(COMMAND_S)
            except subprocess.TimeoutExpired:
                process.kill()
                code = -1
            log.seek(0)
            came = log.read().decode(errors="replace")
        if code != 0:
            raise PageFailureError(f"`{command.text}` ended with {code}:\n{came}{self._voices()}")
        if command.output is not None and not matches(command.output, came):
            raise PageFailureError(f"`{command.text}` was to print\n{command.output}\nand printed\n{came}")

    def _leave_running(self, command: Command) -> None:
        self._begun += 1
        log = (self._folder / f"running-{self._begun}").open("wb+")
        # exec, so that Ctrl-C reaches the command and not a shell round it.
        process = self._start(f"trap - EXIT\nexec {command.text}", log)
        self._running.append((command, process, log))
        assert command.output is not None
        deadline = time.monotonic() + COMMAND_S
        while not begins(command.output, came := self._said(log)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise PageFailureError(f"`{command.text}` was to print\n{command.output}\nand printed\n{came}")
            time.sleep(0.1)

    @staticmethod
    def _said(log: IO[bytes]) -> str:
        return Path(log.name).read_text(errors="replace")

    def _voices(self) -> str:
        """The last words of what is running, for whoever reads why a command failed."""
        return "".join(
            f"\n`{command.text}` said at last:\n{self._said(log)[-2000:]}" for command, _, log in self._running
        )

    def _interrupt(self) -> None:
        """Ctrl-C to the newest that was left running, as its terminal would: to nsenter's child."""
        _, process, log = self._running.pop()
        with suppress(FileNotFoundError):  # it has ended by itself
            for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
                subprocess.run(["kill", "-INT", child], check=False)
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()
