"""What mod-log promises to whoever tells it something: held by the real channel and by the fake."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from bot.exts.backend.sync._core.messages.alert import Alert
from bot.exts.backend.sync._core.messages.notice import Notice, Tone
from bot.exts.backend.sync._core.messages.progress import Ending, Phase, RunView
from bot.exts.backend.sync._core.messages.reply import said

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from bot.exts.backend.sync._ports import ModLog

_T = TypeVar("_T")
NOW: Final = datetime(2021, 1, 12, 12, tzinfo=UTC)
VIEW: Final = RunView(
    run_id="r1",
    what="users",
    trigger="at start-up",
    phase=Phase.USERS,
    started_at=NOW,
    now=NOW,
    planned=1_000_000,
)


class Room(Protocol):
    """The channel, and the way of a process to it."""

    mod_log: ModLog

    async def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Return what comes of something, however much time must pass for it."""
        ...

    async def until(self, condition: Callable[[], bool]) -> None: ...
    async def away(self, *, begin: bool) -> None:
        """Let nobody use the channel, or let it be used again."""
        ...

    def told(self) -> list[str]:
        """Return the titles and footers that the channel shows, oldest first."""
        ...

    def described(self) -> list[str]:
        """Return the descriptions that the channel shows, oldest first."""
        ...


def alert(number: int) -> Alert:
    """Return an alert as the repository stamps it."""
    id_ = f"{number:012x}"
    notice = Notice(
        title=f"Alert {number}", description="d", tone=Tone.WARNING, footer=f"alert {id_}"
    )
    return Alert(id=id_, created_at=NOW, notice=notice)


class ModLogContract:
    """The promises; a subclass gives the `room`."""

    async def test_an_alert_is_shown_once(self, room: Room) -> None:
        """Also where nobody knows whether it was shown before."""
        first = await room.run(room.mod_log.post(alert(1), again=False))
        again = await room.run(room.mod_log.post(alert(1), again=True))
        other = await room.run(room.mod_log.post(alert(2), again=True))

        assert (first, again, other) == (True, True, True)
        assert room.told() == [
            "Alert 1 | alert 000000000001",
            "Alert 2 | alert 000000000002",
        ]

    async def test_what_can_not_be_shown_is_said(self, room: Room) -> None:
        """Nothing is raised, nothing is shown, and it is known why; all is well afterwards."""
        before = room.mod_log.trouble
        await room.away(begin=True)
        refused = await room.run(room.mod_log.post(alert(1), again=False))
        trouble = room.mod_log.trouble
        await room.away(begin=False)
        taken = await room.run(room.mod_log.post(alert(1), again=True))

        assert (before, refused, taken, room.mod_log.trouble) == (None, False, True, None)
        assert trouble is not None
        assert len(room.told()) == 1

    async def test_the_latest_are_read_newest_first(self, room: Room) -> None:
        """As many as are asked for, with what a start looks for in them."""
        for number in range(3):
            await room.run(room.mod_log.post(alert(number), again=False))
        latest = await room.run(room.mod_log.recent(2))

        assert latest is not None
        assert [(one.title, one.description, one.footer) for one in latest] == [
            ("Alert 2", "d", "alert 000000000002"),
            ("Alert 1", "d", "alert 000000000001"),
        ]

    async def test_a_message_can_say_something_else(self, room: Room) -> None:
        """For good; one that is gone can't."""
        await room.run(room.mod_log.post(alert(1), again=False))
        latest = await room.run(room.mod_log.recent(1))
        assert latest is not None
        other = replace(alert(1).notice, title="Settled")
        done = await room.run(room.mod_log.replace(latest[0].id, other))
        gone = await room.run(room.mod_log.replace(latest[0].id + 1, other))

        assert (done, gone) == (True, False)
        assert room.told() == ["Settled | alert 000000000001"]
        assert room.mod_log.url(latest[0].id).endswith(f"/{latest[0].id}")

    async def test_a_run_has_one_message_with_its_newest_state(self, room: Room) -> None:
        """However many states there are between; its last one is shown before `finish` returns."""
        for done in range(1, 200):
            room.mod_log.show(replace(VIEW, done=done))
        await room.until(lambda: bool(room.told()))
        for done in range(200, 400):
            room.mod_log.show(replace(VIEW, done=done))
        await room.run(room.mod_log.finish(replace(VIEW, ending=Ending.VERIFIED, done=400)))

        assert room.told() == ["Sync of users finished | run r1"]
        assert room.described()[0].endswith("**Verified** in 0.0 s.")

    async def test_an_answer_can_be_given_there(self, room: Room) -> None:
        """And become another; nobody is told it while the channel is away."""
        sent = await room.run(room.mod_log.say("somebody asked:", said("an answer")))
        assert sent is not None
        assert room.described() == ["an answer"]
        await room.run(sent.edit(said("another")))
        assert room.described() == ["another"]
        await room.away(begin=True)
        assert await room.run(room.mod_log.say("somebody asked:", said("an answer"))) is None
