"""Clean up after a process that died: a lost store, and messages that still say "Syncing"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._core.messages import alert
from .._core.messages.marks import (
    Mark,
    holding,
    mark_of,
    run_of,
)
from .._core.messages.notice import Notice, Tone
from .._core.messages.report import ended_late, followed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._ports import ModLog, Seen, Store
    from .._state.repository import StateRepository
    from .predecessor import Predecessor
    from .supervisor import Supervisor

_LOOK_BACK: Final = 50
_LOST: Final = "it is empty, but this channel shows what it would have to know"
_SOMEBODY: Final = "somebody (as this channel shows)"


class Recovery:
    """What a process puts right when it begins to lead."""

    def __init__(
        self,
        *,
        store: Store,
        repository: StateRepository,
        mod_log: ModLog,
        predecessor: Predecessor,
        supervisor: Supervisor,
    ) -> None:
        self._store = store
        self._repository = repository
        self._mod_log = mod_log
        self._predecessor = predecessor
        self._supervisor = supervisor
        self._seen: Sequence[Seen] | None = None

    async def recover_state(self) -> None:
        """Report the store's warnings; if it is new, adopt what mod-log shows to be in force."""
        for warning in self._store.warnings:
            await self._repository.tell(alert.store_warning(warning))
        if self._store.kept_aside is not None:
            await self._repository.tell(alert.store_aside(self._store.kept_aside))
        self._seen = None
        if self._repository.is_trusted:
            return
        self._seen = seen = await self._mod_log.recent(_LOOK_BACK)
        self._predecessor.may_write = seen is None or len(seen) > 0
        held = holding(seen or ())
        # What a person has ordered, only a person takes back. This comes first: if we are killed in
        # between, the next start looks again.
        if Mark.PAUSED in held:
            await self._repository.pause(_SOMEBODY)
        if Mark.BREAKER_HELD in held:
            await self._repository.open_breaker(_SOMEBODY, "")
        if held:
            await self._repository.lose(_LOST)
        else:
            await self._repository.trust()

    async def end_orphans(self) -> None:
        """End the live messages that a process which died has left open; link what follows them."""
        seen = self._seen if self._seen is not None else await self._mod_log.recent(_LOOK_BACK)
        unlinked: dict[int, Notice] = {}
        for message in seen or ():
            notice = await self._end_orphan(message)
            if mark_of(notice.title, notice.footer) is Mark.INTERRUPTED:
                unlinked[message.id] = notice
        await self._link(unlinked)

    async def _end_orphan(self, message: Seen) -> Notice:
        """End a message if it is one that was left open; return what it says now."""
        run_id, current = run_of(message.footer), self._supervisor.current
        is_on = current is not None and current.run_id == run_id
        if mark_of(message.title, message.footer) is not Mark.LIVE or is_on:
            return Notice(
                title=message.title,
                description=message.description,
                tone=Tone.WARNING,
                footer=message.footer,
            )
        died = self._repository.died
        attempt = died if died is not None and died.run_id == run_id else None
        past = {run.run_id: run for run in self._repository.past_runs()}.get(run_id)
        known = attempt or past
        notice = ended_late(
            what=message.title.partition(" ")[2] if known is None else known.what,
            run_id=run_id,
            attempt=attempt,
            past=past,
        )
        await self._mod_log.replace(message.id, notice)
        return notice

    async def _link(self, unlinked: Mapping[int, Notice]) -> None:
        """Let the ends of interrupted runs name the next run, as soon as it has a message."""
        if not unlinked:
            return
        while (attempt := self._repository.state.attempt) is None or attempt.message_id is None:
            await self._repository.changed()
        url = self._mod_log.url(attempt.message_id)
        for message_id, notice in unlinked.items():
            linked = followed(notice, run_id=attempt.run_id, url=url)
            await self._mod_log.replace(message_id, linked)
