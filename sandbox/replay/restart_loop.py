"""The worst day: the site dies of every write of five rows, and the bot is restarted for ever.

No pace evades it, so nothing but a breaker that outlives the bot can leave the site alone.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final

from sandbox import judging
from sandbox.judging import Kind, Sent
from sandbox.replay import checks, memory_hog
from sandbox.replay.checks import ModLogMessage, SiteRequest
from sandbox.replay.outcome import Footprint, Outcome, figures_of
from sandbox.replay.screen import Screen
from sandbox.replay.world import SHARED_ROLE, World
from sandbox.servers import Bot, Website, until

RESTARTS: Final = 50
ATTEMPTS: Final = 3  # the default of SYNC_BREAKER_THRESHOLD, which the design names
LIMIT_MB: Final = 256.0
_LOOK_S: Final = 0.02
_STEP_TIMEOUT_S: Final = 90.0
# How long a bot lives at most once it is connected, while the breaker is open: discord.py takes 2 s
# of them until it is ready, and only then does the extension begin. Some live long enough to probe.
_UP_S: Final = 3.5
_LONG_S: Final = 20.0
_LONG_ONES: Final = 5
_CONVERGE_S: Final = 120.0
# Crash memory lets a run that follows many cut off ones write a dozen rows at a time.
_ROWS_A_SECOND: Final = 100
_SHOWN: Final = 20


@dataclass(slots=True, kw_only=True)
class SiteKeeper:
    """Kills the website whenever its memory passes the limit, and starts it again, as Docker does.

    `peak_mb` is the most that any of its processes was seen with.
    """

    website: Website
    limit_mb: float
    peak_mb: float = 0.0
    kills: int = 0

    @contextlib.asynccontextmanager
    async def keeping(self) -> AsyncIterator["SiteKeeper"]:
        """Keep the site for as long as this is entered; what goes wrong with it is raised."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self._keep())
            try:
                yield self
            finally:
                task.cancel()

    async def _keep(self) -> None:
        while True:
            peak_mb = self.website.peak_rss_mb()
            self.peak_mb = max(self.peak_mb, peak_mb)
            if peak_mb > self.limit_mb:
                self.website.kill()
                self.kills += 1
            if not self.website.running:
                await self.website.start()
            await asyncio.sleep(_LOOK_S)


def waits(restarts: int) -> dict[str, str]:
    """Return the settings that shorten the waits to what fits into so many restarts.

    The breaker opens for less time than the restarts take, so that probes are killed, too.
    """
    open_s = max(2.0, 0.3 * restarts)
    return {
        "SYNC_FIRST_RETRY_S": "0.5",
        "SYNC_SECOND_RETRY_S": "1",
        "SYNC_BREAKER_OPEN_S": f"{open_s:g}",
        "SYNC_BREAKER_MAX_OPEN_S": f"{open_s * 2:g}",
        "SYNC_DEADLINE_S": "10",
        "SYNC_DOUBTFUL_RECHECK_S": "2",
        "SYNC_EDIT_INTERVAL_S": "0.5",
    }


