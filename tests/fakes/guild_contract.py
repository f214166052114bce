"""What a guild promises to whoever reads it: held by the real ports and by those in memory.

A `Scene` is a guild of members with ids ascending, whose roles are @everyone and three more, and a
process that hears of it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, TypeVar

import pytest

from bot.exts.backend.sync._core.model.members import Member, UserId
from bot.exts.backend.sync._ports import PagedGuild

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable
    from typing import Any

    from bot.exts.backend.sync._ports import Guild

_T = TypeVar("_T")
STRANGERS = range(1, 31)


class Scene(Protocol):
    """A guild as it is, and the port of a process that hears of it; `due` is each member as a row.

    What is `silent` is told to nobody.
    """

    ids: list[int]
    roles: tuple[int, int, int, int]
    guild: Guild

    async def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Return what comes of something, however much time must pass for it."""
        ...

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None: ...
    async def join(self, id_: int, name: str, roles: Iterable[int] = ()) -> None: ...
    async def leave(self, id_: int, *, silent: bool = False) -> None: ...
    async def rename(self, id_: int, name: str, *, silent: bool = False) -> None: ...
    async def set_roles(self, id_: int, roles: Iterable[int]) -> None: ...
    async def delete_role(self, id_: int) -> None: ...
    async def lose_session(self) -> None: ...
    async def outage(self, *, begin: bool) -> None: ...
    async def fall_silent(self) -> None:
        """Answer no request for members any more."""
        ...

    async def due(self) -> dict[int, tuple[str, tuple[int, ...]]]: ...


async def read(scene: Scene, ids: Iterable[int]) -> dict[int, tuple[str, tuple[int, ...]]]:
    """Return the names and roles that the guild tells of these ids, as a drain would ask it."""
    wanted = [UserId(id_) for id_ in ids]

    async def ask() -> dict[int, tuple[str, tuple[int, ...]]]:
        await scene.guild.look_up(wanted)
        found = await scene.guild.members(wanted)
        return {int(id_): _row(member) for id_, member in found.items()}

    return await scene.run(ask())


def _row(member: Member) -> tuple[str, tuple[int, ...]]:
    return member.name, tuple(map(int, member.roles))


async def until_it_says(scene: Scene, ids: Iterable[int]) -> None:
    """Wait until the guild says of these ids what is so."""
    wanted = [*ids]

    async def is_so() -> bool:
        due = await scene.due()
        return await read(scene, wanted) == {id_: due[id_] for id_ in wanted if id_ in due}

    await scene.until(is_so)


