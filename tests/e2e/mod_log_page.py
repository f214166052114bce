"""Renew docs/mod-log.md: make the runs that it tells of, and put the real messages into it.

`python -m tests.e2e.mod_log_page` makes each run in a local Discord with the real bot and a real
site, and replaces what stands between the page's markers. Ids of runs and lists are numbered in the
order of their appearance, and moments are told from the message's own, so that a renewed page
differs only where a text does.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from aiohttp import web

from sandbox.servers import Bot, Valkey, Website
from tests.e2e.trouble.faulty_site import Answer, Call, Forward, Held
from tests.e2e.trouble.harness import BOT, GUILD, Stage, staged
from tests.e2e.trouble.people import People

if TYPE_CHECKING:
    from sandbox.discord.state import Message

PAGE: Final = Path(__file__).parents[2] / "docs" / "mod-log.md"
_BLOCK: Final = re.compile(r"<!-- real: ([\w-]+) -->\n.*?<!-- end -->\n", re.DOTALL)
_ALERTED: Final = GUILD + 1
_COLOURS: Final = {
    0x5865F2: "blue",
    0x57F287: "green",
    0xFEE75C: "yellow",
    0xED4245: "red",
}
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A message as it was at one moment."""

    name: str
    at: datetime
    body: Json


@dataclass(slots=True, kw_only=True)
class Camera:
    """What a scenario notes of mod-log, by the names of the page's markers."""

    stage: Stage
    shots: list[Shot] = field(default_factory=list)

    async def take(self, name: str, title: str, words: str = "") -> None:
        """Note the last state of the newest message of this title, once one says these words."""
        await self.stage.until(lambda: self._find(title, words) is not None)
        found = self._find(title, words)
        assert found is not None
        self.shots.append(Shot(name=name, at=found[0], body=found[1]))

    def answered(self, name: str, body: Json) -> None:
        """Note an answer to a command or a button."""
        self.shots.append(Shot(name=name, at=datetime.now(UTC), body=body))

    def _find(self, title: str, words: str) -> tuple[datetime, Json] | None:
        for message in reversed(self._messages()):
            for edit in reversed(message.edits):
                embeds = edit.body.get("embeds") or ()
                if any(e["title"].startswith(title) and words in str(e) for e in embeds):
                    return edit.at, edit.body
        return None

    def _messages(self) -> list[Message]:
        channel = self.stage.discord.state.channel(self.stage.mod_log)
        assert channel is not None
        return [m for m in channel.messages.values() if int(m.author["id"]) == BOT]


Scenario = Callable[[Camera, Path], Awaitable[None]]
QUICK: Final = {"SYNC_EDIT_INTERVAL_S": 0.05, "ALERT_ROLE_ID": _ALERTED}
SMALL: Final = {**QUICK, "SYNC_FIRST_ITEMS": 100, "SYNC_MAX_ITEMS": 100}


async def ill(_call: Call, _forward: Forward) -> Answer:
    """Answer as a proxy whose site is down."""
    return web.Response(status=502, text="Bad Gateway")


async def well(call: Call, forward: Forward) -> Answer:
    """Answer as the site does."""
    return await forward(call)


async def at_leisure(call: Call, forward: Forward) -> Answer:
    """Answer as the site does, slowly enough that each state of a run is shown."""
    await asyncio.sleep(0.15)
    return await forward(call)


def ready(bot: Bot) -> bool:
    """Tell whether a bot that was started anew leads, and hears commands."""
    events = ("bot.commands.synced", "sync.lease.held")
    return all(bot.events(event, latest_start=True) for event in events)


async def guild(camera: Camera, members: int = 1000) -> list[int]:
    """Make a guild whose members may be asked for at each start."""
    await camera.stage.control.fault("member_interval_s", 0)
    return await camera.stage.guild(members)


def owner(stage: Stage) -> int:
    """Return the guild's owner, an administrator."""
    return stage.discord.state.guilds[GUILD].owner_id


# -- the scenarios --------------------------------------------------------------------------------


