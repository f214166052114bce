"""Whatever dies, restarts and jumps, an open breaker keeps writes from the site.

A bot's process starts, runs, writes, crashes, stops and starts again, while people open, reset and
force and the clock jumps. An oracle beside the breaker knows only what happened in the world: who
failed in a row, who verified, what people ordered, how long a wait has to last.
"""

import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bot.exts.backend.sync._core.policy import breaker as b
from bot.exts.backend.sync._core.policy.breaker import (
    AttemptEnding,
    Breaker,
    BreakerState,
    Probe,
    Start,
    Withheld,
)
from bot.exts.backend.sync._core.policy.sync_retries import BreakerLimits

BEGINNING: Final = datetime(2021, 1, 12, 12, tzinfo=UTC)
MINUTE: Final = timedelta(minutes=1)
DAY: Final = timedelta(days=1)
LONGEST_JUMP_S: Final = 400 * 86_400
THRESHOLD: Final = 3


@dataclass(slots=True, kw_only=True)
class Run:
    """A run of the living process, and what the oracle says of it."""

    id: str
    full: bool
    is_probe: bool


@dataclass(slots=True, kw_only=True)
class Oracle:
    """What has happened in the world, counted without looking at the breaker.

    `due` is when the bot may next start by itself, and `wait` how long that wait was meant to be.
    """

    in_a_row: int = 0
    is_open: bool = False
    by_hand: bool = False
    wait: timedelta = timedelta()
    due: datetime | None = None
    refused: str | None = None

    def wait_until(self, wait: timedelta, now: datetime) -> None:
        self.wait, self.due = wait, now + wait

    def failed(self, run: Run, *, refused: str | None, now: datetime) -> None:
        """Note a failed or interrupted attempt; a retry may be a fifth shorter than its mean."""
        if self.by_hand or (self.is_open and not run.is_probe):
            return
        self.in_a_row += 1
        if refused is not None:
            self.refuse(refused, now=now)
        elif self.is_open:
            self.refused = None
            self.wait_until(min(self.wait * 2, DAY), now)
        elif self.in_a_row >= THRESHOLD:
            self.is_open = True
            self.wait_until(15 * MINUTE, now)
        else:
            self.wait_until((1 if self.in_a_row == 1 else 5) * MINUTE * 0.8, now)

    def refuse(self, credentials: str, *, now: datetime) -> None:
        self.is_open, self.refused = True, credentials
        self.wait_until(DAY, now)

    def restarted(self, *, credentials: str, now: datetime) -> None:
        """Note that a process started: waits are bounded, other credentials are worth a try."""
        if self.refused is not None and self.refused != credentials:
            self.refused = None
            self.wait_until(timedelta(), now)
            self.wait = 15 * MINUTE
        if self.due is not None:
            self.due = min(self.due, now + self.wait)


@dataclass(slots=True, kw_only=True)
class World:
    """What outlives a process: the clock, the site, the settings, and the store's JSON."""

    now: datetime = BEGINNING
    credentials: str = "token 0"
    kept: str = field(default_factory=lambda: json.dumps(b.to_json(Breaker())))
    open_attempt: Run | None = None
    runs: int = 0
    oracle: Oracle = field(default_factory=Oracle)


