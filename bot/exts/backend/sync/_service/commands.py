"""What people order, by a command or a button, and the answer to each.

An order is carried out only by the process that leads; whatever is refused says why.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, assert_never

from .._core.messages.buttons import Action
from .._core.messages.notice import quote, when
from .._core.messages.reply import Reply, said
from .._core.messages.report import render
from .._core.messages.single import told
from .._core.policy.breaker import BreakerState
from .._core.policy.departures import Decision
from .._errors import RunStoppedError, StoreError
from .._runs.run import Scope
from .questions import GONE
from .supervisor import Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Sequence

    from .._core.messages.buttons import Button
    from .._core.model.members import UserId
    from .._core.policy.departures import WithheldList
    from .._settings import SyncSettings
    from .questions import Questions
    from .service import SyncService


TARGET: Final = "target"
MAX_ITEMS: Final = "max-items"
_MIN_TARGET_S: Final = 0.05
_MAX_TARGET_S: Final = 10.0


class Commands:
    """The orders that `service` carries out; `by` is a mention of who gives them."""

    def __init__(self, service: SyncService, questions: Questions, settings: SyncSettings) -> None:
        self._service = service
        self._questions = questions
        self._settings = settings

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
        list_ = self._questions.list_of(waiting[0].digest if digest is None else digest)
        if list_ is None:
            return said(GONE)
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
        lists = [
            one for one in self._questions.lists() if one.decision is not decision and not one.begun
        ]
        return [one for one in lists if one.decision is Decision.WAITING] or lists

    async def _order(self, order: Coroutine[Any, Any, str | None], text: str) -> Reply:
        """Carry out an order, if this process may; one that says something else had no effect."""
        if not self._service.leadership.is_leading:
            order.close()
            return said(f"This bot can't do that now: {quote(self._service.leadership.trouble)}.")
        try:
            otherwise = await order
        except StoreError as exc:
            return said(f"That could not be saved, so it has no effect: {quote(str(exc))}")
        return said(text, done=True) if otherwise is None else said(otherwise)

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

    async def _decide(self, list_: WithheldList, decision: Decision, by: str) -> str | None:
        """Let a sync carry out what was approved; return what to say if it is too late for that."""
        if not await self._service.repository.decide(list_, decision, by=by):
            return "That is too late: a sync has begun to write that list, or it is gone."
        if decision is Decision.APPROVED:
            count = f"{len(list_.ids):,} {list_.what.value}"
            self._service.scheduler.want(f"after {by} approved {count}")
        return None

    async def _retry_parked(self) -> None:
        """Let every parked row go with the next live changes."""
        await self._service.repository.retry_parked()
        self._service.queue.mark(self._service.repository.parked)

    async def forget(self, id_: UserId) -> Reply:
        """Forget what is kept about somebody who has left."""
        if await self._service.has_member(id_):
            return said(
                f"<@{id_}> is a member of this server: what is kept about them is needed, and a "
                "sync would keep it again. What that is and how long it stays: docs/privacy.md."
            )
        return await self._order(
            self._service.repository.forget_member(id_),
            f"The bot keeps nothing more about `{id_}`. Their row is the website's: delete it "
            "there. Mod-log's messages are Discord's: delete those that mention them.",
        )

    # -- buttons ----------------------------------------------------------------------------------

    async def pressed(self, button: Button, by: str) -> Reply:  # noqa: C901 - one arm an action
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
                return await self._questions.details(button.argument)
            case Action.RETRY_PARKED:
                return await self.retry_parked()
            case Action.SHOW_PARKED:
                return self._questions.parked()
            case Action.PROBE:
                return self._closed() or self.start(Scope.ALL, by, forced=True)
            case Action.RESET:
                return self._closed() or await self.reset_breaker(by)
            case Action.APPROVE:
                return await self.decide(button.argument, Decision.APPROVED, by)
            case Action.REJECT:
                return await self.decide(button.argument, Decision.REJECTED, by)
            case Action.SHOW_WHO:
                return await self._questions.who(button.argument)
            case _:
                assert_never(button.action)

    def _over(self, button: Button) -> Reply | None:
        """Return what to say to whoever presses a button of a run that has ended."""
        if self._questions.is_on(button.argument):
            return None
        run = self._questions.past(button.argument)
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


def _which(waiting: Sequence[WithheldList], decision: Decision) -> str:
    if not waiting:
        return "Nothing is waiting for a decision."
    word = "approve" if decision is Decision.APPROVED else "reject"
    lists = ", ".join(
        f"`!sync {word} {one.digest}` ({len(one.ids):,} {one.what.value})" for one in waiting
    )
    return f"Say which list: {lists}."
