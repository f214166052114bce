"""What happens in a world: moves of Discord, of people and of machines, and fates of requests."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Final

from tests.fakes.site import Fate

if TYPE_CHECKING:
    from collections.abc import Callable

IDS: Final = tuple(range(10, 18))
ROLES: Final = (2, 3, 4, 5)
DEADLINE_S: Final = 30.0
LATEST_S: Final = 25.0  # so long a site goes on with a request that was given up


@dataclass(frozen=True, slots=True)
class Move:
    """Something that happens `at` a moment, in seconds; `kind` names a method of `World`."""

    at: float
    kind: str
    args: tuple[int | float | str | tuple[int, ...], ...] = ()

    def __str__(self) -> str:
        return f"Move({self.at:g}, {self.kind!r}{f', {self.args!r}' if self.args else ''})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A world's beginning and all that happens in it.

    `fates` are those of the writes that do not end well, by their number from 0, and `reads` those
    of the reads; `delays` are the slow messages of Discord, by their number.
    """

    schedule: int = 0
    hurry: float = 0.0
    cached: bool = True
    by_id: bool = False
    digests: bool = False
    lease_s: float | None = None
    members: tuple[int, ...] = IDS[:5]
    stored: bool = True
    moves: tuple[Move, ...] = ()
    fates: dict[int, Fate] = field(default_factory=dict)
    reads: dict[int, Fate] = field(default_factory=dict)
    delays: dict[int, float] = field(default_factory=dict)

    def __str__(self) -> str:
        default = Story()
        lines = ["Story("]
        for one in fields(self):
            value = getattr(self, one.name)
            if value == getattr(default, one.name):
                continue
            if one.name == "moves":
                inner = "".join(f"        {move},\n" for move in value)
                lines.append(f"    moves=(\n{inner}    ),")
            elif isinstance(value, dict):
                inner = "".join(f"        {key}: {brief(val)},\n" for key, val in value.items())
                lines.append(f"    {one.name}={{\n{inner}    }},")
            else:
                lines.append(f"    {one.name}={value!r},")
        return "\n".join([*lines, ")"])


def brief(value: object) -> str:
    """Return a value as code, without what is as usual."""
    if not isinstance(value, Fate):
        return f"{value:g}" if isinstance(value, float) else repr(value)
    default = Fate()
    said = [
        f"{one.name}={getattr(value, one.name)!r}"
        for one in fields(value)
        if getattr(value, one.name) != getattr(default, one.name)
    ]
    return f"Fate({', '.join(said)})"


# Classes of trouble. Each world has some of them, so that there are worlds of few kinds.
CLASSES: Final = (
    "members",
    "roles",
    "sessions",
    "gateway late",
    "writes late",
    "writes lost",
    "proxy errors",
    "site errors",
    "site refuses",
    "site away",
    "reads fail",
    "store",
    "store lost",
    "mod-log",
    "people",
    "breaker",
    "single",
    "kills",
    "stops",
    "rivals",
    "requests lost",
    "clock",
    "bursts",
)
_ALWAYS: Final = ("members", "writes late")


def tell(seed: int, *, events: int = 60) -> Story:
    """Make up a story."""
    chance = random.Random(seed)
    some = chance.randint(2, 7)
    classes = {*_ALWAYS, *chance.sample(CLASSES, some)}
    moves: list[Move] = []
    at = chance.choice([0.0, 0.0, 5.0, 20.0])
    kinds = [(weight, make) for name, weight, make in _MAKERS if name in classes]
    weights = [weight for weight, _ in kinds]
    while len(moves) < events:
        at += _gap(chance)
        _, make = chance.choices(kinds, weights)[0]
        moves += make(chance, at)
    if "people" in classes and chance.random() < 0.5:
        at = max(move.at for move in moves) + chance.expovariate(0.1)
        moves += chance.choice(_ENDINGS)(chance, round(at, 3))
    moves.sort(key=lambda move: move.at)
    fates, reads = _fates(chance, classes)
    delays = {}
    if "gateway late" in classes:
        delays = {n: chance.choice([0.2, 1.0, 3.0]) for n in range(400) if chance.random() < 0.2}
    return Story(
        schedule=chance.getrandbits(32),
        hurry=chance.choice([0.0, 0.02, 0.1, 0.3]),
        cached=chance.random() < 0.65,
        by_id=chance.random() < 0.5,
        lease_s=chance.choice([None, 90.0]),
        members=tuple(sorted(chance.sample(IDS, chance.randint(2, 6)))),
        stored=chance.random() < 0.6,
        moves=tuple(moves),
        fates=fates,
        reads=reads,
        delays=delays,
        digests=chance.random() < 0.7,
    )


