"""What people ask of the extension, by a command or a button, and the answer to each.

An order is carried out only by the process that leads; whatever is refused says why.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, assert_never

from .._core.messages.buttons import Action
from .._core.messages.history import KEPT_RUNS
from .._core.messages.listing import withheld_file
from .._core.messages.notice import code, quote, when
from .._core.messages.reply import Reply, said
from .._core.messages.report import render
from .._core.messages.single import told
from .._core.messages.status import (
    breaker,
    history,
    parked_list,
    past,
    status,
)
from .._core.messages.usage import overview
from .._core.policy.breaker import BreakerState
from .._core.policy.departures import Decision, holds
from .._errors import RunStoppedError, StoreError
from .._picture import draw
from .._runs.run import Scope
from .supervisor import Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Sequence

    from .._core.messages.buttons import Button
    from .._core.messages.history import PastRun
    from .._core.model.members import UserId
    from .._core.policy.departures import WithheldList
    from .._settings import SyncSettings
    from .service import SyncService


TARGET: Final = "target"
MAX_ITEMS: Final = "max-items"
_MIN_TARGET_S: Final = 0.05
_MAX_TARGET_S: Final = 10.0
_GONE: Final = (
    "That list is no longer waiting: it expired, was written, or a later sync found fewer missing."
)


class Commands:
    """The questions and orders that `service` can answer; `by` is a mention of who asks."""

    def __init__(self, service: SyncService, settings: SyncSettings) -> None:
        self._service = service
        self._settings = settings

    # -- questions --------------------------------------------------------------------------------

    def status(self) -> Reply:
        """Tell how the run that is on, or the last one, stands, and what holds others back."""
        service = self._service
        notice = status(
            service.repository.state,
            service.supervisor.current or service.supervisor.last,
            waiting=len(service.queue) + len(service.writes),
            parked=len(service.repository.parked),
            max_items=self._settings.sync_max_items,
            trouble=None if service.leadership.is_leading else service.leadership.trouble,
            drift=service.repository.drift,
            mod_log=service.mod_log.trouble,
        )
        return Reply(notice=notice)

    def help(self) -> Reply:
        """List the commands."""
        return Reply(notice=overview())

    def breaker(self) -> Reply:
        """Tell whether writes flow, and why not."""
        service = self._service
        trouble = None if service.leadership.is_leading else service.leadership.trouble
        return Reply(notice=breaker(service.repository.state, trouble=trouble))

    def parked(self) -> Reply:
        """List the rows that the site does not take."""
        return Reply(notice=parked_list(self._service.repository.parked.values()))

    def history(self) -> Reply:
        """List the latest runs."""
        return Reply(notice=history(self._service.repository.past_runs()))

    async def details(self, run_id: str) -> Reply:
        """Tell all that is known of a run, on or ended, with a picture of how long it took."""
        if self._is_on(run_id):
            return self.status()
        run = self._past(run_id)
        if run is None:
            return said(f"No run {code(run_id)} is known; {KEPT_RUNS} are kept.")
        return Reply(notice=past(run), file=await asyncio.to_thread(draw, run))

    def run_ids(self) -> list[str]:
        """Return the ids of the runs that are kept, the latest first."""
        return [run.run_id for run in reversed(self._service.repository.past_runs())]

    def list_ids(self) -> list[str]:
        """Return the digests of the lists that wait for a decision."""
        return [one.digest for one in self._lists() if not one.begun]

    async def plan(self, by: str) -> Reply:
        """Compare without writing."""
        made = await self._service.supervisor.plan(f"asked for by {by}")
        if isinstance(made, Refusal):
            return said(made.reason)
        view, file = made
        notice = render(view)
        if file is not None and file.left_out:
            note = f"The file has no room for the last {file.left_out:,} lines."
            notice = replace(notice, description=f"{notice.description}\n{note}")
        return Reply(notice=notice, file=file)

    async def single(self, id_: UserId) -> AsyncIterator[Reply]:
        """Show how one member differs, and then what became of writing it."""
        single = self._service.supervisor.single(id_)
        if isinstance(single, Refusal):
            yield said(single.reason)
            return
        try:
            comparison = await single.compare()
        except (RunStoppedError, TimeoutError) as exc:
            yield said(f"<@{id_}> could not be compared: {quote(str(exc) or 'it took too long')}.")
            return
        group = comparison.group
        yield Reply(notice=told(comparison, None))
        if group is not None:
            yield Reply(notice=told(comparison, await single.write(group)))

    async def who(self, digest: str) -> Reply:
        """Show who is on a list that waits, as a file."""
        list_ = self._list(digest)
        if list_ is None:
            return said(_GONE)
        file = await asyncio.to_thread(withheld_file, list_)
        text = f"{len(list_.ids):,} {list_.what.value}, list `{digest}`, as a sync found them "
        text += f"{when(list_.asked_at)}."
        if file.left_out:
            text += f" The last {file.left_out:,} did not fit into the file."
        return replace(said(text), file=file)

    # -- orders -----------------------------------------------------------------------------------

    def start(self, scope: Scope, by: str, *, forced: bool) -> Reply:
        """Start a run."""
        view = self._service.supervisor.start(scope, f"asked for by {by}", forced=forced)
        if isinstance(view, Refusal):
            return said(view.reason)
        where = f"<#{self._settings.mod_log_channel_id}>"
        return said(f"Run `{view.run_id}` has started; {where} shows it.", done=True)

    def tune(self, name: str, value: float, by: str) -> Reply:
        """Set the pace of the run that is on."""
        target = name == TARGET
        low, high = (_MIN_TARGET_S, _MAX_TARGET_S) if target else (1, self._settings.sync_max_items)
        if not low <= value <= high:
            unit = " s" if target else " rows"
            return said(f"`{name}` must be between {low:g} and {high:g}{unit}.")
        view = self._service.supervisor.tune(
            by,
            target_s=value if target else None,
            max_items=None if target else int(value),
        )
        if view is None:
            return said("No sync is running: this setting applies to the current run only.")
        return said(f"Run `{view.run_id}`: {view.tuned}", done=True)

    def cancel(self, by: str) -> Reply:
        """Stop the run that is on, before its next request."""
        view = self._service.supervisor.cancel(f"Cancelled by {by}.")
        if view is None:
            return said("No sync is running.")
        return said(f"Run `{view.run_id}` is being stopped.", done=True)

    async def pause(self, by: str) -> Reply:
        """Hold every write until it is resumed."""
        pause = self._service.repository.state.pause
        if pause is not None:
            return said(f"Sync is already paused: {pause.by} did that {when(pause.at)}.")
        return await self._order(self._pause(by), "Sync is paused.")

    async def resume(self, by: str) -> Reply:
        """End the pause."""
        if self._service.leadership.is_leading and self._service.repository.state.pause is None:
            return said("Sync is not paused.")
        return await self._order(self._resume(by), "Sync resumed.")

    async def retry_parked(self) -> Reply:
        """Try the parked rows again now."""
        count = len(self._service.repository.parked)
        if self._service.leadership.is_leading and not count:
            return said("No row is parked.")
        rows = "1 row is" if count == 1 else f"{count:,} rows are"
        return await self._order(self._retry_parked(), f"{rows} tried again.")

    async def open_breaker(self, by: str, reason: str) -> Reply:
        """Let nothing be written until a reset."""
        order = self._service.repository.open_breaker(by, reason)
        return await self._order(order, "The breaker is open until it is reset.")

    async def reset_breaker(self, by: str) -> Reply:
        """Close the breaker, and forget the failures that were counted."""
        return await self._order(self._reset_breaker(by), "The breaker is closed.")

    async def decide(self, digest: str | None, decision: Decision, by: str) -> Reply:
        """Approve or reject a list; without its digest the one that waits, if it is one."""
        waiting = self._open_lists(decision)
        if digest is None and len(waiting) != 1:
            return said(_which(waiting, decision))
        list_ = self._list(waiting[0].digest if digest is None else digest)
        if list_ is None:
            return said(_GONE)
        at = when(list_.decided_at or list_.asked_at)
        if list_.decision is decision:
            return said(f"{list_.by} {list_.decision.value} that list {at} already.")
        if list_.begun:
            return said(f"{list_.by} approved that list {at}, and a sync has begun to write it.")
        count = f"{len(list_.ids):,} {list_.what.value}"
        return await self._order(
            self._decide(list_, decision, by),
            f"{count} are {decision.value} (list `{list_.digest}`).",
        )

    def _open_lists(self, decision: Decision) -> list[WithheldList]:
        """Return the lists that wait, or if none does, those that can be decided otherwise."""
        lists = [one for one in self._lists() if one.decision is not decision and not one.begun]
        return [one for one in lists if one.decision is Decision.WAITING] or lists

    def _lists(self) -> list[WithheldList]:
        now = self._service.clock.now()
        return [one for one in self._service.repository.withheld.values() if holds(one, now=now)]

    def _list(self, digest: str) -> WithheldList | None:
        return next((one for one in self._lists() if one.digest == digest.lower()), None)

    async def _order(self, order: Coroutine[Any, Any, None], text: str) -> Reply:
        """Carry out an order, if this process may."""
        if not self._service.leadership.is_leading:
            order.close()
            return said(f"This bot can't do that now: {quote(self._service.leadership.trouble)}.")
        try:
            await order
        except StoreError as exc:
            return said(f"That could not be saved, so it has no effect: {quote(str(exc))}")
        return said(text, done=True)

    async def _pause(self, by: str) -> None:
        await self._service.repository.pause(by)
        self._service.supervisor.show_again()

    async def _resume(self, by: str) -> None:
        await self._service.repository.resume(by)
        self._service.supervisor.show_again()

    async def _reset_breaker(self, by: str) -> None:
        """Let a full sync take the place of those that the breaker withheld."""
        await self._service.repository.reset_breaker(by)
        self._service.scheduler.want(f"after {by} reset the breaker")

    async def _decide(self, list_: WithheldList, decision: Decision, by: str) -> None:
        """Let a sync carry out what was approved."""
        await self._service.repository.decide(list_, decision, by=by)
        if decision is Decision.APPROVED:
            count = f"{len(list_.ids):,} {list_.what.value}"
            self._service.scheduler.want(f"after {by} approved {count}")

    async def _retry_parked(self) -> None:
        """Let every parked row go with the next live changes."""
        await self._service.repository.retry_parked()
        self._service.queue.mark(self._service.repository.parked)

    # -- buttons ----------------------------------------------------------------------------------

    async def press(self, button: Button, by: str) -> Reply:  # noqa: C901 - one arm an action
        """Do what a button says, if it still means anything."""
        match button.action:
            case Action.PAUSE:
                return self._over(button) or await self.pause(by)
            case Action.RESUME:
                # Also below the notice of a pause, which is about no run.
                return (button.argument and self._over(button)) or await self.resume(by)
            case Action.CANCEL:
                return self._over(button) or self.cancel(by)
            case Action.DETAILS:
                return await self.details(button.argument)
            case Action.RETRY_PARKED:
                return await self.retry_parked()
            case Action.SHOW_PARKED:
                return self.parked()
            case Action.PROBE:
                return self._closed() or self.start(Scope.ALL, by, forced=True)
            case Action.RESET:
                return self._closed() or await self.reset_breaker(by)
            case Action.APPROVE:
                return await self.decide(button.argument, Decision.APPROVED, by)
            case Action.REJECT:
                return await self.decide(button.argument, Decision.REJECTED, by)
            case Action.SHOW_WHO:
                return await self.who(button.argument)
            case _:
                assert_never(button.action)

    def _over(self, button: Button) -> Reply | None:
        """Return what to say to whoever presses a button of a run that has ended."""
        if self._is_on(button.argument):
            return None
        run = self._past(button.argument)
        how = "" if run is None else f" {when(run.ended_at)} ({run.ending})"
        return said(
            f"Run `{button.argument}` has ended{how}: this button no longer does anything. "
            "`!sync status` shows the current state."
        )

    def _closed(self) -> Reply | None:
        """Return what to say to whoever presses a button of a breaker that has closed."""
        breaker = self._service.repository.state.breaker
        if not self._service.leadership.is_leading or breaker.state is not BreakerState.CLOSED:
            return None
        return said(
            "The breaker is already closed: writes are allowed, and there is nothing to do here."
        )

    def _is_on(self, run_id: str) -> bool:
        view = self._service.supervisor.current
        return view is not None and view.run_id == run_id

    def _past(self, run_id: str) -> PastRun | None:
        runs = self._service.repository.past_runs()
        return next((run for run in runs if run.run_id == run_id), None)


def _which(waiting: Sequence[WithheldList], decision: Decision) -> str:
    if not waiting:
        return "Nothing is waiting for a decision."
    word = "approve" if decision is Decision.APPROVED else "reject"
    lists = ", ".join(
        f"`!sync {word} {one.digest}` ({len(one.ids):,} {one.what.value})" for one in waiting
    )
    return f"Say which list: {lists}."
