"""A role that the site does not take: what it costs its holders, and when that ends."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.exts.backend.sync._core.messages.progress import Ending
from bot.exts.backend.sync._core.messages.reply import Reply
from bot.exts.backend.sync._core.model.members import UserId
from bot.exts.backend.sync._core.policy.breaker import BreakerState
from bot.exts.backend.sync._runs.run import Scope
from tests.bot.exts.backend.sync.orchestration.conftest import BY, Stage, text

pytestmark = pytest.mark.either_mode

VERIFIED = Ending.VERIFIED
HOLDERS = range(100, 160)
SAID = "role role5: name: role with this name already exists. (its holders are written without it)"


async def _all(replies: AsyncIterator[Reply]) -> list[str]:
    return [text(reply) async for reply in replies]


def roles_of(stage: Stage, id_: int) -> Any:
    """Return the roles in somebody's row."""
    return stage.rows.users[id_]["roles"]


def make(stage: Stage) -> None:
    """Give sixty members a new role with the name of another, on a site with unique names."""
    stage.rows.role_names_are_unique = True
    stage.guild(10, 11, *HOLDERS)
    stage.discord.create_role(7, name="role5")
    for id_ in HOLDERS:
        stage.discord.change(id_, roles=[5, 7])
    stage.discord.change(10, name="renamed")


async def test_its_holders_are_written_without_it(stage: Stage) -> None:
    """The run is verified, nobody is parked, and the summary has the site's own words."""
    make(stage)
    process = await stage.start(60, sync_max_items=100)

    (view,) = stage.runs()
    assert (view.ending, view.parked, view.parked_roles) == (VERIFIED, (), (SAID,))
    assert (process.service.repository.parked, stage.rows.users[10]["name"]) == ({}, "renamed")
    assert {tuple(roles_of(stage, id_)) for id_ in HOLDERS} == {(1, 5)}
    assert process.service.repository.state.breaker.state is BreakerState.CLOSED
    assert "role with this name already exists" in str(stage.channel.messages)


async def test_it_makes_no_difference_until_the_site_takes_it(stage: Stage) -> None:
    """A second sync finds nothing to do but ask once more; a third, which succeeds, all holders."""
    make(stage)
    process = await stage.start(60, sync_max_items=100)
    process.service.supervisor.start(Scope.ALL, BY)
    await stage.clock.advance(60)
    stage.rows.role_names_are_unique = False
    process.service.supervisor.start(Scope.ALL, BY)
    await stage.clock.advance(60)

    assert [(view.ending, view.planned, view.parked_roles) for view in stage.runs()] == [
        (VERIFIED, 61, (SAID,)),
        (VERIFIED, 0, (SAID,)),
        (VERIFIED, 60, ()),
    ]
    assert stage.in_step()


@pytest.mark.unmeasured
async def test_a_check_for_drift_does_not_repeat_what_is_known(stage: Stage) -> None:
    """Nothing has drifted, and mod-log is not told again every six hours."""
    make(stage)
    await stage.start(60, sync_max_items=100, sync_drift_every_s=3600)
    titles = list(stage.channel.titles)
    await stage.clock.advance(4 * 3600)

    assert len(stage.runs()) > 2
    assert stage.channel.titles == titles


async def test_live_changes_leave_it_out_and_say_so(stage: Stage) -> None:
    """A role that comes while the bot runs stops nobody's changes; a full sync tells of it."""
    stage.rows.role_names_are_unique = True
    stage.guild(10, 11, 12)
    process = await stage.start(10)
    stage.discord.create_role(7, name="role5")
    stage.discord.change(11, roles=[5, 7])
    stage.discord.change(12, name="renamed", roles=[7])
    await stage.clock.advance(30)

    assert (roles_of(stage, 11), roles_of(stage, 12)) == ([1, 5], [1])
    assert stage.rows.users[12]["name"] == "renamed"
    assert (process.service.repository.parked, len(process.service.queue)) == ({}, 0)
    assert [(view.ending, view.trigger) for view in stage.runs()[1:]] == [
        (VERIFIED, "because the site does not take a role")
    ]
    assert stage.runs()[-1].parked_roles == (SAID,)


async def test_a_name_that_the_site_takes_makes_its_holders_due(stage: Stage) -> None:
    """As soon as somebody renames it."""
    make(stage)
    await stage.start(60, sync_max_items=100)
    stage.discord.rename_role(7, "another")
    await stage.clock.advance(60)

    assert stage.in_step()
    assert stage.runs()[-1].trigger == "because the site takes a role that it did not take before"


async def test_the_site_may_hold_it_in_rows_that_it_kept(stage: Stage) -> None:
    """A role that was deleted there by hand makes no difference on that side either."""
    make(stage)
    for id_ in HOLDERS:
        stage.rows.users[id_]["roles"] = [1, 5, 7]
    await stage.start(60, sync_max_items=100)

    (view,) = stage.runs()
    assert (view.ending, view.planned, view.parked_roles) == (VERIFIED, 1, (SAID,))


async def test_one_holder_by_hand_and_a_plan_leave_it_out_too(stage: Stage) -> None:
    """Whoever is compared, it is left out of the comparison."""
    make(stage)
    process = await stage.start(60, sync_max_items=100)
    asking = asyncio.create_task(_all(process.commands.single(UserId(HOLDERS[0]))))
    await stage.clock.advance(30)
    told = await asking
    planning = asyncio.create_task(process.service.supervisor.plan(BY))
    await stage.clock.advance(30)

    assert "The site is in step" in told[-1]
    assert isinstance(await planning, tuple)
    assert stage.runs()[-1].planned == 0
