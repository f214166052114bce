"""What happens in a guild while things go wrong: people come and go, roles change and vanish."""

import asyncio
import random
from collections.abc import Iterable
from typing import Any, Final

from sandbox.replay.crowd import Crowd
from sandbox.replay.world import World

_EVERY_S: Final = 0.12
_LEAVERS: Final = 10
_JOINERS: Final = 12
_ROLES_LEFT: Final = 17  # of 21: more deletions at once would wait for a moderator

Json = dict[str, Any]


class GuildLife:
    """The changes of a world's guild; `chance` decides them. Begin with `meet`.

    The owner and those who are to be poisoned keep still.
    """

    def __init__(self, world: World, chance: random.Random) -> None:
        self._world = world
        self._chance = chance
        self._guild = world.ids.guild
        self._roles: list[int] = []
        self._crowd: Crowd
        self.owner = 0

    async def meet(self) -> None:
        """Learn who is there."""
        members = [member async for member in self._world.control.members(self._guild)]
        roles = await self._world.control.roles(self._guild)
        self._roles = [role["id"] for role in roles if role["id"] != self._guild]
        self.owner = min(member["id"] for member in members if not member["bot"])
        seed = self._chance.getrandbits(32)
        self._crowd = Crowd(members, self._roles, owner=self.owner, seed=seed)

    async def fall_out_of_step(self, *, poisoned: int) -> list[int]:
        """Change members and roles unheard; return some of those changed, who now keep still."""
        chance, crowd = self._chance, self._crowd
        kinds = [crowd.leave] * _LEAVERS + [crowd.join] * _JOINERS
        kinds += [crowd.change] * chance.randint(len(crowd) // 4, len(crowd))
        chance.shuffle(kinds)
        operations = [self._delete_role(), *(kind() for kind in kinds)]
        await self._world.control.operations(self._guild, operations, silent=True)
        await self._world.control.create_role(self._guild, "late", silent=True)
        touched = {_of(operation) for operation in operations}
        chosen = chance.sample(self.movable(touched), poisoned)
        crowd.spare(chosen)
        return chosen

    async def go_on(self) -> None:
        """Change something every tenth of a second until cancelled."""
        while True:
            await self._world.control.operations(self._guild, [self._something()])
            await asyncio.sleep(self._chance.uniform(0, _EVERY_S * 2))

    async def rename(self, id_: int) -> None:
        """Rename a member, heard by all."""
        await self._world.control.rename(self._guild, id_, f"renamed {self._chance.random()}")

    async def rename_somebody(self) -> None:
        """Rename one member, heard by all."""
        await self.rename(self._chance.choice(self._crowd.ids))

    def movable(self, ids: Iterable[int]) -> list[int]:
        """Return those of these ids who are members that may be changed."""
        return sorted(set(self._crowd.ids).intersection(ids))

    def _something(self) -> Json:
        match self._chance.randrange(20):
            case 0:
                return {"op": "put_role", "role": self._role(self._chance.choice(self._roles))}
            case 1 if len(self._roles) > _ROLES_LEFT:
                return self._delete_role()
            case _:
                return self._crowd.bustle(1)[0]

    def _delete_role(self) -> Json:
        id_ = self._roles.pop()
        self._crowd.forget_role(id_)
        return {"op": "delete_role", "id": id_}

    def _role(self, id_: int) -> Json:
        return {
            "id": id_,
            "name": f"role {self._chance.random()}",
            "position": self._roles.index(id_) + 1,
            "permissions": 0,
            "colour": self._chance.randrange(2**24),
        }


def _of(operation: Json) -> int:
    return int(operation["member"]["id"] if "member" in operation else operation["id"])