def _gap(chance: random.Random) -> float:
    mean = chance.choices([0.02, 0.3, 3.0, 40.0, 300.0], [45, 30, 17, 7, 1])[0]
    return round(chance.expovariate(1 / mean), 3)


def _fates(chance: random.Random, classes: set[str]) -> tuple[dict[int, Fate], dict[int, Fate]]:
    kinds: list[Callable[[random.Random], Fate]] = []
    if "writes late" in classes:
        kinds += [_late] * 3
    if "writes lost" in classes:
        kinds += [_lost] * 2
    if "proxy errors" in classes:
        kinds += [_proxy] * 2
    if "site errors" in classes:
        kinds += [_error]
    if "site refuses" in classes and chance.random() < 0.3:
        kinds += [_refused]
    often = chance.choice([0.1, 0.3, 0.6])
    fates = {n: chance.choice(kinds)(chance) for n in range(150) if chance.random() < often}
    reads = {}
    if "reads fail" in classes:
        ill: list[Callable[[random.Random], Fate]] = [_error, _cut, _slow]
        reads = {n: chance.choice(ill)(chance) for n in range(300) if chance.random() < 0.08}
    return fates, reads


def _late(chance: random.Random) -> Fate:
    answers = round(chance.choice([0.1, 0.5, 2.0, 5.0]) * (0.5 + chance.random()), 3)
    return Fate(commits_s=round(answers * chance.random(), 3), answers_s=answers)


def _lost(chance: random.Random) -> Fate:
    cut = chance.random() < 0.5
    answers = round(chance.random() * 3, 3) if cut else 1e6
    given_up = min(answers, DEADLINE_S)
    commits = chance.choice(
        [None, given_up * chance.random(), given_up + LATEST_S * chance.random()]
    )
    commits = None if commits is None else round(commits, 3)
    return Fate(commits_s=commits, answers_s=answers, cut=cut)


def _proxy(chance: random.Random) -> Fate:
    answers = round(chance.random() * 3, 3)
    commits = round(
        chance.choice([answers * chance.random(), answers + LATEST_S * chance.random()]), 3
    )
    return Fate(commits_s=commits, answers_s=answers, status=chance.choice([500, 502, 503, 504]))


def _error(chance: random.Random) -> Fate:
    status = chance.choice([500, 503, 429])
    after = chance.choice([None, "0", "3"]) if status != 500 else None
    return Fate(commits_s=None, status=status, retry_after=after)


def _refused(_chance: random.Random) -> Fate:
    return Fate(commits_s=None, status=401, body=b'{"detail":"Invalid token."}')


def _cut(_chance: random.Random) -> Fate:
    return Fate(commits_s=None, cut=True)


def _slow(chance: random.Random) -> Fate:
    answers = round(chance.choice([2.0, 40.0]), 3)
    return Fate(commits_s=0.01, answers_s=answers)


# -- makers of moves: the class, a weight, and what they add at a moment ---------------------------


def _one(kind: str, *choices: tuple[object, ...]) -> Callable[[random.Random, float], list[Move]]:
    def make(chance: random.Random, at: float) -> list[Move]:
        return [Move(at, kind, tuple(chance.choice(one) for one in choices))]  # type: ignore[misc]

    return make


