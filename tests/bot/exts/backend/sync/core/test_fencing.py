"""Whatever interleaves, the last word is the guild's: live changes, full runs and late commits.

A model of the worker and the runs around the real core. Events come before any request, requests
fail, and what was lost may commit before or after anything that follows it.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from bot.exts.backend.sync._core.delivery import chunks
from bot.exts.backend.sync._core.model.changes import Group, Kind
from bot.exts.backend.sync._core.model.members import (
    ALL_FIELDS,
    Field,
    Member,
    UserId,
)
from bot.exts.backend.sync._core.plan.planner import Plan
from bot.exts.backend.sync._core.plan.waiting import Waiting
from bot.exts.backend.sync._core.site.outcome import Answer, NoAnswer
from bot.exts.backend.sync._core.site.requests import Request

from .delivering import Course, begin, compare, deliver
from .examples import member, user_ids
from .site import Site, Trouble

IDS = user_ids(1, 2, 3)  # few, so that they meet often
# Six in a row are more than a run has patience for.
TROUBLES = st.lists(
    st.sampled_from([Trouble.NONE, Trouble.ERROR, Trouble.LOST, Trouble.LOST_APPLIED]), max_size=6
)
EVENTS = st.lists(
    st.tuples(st.sampled_from(IDS), st.sampled_from(["join", "leave", "rename", "commit"])),
    max_size=4,
)
Event = tuple[UserId, str]


@dataclass(kw_only=True)
class LateSite(Site):
    """A site on which a request without an answer may still be running."""

    running: list[tuple[list[dict[str, object]], bool]] = field(default_factory=list)

    def write(self, request: Request) -> Answer | NoAnswer:
        """Answer as the site does, and keep what is lost to be applied later."""
        if self.troubles[:1] == [Trouble.LOST]:
            assert request.body is not None
            self.running.append((json.loads(request.body), request.method == "POST"))
        return super().write(request)

    def commit(self) -> None:
        """Let the oldest request that was lost take effect now."""
        if self.running:
            rows, creating = self.running.pop(0)
            self._take(rows, creating=creating)


class Fencing(RuleBasedStateMachine):
    """A guild that lives, a site that fails at times, and whoever keeps it in step."""

    def __init__(self) -> None:
        super().__init__()
        self.guild: dict[UserId, Member] = {}
        self.site = LateSite(roles={1})
        self.waiting = Waiting(limit=100)
        self.noted: set[UserId] = set()
        self.doubtful: set[UserId] = set()
        self.now = 0

    @initialize(here=st.sets(st.sampled_from(IDS)), once=st.sets(st.sampled_from(IDS)))
    def begin_in_step(self, here: set[UserId], once: set[UserId]) -> None:
        """Both sides agree at first; some who left long ago have rows that say so."""
        self.guild = {id_: member(id_) for id_ in here}
        self.site.rows = {int(id_): member(id_, in_guild=False) for id_ in once}
        self.site.rows |= {int(id_): known for id_, known in self.guild.items()}

    @rule(events=EVENTS)
    def live(self, events: Iterable[Event]) -> None:
        """Let members come, change and go, each told by an event; and lost requests commit."""
        for id_, what in events:
            self.now += 1
            here = id_ in self.guild
            if what == "leave" and here:
                del self.guild[id_]
                self.waiting.left(id_, now=self.now)
            elif what == "join" and not here:
                self.guild[id_] = member(id_, name=f"name{self.now}")
                self.waiting.joined(id_, now=self.now)
            elif what == "rename" and here:
                self.guild[id_] = replace(self.guild[id_], name=f"name{self.now}")
                self.waiting.changed((id_,), now=self.now)
            elif what == "commit":
                self.site.commit()
                continue
            self.noted.add(id_)

    @rule(count=st.integers(1, 4), troubles=TROUBLES, during=EVENTS)
    def drain(self, count: int, troubles: list[Trouble], during: list[Event]) -> None:
        """Bring those to the site who have waited longest, as the worker does."""
        kind = self.waiting.next()
        if kind is None:
            return
        taken = self.waiting.take(kind, count)
        fields = (Field.IN_GUILD,) if kind is Kind.DEPARTURE else ALL_FIELDS
        group = Group(kind=kind, fields=fields, ids=taken.ids)
        course = self.bring((group,), troubles, during)
        if isinstance(course.last, chunks.Stop):
            self.waiting.put_back(taken)
            return
        self.waiting.done(taken)
        left_out = course.state.left_out
        if kind is Kind.CREATE:
            self.mark(set(taken.ids) - set(left_out))
        present = self.guild.keys() & set(left_out)
        self.mark(present)
        for id_ in self.waiting.unknown(left_out, kind=kind, present=present):
            self.noted.add(id_)
            self.waiting.left(id_, now=self.now)  # Discord, asked, says that they are no members

    @rule(troubles=TROUBLES, during=EVENTS)
    def full_run(self, troubles: list[Trouble], during: list[Event]) -> None:
        """Compare all rows, write what differs, look again, and settle what waited for that."""
        self.noted.clear()
        self.waiting.run_began()
        course = self.bring(self.planned().groups, troubles, during)
        self.mark(course.state.left_out)
        if isinstance(course.last, chunks.Stop):
            self.waiting.run_ended()
            return
        again = self.bring(self.planned(without=self.noted).groups, [], ())
        assert again.last == chunks.Done()
        assert self.planned(without=self.noted).total == 0
        self.waiting.run_ended()
        self.waiting.settle(but=self.noted)

    @rule()
    def recheck(self) -> None:
        """Mark ids whose answer was lost once nothing can be running any more."""
        while self.site.running:
            self.site.commit()
        self.mark(self.doubtful)
        self.doubtful.clear()

    def teardown(self) -> None:
        """When all has calmed down, the site shows the guild."""
        self.recheck()
        while len(self.waiting):
            self.drain(4, [], [])

        assert self.planned().total == 0

    def planned(self, *, without: Collection[UserId] = frozenset()) -> Plan:
        """Return what differs between the two sides."""
        _, planner = compare(self.site, self.guild, page_items=4)
        return planner.plan(without=frozenset(without))

    def bring(
        self, groups: tuple[Group, ...], troubles: list[Trouble], during: Iterable[Event]
    ) -> Course:
        """Send groups to a site that has troubles; one event happens before each request."""
        events = iter(during)

        def live(_: Site) -> None:
            self.live([event for event in (next(events, None),) if event is not None])

        self.site.troubles = list(troubles)
        course = deliver(begin(*groups), self.site, self.guild, before_send=live)
        self.site.troubles = []
        self.doubtful |= course.doubtful
        return course

    def mark(self, ids: Iterable[UserId]) -> None:
        """Mark ids as the worker does."""
        ids = tuple(ids)
        self.noted.update(ids)
        self.waiting.changed(ids, now=self.now)


@pytest.mark.slow
def test_the_last_word_is_the_guilds() -> None:
    """Once all has calmed down, the site shows the guild, whatever came in whatever order."""
    run_state_machine_as_test(Fencing, settings=settings(max_examples=300, stateful_step_count=25))