async def normal(camera: Camera, _directory: Path) -> None:
    """Fill the site; look at a plan and a member; find the site in step."""
    ids = await guild(camera)
    stage = camera.stage

    stage.site.fault = at_leisure
    async with stage.bot(**SMALL):
        await stage.run_end()
        await camera.take("new-store", "New state store")
        await camera.take("reading", "Syncing", "**Reading the site**")
        await camera.take("writing", "Syncing", "**500** of")
        await camera.take("verifying", "Syncing", "**Verifying")
        await camera.take("finished", "Sync of")
    stage.site.fault = well
    people = await People.of(stage)
    for number, id_ in enumerate(ids[:3]):
        await stage.control.rename(GUILD, id_, f"renamed{number}", silent=True)
    async with stage.bot(**SMALL, SYNC_AT_START=False) as bot:
        await stage.until(bot.is_ready)
        await stage.commands_known()
        await people.invoke(owner(stage), "sync plan")
        camera.answered("plan", await people.answer_body())
        await people.invoke(owner(stage), "sync user", member={"user_id": ids[0]})
        await people.answer_saying("**written**")
        camera.answered("user", await people.answer_body())
        await people.invoke(owner(stage), "sync all")
        await stage.run_end(2)
        await people.invoke(owner(stage), "sync history")
        camera.answered("history", await people.answer_body())
        run_id = stage.ended()[0]["footer"]["text"].removeprefix("run ")
        await people.invoke(owner(stage), "sync history", run=run_id)
        camera.answered("history-run", await people.answer_body())
    async with stage.bot(**QUICK, SYNC_AT_START=True):
        await stage.run_end(3)
        await camera.take("in-step", "Sync of", "Nothing to change")


async def role_deleted(camera: Camera, _directory: Path) -> None:
    """Delete a role that everybody holds, and find it gone at the next start."""
    stage = camera.stage
    await stage.control.fault("member_interval_s", 0)
    made = await stage.control.create_guild(GUILD, members=3000, everyone_holds="Developers")
    await stage.fill_site()
    await stage.control.delete_role(GUILD, made["everyone_holds_role_id"], silent=True)
    stage.site.fault = at_leisure
    async with stage.bot(**SMALL):
        await stage.run_end()
        await camera.take("role-deleted-live", "Syncing", "**1,000** of")
        await camera.take("role-deleted", "Sync of")


async def site_slow(camera: Camera, _directory: Path) -> None:
    """Let each write take more than twice the target."""
    stage = camera.stage
    await guild(camera, 120)

    async def slow(call: Call, forward: Forward) -> Answer:
        if call.writes_users:
            await asyncio.sleep(1.3)
        return await forward(call)

    async def overloaded(call: Call, forward: Forward) -> Answer:
        if call.writes_users:
            stage.site.fault = slow
            return web.Response(status=503, headers={"Retry-After": "1"})
        return await forward(call)

    stage.site.fault = overloaded
    async with stage.bot(**QUICK, SYNC_FIRST_ITEMS=40):
        await camera.take("overloaded", "Syncing", "Waiting for the site")
        await camera.take("slow", "Syncing", "The site is slow")
        await stage.run_end()


async def site_down(camera: Camera, directory: Path) -> None:
    """Let the site fail three syncs in a row, be left alone, and come back."""
    stage = camera.stage
    await guild(camera, 60)
    stage.site.fault = ill
    people = await People.of(stage)
    async with stage.program(directory, **QUICK) as bot:
        await stage.run_end()
        await camera.take("failed", "Sync of", "alert ")
        await stage.commands_known()
        for number in (2, 3):
            await people.invoke(owner(stage), "sync all")
            await stage.run_end(number)
        await camera.take("opened", "Sync breaker opened")
        await people.invoke(owner(stage), "sync status")
        camera.answered("status-open", await people.answer_body())
        await people.invoke(owner(stage), "sync all")
        camera.answered("refused-open", await people.answer_body())
        await bot.stop()
        await bot.start()
        await camera.take("start-withheld", "Start-up sync withheld")
        await people.press(owner(stage), "Sync breaker opened", "Probe now")
        await camera.take("probe-failed", "Sync probe failed")
        await camera.take("pressed", "Sync breaker opened", "pressed")
        stage.site.fault = well
        await people.press(owner(stage), "Sync probe failed", "Probe now")
        await camera.take("recovered", "Sync recovered")


async def refused(camera: Camera, _directory: Path) -> None:
    """Let the site refuse the bot's token."""
    await guild(camera, 60)
    async with camera.stage.bot(**QUICK, SITE_API_TOKEN="0" * 40):
        await camera.take("refused", "Sync breaker opened")


async def failed_once(camera: Camera, _directory: Path) -> None:
    """Let one sync fail, and the next one end well."""
    stage = camera.stage
    await guild(camera, 60)
    stage.site.fault = ill
    async with stage.bot(**QUICK, SYNC_FIRST_RETRY_S=1):
        await stage.run_end()
        stage.site.fault = well
        await camera.take("works-again", "Sync works again")


