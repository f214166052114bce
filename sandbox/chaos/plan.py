"""Which faults befall which round, and when: decided by a seed alone.

Every kind is dealt from a shuffled deck before any comes a second time, so that a few rounds hold
them all and no round is like another. Kills have a deck of their own: each round has one, every
other round two.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Fault(StrEnum):
    """Something that goes wrong; the value is its name in the figures."""

    BOT_KILLED = "bot_killed"
    WEBSITE_KILLED = "website_killed"
    POSTGRES_KILLED = "postgres_killed"
    VALKEY_KILLED = "valkey_killed"
    CONNECTION_RESET = "connection_reset"
    TOO_MANY_REQUESTS = "too_many_requests"
    UNAVAILABLE = "unavailable"
    DOWN_THEN_WELL = "down_then_well"
    HTML_500 = "html_500"
    ANSWER_LOST = "answer_lost"
    LATE_COMMIT = "late_commit"
    ONE_BYTE_A_SECOND = "one_byte_a_second"
    GATEWAY_DROPPED = "gateway_dropped"
    READY_MID_RUN = "ready_mid_run"
    DISCORD_REST_FAILING = "discord_rest_failing"
    POISONED_RECORD = "poisoned_record"


class Store(StrEnum):
    """Where the bot keeps its state in a round."""

    SQLITE = "sqlite"
    VALKEY = "valkey"


class Poison(StrEnum):
    """What the site does to a request that holds a certain row."""

    NAMED = "400, naming the row"
    UNNAMED = "400, naming none"
    FAILING = "500"


KILLS: Final = (
    Fault.BOT_KILLED,
    Fault.WEBSITE_KILLED,
    Fault.POSTGRES_KILLED,
    Fault.VALKEY_KILLED,
)
OTHERS: Final = tuple(fault for fault in Fault if fault not in KILLS)
_OTHERS_A_ROUND: Final = 3
_MAX_POISONED: Final = 3
_MOST_REQUESTS: Final = 12
_STORE_AWAY: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A fault, and after how many requests since the one before it begins."""

    fault: Fault
    after_requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round; `seed` decides whatever is random in it.

    `store_away` lets a killed store be away for longer than the bot may work without it.
    """

    number: int
    seed: str
    store: Store
    store_away: bool
    moments: Sequence[Moment]
    poison: Sequence[Poison]


def rounds(count: int, seed: int) -> list[Round]:
    """Return the rounds of a seed; the first of them are the same however many are asked for."""
    chance = random.Random(seed)
    kills, others = _deck(KILLS, chance), _deck(OTHERS, chance)
    made = []
    for number in range(1, count + 1):
        killed = [next(kills) for _ in range(1 + (number % 2 == 0))]
        chosen = [*killed, *(next(others) for _ in range(_OTHERS_A_ROUND))]
        is_poisoned = Fault.POISONED_RECORD in chosen
        chosen = [fault for fault in chosen if fault is not Fault.POISONED_RECORD]
        chance.shuffle(chosen)
        moments = [
            Moment(fault=fault, after_requests=chance.randint(1, _MOST_REQUESTS))
            for fault in chosen
        ]
        poison = [chance.choice(list(Poison)) for _ in range(chance.randint(1, _MAX_POISONED))]
        store = chance.choice(list(Store))
        is_away = chance.random() < _STORE_AWAY
        made.append(
            Round(
                number=number,
                seed=f"{seed}/{number}",
                store=Store.VALKEY if Fault.VALKEY_KILLED in killed else store,
                # A bot that is killed meanwhile has nowhere to keep what it would have to tell.
                store_away=is_away and set(killed) == {Fault.VALKEY_KILLED},
                moments=moments,
                poison=poison if is_poisoned else [],
            )
        )
    return made


def _deck(kinds: Sequence[Fault], chance: random.Random) -> Iterator[Fault]:
    while True:
        yield from chance.sample(kinds, len(kinds))
