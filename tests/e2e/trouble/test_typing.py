"""What people type that no command takes: a sentence that names it, and nothing is done."""

from typing import Any

import pytest
import sentry_sdk

from tests.bot.exts.backend.sync.sentry import Kept
from tests.e2e.trouble.harness import GUILD, Stage
from tests.e2e.trouble.people import People, text_of

TYPED = [
    (
        "sync set target abc",
        ("`value` can't be `abc`: it must be a number. Usage: `!sync set <name> <value>`"),
    ),
    (
        "sync set speed 3",
        (
            "`name` can't be `speed`: it must be `target` or `max-items`. Usage: "
            "`!sync set <name> <value>`"
        ),
    ),
    (
        "sync set target",
        ("`value` is missing. Usage: `!sync set <name> <value>`"),
    ),
    (
        "sync user 1234",
        (
            "`member` can't be `1234`: it must be a member, by mention, name or id. "
            "Usage: `!sync user <member>`"
        ),
    ),
    (
        'sync user "unclosed',
        ("The quotation marks don't match up. Usage: `!sync user <member>`"),
    ),
    (
        "sync all dry-run",
        (
            "`!sync all` does not take `dry-run`. Did you mean `!sync plan`? Usage: "
            "`!sync all [force]`"
        ),
    ),
    (
        "sync users abc",
        ("`!sync users` does not take `abc`. Usage: `!sync users [force]`"),
    ),
    (
        "sync all force now",
        ("`!sync all` does not take `now`. Usage: `!sync all [force]`"),
    ),
    (
        "sync resmue",
        ("There is no `!sync resmue`. Did you mean `!sync resume`?"),
    ),
    (
        "sync breaker opn",
        ("There is no `!sync breaker opn`. Did you mean `!sync breaker open`?"),
    ),
    (
        "sync breaker `x`",
        ("There is no `!sync breaker 'x'`. There are: `open`, `reset`."),
    ),
    (
        "sync pause now",
        ("`!sync pause` does not take `now`. Usage: `!sync pause`"),
    ),
]


@pytest.fixture
async def people(stage: Stage) -> People:
    """Make a guild of 30 that the site has in step, and choose the people."""
    await stage.control.fault("member_interval_s", 0)
    await stage.guild(30)
    await stage.fill_site()
    return await People.of(stage)


async def say(stage: Stage, channel: int, person: int, line: str) -> str:
    """Type a line; return what is answered in the channel."""
    known = len(stage.bodies(channel))
    await stage.control.post(channel, person, line)
    await stage.until(lambda: len(stage.bodies(channel)) > known)
    return text_of(stage.bodies(channel)[known])


@pytest.mark.parametrize(
    "extensions",
    [
        pytest.param("bot.exts.backend.error_handler,bot.exts.backend.sync", id="with a handler"),
        pytest.param("bot.exts.backend.sync", id="without", marks=pytest.mark.slow),
    ],
)
async def test_what_no_command_takes_is_named_and_nothing_is_done(
    stage: Stage, people: People, extensions: str
) -> None:
    """Each gets one answer, whoever else in the bot answers errors."""
    channel = await stage.control.create_channel(GUILD, "bots")
    async with stage.bot(SYNC_COMMAND_ROLE_IDS=GUILD + 3, BOT_EXTENSIONS=extensions):
        await stage.run_end()
        written = len(stage.site.writes())
        told = [await say(stage, channel, people.holder, f"!{line}") for line, _ in TYPED]
        loud = await say(stage, channel, people.holder, "!SYNC Cancel")
        status = await say(stage, channel, people.holder, "!sync BREAKER")

    assert told == [text for _, text in TYPED]
    assert loud == "Sync\nNo sync is running."
    assert status.startswith("Sync breaker: closed\nIt is closed: writes are allowed")
    assert len(stage.bodies(channel)) == len(TYPED) + 2
    assert len(stage.ended()) == 1
    assert len(stage.site.writes()) == written


@pytest.mark.slow
async def test_a_loud_force_is_force(stage: Stage, people: People) -> None:
    """It is no surplus word, and it starts a run."""
    channel = await stage.control.create_channel(GUILD, "bots")
    async with stage.bot(SYNC_COMMAND_ROLE_IDS=GUILD + 3):
        await stage.run_end()
        taken = await say(stage, channel, people.holder, "!SYNC ALL FORCE")
        await stage.run_end(2)

    assert "has started" in taken


async def test_help_names_the_commands_as_this_bot_hears_them(stage: Stage, people: People) -> None:
    """By what somebody wants to do, with the prefix that works here."""
    channel = await stage.control.create_channel(GUILD, "bots")
    async with stage.bot(SYNC_COMMAND_ROLE_IDS=GUILD + 3, BOT_PREFIX="?"):
        await stage.run_end()
        await say(stage, channel, people.holder, "?sync help")

    fields = stage.bodies(channel)[-1]["embeds"][0]["fields"]
    assert [field["name"] for field in fields][:2] == ["See how things stand", "Sync now"]
    assert "`?sync user <member>` one member" in fields[1]["value"]


async def test_strangers_can_not_fill_a_channel(stage: Stage, people: People) -> None:
    """Thirty commands of somebody who may not get one answer."""
    channel = await stage.control.create_channel(GUILD, "bots")
    async with stage.bot(SYNC_COMMAND_ROLE_IDS=GUILD + 3):
        await stage.run_end()
        for _ in range(30):
            await stage.control.post(channel, people.stranger, "!sync all")
        await say(stage, channel, people.holder, "!sync cancel")

    refusals = [body for body in stage.bodies(channel) if "Only administrators" in text_of(body)]
    assert len(refusals) == 1


@pytest.mark.parametrize("slash", [False, True], ids=["text", "slash"])
async def test_a_fault_of_ours_is_answered_logged_and_reported(
    stage: Stage, people: People, *, slash: bool
) -> None:
    """With a reference under which it is found; the next command works."""

    def broken() -> None:
        raise ZeroDivisionError("as planned")

    kept = Kept()
    async with stage.bot(SYNC_COMMAND_ROLE_IDS=GUILD + 3) as bot:
        await stage.run_end()
        await stage.commands_known()
        sentry_sdk.get_global_scope().set_client(
            sentry_sdk.Client(dsn="http://key@sentry.invalid/1", transport=kept)
        )
        try:
            cog: Any = bot.get_cog("Sync")
            cog._questions.history = broken
            if slash:
                text = (await people.invoke(people.holder, "sync history")).text
            else:
                text = await say(stage, stage.mod_log, people.holder, "!sync history")
            del cog._questions.history
            again = await say(stage, stage.mod_log, people.holder, "!sync history")
        finally:
            sentry_sdk.get_global_scope().set_client(None)

    assert text.startswith("That failed because of an error in the bot, not in what you typed.")
    reference = kept.events[-1]["tags"]["reference"]
    assert f"its reference is `{reference}`" in text
    assert kept.events[-1]["exception"]["values"][-1]["type"] == "ZeroDivisionError"
    assert again.startswith("Latest runs")
