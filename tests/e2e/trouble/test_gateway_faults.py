"""What Discord's gateway can do to the member list: nobody is thought gone because of it."""

from collections.abc import Awaitable, Callable

import pytest
import structlog

from sandbox.discord.client import DiscordControl
from tests.e2e.trouble.harness import GUILD, Stage

Fault = Callable[[DiscordControl], Awaitable[None]]
SLOW = pytest.mark.slow


async def ignored(control: DiscordControl) -> None:
    """Never answer the request."""
    await control.fault("ignore_member_requests")


async def cut_short(control: DiscordControl) -> None:
    """Answer with the first thousand, and never with the rest."""
    await control.fault("chunks_only", 1)


async def rate_limited(control: DiscordControl) -> None:
    """Refuse the first two requests, each time for a moment."""
    await control.fault("member_interval_s", 0.1)
    await control.fault("rate_limit_members", 2)


async def interrupted(control: DiscordControl) -> None:
    """Lose connection and session after the first thousand: the next READY begins afresh."""
    await control.fault("member_interval_s", 0.1)
    await control.fault("drop_after_chunks", 1)


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        pytest.param(ignored, {"rest GET guilds": 3}, id="ignored", marks=SLOW),
        pytest.param(cut_short, {"rest GET guilds": 3}, id="cut short", marks=SLOW),
        pytest.param(
            rate_limited,
            {"rate_limited": 2, "member_requests": 3},
            id="rate limited",
            marks=SLOW,
        ),
        pytest.param(interrupted, {"identify": 2}, id="interrupted", marks=SLOW),
    ],
)
async def test_a_member_list_is_read_in_full_or_not_believed(
    stage: Stage, fault: Fault, seen: dict[str, int]
) -> None:
    """A request that is lost, cut, refused or interrupted is made up for: nothing is to change."""
    await stage.guild(2500)
    await stage.fill_site()
    await fault(stage.control)
    async with stage.bot(SYNC_MEMBER_TIMEOUT_S=0.4):
        end = await stage.run_end()

    counters = await stage.control.counters()
    assert end["description"].startswith("Nothing to change: 2,501 rows agree with the guild.")
    assert {name: counters.get(name) for name in seen} == seen
    assert stage.site.writes() == []


@pytest.mark.slow
async def test_a_silence_while_the_connection_is_down_is_none(stage: Stage) -> None:
    """Discord can't answer then: the bot asks again once it can, and doesn't read by REST."""
    await stage.guild(2500)
    await stage.fill_site()
    await stage.control.fault("member_interval_s", 0)
    await stage.control.fault("drop_after_chunks", 1)
    async with stage.bot(SYNC_MEMBER_TIMEOUT_S=0.2):
        await stage.until(lambda: stage.discord.gateway.counters["member_requests"] > 0)
        await stage.control.fault("refuse_connections")
        await stage.until(lambda: stage.discord.gateway.counters["refused"] > 1)
        await stage.control.fault("refuse_connections", 0)
        end = await stage.run_end()

    counters = await stage.control.counters()
    assert end["description"].startswith("Nothing to change: 2,501 rows agree with the guild.")
    assert "rest GET guilds" not in counters
    assert counters["identify"] == 2


@pytest.mark.slow
async def test_who_returns_while_the_members_are_read_is_there(stage: Stage) -> None:
    """They left during an outage, so discord.py still has them, and the answer names them not."""
    ids = await stage.guild(2500)
    await stage.fill_site()
    await stage.control.fault("member_interval_s", 0)
    async with stage.bot():
        await stage.run_end()
        await stage.control.outage(GUILD, begin=True)
        await stage.control.leave(GUILD, ids[3])
        await stage.control.fault("hold_after_chunks", 1)
        asked = stage.discord.gateway.counters["member_requests"]
        await stage.control.outage(GUILD, begin=False)
        await stage.until(lambda: stage.discord.gateway.counters["member_requests"] > asked)
        await stage.control.join(GUILD, {"id": ids[3], "name": "back again"})
        await stage.control.fault("hold_after_chunks", 0)
        due = await stage.rows_due()
        await stage.until(lambda: stage.database.stored() == due)


@pytest.mark.slow
async def test_what_happened_between_two_sessions_is_found(stage: Stage) -> None:
    """A session that can't be resumed has missed events: a sync by itself makes up for them."""
    ids = await stage.guild(50)
    await stage.fill_site()
    await stage.control.fault("member_interval_s", 0)
    async with stage.bot():
        await stage.run_end()
        await stage.control.leave(GUILD, ids[5], silent=True)
        await stage.control.rename(GUILD, ids[6], "renamed", silent=True)
        await stage.control.invalidate()
        await stage.run_end(2)
        due = await stage.rows_due()
        stored = stage.database.stored()

    left = stored.pop(ids[5])
    assert [stored, left[-1]] == [due, False]


@pytest.mark.slow
async def test_departures_are_withheld_while_the_list_is_unproven(stage: Stage) -> None:
    """Discord counts many more members than it lists: nobody is marked as gone."""
    ids = await stage.guild(300)
    await stage.fill_site()
    before = stage.database.stored()
    await stage.control.leave(GUILD, ids[5], silent=True)
    await stage.control.tell_member_count(GUILD, 400)
    async with stage.bot():
        end = await stage.run_end()

    assert [part for part in end["fields"] if part["name"].startswith("Departures")] == [
        {
            "name": "Departures withheld: 1",
            "value": "The member list could not be proven whole: 300 members from the gateway, but "
            "Discord counts 400.",
            "inline": False,
        }
    ]
    assert stage.database.stored() == before


async def test_an_unknown_guild_stops_the_run_with_one_clear_line(stage: Stage) -> None:
    """The bot is no member of GUILD_ID: mod-log, which it can still reach, says which id."""
    await stage.guild()
    async with stage.bot(GUILD_ID=123):
        end = await stage.run_end()

    assert end["description"].partition("\n")[0] == (
        "**The guild's members could not be read in full**: the bot is not a member of guild 123 "
        r"\(GUILD\_ID\)"
    )
    assert stage.site.calls == []


@pytest.mark.slow
async def test_the_last_sessions_of_a_day_are_kept_for_people(stage: Stage) -> None:
    """Discord resets the token of a bot that begins too many: it waits, and says so."""
    await stage.guild(20)
    await stage.control.fault("session_starts", 49)
    await stage.control.fault("session_reset_s", -0.9)
    with structlog.testing.capture_logs() as logs:
        async with stage.bot():
            await stage.until(lambda: "bot.sessions.few" in [log["event"] for log in logs])
            begun = (await stage.control.counters()).get("identify", 0)
            await stage.control.fault("session_starts", 50)
            await stage.run_end()

    assert begun == 0
    assert [log["remaining"] for log in logs if log["event"] == "bot.sessions.few"] == [49]


async def test_commands_that_discord_was_not_told_of_are_told_of_themselves(stage: Stage) -> None:
    """By an odd answer, of which discord.py makes a TypeError: mod-log tells it."""
    await stage.guild(20)
    await stage.control.rest_fault("PUT /applications/*/commands", status=200)
    with structlog.testing.capture_logs() as logs:
        async with stage.bot():
            await stage.run_end()
            await stage.until(
                lambda: "Slash commands are missing" in [a["title"] for a in stage.alerts()]
            )

    assert "bot.commands.sync_failed" in [log["event"] for log in logs]
