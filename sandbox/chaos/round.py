"""One round: both sides out of step, faults at random moments, all healed, and then the checks."""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sandbox import judging
from sandbox.chaos import settings
from sandbox.chaos.guild_life import GuildLife
from sandbox.chaos.outcome import RoundOutcome
from sandbox.chaos.plan import Moment, Poison, Round, Store
from sandbox.chaos.trouble import Trouble, heal_discord
from sandbox.judging import Sent
from sandbox.replay.checks import ModLogMessage, overlapping_writes
from sandbox.replay.world import World
from sandbox.servers import Bot, Valkey, until
from sandbox.site_proxy import SiteProxy

_LOOK_S: Final = 0.05
_QUIET_S: Final = 1.0  # a moment comes after so long, even if the bot asks nothing meanwhile
_FIRST_S: Final = 20.0
_SETTLE_S: Final = 60.0
_ANSWER_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chaos:
    """What all rounds share: the servers, and how large and how long a round is.

    `bot_settings` replace those of each round's bot.
    """

    world: World
    valkey: Valkey
    members: int = 300
    bot_settings: Mapping[str, str] = field(default_factory=dict)
    settle_s: float = _SETTLE_S

    async def play(self, plan: Round, directory: Path) -> RoundOutcome:
        """Play a round whose bot logs below `directory`, and judge it."""
        async with self.playing(plan, directory) as play:
            await play.befall()
            await play.settle()
            return await play.judge()

    @contextlib.asynccontextmanager
    async def playing(self, plan: Round, directory: Path) -> AsyncIterator["Play"]:
        """Set a guild and a site out of step and start the bot; all ends with this."""
        async with (
            self.world.renewed(directory) as world,
            SiteProxy(world.website.api_url) as proxy,
        ):
            play = Play(self, plan, world, proxy)
            await play.begin()
            yield play


