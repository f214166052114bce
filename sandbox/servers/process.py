"""A program as an owned child process: started, awaited, read, stopped and killed.

Nothing here is bound to an event loop, so a server may outlive the loop that started it.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import psutil

from sandbox.servers import cpu, memory

PROJECT: Final = Path(__file__).parents[2]
MARK: Final = "SANDBOX_MARK"  # by which somebody finds all that was started for them
_INHERITED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", MARK)
_POLL_S: Final = 0.02
_TAIL_LINES: Final = 25
_KILL_TIMEOUT_S: Final = 10.0


class ServerError(Exception):
    """A program did not start, ended, or did not do what was waited for; tells its log's end."""


async def until(condition: Callable[[], bool], *, timeout_s: float) -> bool:
    """Wait until the condition holds; return False if it does not within the time."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        await asyncio.sleep(_POLL_S)
    return True


class Server(ABC):
    """One program, its environment and its log.

    `directory` is where it runs and logs (`<name>.log`, appended to by each start). It inherits
    nothing of this process's environment but paths and the locale. As an async context manager it
    is started, and closed at the end.
    """

    name: ClassVar[str]
    start_timeout_s: ClassVar[float] = 30.0
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory.resolve()
        self.log_path = self.directory / f"{self.name}.log"
        self.log_path.touch()
        self.started_at: datetime | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._events: list[dict[str, Any]] = []
        self._bytes_read = 0
        self._events_before_start = 0
        self._bytes_before_start = 0

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Return the program and its arguments."""

    def variables(self) -> Mapping[str, str]:
        """Return the environment variables that the program is told by."""
        return {}

    @abstractmethod
    def is_ready(self) -> bool:
        """Tell whether the started program does its work."""

    async def prepare(self) -> None:  # noqa: B027  most servers need nothing
        """Do what has to be done before each start."""

    async def start(self) -> None:
        """Start the program and return once it is ready.

        Raises ServerError, and leaves nothing running, if it ends or is not ready in time.
        """
        await self.launch()
        try:
            ready = await until(
                lambda: not self.running or self.is_ready(), timeout_s=self.start_timeout_s
            )
        except BaseException:
            self.kill()
            raise
        if self.exit_code is not None:
            raise self.failure(f"ended with exit code {self.exit_code} while it started")
        if not ready:
            self.kill()
            raise self.failure(f"was not ready within {self.start_timeout_s:g} s")

    async def launch(self) -> None:
        """Start the program and don't wait for it: for one that is expected to refuse."""
        if self.running:
            raise ServerError(f"{self.name} runs already")
        await self.prepare()
        self._launch()

    async def stop(self, *, patience_s: float = 15.0) -> int | None:
        """Ask the program to end, kill what is left after `patience_s`; return its exit code."""
        if self._process is not None and self.running:
            family = memory.tree(self._process.pid)
            self._process.send_signal(self.stop_signal)
            try:
                await until(lambda: not self.running, timeout_s=patience_s)
            finally:
                _kill(self._process, family)
        return self.exit_code

    def kill(self) -> None:
        """Kill the program and all its children at once, as the kernel does out of memory."""
        if self._process is None or not self.running:
            return
        # Stopped first: it can't have a child between the count and the kill.
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGSTOP)
        _kill(self._process, memory.tree(self._process.pid))

    async def restart(self) -> None:
        """Stop and start again, on the same port and the same state."""
        await self.stop()
        await self.start()

    async def close(self) -> None:
        """Stop the program for good and give back what it held."""
        await self.stop()

    async def wait_ended(self, *, timeout_s: float = 30.0) -> int:
        """Wait until the program ends by itself; return its exit code."""
        if not await until(lambda: not self.running, timeout_s=timeout_s):
            raise self.failure(f"still ran after {timeout_s:g} s")
        assert self.exit_code is not None  # noqa: S101  it has ended
        return self.exit_code

    @property
    def running(self) -> bool:
        """Tell whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Return how the latest process ended (a signal as its negative), None while it runs."""
        return None if self._process is None else self._process.poll()

    @property
    def pid(self) -> int:
        """Return the id of the latest process; raise ServerError if there was none."""
        if self._process is None:
            raise ServerError(f"{self.name} was never started")
        return self._process.pid

    def peak_rss_mb(self) -> float:
        """Return the peak memory of the running program and its children, in MiB."""
        return memory.peak_rss_mb(self.pid)

    def cpu_s(self) -> float:
        """Return the processor time of the running program and its children so far."""
        return cpu.used_s(self.pid)

    def events(
        self, name: str | None = None, *, latest_start: bool = False
    ) -> list[dict[str, Any]]:
        """Return the JSON log lines of all starts, or of the latest, in order.

        `name` picks those whose `event` it is. Lines that are no JSON objects are left out.
        """
        self._read_log()
        chosen = self._events[self._events_before_start if latest_start else 0 :]
        return [event for event in chosen if name is None or event.get("event") == name]

    async def wait_for_event(
        self, name: str, *, count: int = 1, timeout_s: float = 30.0
    ) -> dict[str, Any]:
        """Return the `count`-th event of this name since the latest start, once it is logged.

        Raises ServerError if the program ends first, or the time does.
        """
        found: list[dict[str, Any]] = []

        def enough() -> bool:
            alive = self.running  # asked first: what it logged before it ended still counts
            found[:] = self.events(name, latest_start=True)
            return len(found) >= count or not alive

        settled = await until(enough, timeout_s=timeout_s)
        if len(found) >= count:
            return found[count - 1]
        if settled:
            raise self.failure(f"ended with exit code {self.exit_code} before it logged {name}")
        raise self.failure(f"did not log {name} within {timeout_s:g} s")

    def log_text(self) -> str:
        """Return what was logged since the latest start."""
        with self.log_path.open("rb") as log:
            log.seek(self._bytes_before_start)
            return log.read().decode(errors="replace")

    def failure(self, what: str) -> ServerError:
        """Return an error that says what happened and how the log ends."""
        tail = "\n  ".join(self.log_text().splitlines()[-_TAIL_LINES:]) or "(empty)"
        return ServerError(f"{self.name} {what}; {self.log_path} ends:\n  {tail}")

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    def _launch(self) -> None:
        self._read_log()
        self._events_before_start = len(self._events)
        self._bytes_before_start = self.log_path.stat().st_size
        options = {"cwd": self.directory, **self.process_options()}
        with self.log_path.open("ab") as log:
            self.started_at = datetime.now(UTC)
            self._process = subprocess.Popen(
                self.command(),
                env={**base_environment(), **self.variables()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a terminal's Ctrl-C is for us, who then stop it in order
                **options,
            )

    def process_options(self) -> dict[str, Any]:
        """Return further arguments for `subprocess.Popen`, such as a user to run as."""
        return {}

    def _read_log(self) -> None:
        """Take in the whole lines that were written since the last call."""
        with self.log_path.open("rb") as log:
            log.seek(self._bytes_read)
            news = log.read()
        whole = news[: news.rfind(b"\n") + 1]
        self._bytes_read += len(whole)
        for line in whole.splitlines():
            if line.startswith(b"{"):
                with contextlib.suppress(ValueError):
                    self._events.append(json.loads(line))


class PythonProgram(Server):
    """A module of this project, run with `python -m` in a directory of its own.

    It runs there so that neither a developer's `.env` nor a `var/` of another run is read.
    """

    module: ClassVar[str]

    def command(self) -> Sequence[str]:
        """Return this interpreter and the module."""
        return [sys.executable, "-m", self.module]


def base_environment() -> dict[str, str]:
    """Return the environment that every program starts from: no settings, no proxies."""
    return {
        **{name: os.environ[name] for name in _INHERITED if name in os.environ},
        "PYTHONPATH": str(PROJECT),
        "PYTHONUNBUFFERED": "1",
    }


def _kill(leader: subprocess.Popen[bytes], family: list[psutil.Process]) -> None:
    """Kill the leader and its family, and wait until none of them runs."""
    # psutil compares the start times, so a number that another process has by now is spared.
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    if leader.poll() is None:
        leader.kill()
    leader.wait()  # not psutil's, which would take the exit code away from it
    deadline_s = time.monotonic() + _KILL_TIMEOUT_S
    while any(_runs(process) for process in family) and time.monotonic() < deadline_s:
        time.sleep(0.002)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