async def restart_loop(camera: Camera, directory: Path) -> None:
    """Kill the bot in the middle of three syncs in a row."""
    stage = camera.stage
    await guild(camera, 300)
    settings = {**QUICK, "SYNC_FIRST_ITEMS": 50, "SYNC_MAX_ITEMS": 50}
    async with stage.program(directory, **settings) as bot:
        for kill in range(3):
            held = Held()

            async def hold_the_second(call: Call, forward: Forward, held: Held = held) -> Answer:
                return await (held if len(stage.site.writes()) % 2 == 0 else well)(call, forward)

            stage.site.fault = hold_the_second
            if kill:
                await stage.until(lambda: ready(bot))
                await stage.control.invoke(stage.mod_log, owner(stage), "sync all")
            await asyncio.wait_for(held.reached.wait(), 30)
            if not kill:
                await camera.take("killed-live", "Syncing", "**50** of")
            await asyncio.sleep(0.3)
            bot.kill()
            held.opened.set()
            stage.site.fault = well
            await bot.start()
            if not kill:
                await camera.take("interrupted", "Sync was interrupted")
        await camera.take("loop-opened", "Sync breaker opened")
        people = await People.of(stage)
        await people.press(owner(stage), "Sync breaker opened", "Probe now")
        await camera.take("followed", "Sync of", "Followed by run")


async def poisoned(camera: Camera, _directory: Path) -> None:
    """Let the site reject two rows; then everything."""
    stage = camera.stage
    ids = await guild(camera, 60)
    bad = set(ids[20:22])

    async def refuse(call: Call, forward: Forward) -> Answer:
        faults = [{"name": ["This name is reserved."]} if r["id"] in bad else {} for r in call.rows]
        if call.writes_users and any(faults):
            return web.json_response(faults, status=400)
        return await forward(call)

    stage.site.fault = refuse
    people = await People.of(stage)
    async with stage.bot(**QUICK):
        await stage.run_end()
        await camera.take("parked", "Rows parked")
        await camera.take("parked-summary", "Sync of")
        await people.press(owner(stage), "Rows parked", "Show parked")
        camera.answered("parked-list", await people.answer_body())
    bad.update(ids)
    stage.database.query("DELETE FROM api_user")
    async with stage.bot(**QUICK):
        await stage.run_end(2)
        await camera.take("rejected", "Sync of", "rejects too many")


async def mass_departure(camera: Camera, _directory: Path) -> None:
    """Let 600 of 1,700 be gone without a word, and ten roles."""
    stage = camera.stage
    ids = await guild(camera, 1700)
    await stage.fill_site()
    people = await People.of(stage)
    await stage.leave(ids[100:700])
    for number in range(10):
        stage.add_old_role(number + 1, number)
    async with stage.bot(**QUICK):
        await stage.run_end()
        await camera.take("departures", "Departures withheld")
        await camera.take("roles-withheld", "Role deletions withheld")
        await camera.take("departures-summary", "Sync of", "Departures withheld")
        await people.press(owner(stage), "Departures withheld", "Show who")
        camera.answered("who", await people.answer_body())
        await people.press(owner(stage), "Role deletions withheld", "Reject")
        await camera.take("rejected-list", "Role deletions rejected")
        await people.press(owner(stage), "Departures withheld", "Approve")
        await camera.take("approved", "Departures approved")
        await stage.run_end(2)
        await camera.take("approved-summary", "Sync of", "Approved")


async def unproven(camera: Camera, _directory: Path) -> None:
    """Let Discord count more members than it lists; then no longer."""
    stage = camera.stage
    ids = await guild(camera, 200)
    await stage.fill_site()
    await stage.control.leave(GUILD, ids[9], silent=True)
    await stage.control.tell_member_count(GUILD, 260)
    async with stage.bot(**QUICK):
        await stage.run_end()
        await camera.take("unproven", "Member list incomplete")
        await camera.take("unproven-summary", "Sync of", "could not be proven")
    await stage.control.tell_member_count(GUILD, None)
    async with stage.bot(**QUICK):
        await camera.take("proven", "Member list complete again")


async def store_lost(camera: Camera, directory: Path) -> None:
    """Lose the store over a restart."""
    stage = camera.stage
    await guild(camera, 60)
    stage.site.fault = ill
    async with stage.program(directory / "first", **QUICK, SYNC_BREAKER_THRESHOLD=1) as bot:
        await stage.until(lambda: "Sync breaker opened" in str(stage.alerts()))
        await bot.stop()
    async with stage.program(directory / "second", **QUICK) as bot:
        await camera.take("store-lost", "State store lost")
        await bot.stop()


