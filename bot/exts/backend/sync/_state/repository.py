"""The state of one guild in its store: moved by the core, on disk before anybody acts on it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog

from .._core.messages import alert, history
from .._core.messages.alert import Alert, Draft
from .._core.messages.marks import alert_footer
from .._core.messages.notice import quote
from .._core.model.redaction import without_values
from .._core.plan import drift, rounds
from .._core.policy import (
    attempt,
    breaker,
    departures,
    memory,
    news,
    orders,
    state,
)
from .._core.policy.breaker import AttemptEnding
from .._core.policy.departures import Decision
from .._core.policy.state import State
from .._errors import StoreUnreachableError
from .._ports import Unreadable

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Coroutine, Mapping

    from .._core.messages.history import PastRun
    from .._core.messages.notice import Notice
    from .._core.model.members import UserId
    from .._core.plan.drift import Drift
    from .._core.plan.rounds import Bookmark
    from .._core.policy.attempt import Attempt
    from .._core.policy.breaker import Breaker, Start
    from .._core.policy.departures import Subject, WithheldList
    from .._core.policy.memory import ParkedRecord
    from .._core.policy.news import News
    from .._core.policy.orders import Order
    from .._core.policy.state import Moved, StateLimits
    from .._ports import Clock, Json, Store

    _T = TypeVar("_T")

log = structlog.get_logger(__name__)

_PUT_S: Final = 5.0
_PUT_AGAIN_S: Final = 0.25
_ALERT: Final = "alert/"
_PARKED: Final = "parked/"
_HISTORY: Final = "history/"
_ORDER: Final = "order/"
_WITHHELD: Final = "withheld/"
_ASIDE: Final = "unreadable/"
_NAMED: Final = 5
_VERIFIED: Final = "verified-at"
_UNREAD: Final = "a record that can't be read"


class StateRepository:
    """What the store holds, as this process knows it; only the holder of the lease may move it.

    It has a method for each move of the state, of a few lines each; all go through `_move`.
    Every move raises `StoreError` where it could not be kept, and then nothing has moved here.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        chance: random.Random,
        limits: StateLimits,
        secret: str,
    ) -> None:
        self._store = store
        self._clock = clock
        self._chance = chance
        self._limits = limits
        self._secret = secret
        self._moving = asyncio.Lock()
        self._changed = asyncio.Event()
        self._kept: dict[str, Json | None] = {}
        self._salt = ""
        self._past: list[str] = []
        self.is_trusted = False
        self.was_handed_over = True
        self.state = State()
        self.parked: dict[UserId, ParkedRecord] = {}
        # Of rows that were taken in the end, for a day; not kept over restarts.
        self.parked_lately: dict[UserId, ParkedRecord] = {}
        self.alerts: dict[str, Alert] = {}
        self.withheld: dict[Subject, WithheldList] = {}
        self.died: Attempt | None = None
        self._own_run: str | None = None
        self.drift: Drift | None = None
        # When a full sync, or a check for drift, was last verified; for metrics alone.
        self.verified_at: datetime | None = None
        # Called with what the breaker was and is, and the run that moved it, once that is kept.
        self.breaker_moved: Callable[[Breaker, Breaker, str | None], object] = lambda *_: None

    def changed(self) -> Coroutine[Any, Any, object]:
        """Wait until something is moved after this call, even if it is awaited only later.

        A task made of it starts behind those that are ready already, and must not miss their moves.
        """
        return self._changed.wait()

    # -- the beginning ----------------------------------------------------------------------------

    async def load(self) -> None:
        """Read all that is kept, and end what a process that died had left open.

        `died` is that attempt. Records that can't be read are kept aside under another key, and the
        breaker counts as open, for they may have held it.
        """
        found = await self._store.scan("")
        # What is not even JSON was not written by us: whatever it was, it is not there any more.
        alien = {key: one for key, one in found.items() if isinstance(one, Unreadable)}
        kept = {key: one for key, one in found.items() if not isinstance(one, Unreadable)}
        unreadable = {key: one.fault for key, one in alien.items() if not _is(key, _ASIDE)}

        def read(key: str, make: Callable[[object], _T], default: _T) -> _T:
            if kept.get(key) is None:
                return default
            try:
                return make(kept[key])
            except ValueError as exc:
                unreadable[key] = str(exc)
                return default

        self.state = State(
            breaker=read("breaker", breaker.from_json, breaker.Breaker()),
            memory=read("crash-memory", memory.crash_memory_from_json, memory.CrashMemory()),
            attempt=read("attempt", attempt.from_json, None),
            pause=read("pause", state.pause_from_json, None),
            told=read("told", news.told_from_json, {}),
            bookmark=read("bookmark", rounds.from_json, None),
        )
        self.drift = read("drift", drift.from_json, None)
        self.verified_at = _moment(kept.get(_VERIFIED))
        parked = (read(key, memory.parked_from_json, None) for key in kept if _is(key, _PARKED))
        alerts = (read(key, alert.from_json, None) for key in kept if _is(key, _ALERT))
        self.parked = {row.id: row for row in parked if row is not None}
        self.alerts = {one.id: one for one in alerts if one is not None}
        lists = (read(key, departures.from_json, None) for key in kept if _is(key, _WITHHELD))
        self.withheld = {one.what: one for one in lists if one is not None}
        self._past = sorted(key for key in kept if _is(key, _HISTORY))
        self._kept = {key: value for key, value in kept.items() if key not in unreadable}
        salt = kept.get("salt")
        self._salt = salt if isinstance(salt, str) else f"{self._chance.getrandbits(128):032x}"
        self.is_trusted = "born" in found
        # A new store has no one before; what an older version left says nothing of how it ended.
        self.was_handed_over = not found or kept.get("handed-over") is True
        self.died = self.state.attempt
        aside: dict[str, Json | None] = {}
        for key, fault in unreadable.items():
            log.error("sync.store.unreadable", key=key, fault=fault)
            what = alien[key].text if key in alien else kept[key]
            aside |= {f"{_ASIDE}{self._clock.now().isoformat()}/{key}": what, key: None}
        aside |= {"salt": self._salt, "handed-over": None}
        await self._move(
            lambda now: state.loaded(
                self.state,
                credentials=self.credentials,
                now=now,
                jitter=self._chance.random(),
                limits=self._limits,
                own_run=self._own_run,
            ),
            aside,
        )
        if unreadable:
            # What a person ordered holds until a person takes it back.
            may_be_opened = "breaker" in unreadable and breaker.may_be_by_hand(kept.get("breaker"))
            await self.lose(
                f"{_names(unreadable)} can't be read, and is kept aside",
                opened_by=_UNREAD if may_be_opened else None,
                paused_by=_UNREAD if "pause" in unreadable else None,
            )

    @property
    def credentials(self) -> str:
        """The salted hash of the site's URL and token of now."""
        return hashlib.sha256(f"{self._salt} {self._secret}".encode()).hexdigest()

    async def trust(self) -> None:
        """Note that the store is known to be kept from now on, and say where it is."""
        await self._move(
            lambda now: state.tell(self.state, (alert.store_new(self._store.where),), now=now),
            {"born": self._clock.now().isoformat()},
        )
        self.is_trusted = True

    async def lose(
        self, why: str, *, opened_by: str | None = None, paused_by: str | None = None
    ) -> None:
        """Note that the store has lost what it knew: the breaker counts as open."""
        await self._move(
            lambda now: state.lost(
                self.state,
                where=self._store.where,
                why=why,
                now=now,
                limits=self._limits,
                opened_by=opened_by,
                paused_by=paused_by,
            ),
            {"born": self._clock.now().isoformat()},
        )
        self.is_trusted = True

    async def hand_over(self) -> None:
        """Note that this process has left no request unanswered."""
        await self._move(lambda _: (self.state, ()), {"handed-over": True})

    def forget(self) -> None:
        """Know nothing any more: the lease went, and with it the right to act on what was read."""
        self.alerts.clear()
        self.is_trusted = False
        self._notify()

    # -- attempts ---------------------------------------------------------------------------------

    async def begin(self, attempt_: Attempt, *, start: Start) -> None:
        """Write an attempt down."""
        self._own_run = attempt_.run_id
        await self._move(lambda now: (state.begun(self.state, attempt_, start=start, now=now), ()))

    async def end(
        self,
        ending: AttemptEnding,
        *,
        reason: str = "",
        refused: bool = False,
        failure: Notice | None = None,
        kind: str = "",
        past: PastRun | None = None,
    ) -> None:
        """Strike the open attempt off, with all that follows from how it ended."""
        further: dict[str, Json | None] = {}
        if past is not None:
            further[history.key_of(past)] = _json(history.to_json(past))
            over = len(self._past) + 1 - history.KEPT_RUNS
            further |= dict.fromkeys(self._past[: max(0, over)])
        open_, verified_at = self.state.attempt, self.verified_at
        if ending is AttemptEnding.VERIFIED and open_ is not None and open_.full:
            verified_at = self._clock.now()
            further[_VERIFIED] = verified_at.isoformat()
        await self._move(
            lambda now: state.ended(
                self.state,
                ending,
                now=now,
                jitter=self._chance.random(),
                limits=self._limits,
                reason=reason,
                refused=self.credentials if refused else None,
                tells=failure is not None,
                kind=kind,
            ),
            further,
            failure=failure,
        )
        self.verified_at = verified_at
        self._past = sorted(key for key in self._kept if _is(key, _HISTORY))

    async def shown(
        self, run_id: str, *, channel_id: int, message_id: int, done: int, planned: int
    ) -> None:
        """Note which message shows a run and how far it is, if it is the open attempt."""

        def move(_: datetime) -> Moved:
            # Looked at only now: the attempt may have been struck off while this waited.
            open_ = self.state.attempt
            if open_ is None or open_.run_id != run_id:
                return self.state, ()
            shown = replace(
                open_, channel_id=channel_id, message_id=message_id, done=done, planned=planned
            )
            return replace(self.state, attempt=shown), ()

        await self._move(move)

    async def before_chunk(self, items: int) -> None:
        """Write down the size of a chunk that is larger than all before it in this attempt."""
        if self.state.memory.must_record(items):
            await self._move(
                lambda _: (replace(self.state, memory=self.state.memory.recorded(items)), ())
            )

    async def put_bookmark(self, bookmark: Bookmark | None) -> None:
        """Keep where a round has come to; None when it came round."""
        await self._move(lambda _: (replace(self.state, bookmark=bookmark), ()))

    # -- what people order, and what live writes meet ---------------------------------------------

    async def pause(self, by: str) -> None:
        """Hold all automatic and live writes."""
        await self._move(lambda now: state.paused(self.state, by=by, now=now))

    async def resume(self, by: str) -> None:
        """End the pause."""
        await self._move(lambda now: state.resumed(self.state, by=by, now=now))

    async def open_breaker(self, by: str, reason: str) -> None:
        """Open the breaker until a reset."""
        await self._move(
            lambda now: state.opened_by_hand(self.state, by=by, reason=reason, now=now)
        )

    async def reset_breaker(self, by: str) -> None:
        """Close the breaker."""
        await self._move(lambda now: state.reset_by_hand(self.state, by=by, now=now))

    async def refuse(self, reason: str) -> None:
        """Open the breaker because a live write's credentials were refused."""
        await self._move(
            lambda now: state.refused_live(
                self.state,
                credentials=self.credentials,
                reason=reason,
                now=now,
                limits=self._limits,
            )
        )

    async def withhold_start(self) -> None:
        """Tell people, once for each reason, that the sync at start-up has to wait."""
        await self._move(lambda now: state.start_withheld(self.state, now=now))

    async def remind(self) -> None:
        """Tell people again what still lasts, at most once a day."""
        await self._move(lambda now: state.reminded(self.state, now=now))

    async def tell(self, *drafts: Draft) -> None:
        """Tell people what is news of these."""
        await self._move(lambda now: state.tell(self.state, drafts, now=now))

    async def proven(self) -> None:
        """Note that the guild's member list is whole."""
        await self._move(lambda now: state.proven(self.state, now=now))

    # -- what is withheld -------------------------------------------------------------------------

    async def withhold(self, list_: WithheldList) -> WithheldList:
        """Keep a list and ask people about it, unless one of its kind stands; return what does."""
        standing = self.withheld.get(list_.what)
        if standing is not None and departures.holds(standing, now=self._clock.now()):
            return standing
        await self._keep_list(list_, alert.withheld(list_))
        log.info(
            "sync.list.withheld", what=list_.what.value, list=list_.digest, items=len(list_.ids)
        )
        return list_

    async def decide(self, list_: WithheldList, decision: Decision, *, by: str) -> bool:
        """Keep what somebody decided about a list, and tell everybody; False if that is too late.

        By the time that this may move a sync can have begun to write it, or have forgotten it.
        """

        def decided(standing: WithheldList, now: datetime) -> WithheldList | None:
            if standing.begun:
                return None
            return departures.decided(standing, decision, by=by, now=now)

        if not await self._change_list(list_, decided, alert.decided):
            return False
        log.info("sync.list.decided", list=list_.digest, decision=decision.value, by=by)
        return True

    async def begin_list(self, list_: WithheldList) -> bool:
        """Note that an approved list is being written, and can't be decided about any more.

        False if it is approved no longer: then nothing of it may be written.
        """

        def begun(standing: WithheldList, _: datetime) -> WithheldList | None:
            is_approved = standing.decision is Decision.APPROVED
            return replace(standing, begun=True) if is_approved else None

        return await self._change_list(list_, begun, None)

    async def _change_list(
        self,
        list_: WithheldList,
        change: Callable[[WithheldList, datetime], WithheldList | None],
        words: Callable[[WithheldList], Draft] | None,
    ) -> bool:
        """Change what stands of a list at the moment of the move; False if `change` has nothing."""
        changed: list[WithheldList] = []
        further: dict[str, Json | None] = {}

        def move(now: datetime) -> tuple[State, tuple[News | Draft, ...]]:
            standing = self.withheld.get(list_.what)
            if standing is None or standing.digest != list_.digest:
                return self.state, ()
            after = change(standing, now)
            if after is None:
                return self.state, ()
            changed.append(after)
            further[f"{_WITHHELD}{list_.what.value}"] = _json(departures.to_json(after))
            if words is None:
                return self.state, ()
            draft = words(after)
            return state.tell(state.over(self.state, draft.topic), (draft,), now=now)

        await self._move(move, further)
        self.withheld |= {after.what: after for after in changed}
        return bool(changed)

    async def _keep_list(self, list_: WithheldList, draft: Draft) -> None:
        # Each list is news, whatever was told of the one before it.
        await self._move(
            lambda now: state.tell(state.over(self.state, draft.topic), (draft,), now=now),
            {f"{_WITHHELD}{list_.what.value}": _json(departures.to_json(list_))},
        )
        self.withheld[list_.what] = list_

    async def withhold_no_longer(self, what: Subject) -> None:
        """Forget a list: it was carried out, or there are not too many any more."""
        if what in self.withheld:
            topic = alert.topic_of(what)
            await self._move(
                lambda _: (state.over(self.state, topic), ()), {f"{_WITHHELD}{what.value}": None}
            )
            del self.withheld[what]

    async def note_drift(self, found: Drift) -> None:
        """Keep what the last check for drift found."""
        await self._move(lambda _: (self.state, ()), {"drift": _json(drift.to_json(found))})
        self.drift = found

    # -- parked records ---------------------------------------------------------------------------

    async def park(
        self, records: Collection[ParkedRecord], *, no_longer: Collection[UserId] = ()
    ) -> None:
        """Keep these records, and forget those of `no_longer`."""
        changes: dict[str, Json | None] = {
            f"{_PARKED}{row.id}": _json(memory.parked_to_json(row)) for row in records
        }
        gone = [id_ for id_ in no_longer if id_ in self.parked]
        changes |= {f"{_PARKED}{id_}": None for id_ in gone}
        await self._move(lambda _: (self.state, ()), changes)
        now = self._clock.now()
        for id_ in gone:
            record = self.parked.pop(id_, None)
            if record is not None:
                self.parked_lately[id_] = memory.lifted(record, now=now)
        self.parked_lately = {
            id_: row for id_, row in self.parked_lately.items() if memory.is_on_mind(row, now=now)
        }
        self.parked |= {row.id: row for row in records}

    async def forget_member(self, id_: UserId) -> None:
        """Forget all that is kept about somebody; of lists their name, for the id is decided on."""
        nameless = {
            what: replace(one, names={key: name for key, name in one.names.items() if key != id_})
            for what, one in self.withheld.items()
            if id_ in one.names
        }
        changes: dict[str, Json | None] = {
            f"{_WITHHELD}{what.value}": _json(departures.to_json(one))
            for what, one in nameless.items()
        }
        await self._move(lambda _: (self.state, ()), changes)
        self.withheld |= nameless
        await self.park((), no_longer=(id_,))
        self.parked_lately.pop(id_, None)

    async def retry_parked(self) -> None:
        """Make every parked record due at once."""
        now = self._clock.now()
        await self.park([memory.retried_now(row, now=now) for row in self.parked.values()])

    # -- alerts and history -----------------------------------------------------------------------

    async def delivered(self, id_: str) -> None:
        """Forget an alert that mod-log shows."""
        await self._move(lambda _: (self.state, ()), {f"{_ALERT}{id_}": None})
        self.alerts.pop(id_, None)

    async def keep_orders(self, given: Collection[Order]) -> None:
        """Keep what was ordered, behind all that was before; of too many the oldest go."""
        keys = self._order_keys()
        first = 1 + (int(keys[-1].removeprefix(_ORDER)) if keys else 0)
        changes: dict[str, Json | None] = {
            f"{_ORDER}{number:012d}": _json(orders.to_json(order))
            for number, order in enumerate(given, start=first)
        }
        over = len(keys) + len(given) - orders.KEPT_ORDERS
        changes |= dict.fromkeys(keys[: max(0, over)])
        await self._move(lambda _: (self.state, ()), changes)

    def orders(self) -> list[Order]:
        """Return what was ordered, oldest first; unreadable ones are left out."""
        return self._readable(self._order_keys(), orders.from_json)

    def _order_keys(self) -> list[str]:
        return sorted(
            key for key in self._kept if _is(key, _ORDER) and key.removeprefix(_ORDER).isdecimal()
        )

    def past_runs(self) -> list[PastRun]:
        """Return the runs that have ended, oldest first; unreadable ones are left out."""
        return self._readable(self._past, history.from_json)

    def _readable(self, keys: Collection[str], read: Callable[[object], _T]) -> list[_T]:
        found = []
        for key in keys:
            try:
                found.append(read(self._kept.get(key)))
            except ValueError as exc:
                log.warning("sync.store.unreadable", key=key, fault=str(exc))
        return found

    # -- moving -----------------------------------------------------------------------------------

    async def _move(
        self,
        move: Callable[[datetime], tuple[State, tuple[News | Draft, ...]]],
        further: Mapping[str, Json | None] | None = None,
        *,
        failure: Notice | None = None,
    ) -> None:
        async with self._moving:
            now = self._clock.now()
            moved, told = move(now)
            alerts = [self.stamped(_words(one, failure), now) for one in told]
            wanted: dict[str, Json | None] = {**_texts(moved), **(further or {})}
            wanted |= {f"{_ALERT}{one.id}": _json(alert.to_json(one)) for one in alerts}
            changes = {key: value for key, value in wanted.items() if value != self._kept.get(key)}
            if changes:
                await self._put(changes)
            for key, value in changes.items():
                if value is None:
                    self._kept.pop(key, None)
                else:
                    self._kept[key] = value
            if moved.breaker != self.state.breaker:
                open_ = self.state.attempt or moved.attempt
                run_id = None if open_ is None else open_.run_id
                log.info(
                    "sync.breaker.moved",
                    run_id=run_id,
                    before=self.state.breaker.state.value,
                    after=moved.breaker.state.value,
                    failures=moved.breaker.failures,
                    retry_at=moved.breaker.retry_at and moved.breaker.retry_at.isoformat(),
                    # Somebody may have typed it.
                    reason=without_values(moved.breaker.reason),
                )
                self.breaker_moved(self.state.breaker, moved.breaker, run_id)
            self.state = moved
            self.alerts |= {one.id: one for one in alerts}
        self._notify()

    async def _put(self, changes: Mapping[str, Json | None]) -> None:
        """Put, for a short while again and again: a store that restarts must not end a run."""
        give_up = self._clock.monotonic() + _PUT_S
        while True:
            try:
                await self._store.put(changes)
            except StoreUnreachableError:
                if self._clock.monotonic() > give_up:
                    raise
                await self._clock.sleep(_PUT_AGAIN_S)
            else:
                return

    def stamped(self, notice: Notice, now: datetime | None = None) -> Alert:
        """Make an alert of a notice: its id is new, and stands in its footer."""
        id_ = f"{self._chance.getrandbits(48):012x}"
        notice = replace(notice, footer=alert_footer(notice.footer, id_))
        return Alert(id=id_, created_at=now or self._clock.now(), notice=notice)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _words(told: News | Draft, failure: Notice | None) -> Notice:
    return told.notice if isinstance(told, Draft) else alert.in_words(told.what, failure=failure)


def _texts(moved: State) -> dict[str, Json | None]:
    open_, held, place = moved.attempt, moved.pause, moved.bookmark
    return {
        "breaker": _json(breaker.to_json(moved.breaker)),
        "crash-memory": _json(memory.crash_memory_to_json(moved.memory)),
        "attempt": None if open_ is None else _json(attempt.to_json(open_)),
        "pause": None if held is None else _json(state.pause_to_json(held)),
        "told": _json(news.told_to_json(moved.told)),
        "bookmark": None if place is None else _json(rounds.to_json(place)),
    }


def _moment(value: Json | None) -> datetime | None:
    """Return a moment that was kept; None of one that can't be read, which costs a figure only."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None


def _json(value: dict[str, object]) -> Any:
    # As the store will give it back, so that what is kept can be compared.
    return json.loads(json.dumps(value))


def _names(keys: Collection[str]) -> str:
    """Return keys as people may be shown them, whatever they are."""
    named = ", ".join(quote(key) for key in sorted(keys)[:_NAMED])
    return named if len(keys) <= _NAMED else f"{named} and {len(keys) - _NAMED:,} more"


def _is(key: str, prefix: str) -> bool:
    return key.startswith(prefix)
