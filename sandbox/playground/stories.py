"""Guided stories: what happens, what to watch for meanwhile, and what a moderator would do."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx

from sandbox.old_syncer import OldSyncer
from sandbox.playground.actions import SiteKeeper
from sandbox.playground.feed import Event
from sandbox.playground.ground import MODERATOR
from sandbox.playground.markup import plain
from sandbox.playground.world import EXPECTED, World, in_a_line
from sandbox.replay import checks
from sandbox.servers import until

Json = dict[str, Any]

_LOOK_S: Final = 0.1
_IN_STEP_S: Final = 120.0
_OLD_TRIES: Final = 2
_KILLS: Final = 3
_BACK_S: Final = 60.0


class StoryError(Exception):
    """A story did not go as it must; the text says what did not come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A story that can be played again and again."""

    id: str
    title: str
    about: str
    play: Callable[["Stage"], Awaitable[None]]


class Stage:
    """What a story is told with."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ground = world.ground
        self.began_s = time.time()

    def tell(self, text: str, *, watch: str = "", moderator: str = "") -> None:
        """Say what happens now, what to watch for, and what a moderator would do."""
        self.world.line("story", text, watch=watch, moderator=moderator)

    async def do(self, id_: str) -> None:
        """Do an action of the panel."""
        await self.world.act(id_, by="story")

    async def undo(self, id_: str) -> None:
        """Undo an action of the panel."""
        await self.world.undo(id_, by="story")

    async def in_step(self, *, within_s: float = _IN_STEP_S) -> None:
        """Wait until no row differs, for two looks in a row that began after now."""
        called_s = time.time()
        async with _deadline(within_s, "the site was not in step"):
            while True:
                samples = self.world.samples[-2:]
                agreed = [sample["differ"] == 0 and sample["at"] > called_s for sample in samples]
                if len(agreed) == 2 and all(agreed):  # noqa: PLR2004  as said
                    return
                await asyncio.sleep(_LOOK_S)

    async def shown(self, title: str, *, within_s: float = 90.0) -> Event:
        """Wait until mod-log has a message of such a title, sent or edited in this story."""
        async with _deadline(within_s, f"mod-log did not show {title!r}"):
            while True:
                for event in reversed(list(self.world.messages.values())):
                    if self._is_new(event) and title in _title(event.data):
                        return event
                await asyncio.sleep(_LOOK_S)

    async def press(self, label: str, *, within_s: float = 60.0) -> None:
        """Press the newest button of this label, as the moderator."""
        async with _deadline(within_s, f"there was no button {label!r}"):
            while True:
                for event in reversed(list(self.world.messages.values())):
                    for button in (b for row in event.data["rows"] for b in row):
                        if button["label"] == label and button["custom_id"]:
                            self.tell(f"The moderator presses {label}.")
                            id_ = int(event.data["id"])
                            await self.world.press(MODERATOR, id_, button["custom_id"])
                            return
                await asyncio.sleep(_LOOK_S)

    def _is_new(self, event: Event) -> bool:
        return event.at.timestamp() >= self.began_s


