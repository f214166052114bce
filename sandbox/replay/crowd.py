"""Members who join, change and leave, as operations for the local Discord; a seed decides."""

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

Json = dict[str, Any]

# Nobody of a guild that the sandbox makes has an id above this.
_NEWCOMERS: Final = 800_000_000_000_000_000


class Crowd:
    """The people of a guild but for its bots and its owner, who must stay; it knows who is there.

    Each operation changes the row due to its member, so that each can be looked for on the site.
    """

    def __init__(
        self, members: Iterable[Mapping[str, Any]], roles: Sequence[int], *, owner: int, seed: int
    ) -> None:
        self._random = random.Random(seed)
        self._roles = list(roles)
        people = [m for m in members if not m["bot"] and m["id"] != owner]
        self._held = {member["id"]: frozenset(member["roles"]) for member in people}
        self._here = list(self._held)
        self._gone: list[Json] = []
        self._made = 0

    def __len__(self) -> int:
        return len(self._here)

    @property
    def ids(self) -> Sequence[int]:
        """Return who is there."""
        return tuple(self._here)

    def spare(self, ids: Iterable[int]) -> None:
        """Leave these people as they are from now on."""
        spared = set(ids)
        self._here = [id_ for id_ in self._here if id_ not in spared]

    def forget_role(self, role_id: int) -> None:
        """Give a role to nobody any more."""
        self._roles = [role for role in self._roles if role != role_id]
        self._held = {id_: held - {role_id} for id_, held in self._held.items()}

    def change(self) -> Json:
        """Rename somebody, or change their nick, their display name or their roles."""
        id_ = self._random.choice(self._here)
        name = self._name()
        match self._random.randrange(4 if self._roles else 3):
            case 0:
                return {"op": "change", "id": id_, "name": name, "nick": name}
            case 1 | 2:
                return {"op": "change", "id": id_, "nick": name}
            case _:
                self._held[id_] ^= {self._random.choice(self._roles)}
                return {"op": "change", "id": id_, "roles": sorted(self._held[id_])}

    def join(self) -> Json:
        """Let somebody new come."""
        name = self._name()
        member = {"id": _NEWCOMERS + self._made, "name": name, "roles": []}
        self._enter(member)
        return {"op": "put", "member": member}

    def leave(self) -> Json:
        """Let somebody go."""
        place = self._random.randrange(len(self._here))
        self._here[place], self._here[-1] = self._here[-1], self._here[place]
        id_ = self._here.pop()
        del self._held[id_]
        self._gone.append({"id": id_, "name": self._name(), "roles": []})
        return {"op": "leave", "id": id_}

    def come_back(self) -> Json:
        """Let somebody who left come again, under another name; somebody new if nobody left."""
        if not self._gone:
            return self.join()
        member = self._gone.pop(self._random.randrange(len(self._gone)))
        self._enter(member)
        return {"op": "put", "member": member}

    def bustle(self, count: int) -> list[Json]:
        """Let many things happen: of ten, one comes, one goes, and one of a hundred returns."""
        return [self._anything() for _ in range(count)]

    def _anything(self) -> Json:
        drawn = self._random.randrange(100)
        if drawn < 10 and len(self._here) > 1:  # noqa: PLR2004  per cent
            return self.leave()
        if drawn < 19:  # noqa: PLR2004  per cent
            return self.join()
        if drawn < 20:  # noqa: PLR2004  per cent
            return self.come_back()
        return self.change()

    def _enter(self, member: Json) -> None:
        self._here.append(member["id"])
        self._held[member["id"]] = frozenset()

    def _name(self) -> str:
        self._made += 1
        return f"somebody {self._made}"