class Play:
    """A round on its way."""

    def __init__(self, chaos: Chaos, plan: Round, world: World, proxy: SiteProxy) -> None:
        self._chaos = chaos
        self._plan = plan
        self.world = world
        self.proxy = proxy
        self._chance = random.Random(plan.seed)
        self._began_s = time.monotonic()
        self._poison: dict[int, Poison] = {}
        self._others: list[str] = []
        self._parked: set[int] = set()
        self._life: GuildLife
        self._bot: Bot
        self._trouble: Trouble

    async def begin(self) -> None:
        """Set the guild and the site out of step and start the bot."""
        world = self.world
        await heal_discord(world)
        await world.make_guild(members=self._chaos.members)
        await world.fill_site()
        self._life = GuildLife(world, self._chance)
        await self._life.meet()
        chosen = await self._life.fall_out_of_step(poisoned=len(self._plan.poison))
        self._poison = dict(zip(chosen, self._plan.poison, strict=True))
        variables = {
            **settings.BOT,
            "SITE_API_URL": self.proxy.api_url,
            **(
                {"SYNC_STATE_URL": self._chaos.valkey.url}
                if self._plan.store is Store.VALKEY
                else {}
            ),
            **self._chaos.bot_settings,
        }
        self._bot = world.bot(**variables)
        self._trouble = Trouble(
            world,
            proxy=self.proxy,
            bot=self._bot,
            valkey=self._chaos.valkey,
            life=self._life,
            chance=self._chance,
            poison=self._poison,
            store_away=self._plan.store_away,
        )
        await self._bot.start()

    async def befall(self) -> None:
        """Let each fault happen at its moment while the guild lives on; return once all is well."""
        await until(lambda: bool(self.proxy.calls), timeout_s=_FIRST_S)
        living = asyncio.create_task(self._life.go_on())
        keeping = asyncio.create_task(self._keep_bot())
        try:
            for moment in self._plan.moments:
                await self._wait_for(moment)
                await self._trouble.befall(moment.fault)
        finally:
            for task in (living, keeping):
                task.cancel()
            await asyncio.gather(living, keeping, return_exceptions=True)
            await self._trouble.heal()

    async def settle(self) -> None:
        """Wait until the bot has done, by itself, all that it must; what it has not is judged."""
        deadline_s = time.monotonic() + self._chaos.settle_s
        await self._life.rename_somebody()  # a bot that is stuck is not a bot that has settled
        while time.monotonic() < deadline_s:
            if not self._bot.running:
                self._others.append(f"the bot ended by itself, with {self._bot.exit_code}")
                await self._bot.start()
            if await self._is_settled():
                break
            await asyncio.sleep(_LOOK_S * 2)
        else:
            self._others.append(f"the bot did not settle within {self._chaos.settle_s:g} s")
        self._parked = await self._ask_parked()

    async def judge(self) -> RoundOutcome:
        """Check everything, from outside the bot."""
        exit_code = await self._bot.stop()
        if exit_code != 0:
            self._others.append(f"the bot ended with exit code {exit_code} when asked to stop")
        world = self.world
        messages = await world.mod_log()
        sent = self._sent()
        self._write_down(messages)
        differences = await world.differences()
        requests = [r for r in world.site_requests() if r.request_id not in self._trouble.late]
        known = {request.request_id for request in sent}
        others = [
            f"{r.method} {r.path} reached the site past the proxy, as {r.request_id}"
            for r in requests
            if r.request_id not in known
        ]
        others += judging.unfinished_runs(messages)
        alerted = judging.parked_ids(messages)
        outcome = RoundOutcome(
            number=self._plan.number,
            seconds=time.monotonic() - self._began_s,
            struck=self._trouble.struck,
            rows_checked=len(await world.tables.users()) + len(await world.tables.roles()),
            rows_lost=judging.lost_rows(differences, self._parked & self._poison.keys()),
            parked=frozenset(self._parked),
            poisoned=frozenset(self._poison),
            misparked=judging.misparked(self._parked | alerted, self._poison),
            writes_while_open=judging.writes_while_open(judging.openings(messages, sent), sent),
            runs_overlapping=judging.overlapping_runs(
                (run.run_id for run in judging.runs(messages)), sent
            )
            + overlapping_writes(requests),
            alerts_lost=self._lost_alerts(messages),
            alerts_doubled=judging.doubled_alerts(messages),
            others=[*self._others, *others],
        )
        (world.directory / "faults.txt").write_text("\n".join(outcome.faults))
        return outcome

    def _write_down(self, messages: list[ModLogMessage]) -> None:
        """Leave what the checks are made of beside the bot's log."""
        told = [
            {"id": m.id, "states": [(at.isoformat(), body) for at, body in m.states]}
            for m in messages
        ]
        asked = [
            f"{call.at.isoformat()} {call.request_id} {call!r} {sorted(call.ids)}"
            for call in self.proxy.calls
        ]
        directory = self.world.directory
        (directory / "mod-log.json").write_text(json.dumps(told, indent=1, ensure_ascii=False))
        (directory / "requests.txt").write_text("\n".join(asked))

    async def _wait_for(self, moment: Moment) -> None:
        due = len(self.proxy.calls) + moment.after_requests
        await until(lambda: len(self.proxy.calls) >= due, timeout_s=_QUIET_S)
        await asyncio.sleep(self._chance.uniform(0, 0.05))

    async def _keep_bot(self) -> None:
        """Start a bot again that ended by itself, as a supervisor does, and remember that."""
        while True:
            if not self._bot.running and self._trouble.being_killed is not self._bot:
                self._others.append(f"the bot ended by itself, with {self._bot.exit_code}")
                await self._bot.start()
            await asyncio.sleep(_LOOK_S)

    async def _is_settled(self) -> bool:
        messages = await self.world.mod_log()
        if judging.is_open(messages) or judging.unfinished_runs(messages):
            return False
        if self._lost_alerts(messages):
            return False
        return not judging.lost_rows(await self.world.differences(), self._poison)

    async def _ask_parked(self) -> set[int]:
        """Return the rows that `!sync parked` names."""
        channel = self.world.ids.mod_log_channel
        asked = await self.world.control.post(channel, self._life.owner, "!sync parked")
        deadline_s = time.monotonic() + _ANSWER_S
        while time.monotonic() < deadline_s:
            for message in await self.world.mod_log():
                if message.id > asked and judging.is_answer(message):
                    return judging.ids_in(message.text)
            await asyncio.sleep(_LOOK_S)
        self._others.append("the bot did not answer `!sync parked`")
        return set()

    def _lost_alerts(self, messages: list[ModLogMessage]) -> list[str]:
        return judging.lost_alerts(
            messages,
            self._sent(),
            threshold=settings.THRESHOLD,
            poisoned=self._poison,
            store_was_away=self._plan.store_away,
        )

    def _sent(self) -> list[Sent]:
        return [
            Sent(request_id=call.request_id, at=call.at, writes=call.writes)
            for call in self.proxy.calls
        ]
