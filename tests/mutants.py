"""Plant faults that somebody could make, one at a time, and see whether anything notices.

`python -m tests.mutants fast` runs the fast tests on each mutant of the orchestration;
`python -m tests.mutants worlds` lets the simulator look for those of the law of truth. Each is a
copy of this checkout with one text replaced; whatever ends with an error has noticed it. Further
arguments choose those whose names hold one of them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
SYNC: Final = "bot/exts/backend/sync"
PARTS: Final = ("bot", "sandbox", "tests", "website", "pyproject.toml", "Makefile", "requirements")
WORLDS_S: Final = 300
FIRST: Final = (
    "-m", "pytest", "-q", "-x", "-m", "not slow", "-p", "no:cacheprovider",
    "tests/bot/exts/backend/sync/orchestration", "tests/simulator",
    "--ignore=tests/simulator/test_mutants.py",  # which would notice each of them
)  # fmt: skip
FAST: Final = (
    "-m", "pytest", "-q", "-x", "-n", "2", "-m", "not slow", "-p", "no:cacheprovider",
    "tests/bot/exts", "tests/simulator", "--ignore=tests/simulator/test_mutants.py",
    "tests/e2e/trouble/test_commands.py", "tests/e2e/trouble/test_buttons.py",
    "tests/e2e/trouble/test_control_room.py",
    "tests/e2e/trouble/test_reporter.py", "tests/e2e/trouble/test_mod_log.py",
    "tests/e2e/trouble/test_guild_port.py", "tests/e2e/trouble/test_calls.py",
    "tests/e2e/trouble/test_gateway_faults.py",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutant:
    """A fault: in this file of the extension this text becomes that one."""

    name: str
    file: str
    old: str
    new: str


# The fixes of what "Verified" was false by, taken out.
TRUTH: Final = (
    Mutant(
        "1: a sync reads while a write is on its way",
        "_runs/run.py",
        "await self._runner.requests.quiet()",
        "pass",
    ),
    Mutant(
        "2: a proxy's 5xx leaves no doubt",
        "_core/site/outcome.py",
        "        case Failing(lost=lost):\n            return lost\n"
        "        case Overloaded(status=status):\n            return status != 429",
        "        case Failing(status=None, lost=lost):\n            return lost\n"
        "        case Failing() | Overloaded():\n            return False",
    ),
    Mutant(
        "3: lost answers of roles leave no doubt",
        "_runs/writes.py",
        "roles = () if request.role is None else (request.role,)",
        "roles = ()",
    ),
    Mutant(
        "4: lost answers of a single member leave no doubt",
        "_runs/requester.py",
        "            if in_doubt:\n                self.doubts += 1\n",
        "            if in_doubt and self._attempt:\n                self.doubts += 1\n",
    ),
    Mutant(
        "5: a run that is cancelled forgets what was unanswered",
        "_runs/requester.py",
        "        except RunStoppedError:\n            in_doubt = False",
        "        except (RunStoppedError, CancelledByPersonError):\n            in_doubt = False",
    ),
    Mutant(
        "6: a sync that could not be begun is dropped",
        "_service/closing.py",
        "            if full and view.ending is Ending.FAILED:",
        "            if not full:",
    ),
    Mutant(
        "7: a cancelled stand-in stops live changes",
        "_service/supervisor.py",
        "verified == before and (self.is_on or self._scheduler.is_one_to_come):",
        "verified == before:",
    ),
    Mutant(
        "8: whoever was synced by hand and left needs nothing",
        "_runs/runner.py",
        "self._services.writes.begun(step.batch.ids)",
        "pass",
    ),
    Mutant(
        "9: joins are counted twice",
        "_runs/passes.py",
        "yield replace(group_of(Kind.UPDATE, ids[kind]), counted=False)",
        "yield group_of(Kind.UPDATE, ids[kind])",
    ),
)

# A wrong order, a missing release, a count that isn't reset, a swallowed exception …
SLIPS: Final = (
    Mutant(
        "failures of drains are never reset",
        "_service/live.py",
        "            else:\n                failures = 0",
        "            else:\n                pass",
    ),
    Mutant(
        "the gate is not released",
        "_runs/requester.py",
        "            finally:\n                gate.writing.release()\n\n    async def ask(",
        "            finally:\n                pass\n\n    async def ask(",
    ),
    Mutant(
        "what could not be sent is not put back",
        "_service/live.py",
        "        except BaseException:\n            self._queue.put_back(taken)\n            raise",
        "        except BaseException:\n            raise",
    ),
    Mutant(
        "the gate lets live changes through while paused",
        "_runs/gate.py",
        "return state.pause is None",
        "return True",
    ),
    Mutant(
        "the gate ignores the lease",
        "_runs/gate.py",
        "if self._store.lease_left_s() <= self._deadline_s:",
        "if False:",
    ),
    Mutant(
        "an attempt is begun after its first request",
        "_runs/run.py",
        "        await self.spec.begin()\n        self.attempted = True",
        "        await self._reader.discover()\n        await self.spec.begin()\n"
        "        self.attempted = True",
    ),
    Mutant(
        "a run's end does not free the next",
        "_service/supervisor.py",
        "            self._sync = None\n            if not self._is_closed:",
        "            if not self._is_closed:",
    ),
    Mutant(
        "marks made in a run are forgotten with those before",
        "_service/closing.py",
        "self._queue.waiting.settle(but=self._queue.noted)",
        "self._queue.waiting.settle(but=frozenset())",
    ),
    Mutant(
        "an approved list is kept for ever",
        "_service/closing.py",
        "            await self._repository.withhold_no_longer(what)",
        "            pass",
    ),
    Mutant(
        "a lost lease leaves the run going",
        "_service/service.py",
        '        await self.supervisor.stop("The lease on this server was lost.")\n',
        "",
    ),
    Mutant(
        "the lease is never renewed",
        "_service/leadership.py",
        "is_ours = await self._store.renew()",
        "is_ours = True",
    ),
    Mutant(
        "orphans are not ended",
        "_service/recovery.py",
        "await self._mod_log.replace(message.id, notice)",
        "pass",
    ),
    Mutant(
        "nothing is written down before a chunk",
        "_runs/runner.py",
        "await self._services.repository.before_chunk(items)",
        "pass",
    ),
    Mutant(
        "a failing put is not tried again",
        "_state/repository.py",
        "if self._clock.monotonic() > give_up:",
        "if True:",
    ),
    Mutant(
        "whoever waits for a move is not woken",
        "_state/repository.py",
        "        self._changed.set()\n        self._changed = asyncio.Event()",
        "        self._changed = asyncio.Event()",
    ),
    Mutant(
        "a delivered alert is never forgotten",
        "_state/outbox.py",
        "await self._repository.delivered(one.id)",
        "pass",
    ),
    Mutant(
        "alerts that were tried are posted again",
        "_state/outbox.py",
        "again = one.id in self._tried or one.id not in self._unkept",
        "again = False",
    ),
    Mutant(
        "an error in a run is swallowed",
        "_runs/run.py",
        "self._progress.end(Ending.FAILED, failure=failure)\n            finally:",
        "pass\n            finally:",
    ),
    Mutant(
        "a standby answers orders",
        "_service/commands.py",
        "        if not self._service.leadership.is_leading:\n            order.close()",
        "        if False:\n            order.close()",
    ),
    Mutant(
        "a taken row stays parked",
        "_state/parking.py",
        "no_longer = [id_ for id_ in fewer if id_ in others]",
        "no_longer = []",
    ),
    Mutant(
        "left-out members are forgotten",
        "_runs/work_queue.py",
        "    present = await guild.members(ids)\n    queue.mark(present)",
        "    present = await guild.members(ids)",
    ),
    Mutant(
        "a chunk is sent while Discord is away",
        "_runs/requester.py",
        "return self._services.gate.admits(self._as) and self._services.guild.proof is not None",
        "return self._services.gate.admits(self._as)",
    ),
)

ALL: Final = TRUTH + SLIPS


def plant(mutant: Mutant, into: Path) -> None:
    """Copy the checkout, with the fault in it."""
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, into / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, into / part)
    file = into / SYNC / mutant.file
    text = file.read_text()
    if text.count(mutant.old) != 1:
        raise SystemExit(
            f"{mutant.name}: {mutant.file} has its text {text.count(mutant.old)} times"
        )
    file.write_text(text.replace(mutant.old, mutant.new))


def notices(mutant: Mutant, programs: tuple[tuple[str, ...], ...]) -> tuple[bool, float, str]:
    """Say whether one of these ends with an error on a mutant, after how long, and its words."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        plant(mutant, Path(place))
        for program in programs:
            done = subprocess.run(
                [sys.executable, *program],
                cwd=place,
                env={"PATH": "/usr/bin:/bin", "FAST_TESTS": "1"},
                capture_output=True,
                text=True,
                timeout=1800,
                check=False,
            )
            if done.returncode:
                lines = done.stdout.splitlines()
                words = [line for line in lines if line.startswith(("FAILED", "ERROR", "seed"))]
                return True, time.monotonic() - began, (words or lines or [""])[-1][:160]
    return False, time.monotonic() - began, ""


def main() -> int:
    """Plant each fault of a kind; return 1 if any goes unnoticed."""
    worlds = sys.argv[1:2] == ["worlds"]
    wanted = sys.argv[2:] or [""]
    mutants = [one for one in (TRUTH if worlds else SLIPS) if any(w in one.name for w in wanted)]
    # Most slips are seen by the tests of the orchestration alone.
    programs: tuple[tuple[str, ...], ...] = (FIRST, FAST)
    if worlds:
        programs = (("-m", "tests.simulator", "--no-shrink", "--seconds", str(WORLDS_S)),)
    missed = 0
    for mutant in mutants:
        noticed, seconds, words = notices(mutant, programs)
        missed += not noticed
        print(
            f"{'noticed' if noticed else 'MISSED '} {seconds:5.0f} s  {mutant.name}: {words}",
            flush=True,
        )
    print(f"{len(mutants) - missed} of {len(mutants)} noticed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