async def store_away(camera: Camera, directory: Path) -> None:
    """Let the store be away, and shared, and damaged."""
    stage = camera.stage
    await guild(camera, 60)
    valkey = Valkey(directory / "valkey")
    try:
        url = valkey.url
        async with stage.program(directory / "bot", **QUICK, SYNC_STATE_URL=url) as bot:
            await camera.take("store-away", "State store unreachable")
            await valkey.start()
            await camera.take("store-back", "State store reachable again")
            lease = {"SYNC_DEADLINE_S": 2, "SYNC_LEASE_S": 3}
            second = stage.program(directory / "reserve", **QUICK | lease, SYNC_STATE_URL=url)
            await bot.wait_for_event("sync.run.finished")
            async with second:
                await camera.take("second", "Sync waits for its turn")
    finally:
        await valkey.close()
    state = directory / "state.db"
    state.write_bytes(b"this is no database" * 100)
    async with stage.program(directory, **QUICK, SYNC_STATE_URL=f"sqlite:///{state}"):
        await camera.take("store-warning", "State store needs attention")


async def commands_missing(camera: Camera, _directory: Path) -> None:
    """Let Discord answer oddly when it is told of the slash commands."""
    stage = camera.stage
    await guild(camera, 60)
    await stage.control.rest_fault("PUT /applications/*/commands", status=200)
    async with stage.bot(**QUICK):
        await camera.take("commands-missing", "Slash commands are missing")


async def two_bots(camera: Camera, directory: Path) -> None:
    """Let another bot sync the same guild, with a store of its own."""
    stage = camera.stage
    await guild(camera, 60)
    lease = {"SYNC_DEADLINE_S": 0.2, "SYNC_LEASE_S": 0.4}
    state = f"sqlite:///{directory}/state.db"
    async with stage.bot(**QUICK | lease, SYNC_STATE_URL=state):
        await stage.run_end()
        await asyncio.sleep(1)  # so long another may still speak that led before
        async with stage.program(directory / "other", **QUICK):
            await camera.take("two-bots", "Two bots sync this server")


async def by_hand(camera: Camera, _directory: Path) -> None:
    """Let people pause, tune, cancel, open and reset."""
    stage = camera.stage
    await guild(camera, 300)
    people = await People.of(stage)
    stage.site.fault = held = Held()
    async with stage.bot(**QUICK, SYNC_FIRST_ITEMS=50, SYNC_MAX_ITEMS=50):
        await stage.until(held.reached.is_set)
        await stage.commands_known()
        await stage.until(lambda: "Syncing" in str(stage.embeds()))
        await people.invoke(owner(stage), "sync set", name="target", value=1.0)
        camera.answered("set", await people.answer_body())
        await people.press(owner(stage), "Syncing", "Pause")
        held.opened.set()
        await camera.take("paused-live", "Syncing", "**Paused**")
        await camera.take("paused", "Sync is paused")
        await people.invoke(people.stranger, "sync resume")
        camera.answered("stranger", await people.answer_body())
        stage.site.fault = held = Held()
        await people.press(owner(stage), "Sync is paused", "Resume")
        await camera.take("resumed", "Sync resumed")
        await stage.until(held.reached.is_set)
        await people.press(owner(stage), "Syncing", "Cancel")
        held.opened.set()
        await stage.run_end()
        await camera.take("cancelled", "Sync of")
        await people.invoke(owner(stage), "sync breaker open", reason="the site moves")
        await camera.take("by-hand", "Sync breaker opened by hand")
        await people.press(owner(stage), "Sync breaker opened by hand", "Reset")
        await camera.take("reset", "Sync breaker reset")


SCENARIOS: Final[Sequence[Scenario]] = (
    normal,
    role_deleted,
    site_slow,
    site_down,
    refused,
    failed_once,
    restart_loop,
    poisoned,
    mass_departure,
    unproven,
    store_lost,
    store_away,
    commands_missing,
    two_bots,
    by_hand,
)


# -- from messages to a page ----------------------------------------------------------------------


@dataclass(slots=True)
class Numbers:
    """Names of runs and lists, numbered in the order of their appearance."""

    known: dict[str, str] = field(default_factory=dict)

    def __call__(self, match: re.Match[str]) -> str:
        return self.known.setdefault(match[0], f"{len(self.known) + 1:08x}")