class BotOverSite(RuleBasedStateMachine):
    """One bot and one site; the store is read and written through JSON at every move."""

    limits: ClassVar[BreakerLimits] = BreakerLimits()
    store_forgets: ClassVar[bool] = False
    gate_is_kept: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.is_alive = False
        self.run: Run | None = None

    @property
    def breaker(self) -> Breaker:
        return b.from_json(json.loads(self.world.kept))

    def keep(self, breaker: Breaker) -> None:
        self.world.kept = json.dumps(b.to_json(breaker))

    def end(self, run: Run, ending: AttemptEnding, refused: str | None = None) -> None:
        before = self.breaker
        after, events = b.attempt_ended(
            before,
            ending,
            run_id=run.id,
            full=run.full,
            now=self.world.now,
            jitter=0.0,
            limits=self.limits,
            reason="it failed",
            refused=refused,
        )
        self.keep(after)
        self.world.open_attempt = None
        oracle = self.world.oracle
        closes = run.is_probe or not oracle.is_open
        if ending in {AttemptEnding.FAILED, AttemptEnding.INTERRUPTED}:
            oracle.failed(run, refused=refused, now=self.world.now)
        elif ending is AttemptEnding.VERIFIED and run.full and closes and not oracle.by_hand:
            self.world.oracle = Oracle()
            assert after == Breaker()
            assert len(events) == (1 if before.state is BreakerState.HALF_OPEN else 0)
        elif ending is AttemptEnding.NEUTRAL and run.is_probe and not oracle.by_hand:
            oracle.wait_until(oracle.wait, self.world.now)

    def lose_probe(self) -> None:
        """Note that the run under way, if any, is a probe no more: a person decided meanwhile."""
        if self.run is not None:
            self.run.is_probe = False

    @precondition(lambda self: not self.is_alive)
    @rule()
    def start_process(self) -> None:
        """Load; the lease was free, so whatever was under way was interrupted."""
        if self.store_forgets:
            self.keep(Breaker())
        world = self.world
        loaded = b.loaded(
            self.breaker, now=world.now, credentials=world.credentials, limits=self.limits
        )
        self.keep(loaded)
        world.oracle.restarted(credentials=world.credentials, now=world.now)
        self.is_alive = True
        assert loaded.retry_at is None or loaded.retry_at - world.now <= DAY
        if world.open_attempt is not None:
            self.end(world.open_attempt, AttemptEnding.INTERRUPTED)
        after = self.breaker
        assert after.state is not BreakerState.HALF_OPEN
        assert after.retry_at is None or after.retry_at - world.now <= DAY

    @precondition(lambda self: self.is_alive and self.run is None)
    @rule(start=st.sampled_from(Start), full=st.booleans())
    def start_run(self, start: Start, full: bool) -> None:  # noqa: FBT001 - hypothesis' argument
        """Ask, write the attempt down, begin; the oracle knows who has to wait."""
        world, oracle = self.world, self.world.oracle
        permit = b.permit(self.breaker, start=start, full=full, now=world.now)
        waits = oracle.due is not None and world.now < oracle.due
        if oracle.is_open:
            may_start = not oracle.by_hand and (start is Start.FORCED or (full and not waits))
        else:
            may_start = start is not Start.AUTOMATIC or not waits
        assert isinstance(permit, Withheld) is not may_start
        if not may_start:
            return
        world.runs += 1
        run = Run(
            id=f"run {world.runs}",
            full=full,
            is_probe=isinstance(permit, Probe),
        )
        begun, _ = b.begin(self.breaker, run_id=run.id, start=start, full=full, now=world.now)
        self.keep(begun)
        world.open_attempt = self.run = run

    @precondition(lambda self: self.run is not None)
    @rule()
    def write_chunk(self) -> None:
        """Write a chunk of the run, if the gate lets it through."""
        run, oracle = self.run, self.world.oracle
        assert run is not None
        if b.admits_write(self.breaker, run_id=run.id) or not self.gate_is_kept:
            assert not oracle.by_hand
            assert not oracle.is_open or run.is_probe

    @precondition(lambda self: self.is_alive)
    @rule(refused=st.booleans())
    def write_live_event(self, refused: bool) -> None:  # noqa: FBT001 - hypothesis' argument
        """Write a live event, if the gate lets it through; the site may refuse the token."""
        world = self.world
        if b.admits_write(self.breaker, run_id=None):
            assert not world.oracle.is_open
            if refused:
                after, _ = b.credentials_refused(
                    self.breaker,
                    credentials=world.credentials,
                    reason="401",
                    now=world.now,
                    limits=self.limits,
                )
                self.keep(after)
                world.oracle.refuse(world.credentials, now=world.now)

    @precondition(lambda self: self.run is not None)
    @rule(ending=st.sampled_from([*AttemptEnding, AttemptEnding.FAILED]), refused=st.booleans())
    def end_run(self, ending: AttemptEnding, refused: bool) -> None:  # noqa: FBT001 - hypothesis' argument
        """End the run; one that was stopped neutrally leaves no process behind it."""
        run, self.run = self.run, None
        assert run is not None
        is_refusal = refused and ending is AttemptEnding.FAILED
        self.end(run, ending, self.world.credentials if is_refusal else None)
        self.is_alive = ending is not AttemptEnding.NEUTRAL

    @precondition(lambda self: self.run is None)
    @rule(
        start=st.sampled_from([Start.ASKED, Start.FORCED]),
        full=st.booleans(),
        ending=st.sampled_from(AttemptEnding),
        refused=st.booleans(),
    )
    def run_whole(
        self,
        start: Start,
        full: bool,  # noqa: FBT001 - hypothesis' argument
        ending: AttemptEnding,
        refused: bool,  # noqa: FBT001 - hypothesis' argument
    ) -> None:
        """Do a whole run in one step, so that long series of endings are met as well."""
        if not self.is_alive:
            self.start_process()
        self.start_run(start=start, full=full)
        if self.run is not None:
            self.write_chunk()
            self.end_run(ending=ending, refused=refused)

    @precondition(lambda self: self.is_alive)
    @rule()
    def crash(self) -> None:
        """Kill the process; its attempt stays open in the store."""
        self.is_alive, self.run = False, None

    @initialize(times=st.integers(0, 5))
    def inherit_an_incident(self, times: int) -> None:
        """Begin anywhere between a new store and a breaker that has long been open."""
        self.loop_restarts(times)

    @precondition(lambda self: not self.is_alive)
    @rule(times=st.integers(1, 4))
    def loop_restarts(self, times: int) -> None:
        """Do as in the incident: start, run when allowed, write, die, and so on."""
        for _ in range(times):
            self.start_process()
            self.start_run(start=Start.ASKED, full=True)
            if self.run is not None:
                self.write_chunk()
            self.crash()

    @precondition(lambda self: self.is_alive)
    @rule()
    def open_by_hand(self) -> None:
        after, _ = b.opened_by_hand(self.breaker, by="Ada", reason="order", now=self.world.now)
        self.keep(after)
        oracle = self.world.oracle
        oracle.is_open, oracle.by_hand, oracle.due, oracle.refused = True, True, None, None
        self.lose_probe()

    @precondition(lambda self: self.is_alive)
    @rule()
    def reset(self) -> None:
        after, _ = b.reset_by_hand(by="Ada")
        self.keep(after)
        self.world.oracle = Oracle()
        self.lose_probe()

    @rule(seconds=st.integers(0, 1800))
    def pass_time(self, seconds: int) -> None:
        self.world.now += timedelta(seconds=seconds)

    @precondition(lambda self: self.breaker.retry_at is not None)
    @rule()
    def wait_for_the_retry(self) -> None:
        """Sleep as the process does that schedules its own next start."""
        retry_at = self.breaker.retry_at
        assert retry_at is not None
        self.world.now = max(self.world.now, retry_at)

    @rule(seconds=st.integers(-LONGEST_JUMP_S, LONGEST_JUMP_S))
    def jump_clock(self, seconds: int) -> None:
        self.world.now += timedelta(seconds=seconds)

    @precondition(lambda self: not self.is_alive)
    @rule(token=st.integers(0, 2))
    def change_credentials(self, token: int) -> None:
        self.world.credentials = f"token {token}"

    @invariant()
    def is_open_after_failures_in_a_row(self) -> None:
        """Stay open whatever restarted, until a recovery or a reset."""
        assert not self.world.oracle.is_open or self.breaker.state is not BreakerState.CLOSED

    @invariant()
    def is_closed_while_little_failed(self) -> None:
        """Hold nothing back without a cause: that would be a fault as well."""
        assert self.world.oracle.is_open or self.breaker.state is BreakerState.CLOSED

    @invariant()
    def is_half_open_for_one_attempt(self) -> None:
        """Half-open names the attempt that is under way, or was when the process died."""
        attempt, probing = self.world.open_attempt, self.breaker.probing_run
        assert probing is None or (attempt is not None and attempt.id == probing)