class GuildContract:
    """The promises; a subclass gives the `scene`."""

    async def test_values_are_those_of_now(self, scene: Scene) -> None:
        """Names and roles as they are, after each event; nobody who is not a member."""
        ids, (_, one, _, three) = scene.ids, scene.roles
        everybody = [*ids, 42]
        await until_it_says(scene, everybody)
        await scene.rename(ids[4], "renamed")
        await scene.set_roles(ids[5], [one, three])
        await scene.leave(ids[6])
        await scene.leave(ids[7])
        await scene.join(ids[7], "again")
        await scene.join(42, "novel", [one])
        await until_it_says(scene, everybody)
        said = await read(scene, everybody)

        assert said[ids[4]][0] == "renamed"
        assert ids[6] not in said
        assert said[42][0] == "novel"

    async def test_a_role_that_is_gone_is_nobodys(self, scene: Scene) -> None:
        """Its holders get no event of their own; they lose it all the same."""
        everyone, one, two, _ = scene.roles
        for id_ in scene.ids[:10]:
            await scene.set_roles(id_, [one, two])
        await until_it_says(scene, scene.ids)
        await scene.delete_role(one)
        await until_it_says(scene, scene.ids)
        said = await read(scene, scene.ids[:10])

        assert {roles for _, roles in said.values()} == {(everyone, two)}
        assert one not in scene.guild.roles()

    async def test_who_is_not_a_member_is_told_by_discord(self, scene: Scene) -> None:
        """Of any number of ids, members or not."""
        asked = [*map(UserId, scene.ids), *map(UserId, STRANGERS)]
        gone = await scene.run(scene.guild.departed(asked))

        assert gone == frozenset(map(UserId, STRANGERS))

    async def test_nobody_has_left_because_discord_does_not_answer(self, scene: Scene) -> None:
        """What can't be known is not answered."""
        await scene.fall_silent()
        gone = await scene.run(scene.guild.departed([UserId(id_) for id_ in STRANGERS]))

        assert gone is None

    async def test_a_new_session_is_a_new_epoch(self, scene: Scene) -> None:
        """Nothing that was known of the old one is believed: what no event told of is seen."""
        ids, epoch = scene.ids, scene.guild.epoch
        await read(scene, ids)
        await scene.rename(ids[3], "renamed", silent=True)
        await scene.leave(ids[4], silent=True)
        await scene.lose_session()

        async def is_new() -> bool:
            return scene.guild.epoch != epoch

        await scene.until(is_new)
        proof = await scene.run(scene.guild.prove())
        due = await scene.due()

        assert proof.complete
        assert await read(scene, ids) == {id_: due[id_] for id_ in ids if id_ in due}

    async def test_an_unavailable_guild_is_waited_for(self, scene: Scene) -> None:
        """It can't be read while it is away, says so, and is proven anew when it is back."""
        known = scene.guild.trouble
        await scene.outage(begin=True)

        async def is_away() -> bool:
            return scene.guild.proof is None

        await scene.until(is_away)
        trouble = scene.guild.trouble
        proving = asyncio.ensure_future(scene.guild.prove())
        await scene.rename(scene.ids[3], "renamed")
        before = proving.done()
        await scene.outage(begin=False)

        async def wait() -> bool:
            return (await proving).complete

        complete = await scene.run(wait())
        due = await scene.due()

        assert (known, before, complete) == (None, False, True)
        assert trouble is not None
        assert await read(scene, scene.ids) == {id_: due[id_] for id_ in scene.ids}

    async def test_what_was_lost_without_a_word_is_found_by_reading_anew(
        self, scene: Scene
    ) -> None:
        """Where members are cached, it counts how many were wrong; without a cache none can be."""
        await read(scene, scene.ids)
        await scene.rename(scene.ids[3], "renamed", silent=True)
        await scene.leave(scene.ids[4], silent=True)
        wrong = await scene.run(scene.guild.read_anew())
        again = await scene.run(scene.guild.read_anew())
        cached = not isinstance(scene.guild, PagedGuild)

        assert (wrong, again) == ((2, 0) if cached else (0, 0))
        if cached:
            due = await scene.due()
            assert await read(scene, scene.ids) == {i: due[i] for i in scene.ids if i in due}


class PagedContract:
    """What a guild promises besides whose members are not cached."""

    async def test_pages_are_ascending_and_end(self, scene: Scene) -> None:
        """After any id those come that are above it; after the last one none."""
        guild = paged(scene)
        known = sorted(await scene.due())
        first = [int(member.id) for member in await scene.run(guild.page(UserId(0)))]
        rest = [int(member.id) for member in await scene.run(guild.page(UserId(known[4])))]
        last = await scene.run(guild.page(UserId(known[-1])))

        assert (first, rest, last) == (known, known[5:], ())
        assert guild.count == len(known)

    async def test_who_is_heard_of_is_watched(self, scene: Scene) -> None:
        """Whoever joins, leaves or changes while somebody watches; nobody afterwards."""
        guild, ids = paged(scene), scene.ids
        heard = guild.watch()
        await scene.rename(ids[1], "renamed")
        await scene.leave(ids[2])
        await scene.join(42, "novel")

        async def is_heard() -> bool:
            return heard == {ids[1], ids[2], 42}

        await scene.until(is_heard)
        guild.unwatch(heard)
        await scene.rename(ids[5], "later")
        await until_it_says(scene, ids)

        assert heard == {ids[1], ids[2], 42}

    async def test_what_discord_does_not_say_stops_who_asked(self, scene: Scene) -> None:
        """With a cache, nothing has to be asked."""
        guild = paged(scene)
        await scene.fall_silent()

        # Of a class that each load of the extension makes anew, hence not by its type.
        with pytest.raises(Exception, match="Discord did not say whether 30 ids are members"):
            await scene.run(_look_up(guild, STRANGERS))


def paged(scene: Scene) -> PagedGuild:
    """Return the port of a scene as one of a guild that is read by pages."""
    assert isinstance(scene.guild, PagedGuild)
    return scene.guild


async def _look_up(guild: Guild, ids: Iterable[int]) -> None:
    await guild.look_up([UserId(id_) for id_ in ids])