def markdown(shot: Shot, numbers: Numbers) -> str:
    """Return a message as the page shows it."""
    if not shot.body.get("embeds"):
        return f"> {shot.body['content']}"
    (embed,) = shot.body["embeds"]
    colour = _COLOURS[embed.get("color") or 0]
    ping = ", pings the alert role" if f"<@&{_ALERTED}>" in (shot.body.get("content") or "") else ""
    lines = [f"**{embed['title']}** ({colour}{ping})", ""]
    lines += _paragraphs(embed.get("description") or "")
    for part in embed.get("fields") or ():
        lines += ["", f"**{part['name']}**<br>", *_paragraphs(part["value"])]
    buttons = [b["label"] for row in shot.body.get("components") or () for b in row["components"]]
    if buttons:
        lines += ["", " ".join(f"`[ {label} ]`" for label in buttons)]
    files = [file["filename"] for file in shot.body.get("attachments") or ()]
    if files:
        lines += ["", f"with the file `{files[0]}`"]
    footer = (embed.get("footer") or {}).get("text", "").partition(" · alert")[0]
    if footer and not footer.startswith("alert"):
        lines += ["", f"<sub>{footer}</sub>"]
    text = "\n".join(f"> {line}".rstrip() for line in lines)
    text = re.sub(r"<t:(\d+):R>", lambda found: _relative(int(found[1]), shot.at), text)
    text = re.sub(r"<@(\d+)>", "@someone", text).replace(f"<#{GUILD + 900}>", "#mod-log")
    text = re.sub(r"https://discord\.com/channels/\S+", "(link to that message)", text)
    text = re.sub(r"(/[\w.-]+)+/(?=[\w.-]+)", "/", text)
    for of_this_machine, everywhere in (
        (r"127\.0\.0\.1(\\?:|', )\d+", r"127.0.0.1\g<1>6379"),
        (r"corrupt-\d+T[\d.]+Z", "corrupt-20260101T120000Z"),
        (r"\([\w.\\-]+, process \d+\)", "(host, process 7)"),
    ):
        text = re.sub(of_this_machine, everywhere, text)
    return re.sub(r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{8}\b(?!-)|\b[a-f]{8}\b", numbers, text)


def _paragraphs(text: str) -> list[str]:
    lines = text.splitlines()
    return [f"{line}<br>" for line in lines[:-1]] + lines[-1:]


def _relative(moment_s: int, at: datetime) -> str:
    seconds = round((datetime.fromtimestamp(moment_s, UTC) - at) / timedelta(seconds=1))
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        count = round(abs(seconds) / size)
        if count:
            text = f"{count} {unit}" if count == 1 else f"{count} {unit}s"
            return f"_in {text}_" if seconds > 0 else f"_{text} ago_"
    return "_now_"


def renewed(page: str, blocks: dict[str, str]) -> str:
    """Return the page with these blocks between its markers; all must be there."""
    named = {match[1] for match in _BLOCK.finditer(page)}
    if named - blocks.keys():
        raise ValueError(f"no run shows {sorted(named - blocks.keys())}")
    return _BLOCK.sub(
        lambda match: f"<!-- real: {match[1]} -->\n{blocks[match[1]]}\n<!-- end -->\n", page
    )


async def taken_of(scenario: Scenario, website: Website, directory: Path) -> list[Shot]:
    """Make this run outside of pytest, and return what was noted of it."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(directory)
        async with staged(website, monkeypatch) as stage:
            # The bot edits more often here than it would, so that each state is to be seen.
            await stage.control.rate_limit("message edit", 1000, 1.0)
            camera = Camera(stage=stage)
            await scenario(camera, directory)
    return camera.shots


async def photographed(scenarios: Sequence[Scenario]) -> list[Shot]:
    """Make these runs, and return what was noted of them."""
    shots: list[Shot] = []
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        url = f"sqlite:///{directory}/website.sqlite3"
        async with Website(directory, database_url=url) as website:
            for scenario in scenarios:
                place = directory / scenario.__name__
                place.mkdir()
                taken = await taken_of(scenario, website, place)
                shots += taken
                print(f"{scenario.__name__}: {len(taken)} messages")  # noqa: T201 - a program
    return shots


def main() -> None:
    """Renew the page, or print the messages of single scenarios."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [scenario.__name__ for scenario in SCENARIOS]
    parser.add_argument("scenario", nargs="*", choices=[[], *names], help="print these only")
    chosen = parser.parse_args().scenario
    scenarios = [one for one in SCENARIOS if not chosen or one.__name__ in chosen]
    shots = asyncio.run(photographed(scenarios))
    numbers = Numbers()
    blocks = {shot.name: markdown(shot, numbers) for shot in shots}
    if chosen:
        for name, block in blocks.items():
            print(f"\n-- {name}\n{block}")  # noqa: T201 - as above
    else:
        PAGE.write_text(renewed(PAGE.read_text("utf-8"), blocks), "utf-8")


if __name__ == "__main__":
    main()
