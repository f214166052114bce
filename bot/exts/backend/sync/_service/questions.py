"""What people ask of the extension, and the answer to each; nothing of it changes anything."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from .._core.messages.audit import audit
from .._core.messages.history import KEPT_RUNS
from .._core.messages.listing import withheld_file
from .._core.messages.notice import code, when
from .._core.messages.reply import Reply, said
from .._core.messages.status import (
    breaker,
    history,
    parked_list,
    past,
    status,
)
from .._core.messages.usage import overview
from .._core.policy.departures import holds
from .._picture import draw

if TYPE_CHECKING:
    from .._core.messages.history import PastRun
    from .._core.policy.departures import WithheldList
    from .._settings import SyncSettings
    from .service import SyncService


GONE: Final = (
    "That list is no longer waiting: it expired, was written, or a later sync found fewer missing."
)


class Questions:
    """The questions that `service` can answer."""

    def __init__(self, service: SyncService, settings: SyncSettings) -> None:
        self._service = service
        self._settings = settings

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

    def audit(self) -> Reply:
        """List who ordered what, and when."""
        return Reply(notice=audit(self._service.audit.orders))

    def history(self) -> Reply:
        """List the latest runs."""
        return Reply(notice=history(self._service.repository.past_runs()))

    async def details(self, run_id: str) -> Reply:
        """Tell all that is known of a run, on or ended, with a picture of how long it took."""
        if self.is_on(run_id):
            return self.status()
        run = self.past(run_id)
        if run is None:
            return said(f"No run {code(run_id)} is known; {KEPT_RUNS} are kept.")
        return Reply(notice=past(run), file=await asyncio.to_thread(draw, run))

    def run_ids(self) -> list[str]:
        """Return the ids of the runs that are kept, the latest first."""
        return [run.run_id for run in reversed(self._service.repository.past_runs())]

    def list_ids(self) -> list[str]:
        """Return the digests of the lists that wait for a decision."""
        return [one.digest for one in self.lists() if not one.begun]

    async def who(self, digest: str) -> Reply:
        """Show who is on a list that waits, as a file."""
        list_ = self.list_of(digest)
        if list_ is None:
            return said(GONE)
        file = await asyncio.to_thread(withheld_file, list_)
        text = f"{len(list_.ids):,} {list_.what.value}, list `{digest}`, as a sync found them "
        text += f"{when(list_.asked_at)}."
        if file.left_out:
            text += f" The last {file.left_out:,} did not fit into the file."
        return replace(said(text), file=file)

    def lists(self) -> list[WithheldList]:
        """Return the lists that still hold."""
        now = self._service.clock.now()
        return [one for one in self._service.repository.withheld.values() if holds(one, now=now)]

    def list_of(self, digest: str) -> WithheldList | None:
        """Return the list of this digest, if it still holds."""
        return next((one for one in self.lists() if one.digest == digest.lower()), None)

    def is_on(self, run_id: str) -> bool:
        """Say whether this run is on."""
        view = self._service.supervisor.current
        return view is not None and view.run_id == run_id

    def past(self, run_id: str) -> PastRun | None:
        """Return a run that has ended, if it is kept."""
        runs = self._service.repository.past_runs()
        return next((run for run in runs if run.run_id == run_id), None)