def _for_a_while(kind: str, *lasts: float) -> Callable[[random.Random, float], list[Move]]:
    def make(chance: random.Random, at: float) -> list[Move]:
        return [Move(at, kind, (chance.choice(lasts),))]

    return make


def _set_roles(chance: random.Random, at: float) -> list[Move]:
    held = tuple(sorted(chance.sample(ROLES, chance.randint(0, 2))))
    return [Move(at, "set_roles", (chance.choice(IDS), held))]


def _there_and_back(chance: random.Random, at: float) -> list[Move]:
    """Let a value return to what it was: no full sync sees that it was ever another."""
    id_, back = chance.choice(IDS), round(at + chance.expovariate(2.0), 3)
    match chance.randrange(3):
        case 0:
            return [Move(at, "rename", (id_, "other")), Move(back, "rename", (id_, f"user{id_}"))]
        case 1:
            return [Move(at, "leave", (id_,)), Move(back, "join", (id_,))]
        case _:
            return [Move(at, "join", (id_,)), Move(back, "leave", (id_,))]


def _role_for_a_while(chance: random.Random, at: float) -> list[Move]:
    role, back = chance.choice(ROLES), round(at + chance.expovariate(1.0), 3)
    holders = [Move(at, "set_roles", (id_, (role,))) for id_ in chance.sample(IDS, 2)]
    return [Move(at, "create_role", (role,)), *holders, Move(back, "delete_role", (role,))]


def _start_and_cancel(chance: random.Random, at: float) -> list[Move]:
    """Let somebody start a sync, and think better of it."""
    start = chance.choice(["all", "users", "force"])
    return [
        Move(at, "command", (start,)),
        Move(round(at + chance.expovariate(0.5), 3), "command", ("cancel",)),
    ]


def _cancel_and_start_again(chance: random.Random, at: float) -> list[Move]:
    """Let somebody stop a sync, wait for its end, and start another."""
    again = round(at + 5.1 + chance.expovariate(0.4), 3)
    return [Move(at, "command", ("cancel",)), Move(again, "command", ("all",))]


def _role_deleted_and_cancelled(chance: random.Random, at: float) -> list[Move]:
    """Let somebody delete a role by mistake, stop its sync, and start another after changes."""
    role, ids = chance.choice(ROLES), chance.sample(IDS, 4)
    deleted = round(at + 1 + chance.expovariate(0.5), 3)
    cancelled = round(deleted + chance.expovariate(1.0), 3)
    changed = round(cancelled + 5.1 + chance.random(), 3)
    again = round(changed + 0.5 + chance.expovariate(1.0), 3)
    return [
        Move(at, "create_role", (role,)),
        *(Move(at, "set_roles", (id_, (role,))) for id_ in ids),
        Move(deleted, "delete_role", (role,)),
        Move(cancelled, "command", ("cancel",)),
        *(Move(changed, "rename", (id_, "burst")) for id_ in ids),
        Move(again, "command", ("all",)),
    ]


def _unanswered_and_cancelled(chance: random.Random, at: float) -> list[Move]:
    """Let a run's write get no answer, somebody stop that run, and others be written instead."""
    ids, kind = chance.sample(IDS, 6), chance.choice(["rename", "set_roles"])
    cancelled = round(at + 1 + chance.random(), 3)
    changed = round(cancelled + 5.1 + chance.random(), 3)
    again = round(changed + chance.random(), 3)
    return [
        Move(at, "unanswered", (round(chance.uniform(8, 28), 3),)),
        *(Move(at, kind, (id_, "burst" if kind == "rename" else (2,))) for id_ in ids),
        Move(cancelled, "command", ("cancel",)),
        *(Move(changed, kind, (id_, "third" if kind == "rename" else (3,))) for id_ in ids),
        Move(again, "command", (chance.choice(["all", "force"]),)),
    ]


