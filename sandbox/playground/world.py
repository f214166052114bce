"""The ground, watched: what comes to be on it is told to the feed, and clicks change it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import psutil
import psycopg

from sandbox.discord.client import ControlError
from sandbox.playground.actions import ACTIONS, BY_ID, Undo
from sandbox.playground.feed import Event, Feed
from sandbox.playground.ground import SHORTER, Ground
from sandbox.playground.rendering import message_view
from sandbox.playground.sampling import Sampler
from sandbox.servers import ServerError

Json = dict[str, Any]

EXPECTED: Final = (
    ServerError, ControlError, LookupError, OSError, TimeoutError, aiohttp.ClientError,
    psutil.Error, psycopg.Error,
)  # fmt: skip
_KEPT_MESSAGES, _KEPT_LINES, _KEPT_SAMPLES = 200, 400, 900
_LOG_S: Final = 0.3
_ANSWER_S: Final = 3.2  # Discord's three seconds, and the way
# What the bot logs that is worth a mark on the time line.
_TOLD: Final = {
    "bot.starting": "The bot starts",
    "bot.ready": "The bot is connected",
    "sync.run.started": "A sync begins",
    "sync.run.finished": "A sync ends",
    "sync.rows.parked": "Rows are parked",
    "sync.breaker.moved": "The breaker moves",
    "sync.lease.lost": "The bot lost its lease",
    "sync.lease.acquired": "The bot leads",
    "sync.store.unreachable": "The state store is away",
}


class World:
    """What a page looks at. As an async context manager it is watched, and the bot runs."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.feed = Feed()
        self.messages: dict[int, Event] = {}
        self.lines: list[Json] = []
        self.samples: list[Json] = []
        self._names: dict[int, str] = {}
        self._undo: dict[str, list[Undo]] = {}
        self._acting = asyncio.Lock()
        self._busy: str | None = None
        self._failed: dict[str, str] = {}
        self._answers: set[asyncio.Task[None]] = set()
        self._answered: dict[int, asyncio.Event] = {}
        self._roles: set[int] = set()
        self._sampler = Sampler(ground)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Watch for as long as this is entered, with the bot running from the start."""
        await self._learn_names()
        watching = asyncio.Event()
        with self.feed.heard(self._keep):
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(work)
                    for work in (self._watch(watching), self._sample(), self._read_logs())
                ]
                await watching.wait()
                try:
                    yield
                finally:
                    for task in [*tasks, *self._answers]:
                        task.cancel()

    def _keep(self, event: Event) -> None:
        """Remember what a page that comes later must be told."""
        match event.kind:
            case "message":
                id_ = int(event.data["id"])
                if event.data["deleted"]:
                    self.messages.pop(id_, None)
                else:
                    self.messages[id_] = event
                    same = [k for k, e in self.messages.items() if e.channel == event.channel]
                    for old in same[:-_KEPT_MESSAGES]:
                        del self.messages[old]
            case "line":
                self.lines = [*self.lines, event.as_json()][-_KEPT_LINES:]
            case "sample":
                self.samples = [*self.samples, event.data][-_KEPT_SAMPLES:]
            case _:
                pass

    # -- watching ---------------------------------------------------------------------------------

    async def _watch(self, watching: asyncio.Event) -> None:
        async for told in self.ground.control.feed():
            match told:
                case {"message": message}:
                    self.feed.tell(
                        "message",
                        message_view(told, names=self.name),
                        channel=int(message["channel_id"]),
                        visible_to=told["visible_to"],
                    )
                case {"interaction": id_}:
                    self._answered.setdefault(id_, asyncio.Event()).set()
                case _:
                    watching.set()

    async def _sample(self) -> None:
        while True:
            started_s = time.monotonic()
            sample, history = await self._sampler.sample()
            for change in history:
                self._note_name(change)
            self.feed.tell("sample", sample)
            # Truth takes longer in a large guild; it must not take the machine.
            took_s = time.monotonic() - started_s
            await asyncio.sleep(max(1.0 - took_s, took_s))

    async def _read_logs(self) -> None:
        seen: dict[int, int] = {}
        while True:
            for bot, who in ((self.ground.bot, ""), (self.ground.second_bot, " (second bot)")):
                if bot is None:
                    continue
                events = bot.events()
                for line in events[seen.get(id(bot), 0) :]:
                    self._tell_log(line, who)
                seen[id(bot)] = len(events)
            await asyncio.sleep(_LOG_S)

    def _tell_log(self, line: Json, who: str) -> None:
        name = str(line.get("event", ""))
        level = str(line.get("level", "info"))
        if name in _TOLD or level in {"warning", "error", "critical"}:
            text = f"{_TOLD.get(name, name)}{who}"
            if "ending" in line:
                text += f": {line['ending']}"
            self.line("bot", text, level=level, log=_short(line))

    def line(self, source: str, text: str, **more: object) -> None:
        """Put a mark on the time line: of "bot", "you", "site" or "story"."""
        self.feed.tell("line", {"source": source, "text": text, **more})

    # -- names ------------------------------------------------------------------------------------

    def name(self, kind: str, id_: int) -> str | None:
        """Return what a member, a role or a channel is called."""
        if kind == "channel":
            channels = self.ground.place.channels.items()
            return next((name for name, channel in channels if channel == id_), None)
        return self._names.get(id_)

    def found(self, typed: str, *, most: int = 10) -> list[Json]:
        """Return members whose names begin so, for an option of a command."""
        start = typed.casefold().lstrip("@")
        hits = (
            {"id": str(id_), "name": name}
            for id_, name in self._names.items()
            if id_ not in self._roles and name.casefold().startswith(start)
        )
        return [hit for _, hit in zip(range(most), hits, strict=False)]

    async def _learn_names(self) -> None:
        guild = self.ground.place.guild
        roles = await self.ground.control.roles(guild)
        self._roles = {role["id"] for role in roles}
        self._names = {role["id"]: role["name"] for role in roles}
        async for member in self.ground.control.members(guild):
            self._names[member["id"]] = _shown(member)

    def _note_name(self, change: Json) -> None:
        row = change["row"]
        if row is not None:
            is_role = change["op"].endswith("role")
            self._names[change["id"]] = row["name"] if is_role else _shown(row)
            if is_role:
                self._roles.add(change["id"])

    # -- clicks -----------------------------------------------------------------------------------

    def panel(self) -> Json:
        """Return every action as the page shows it, and what the world is made of."""
        ground = self.ground
        return {
            "site": "a plain site" if ground.plain else "our website",
            "limited": ground.limit_means,
            "shortened": SHORTER,
            "busy": self._busy,
            "actions": [
                {
                    "id": action.id,
                    "group": action.group,
                    "label": action.label,
                    "does": action.does,
                    "undo": action.undo,
                    "done": len(self._undo.get(action.id, ())),
                    "lasting": action.lasting,
                    "failed": self._failed.get(action.id, ""),
                }
                for action in ACTIONS
            ],
        }

    async def act(self, id_: str, *, by: str = "you") -> None:
        """Do an action; KeyError for an unknown id, the reason in the panel if it can't be done."""
        action = BY_ID[id_]
        async with self._acting:
            done = self._undo.setdefault(id_, [])
            if action.lasting and done:
                return
            self.line(by, action.label, does=action.does)
            with self._attempt(id_):
                done.append(await action.run(self.ground))
                self._undo[id_] = self._undo.pop(id_)  # the latest stands last

    async def undo(self, id_: str, *, by: str = "you") -> None:
        """Undo an action, the latest of several; KeyError for an unknown id."""
        action = BY_ID[id_]
        async with self._acting:
            done = self._undo.get(id_, [])
            if done:
                self.line(by, f"{action.undo}: {action.label.lower()}")
                with self._attempt(id_):
                    await done.pop()()

    async def undo_all(self, *, by: str = "you") -> None:
        """Undo everything that was done, the latest first, and let the bot run."""
        for id_ in reversed([id_ for id_, done in self._undo.items() if done]):
            while self._undo[id_]:
                await self.undo(id_, by=by)
        if not self.ground.bot.running:
            await self.ground.bot.start()

    @contextlib.contextmanager
    def _attempt(self, id_: str) -> Iterator[None]:
        """Show what is going on in the panel, and how it failed if it does."""
        self._busy = id_
        self._failed.pop(id_, None)
        self.feed.tell("panel", self.panel())
        try:
            yield
        except EXPECTED as exc:
            self._failed[id_] = in_a_line(exc)
            self.line("you", f"Could not be done: {self._failed[id_]}", level="warning")
        finally:
            self._busy = None
            self.feed.tell("panel", self.panel())

    # -- speaking ---------------------------------------------------------------------------------

    async def say(self, who: str, channel: str, content: str) -> None:
        """Send a message as one of the three people."""
        place = self.ground.place
        await self.ground.control.post(place.channels[channel], place.people[who], content)

    async def press(self, who: str, message_id: int, custom_id: str) -> None:
        """Press a button as one of the three."""
        channel = self.messages[message_id].channel
        if channel is None:
            raise LookupError(f"message {message_id} is in no channel")
        person = self.ground.place.people[who]
        id_ = await self.ground.control.press(channel, message_id, person, custom_id)
        self._await_answer(id_, channel, person, str(message_id))

    async def command(self, who: str, channel: str, name: str, options: Json) -> None:
        """Send a slash command as one of the three."""
        place = self.ground.place
        id_ = await self.ground.control.invoke(
            place.channels[channel], place.people[who], name, options
        )
        self._await_answer(id_, place.channels[channel], place.people[who], "")

    async def complete(self, who: str, channel: str, name: str, option: str, typed: str) -> Json:
        """Return the bot's own choices for an option that is being typed."""
        place, control = self.ground.place, self.ground.control
        id_ = await control.complete(
            place.channels[channel], place.people[who], name, option, typed
        )
        await self._is_answered(id_)
        answers = await control.responses(id_)
        choices = [c for a in answers for c in (a.get("data") or {}).get("choices") or ()]
        return {"choices": [{"id": str(c["value"]), "name": c["name"]} for c in choices]}

    async def commands(self) -> list[Json]:
        """Return the slash commands, subcommands with their options, as Discord holds them."""
        registered = await self.ground.control.commands()
        return [
            flat for commands in registered.values() for command in commands
            for flat in _flat(command, "")
        ]  # fmt: skip

    def _await_answer(self, id_: int, channel: int, person: int, message: str) -> None:
        task = asyncio.create_task(self._tell_whether_answered(id_, channel, person, message))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _tell_whether_answered(
        self, id_: int, channel: int, person: int, message: str
    ) -> None:
        data = {"message": message, "answered": await self._is_answered(id_)}
        self.feed.tell("answer", data, channel=channel, visible_to=person)

    async def _is_answered(self, id_: int) -> bool:
        answered = self._answered.setdefault(id_, asyncio.Event())
        try:
            await asyncio.wait_for(answered.wait(), _ANSWER_S)
        except TimeoutError:
            return False
        finally:
            self._answered.pop(id_, None)
        return True


def in_a_line(error: Exception) -> str:
    """Return what went wrong, in one line."""
    return str(error).splitlines()[0] if str(error) else repr(error)


def _shown(member: Json) -> str:
    return str(member.get("nick") or member.get("global_name") or member["name"])


def _short(line: Json) -> Json:
    """Return a log line without what would make it long."""
    return {key: value for key, value in line.items() if len(str(value)) <= 400}  # noqa: PLR2004


def _flat(command: Json, before: str) -> list[Json]:
    """Return a command's subcommands, each by its full name; the command itself if it has none."""
    name = f"{before} {command['name']}".strip()
    options = command.get("options") or []
    subs = [option for option in options if option["type"] in {1, 2}]
    if subs:
        return [flat for sub in subs for flat in _flat(sub, name)]
    return [{
        "name": name,
        "description": command.get("description") or "",
        "options": [
            {
                "name": option["name"],
                "description": option.get("description") or "",
                "type": option["type"],
                "required": bool(option.get("required")),
                "completed": bool(option.get("autocomplete")),
                "choices": [str(choice["value"]) for choice in option.get("choices") or ()],
            }
            for option in options
        ],
    }]  # fmt: skip
