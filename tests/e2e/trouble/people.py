"""The people of a guild: who they are, what they press and type, and what they are answered."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.e2e.trouble.harness import GUILD

if TYPE_CHECKING:
    from tests.e2e.trouble.harness import Stage

ROLE: Final = GUILD + 3
REFUSAL: Final = "Only administrators and the configured roles may use this."

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What somebody was answered; `private` if nobody else sees it."""

    text: str
    private: bool
    files: tuple[Json, ...] = ()


@dataclass(slots=True, kw_only=True)
class People:
    """Three members of the guild: one who may, one whose role may, and one who may not."""

    stage: Stage
    administrator: int
    holder: int
    stranger: int
    asked: int = 0  # the last interaction

    @classmethod
    async def of(cls, stage: Stage) -> People:
        """Choose them among the guild's members."""
        ids = sorted([m["id"] async for m in stage.control.members(GUILD)])
        stranger, administrator, holder = ids[10:13]
        await stage.control.set_roles(GUILD, stranger, [GUILD + 1], silent=True)
        await stage.control.set_roles(GUILD, holder, [ROLE], silent=True)
        await stage.control.make_administrator(GUILD, administrator)
        return cls(stage=stage, administrator=administrator, holder=holder, stranger=stranger)

    @classmethod
    async def of_guild(cls, stage: Stage, *, members: int, in_step: bool = True) -> People:
        """Make a guild of so many, which the site has in step or not at all, and choose them."""
        await stage.control.fault("member_interval_s", 0)
        await stage.guild(members)
        people = await cls.of(stage)
        if in_step:
            await stage.fill_site()
        return people

    def buttons(self, title: str) -> list[str]:
        """Return the labels below the newest message of mod-log whose title begins so."""
        return [button["label"] for button in _buttons(self._message(title)[1])]

    async def press(self, person: int, title: str, label: str) -> Answer:
        """Press a button of the newest message whose title begins so; return the answer."""
        id_, body = self._message(title)
        custom_id = next(b["custom_id"] for b in _buttons(body) if b["label"] == label)
        press = await self.stage.control.press(self.stage.mod_log, id_, person, custom_id)
        return await self._answer(press)

    async def invoke(self, person: int, command: str, **options: object) -> Answer:
        """Use a slash command in mod-log; return the last answer to it."""
        given = await self.stage.control.invoke(self.stage.mod_log, person, command, options)
        return await self._answer(given)

    async def complete(self, person: int, command: str, option: str, typed: str) -> list[str]:
        """Type into an option of a slash command; return what is offered."""
        channel = self.stage.mod_log
        asked = await self.stage.control.complete(channel, person, command, option, typed)
        async with asyncio.timeout(15):
            while True:
                for answer in await self.stage.control.responses(asked):
                    return [choice["value"] for choice in answer["data"]["choices"]]
                await asyncio.sleep(0.02)

    async def answer_again(self) -> Answer:
        """Return the last answer as it is now."""
        return await self._answer(self.asked)

    async def answer_saying(self, words: str) -> Answer:
        """Wait until the last answer says this."""
        async with asyncio.timeout(10):
            while words not in (answer := await self.answer_again()).text:
                pass
        return answer

    async def answer_body(self) -> Json:
        """Return the body of the last answer as it is now."""
        answers = await self.stage.control.responses(self.asked)
        body: Json = next(a["body"] for a in reversed(answers) if "body" in a)
        return body

    async def _answer(self, interaction: int) -> Answer:
        self.asked = interaction
        answer = await _answer_to(self.stage, interaction)
        body = answer["body"]
        return Answer(
            text=text_of(body),
            private=answer["ephemeral"],
            files=tuple(body.get("attachments") or ()),
        )

    def _message(self, title: str) -> tuple[int, Json]:
        channel = self.stage.discord.state.channel(self.stage.mod_log)
        assert channel is not None
        fitting = [
            (message.id, message.body)
            for message in channel.messages.values()
            if not message.deleted
            for embed in message.body.get("embeds") or ()
            if embed["title"].startswith(title)
        ]
        assert fitting, f"no message {title!r} among {self.stage.embeds()}"
        return fitting[-1]


@dataclass(slots=True, kw_only=True)
class Room:
    """A channel in which people give commands, as text or as slash commands."""

    stage: Stage
    channel: int
    slash: bool

    async def say(self, person: int, command: str) -> str:
        """Give a command like `sync status`; return the text of the one answer to it."""
        return (await self.answer(person, command))[1]

    async def answer(self, person: int, command: str) -> tuple[bool, str]:
        """Return whether the answer is for that person's eyes only, too."""
        if self.slash:
            return await self._invoke(person, command)
        known = len(self.stage.bodies(self.channel))
        await self.stage.control.post(self.channel, person, f"!{command}")
        await self.stage.until(lambda: len(self.stage.bodies(self.channel)) > known)
        text = _said(self.stage.bodies(self.channel)[known])
        if "it names members" not in text:
            return False, text
        return False, _said(self.stage.bodies()[-1])

    async def _invoke(self, person: int, command: str) -> tuple[bool, str]:
        id_ = await self.stage.control.invoke(self.channel, person, command)
        answer = await _answer_to(self.stage, id_)
        return answer["ephemeral"], _said(answer["body"])


def text_of(body: Json) -> str:
    """Return all that people read in a message's body."""
    parts = [str(body.get("content") or "")]
    for embed in body.get("embeds") or ():
        parts += [embed["title"], embed.get("description") or ""]
        parts += [f"{field['name']}: {field['value']}" for field in embed.get("fields") or ()]
    return "\n".join(part for part in parts if part)


def _buttons(body: Json) -> list[Json]:
    return [button for row in body.get("components") or () for button in row["components"]]


def _said(body: Json) -> str:
    embeds = body.get("embeds") or ()
    return str(body.get("content") or "") + "".join(
        f"{embed['title']}: {embed.get('description')}" for embed in embeds
    )


async def _answer_to(stage: Stage, interaction: int) -> Json:
    """Wait until somebody was answered in words; return the last answer."""
    async with asyncio.timeout(15):
        while True:
            answers = [a for a in await stage.control.responses(interaction) if "body" in a]
            if answers and text_of(answers[-1]["body"]):
                return answers[-1]
            await asyncio.sleep(0.02)