def _stand_in_cancelled(chance: random.Random, at: float) -> list[Move]:
    """Let writes fail until a full sync stands in for them, and somebody stop that half done."""
    ids, back = chance.sample(IDS, 7), round(at + chance.uniform(55, 75), 3)
    return [
        Move(at, "site_read_only", (75.0,)),
        *(Move(at, "rename", (id_, "fourth")) for id_ in ids[:4]),
        Move(back, "site_slow", (60.0,)),
        *(Move(back, "rename", (id_, "fourth")) for id_ in ids[4:]),
        Move(round(back + chance.uniform(8, 28), 3), "command", ("cancel",)),
    ]


def _burst(chance: random.Random, at: float) -> list[Move]:
    ids = chance.sample(IDS, 6)
    kind = chance.choice(["join", "leave", "rename"])
    return [Move(at, kind, (id_, "burst") if kind == "rename" else (id_,)) for id_ in ids]


def _kill(chance: random.Random, at: float) -> list[Move]:
    steps = chance.randint(1, 60)
    back = round(at + chance.choice([0.05, 1.0, 20.0]), 3)
    return [Move(at, "kill", (steps,)), Move(back, "start")]


def _stop(chance: random.Random, at: float) -> list[Move]:
    return [Move(at, "stop"), Move(round(at + chance.choice([0.05, 9.0, 20.0]), 3), "start")]


# What some stories end with, when nothing else happens that would set things right.
_ENDINGS: Final = (
    _unanswered_and_cancelled,
    _stand_in_cancelled,
    _cancel_and_start_again,
    _role_deleted_and_cancelled,
)
_NAMES: Final = ("other", "third", "fourth", " padded ")
_MAKERS: Final[tuple[tuple[str, int, Callable[[random.Random, float], list[Move]]], ...]] = (
    ("members", 8, _one("rename", IDS, _NAMES)),
    ("members", 5, _there_and_back),
    ("members", 3, _one("join", IDS)),
    ("members", 3, _one("leave", IDS)),
    ("members", 3, _set_roles),
    ("roles", 3, _role_for_a_while),
    ("roles", 2, _one("create_role", ROLES)),
    ("roles", 2, _one("rename_role", ROLES, _NAMES)),
    ("roles", 2, _one("delete_role", ROLES)),
    ("sessions", 3, _for_a_while("session_lost", 0.1, 2.0, 30.0)),
    ("store", 4, _for_a_while("store_locked", 1.0, 7.0, 20.0)),
    ("store", 2, _for_a_while("store_away", 1.0, 7.0, 60.0)),
    ("store lost", 1, _one("store_lost")),
    ("mod-log", 2, _for_a_while("mod_log_away", 3.0, 60.0)),
    ("site away", 3, _for_a_while("site_away", 5.0, 60.0, 300.0)),
    ("site away", 2, _for_a_while("site_read_only", 5.0, 60.0, 300.0)),
    ("site away", 1, _for_a_while("site_slow", 5.0, 60.0)),
    ("requests lost", 2, _for_a_while("requests_lost", 5.0, 60.0)),
    ("people", 4, _one("command", ("all", "users", "roles", "force", "plan"))),
    ("people", 3, _one("command", ("cancel",))),
    ("people", 4, _start_and_cancel),
    ("people", 3, _cancel_and_start_again),
    ("people", 2, _role_deleted_and_cancelled),
    ("people", 2, _one("command", ("pause",))),
    ("people", 3, _one("command", ("resume",))),
    ("people", 1, _one("command", ("retry", "status", "approve", "reject"))),
    ("breaker", 1, _one("command", ("open",))),
    ("breaker", 3, _one("command", ("reset",))),
    ("breaker", 3, _one("command", ("force",))),
    ("single", 6, _one("single", IDS)),
    ("kills", 3, _kill),
    ("stops", 2, _stop),
    ("rivals", 2, _one("rival")),
    ("clock", 2, _one("clock", (-86400.0, -5.0, 5.0, 3600.0))),
    ("bursts", 4, _burst),
)