@contextlib.asynccontextmanager
async def _deadline(within_s: float, what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(within_s):
            yield
    except TimeoutError as exc:
        raise StoryError(f"{what} within {within_s:g} s") from exc


def _title(view: Json) -> str:
    return "\n".join(plain(embed["title"]) for embed in view["embeds"])


async def _incident(stage: Stage) -> None:
    stage.tell("The bot is stopped, and somebody deletes a role that every member holds.",
               watch="“Differ” jumps to the number of members: every row is wrong.")  # fmt: skip
    await stage.do("stop-bot")
    await stage.do("delete-role")
    stage.tell(
        "The bot starts again and finds all of it at once.",
        watch="Rows go out in small requests, one at a time. The site's own visitors (“visit”) "
        "hardly notice.",
        moderator="Nothing. If the deletion was a mistake: Pause, and put the role back.",
    )
    await stage.undo("stop-bot")
    await stage.shown("Syncing")
    await stage.shown("finished")
    await stage.in_step()
    stage.tell("Every row is right again, and was read again to be sure.",
               watch="“Differ” is 0; the message in mod-log says Verified.")  # fmt: skip


async def _old_way(stage: Stage) -> None:
    ground = stage.ground
    stage.tell("The same day on a plain site, the old way: one request for every row.",
               watch="“site” in the chart of memory.")  # fmt: skip
    await stage.do("stop-bot")
    await stage.do("grow")
    if ground.plain:
        await ground.fill_site()
    else:
        await stage.do("plain-site")
    await stage.do("delete-role")
    keeper = SiteKeeper(ground)
    keeper.limit()
    try:
        stage.tell(f"The site may take {keeper.means}, and is started again when it dies.")
        for attempt in range(1, _OLD_TRIES + 1):
            await _sync_the_old_way(stage, attempt)
        stage.tell(
            "Now our bot on the same site, under the same limit.",
            watch="The memory of the site stays flat, and “Differ” falls to 0.",
            moderator="Nothing.",
        )
        await stage.undo("stop-bot")
        await stage.in_step()
        await stage.shown("finished")
    finally:
        await keeper.end()
        if not ground.website.running:
            await ground.website.start()
    stage.tell("Done: the same rows, the same site, and it lived.")


async def _sync_the_old_way(stage: Stage, attempt: int) -> None:
    ground, guild = stage.ground, stage.ground.place.guild
    members = [checks.expected_user(m, guild) async for m in ground.control.members(guild)]
    roles = [checks.expected_role(role) for role in await ground.control.roles(guild)]
    syncer = OldSyncer(
        api_url=ground.website.api_url, token=ground.website.token, chunk_rows=None, timeout_s=90
    )
    stage.tell(f"Start {attempt} of the old bot: all {len(members):,} rows in one request.")
    born = ground.website.started_at
    try:
        run = await syncer.sync(roles=roles, members=members)
    except httpx.HTTPError:
        await until(lambda: ground.website.running, timeout_s=_BACK_S)
        died = ground.website.started_at != born
        stage.tell(
            f"{'The site died of it' if died else 'The site failed'}. Nothing was written.",
            watch="The old bot would start again and do the same, all day.",
        )
    else:
        stage.tell(f"It got through this time, in {run.largest_request_s:.1f} s for one request.")


async def _restart_loop(stage: Stage) -> None:
    stage.tell(
        "Something kills the bot each time that it writes, and starts it again.",
        watch="After three attempts the bot stops trying by itself, however often it starts.",
    )
    await stage.do("stop-bot")
    await stage.do("delete-role")
    bot = stage.ground.bot
    for number in range(1, _KILLS + 1):
        stage.ground.faults.writing.clear()
        await bot.start()
        async with _deadline(60, "the bot wrote nothing"):
            await stage.ground.faults.writing.wait()
        bot.kill()
        stage.tell(f"Kill {number} of {_KILLS}, in the middle of a write.")
    await bot.start()
    await stage.shown("breaker opened")
    stage.tell(
        "The breaker is open: nothing is written until a probe goes through.",
        watch="The band below the charts turns red.",
        moderator="Find out what kills the bot. When that is over: Probe now, or just wait.",
    )
    await stage.press("Probe now")
    await stage.shown("recovered")
    await stage.in_step()
    stage.tell("One probe went through, and everything that waited followed.")


async def _departures(stage: Stage) -> None:
    stage.tell("The bot is stopped, and 60 % of the members vanish.",
               watch="Is it true, or did Discord give half a list?")  # fmt: skip
    await stage.do("stop-bot")
    await stage.do("leave-many")
    await stage.undo("stop-bot")
    await stage.shown("withheld")
    stage.tell(
        "The bot writes everything else, and asks first about those who are gone.",
        watch="“Differ” stays at the number of those who left.",
        moderator="Show who, look at the list, then Approve or Reject.",
    )
    await stage.press("Show who")
    await asyncio.sleep(2)
    await stage.press("Approve")
    await stage.in_step()
    stage.tell("Approved, and written.")


async def _poisoned_row(stage: Stage) -> None:
    stage.tell(
        "A firewall before the site blocks every request with a certain name in it.",
        watch="The bot must not give up on all the other rows of a request.",
    )
    await stage.do("firewall")
    await stage.do("delete-role")
    await stage.do("rename-badly")
    await stage.shown("parked")
    stage.tell(
        "The bot found the row by halving, parked it, and wrote all others.",
        watch="“Differ” is 1.",
        moderator="See what the site says about it (Show parked), and get that changed.",
    )
    await stage.press("Show parked")
    await asyncio.sleep(1.5)
    await stage.undo("firewall")
    await stage.press("Retry parked")
    await stage.in_step()
    stage.tell("The firewall is gone, and so is the difference.")


async def _discord_down(stage: Stage) -> None:
    stage.tell("Discord takes no message any more, while much changes.",
               watch="mod-log stands still; “Differ” goes down to 0 all the same.")  # fmt: skip
    await stage.do("fail-rest")
    await stage.do("delete-role")
    await stage.in_step()
    stage.tell("The site is in step although nobody could be told.",
               moderator="Nothing: what was not said is kept.")  # fmt: skip
    await stage.undo("fail-rest")
    await stage.shown("finished", within_s=120)
    stage.tell("Discord is back, and what happened is told now, once.")


STORIES: Final = (
    Story(id="incident", title="The incident", play=_incident,
          about="A role that all hold is deleted. In 2021 this took a site down for a day."),
    Story(id="old-way", title="The incident, the old way", play=_old_way,
          about="The same in one request, on a plain site with little memory. Then ours."),
    Story(id="restart-loop", title="The restart loop", play=_restart_loop,
          about="The bot is killed at each write and started again."),
    Story(id="departures", title="Mass departure", play=_departures,
          about="Most members are gone at once. Who believes that?"),
    Story(id="poisoned-row", title="A poisoned row", play=_poisoned_row,
          about="One row that the site can't take, among all the others."),
    Story(id="discord-down", title="Discord is down", play=_discord_down,
          about="The bot can't say anything, and works on."),
)  # fmt: skip
BY_ID: Final = {story.id: story for story in STORIES}


class Teller:
    """Plays one story at a time, and says in the feed how it stands."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._task: asyncio.Task[None] | None = None
        self.state: Json = {"playing": None, "ended": None, "failed": ""}

    def start(self, id_: str) -> None:
        """Begin a story; KeyError for an unknown one, RuntimeError while another is on."""
        story = BY_ID[id_]
        if self._task is not None and not self._task.done():
            raise RuntimeError("a story is on already")
        self._task = asyncio.create_task(self.play(story))

    async def stop(self) -> None:
        """End the story that is on, and undo what it did."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def play(self, story: Story) -> None:
        """Play a story from a world in step to a world in step."""
        self._tell(playing=story.id, ended=None, failed="")
        failed = ""
        try:
            await self._world.undo_all(by="story")
            await Stage(self._world).in_step()
            await story.play(Stage(self._world))
        except (StoryError, *EXPECTED) as exc:
            failed = in_a_line(exc)
            self._world.line("story", f"The story broke off: {failed}", level="error")
        finally:
            self._tell(playing=None, ended=story.id, failed=failed)

    def _tell(self, **state: object) -> None:
        self.state = dict(state)
        self._world.feed.tell("story", self.state)