class NeverOpens(BotOverSite):
    """Broken: the breaker's threshold is out of reach."""

    limits = BreakerLimits(threshold=10**9)


class ForgetsAtRestart(BotOverSite):
    """Broken: the breaker lives in the process alone, as in the incident."""

    store_forgets = True


class AsksNoGate(BotOverSite):
    """Broken: a run that was let in writes on, whatever happens meanwhile."""

    gate_is_kept = False


SETTINGS: Final = settings(
    deadline=None,
    database=None,
    max_examples=150,
    stateful_step_count=50,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.slow
def test_no_write_reaches_the_site_while_open() -> None:
    """Nothing passes an open breaker but the probe or a forced run, and no restart opens a way."""
    run_state_machine_as_test(BotOverSite, settings=SETTINGS)


@pytest.mark.slow
@pytest.mark.parametrize("broken", [NeverOpens, ForgetsAtRestart, AsksNoGate])
def test_the_model_sees_a_broken_breaker(broken: type[BotOverSite]) -> None:
    """A threshold of 10^9, a count lost at restart and a gate not asked are each found out."""
    found = settings(
        SETTINGS, derandomize=True, phases=[Phase.generate], max_examples=1000, print_blob=False
    )

    with pytest.raises(AssertionError):
        run_state_machine_as_test(broken, settings=found)
