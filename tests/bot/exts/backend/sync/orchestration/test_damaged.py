"""What is kept and can't be read costs what it said, never the syncs that follow."""

import json

import pytest

from bot.exts.backend.sync._core.messages.progress import Ending
from bot.exts.backend.sync._core.policy.breaker import BreakerState
from tests.bot.exts.backend.sync.orchestration.conftest import BY, Stage

pytestmark = pytest.mark.either_mode

KEYS = ["attempt", "born", "breaker", "handed-over", "salt", "told", "parked/7", "alert/x", "else"]


@pytest.mark.parametrize("text", ["{not json", '"caf\udce9"', "null"])
@pytest.mark.parametrize("key", KEYS)
async def test_a_value_that_is_no_json_is_put_aside_and_told_once(
    stage: Stage, key: str, text: str
) -> None:
    """It counts as lost: an open breaker, which a person closes; then all goes on."""
    stage.guild(10)
    first = await stage.start()
    await first.stop()
    stage.kept.entries[key] = text
    second = await stage.start()
    aside = {k: v for k, v in stage.kept.entries.items() if k.startswith("unreadable/")}
    assert second.service.leadership.is_leading
    assert second.service.repository.state.breaker.state is BreakerState.OPEN
    assert [k.partition("+00:00/")[2] for k in aside] == [key]
    assert list(map(json.loads, aside.values())) == [text.replace("\udce9", "\\xe9")]
    await second.stop()
    third = await stage.start()
    stage.discord.join(11)
    await third.commands.reset_breaker(BY)
    await stage.clock.advance(30)

    assert stage.channel.titles.count("State store lost") == 1
    assert stage.endings()[-1] is Ending.VERIFIED
    assert stage.in_step()


async def test_many_of_them_are_named_within_bounds(stage: Stage) -> None:
    """Whatever their keys are: nothing in them has a meaning in a message."""
    stage.guild(10)
    await (await stage.start()).stop()
    stage.kept.entries |= {f"parked/@everyone{number}": "?" for number in range(500)}
    await stage.start()

    told = next(m.notice for m in stage.channel.messages if m.notice.title == "State store lost")
    assert "and 495 more can't be read, and is kept aside" in told.description
    assert "@everyone" not in told.description


@pytest.mark.parametrize("damaged", ["{not json", '"text"', '{"opened_by": "<@1>"}', "{}"])
async def test_a_breaker_that_may_have_been_opened_by_hand_stays_open(
    stage: Stage, damaged: str
) -> None:
    """Until a person resets it: it may have been opened for a maintenance of the site."""
    stage.guild(10)
    first = await stage.start()
    await first.commands.open_breaker(BY, "maintenance")
    await first.stop()
    stage.kept.entries["breaker"] = damaged
    stage.discord.join(11)
    second = await stage.start()
    await stage.let_nothing_be_written(second)
    await second.commands.reset_breaker(BY)
    await stage.clock.advance(120)

    assert stage.in_step()


async def test_a_breaker_that_nobody_opened_by_hand_is_tried_again_by_itself(stage: Stage) -> None:
    """So much of the record can still be read."""
    stage.guild(10)
    await (await stage.start()).stop()
    stage.kept.entries["breaker"] = '{"opened_by": null}'
    stage.discord.join(11)
    await stage.start(1200)

    assert stage.in_step()


@pytest.mark.parametrize("damaged", ["{not json", '"text"', "{}"])
async def test_a_pause_that_can_not_be_read_holds(stage: Stage, damaged: str) -> None:
    """Until a person resumes: mod-log says who holds, and how to end it."""
    stage.guild(10)
    first = await stage.start()
    await first.commands.pause(BY)
    await first.stop()
    stage.kept.entries["pause"] = damaged
    stage.discord.join(11)
    second = await stage.start()
    await second.commands.reset_breaker(BY)
    await stage.let_nothing_be_written(second)
    await second.commands.resume(BY)
    await stage.clock.advance(120)

    assert any(
        "a record that can't be read" in m.notice.description for m in stage.channel.messages
    )
    assert stage.in_step()
