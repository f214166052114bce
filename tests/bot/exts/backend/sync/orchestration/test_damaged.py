"""What is kept and can't be read costs what it said, never the syncs that follow."""

import json

import pytest

from bot.exts.backend.sync._core.messages.progress import Ending
from bot.exts.backend.sync._core.policy.breaker import BreakerState
from tests.bot.exts.backend.sync.orchestration.conftest import BY, Stage

pytestmark = pytest.mark.either_mode

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