async def restart_loop(
    world: World,
    *,
    members: int,
    screen: Screen,
    restarts: int = RESTARTS,
    settings: Mapping[str, str] | None = None,
) -> Outcome:
    """Delete the role, kill site and bot as often as asked, then let the site be well again.

    `settings` replace those of the bot.
    """
    switch = world.directory.resolve() / "memory-hog"
    screen.say(f"filling the guild and the site with {members:,} members, in step")
    await _prepare(world, members=members, switch=switch)
    footprint = Footprint(site_rss_idle_mb=world.website.peak_rss_mb())
    changes = {found.id for found in await world.differences() if found.what == "user"}
    screen.say(f"the role {SHARED_ROLE!r} is deleted: the site differs in {len(changes):,} users")
    switch.touch()
    screen.say(f"from now on a write of {memory_hog.LEAST_ROWS} rows kills the site")
    bot = world.bot(**(waits(restarts) | dict(settings or {})))
    keeper = SiteKeeper(website=world.website, limit_mb=LIMIT_MB)
    began_s = time.monotonic()
    async with keeper.keeping():
        done = await _restart(world, bot, screen, times=restarts)
        screen.say(f"{done} restarts, {keeper.kills} kills of the site; now it is well again")
        switch.unlink()
        timeout_s = _CONVERGE_S + members / _ROWS_A_SECOND
        problems = await _converge(world, bot, screen, timeout_s=timeout_s)
        seconds = time.monotonic() - began_s
        await footprint.measure(bot)
        exit_code = await bot.stop()
    if exit_code != 0:
        problems.append(f"the bot ended with exit code {exit_code} when it was asked to stop")
    evidence = Evidence(
        mod_log=await world.mod_log(),
        requests=world.site_requests(),
        sent=sent_to(world),
        restarts=done,
    )
    problems += [str(difference) for difference in (await world.differences())[:_SHOWN]]
    problems += evidence.faults(restarts)
    footprint.site_rss_peak_mb = keeper.peak_mb
    figures = figures_of(
        evidence.requests,
        evidence.mod_log,
        footprint,
        members=members,
        changes=len(changes),
        converged=not problems,
        seconds=seconds,
        largest_request_s=max(
            (line["largest_request_s"] for line in bot.events("sync.run.finished")), default=0.0
        ),
        requests=len(evidence.sent),
    )
    return Outcome(
        figures=figures,
        rows_checked=await world.tables.rows(),
        faults=problems,
        further=evidence.further(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What mod-log and the site's log hold when all is over; `sent` has the writes that killed."""

    mod_log: Sequence[ModLogMessage]
    requests: Sequence[SiteRequest]
    sent: Sequence[Sent]
    restarts: int

    @property
    def attempts(self) -> list[str]:
        """Return the runs that began before the breaker opened; all of them if it never did."""
        opened_at = _opened_at(self.mod_log)
        return [
            run.run_id
            for run in judging.runs(self.mod_log)
            if opened_at is None or run.began_at < opened_at
        ]

    @property
    def attempts_that_wrote(self) -> list[str]:
        """Return those of the attempts of which the site saw a write."""
        wrote = {request.run_id for request in self.sent if request.writes}
        return [run_id for run_id in self.attempts if run_id in wrote]

    @property
    def notices(self) -> Counter[str]:
        """Count the alerts by their titles."""
        return Counter(alert.title for alert in judging.alerts(self.mod_log))

    @property
    def while_open(self) -> list[str]:
        """Name each write that was sent while the breaker was open."""
        return judging.writes_while_open(judging.openings(self.mod_log, self.sent), self.sent)

    def further(self) -> dict[str, Any]:
        """Return the figures that only this scenario has."""
        return {
            "restarts": self.restarts,
            "attempts_before_open": len(self.attempts_that_wrote),
            "writes_while_open": len(self.while_open),
            "notices": dict(self.notices),
        }

    def faults(self, restarts: int) -> list[str]:
        """Return everything that is wrong after so many restarts were asked for."""
        found = self.while_open + checks.overlapping_writes(self.requests)
        found += judging.overlapping_runs(
            (run.run_id for run in judging.runs(self.mod_log)), self.sent
        )
        found += judging.unfinished_runs(self.mod_log)
        found += judging.doubled_alerts(self.mod_log)
        found += judging.lost_alerts(self.mod_log, self.sent, threshold=ATTEMPTS)
        if self.restarts != restarts:
            found.append(f"the bot was restarted {self.restarts} times, not {restarts}")
        if len(self.attempts) != ATTEMPTS:
            found.append(f"{len(self.attempts)} attempts were made before the breaker opened")
        wrote = self.attempts_that_wrote
        found += [f"attempt {id_} wrote nothing" for id_ in self.attempts if id_ not in wrote]
        found += [
            f"mod-log has {self.notices[kind]} notices {kind.value!r}, not one"
            for kind in (Kind.OPENED, Kind.RECOVERED)
            if self.notices[kind] != 1
        ]
        return found


def sent_to(world: World) -> list[Sent]:
    """Return every request that the site saw, those that killed it included, as it logged them."""
    answered = (
        Sent(request_id=request.request_id, at=request.started_at, writes=request.writes)
        for request in world.site_requests()
    )
    fatal = (_fatal(line) for line in world.website.events(memory_hog.SEIZED))
    return sorted(chain(answered, fatal), key=lambda request: request.at)


def _fatal(line: dict[str, Any]) -> Sent:
    return Sent(
        request_id=line["request_id"],
        at=datetime.fromisoformat(line["started_at"]),
        writes=True,
    )


def _opened_at(messages: Iterable[ModLogMessage]) -> datetime | None:
    return next((a.at for a in judging.alerts(messages) if a.title == Kind.OPENED), None)


async def _prepare(world: World, *, members: int, switch: Path) -> None:
    """Fill both sides, load the hog into the site, and delete the role that all hold."""
    ids = await world.make_guild(members=members)
    await world.fill_site()
    world.website.load(memory_hog.MIDDLEWARE)
    world.website.settings[memory_hog.SWITCH] = str(switch)
    await world.website.restart()
    await world.warm_site()
    # Real Discord's limits, of 30 s and five messages in 5 s, would only make the loop longer.
    await world.control.fault("member_interval_s", 0)
    await world.control.rate_limit("message create", 50, 1)
    await world.control.delete_role(ids.guild, ids.shared_role)


async def _restart(world: World, bot: Bot, screen: Screen, *, times: int) -> int:
    """Start and kill the bot so often, and leave it running; return how often that was."""
    done = 0
    await bot.start()
    for number in range(1, times + 1):
        is_long = number % max(3, times // _LONG_ONES) == 0
        await _live(world, bot, screen, up_s=_LONG_S if is_long else _UP_S)
        bot.kill()
        await bot.start()
        done += 1
    return done


async def _live(world: World, bot: Bot, screen: Screen, *, up_s: float) -> None:
    """Let the bot live until its attempt has hurt the site; once the breaker is open, for a while.

    That while is at most `up_s` from when it is connected, and ends, too, with a hurt site.
    Raises ServerError if the bot ends by itself, or does neither in time.
    """
    chance = random.Random(f"{world.seed} {len(bot.events('bot.starting'))}")
    fatal = len(world.website.events(memory_hog.SEIZED))
    identified = (await world.control.counters())["identify"]
    deadline_s = time.monotonic() + _STEP_TIMEOUT_S
    while True:
        mod_log = await world.mod_log()
        screen.show(mod_log)

        def hurt() -> bool:
            return len(world.website.events(memory_hog.SEIZED)) > fatal

        if _opened_at(mod_log) is None:
            if hurt():
                return
        elif (await world.control.counters())["identify"] > identified:
            await until(hurt, timeout_s=up_s if up_s > _UP_S else chance.uniform(0, up_s))
            return
        _expect_alive(bot, "before it wrote or opened its breaker")
        if time.monotonic() > deadline_s:
            raise bot.failure(f"neither wrote nor opened its breaker for {_STEP_TIMEOUT_S:g} s")
        await asyncio.sleep(_LOOK_S)


async def _converge(world: World, bot: Bot, screen: Screen, *, timeout_s: float) -> list[str]:
    """Wait until mod-log tells of the recovery and every row is right; say what did not come."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        mod_log = await world.mod_log()
        screen.show(mod_log)
        is_over = not judging.is_open(mod_log) and not judging.unfinished_runs(mod_log)
        if is_over and not await world.differences():
            return []
        _expect_alive(bot, "before all was well")
        await asyncio.sleep(_LOOK_S * 10)
    return [f"the bot did not recover within {timeout_s:g} s after the site was well again"]


def _expect_alive(bot: Bot, when: str) -> None:
    if not bot.running:
        raise bot.failure(f"ended by itself with exit code {bot.exit_code}, {when}")
