"""The mod-log channel while Discord refuses, or shows what nobody can read."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import aiohttp
import discord
import pytest
import sentry_sdk

from bot.exts.backend.sync._core.messages.alert import Alert
from bot.exts.backend.sync._core.messages.notice import Notice, Tone
from bot.exts.backend.sync._core.messages.progress import Phase, RunView
from bot.exts.backend.sync._discord.mod_log import DiscordModLog
from bot.exts.backend.sync._ports import Seen
from bot.exts.backend.sync._service.side_channel import SideChannel
from bot.exts.backend.sync._state.outbox import Outbox
from tests.bot.exts.backend.sync.sentry import Kept
from tests.fakes.clock import HandClock

CHANNEL, GUILD, ME = 900, 1, 7
NOW = datetime(2021, 1, 12, 12, tzinfo=UTC)
VIEW = RunView(
    run_id="r1", what="users", trigger="at start-up", phase=Phase.USERS, started_at=NOW, now=NOW
)
NOTICE = Notice(title="Rows parked", description="one", tone=Tone.WARNING)
ALERT = Alert(id="a1", created_at=NOW, notice=NOTICE)


LATE = discord.utils.time_snowflake(HandClock().now())


@pytest.fixture
def caught() -> Iterator[list[str]]:
    """Give the messages that Sentry is told."""
    kept = Kept()
    with sentry_sdk.isolation_scope() as scope:
        scope.set_client(sentry_sdk.Client(dsn="http://key@sentry.invalid/1", transport=kept))
        yield kept.messages


@dataclass
class Channel(discord.abc.Messageable, discord.abc.GuildChannel):
    """The channel, as much of it as mod-log uses; `error` meets whoever sends."""

    clock: HandClock
    error: Exception | None = None
    tried: list[float] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    id: int = CHANNEL
    guild: Any = None

    async def send(self, **said: Any) -> Any:  # type: ignore[override] # as much as is used
        self.tried.append(self.clock.monotonic())
        if self.error is not None:
            raise self.error
        self.sent.append(said["embed"].title)
        return SimpleNamespace(id=1, created_at=self.clock.now(), edit=self.edit)

    async def edit(self, **said: Any) -> None:
        await self.send(**said)


class Bot:
    """The bot, as much of it as mod-log uses."""

    def __init__(self, channel: Channel, rows: list[Any]) -> None:
        self.channel: Channel | None = channel
        self.guild = SimpleNamespace(id=GUILD, unavailable=False)
        channel.guild = self.guild
        self.user = SimpleNamespace(id=ME)
        self.http = SimpleNamespace(logs_from=self.logs_from)
        self.command_prefix = "!"
        self.rows = rows
        self.read = 0

    async def wait_until_ready(self) -> None: ...

    def get_channel(self, _id: int) -> Channel | None:
        return self.channel

    def get_guild(self, _id: int) -> Any:
        return self.guild

    async def logs_from(self, _channel_id: int, limit: int, before: int | None = None) -> list[Any]:
        self.read += 1
        rows = [row for row in self.rows if before is None or int(row["id"]) < before]
        return rows[:limit]


def refusal(status: int, code: int = 0) -> discord.HTTPException:
    """Return what discord.py raises of a refusal."""
    response: Any = SimpleNamespace(status=status, reason="No")
    return discord.HTTPException(response, {"code": code, "message": "no"})


def row(**changes: Any) -> dict[str, Any]:
    """Return a message of ours as Discord sends it, or one that is odd."""
    embed = {"title": "Sync is paused", "description": "by", "footer": {"text": "alert a"}}
    return {"id": str(LATE), "author": {"id": str(ME)}, "embeds": [embed], **changes}


@pytest.fixture
def clock() -> HandClock:
    """Give a clock."""
    return HandClock()


def mod_log(clock: HandClock, channel: Channel, *rows: Any) -> DiscordModLog:
    """Return mod-log on a channel with these messages."""
    bot: Any = Bot(channel, list(rows))
    return DiscordModLog(
        bot,
        guild_id=GUILD,
        channel_id=CHANNEL,
        alert_role_id=None,
        interval_s=5.0,
        clock=clock,
    )


@pytest.mark.parametrize(
    "error", [refusal(400), refusal(503), aiohttp.ServerDisconnectedError(), KeyError("id")]
)
async def test_all_that_is_to_be_shown_backs_off_together(
    clock: HandClock, error: Exception
) -> None:
    """A channel that takes nothing meets few tries, whatever is to be told there meanwhile."""
    channel = Channel(clock=clock, error=error)
    log = mod_log(clock, channel)
    outbox = Outbox(Untold(), SideChannel(log), clock)  # type: ignore[arg-type] # as much of a repository as it asks for
    tasks = [asyncio.ensure_future(each()) for each in (log.run_forever, outbox.run_forever)]
    for _ in range(60):
        log.show(VIEW)
        outbox.say(NOTICE)
        await clock.advance(1)
    channel.error = None
    await clock.advance(120)

    for task in tasks:
        task.cancel()
    assert len([at for at in channel.tried if at <= 6]) <= 6
    assert len(channel.tried) - len(channel.sent) <= 14
    assert (channel.sent[0] in {"Syncing users", "Rows parked"}, len({*channel.sent})) == (True, 2)


class Untold:
    """A repository without alerts, which is asked for stamps only."""

    def __init__(self) -> None:
        self.alerts: dict[str, Alert] = {}
        self._stamps = 0

    async def changed(self) -> None:
        await asyncio.get_running_loop().create_future()

    def stamped(self, notice: Notice) -> Alert:
        self._stamps += 1
        return Alert(id=str(self._stamps), created_at=NOW, notice=notice)


ODD = [
    None,
    5,
    {},
    row(id=5),
    row(id="x"),
    row(author=None),
    row(author={"id": None}),
    row(embeds=None),
    row(embeds=[]),
    row(embeds=[None]),
    row(author={"id": "8"}),
]


async def test_messages_that_can_t_be_read_are_passed_over(clock: HandClock) -> None:
    """Whatever others post there, and whatever Discord makes of it: ours are found."""
    odd = row(embeds=[{"title": 5, "footer": None}], mention_roles=None, mentions=5)
    log = mod_log(clock, Channel(clock=clock), *ODD, row(), odd)

    assert await log.recent(50) == [
        Seen(id=LATE, title="Sync is paused", description="by", footer="alert a"),
        Seen(id=LATE, title="", description="", footer=""),
    ]


def ago(minutes: int, **changes: Any) -> dict[str, Any]:
    """Return a message of ours, or of others, of so long ago."""
    at = discord.utils.time_snowflake(HandClock().now() - timedelta(minutes=minutes))
    return row(id=str(at), **changes)


THEIRS = {"author": {"id": "8"}}


@pytest.mark.parametrize(
    ("rows", "found", "read"),
    [
        pytest.param([ago(n, **THEIRS) for n in range(250)] + [ago(250)], 1, 3, id="behind others"),
        pytest.param([ago(n) for n in range(300)], 50, 1, id="enough of ours"),
        pytest.param([ago(n, **THEIRS) for n in range(2500)] + [ago(2501)], 0, 20, id="too many"),
        pytest.param([ago(60 * 24 * 7 + 1)], 0, 1, id="too old"),
        pytest.param([ago(n * 90, **THEIRS) for n in range(500)], 0, 2, id="all too old by then"),
        pytest.param([{}] * 100, 0, 1, id="without ids"),
    ],
)
async def test_ours_are_looked_for_behind_what_others_say(
    clock: HandClock, rows: list[Any], found: int, read: int
) -> None:
    """Fifty of ours, seven days, or 2,000 messages: whichever comes first."""
    log = mod_log(clock, Channel(clock=clock), *rows)
    seen = await log.recent(50)
    bot: Any = log._bot

    assert seen is not None
    assert (len(seen), bot.read) == (found, read)


async def test_an_alert_is_not_posted_twice_though_others_said_much_since(
    clock: HandClock,
) -> None:
    """It is looked for as far back, and no further than where it stands."""
    channel = Channel(clock=clock)
    theirs = [ago(n, **THEIRS) for n in range(250)]
    embed = {"title": "Rows parked", "description": "", "footer": {"text": f"alert {ALERT.id}"}}
    log = mod_log(clock, channel, *theirs, ago(250, embeds=[embed]), *theirs)

    assert await log.post(ALERT, again=True)
    assert channel.sent == []


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_what_discord_refuses_for_good_is_told_once(
    clock: HandClock, status: int, caught: list[str]
) -> None:
    """Also a 400, as an archived and locked thread answers; nobody in Discord can see it."""
    log = mod_log(clock, Channel(clock=clock, error=refusal(status)))
    for _ in range(3):
        posting = asyncio.ensure_future(log.post(ALERT, again=False))
        await clock.advance(60)
        assert not await posting

    assert [f"MOD_LOG_CHANNEL_ID {CHANNEL} can't be used" in text for text in caught] == [True]


async def test_a_channel_of_another_server_is_not_written_to(
    clock: HandClock, caught: list[str]
) -> None:
    """Whoever reads there is not who moderates here."""
    channel = Channel(clock=clock)
    log = mod_log(clock, channel)
    channel.guild = SimpleNamespace(id=GUILD + 1)

    assert not await log.post(ALERT, again=False)
    assert channel.sent == []
    assert "not a channel of the server" in caught[0]


async def test_what_keeps_mod_log_from_showing_anything_is_known(clock: HandClock) -> None:
    """A refusal until something was taken; a channel that is gone, though nobody has tried."""
    channel = Channel(clock=clock, error=refusal(403))
    log = mod_log(clock, channel)
    told = [log.trouble]
    await log.post(ALERT, again=False)
    told.append(log.trouble)
    channel.error = None
    posting = asyncio.ensure_future(log.post(ALERT, again=False))
    await clock.advance(1)
    assert await posting
    told.append(log.trouble)
    bot: Any = log._bot
    bot.channel = None
    told.append(log.trouble)
    bot.guild.unavailable = True
    told.append(log.trouble)

    assert told == [
        None,
        "403 No (error code: 0): no",
        None,
        "the channel was deleted, or the bot may not see it any more",
        None,
    ]
