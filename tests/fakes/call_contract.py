"""What Discord lets whoever answers a command or a press do: held by Discord and by the fake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pytest

from bot.exts.backend.sync._core.messages.reply import said
from bot.exts.backend.sync._errors import UnansweredError
from tests.fakes.call import Kind

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from bot.exts.backend.sync._ports import Call

_T = TypeVar("_T")


class Caller(Protocol):
    """Somebody in a channel, who asks as `kind` says."""

    kind: Kind
    call: Call

    async def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Return what comes of something."""
        ...

    async def let_pass(self, seconds: float) -> None:
        """Let it be so much later for Discord."""
        ...

    async def seen(self) -> list[tuple[str, bool]]:
        """Return what the answers say now, oldest first, and whether the caller alone sees them."""
        ...


KINDS = [Kind.TEXT, Kind.SLASH, Kind.PRESS]
WITH_TOKEN = [Kind.SLASH, Kind.PRESS]


class CallContract:
    """A subclass gives the `caller`, who asks as `kind` says."""

    @pytest.fixture
    def kind(self, request: pytest.FixtureRequest) -> Kind:
        """Return how somebody asks."""
        kind: Kind = request.param
        return kind

    @pytest.mark.parametrize("kind", KINDS, indirect=True)
    async def test_a_call_says_who_asked_for_what(self, caller: Caller) -> None:
        """And whether there is a token."""
        call = caller.call
        assert call.name
        assert call.person_id > 0
        assert call.channel_id > 0
        assert call.has_token is (caller.kind is not Kind.TEXT)

    @pytest.mark.parametrize("kind", [Kind.TEXT, Kind.SLASH], indirect=True)
    async def test_a_private_answer_is_private_where_there_is_a_token(self, caller: Caller) -> None:
        """A message's answer is for everybody."""
        await caller.run(caller.call.answer(said("a"), private=True))
        assert await caller.seen() == [("a", caller.kind is Kind.SLASH)]

    @pytest.mark.parametrize("kind", [Kind.TEXT, Kind.SLASH], indirect=True)
    async def test_an_answer_can_be_changed(self, caller: Caller) -> None:
        """It stays as private as it was."""
        sent = await caller.run(caller.call.answer(said("a"), private=True))
        await caller.run(sent.edit(said("b")))
        assert await caller.seen() == [("b", caller.kind is Kind.SLASH)]

    @pytest.mark.parametrize("kind", [Kind.SLASH], indirect=True)
    async def test_the_deferral_settles_how_private_the_answer_is(self, caller: Caller) -> None:
        """Whatever the answer asks for; the next is as it asks."""
        await caller.run(caller.call.defer(private=True))
        await caller.run(caller.call.answer(said("a"), private=False))
        await caller.run(caller.call.answer(said("b"), private=False))
        assert await caller.seen() == [("a", True), ("b", False)]

    @pytest.mark.parametrize("kind", [Kind.PRESS], indirect=True)
    async def test_a_press_is_answered_beside_its_message(self, caller: Caller) -> None:
        """As private as the answer asks."""
        await caller.run(caller.call.defer(private=True))
        await caller.run(caller.call.answer(said("a"), private=False))
        assert await caller.seen() == [("a", False)]

    @pytest.mark.parametrize("kind", WITH_TOKEN, indirect=True)
    async def test_after_three_seconds_a_call_is_forgotten(self, caller: Caller) -> None:
        """Neither a deferral nor an answer is taken then."""
        await caller.let_pass(3.2)
        with pytest.raises(UnansweredError, match="10062"):
            await caller.run(caller.call.defer(private=True))
        with pytest.raises(UnansweredError, match="10062"):
            await caller.run(caller.call.tell("a"))
        assert await caller.seen() == []

    @pytest.mark.parametrize("kind", WITH_TOKEN, indirect=True)
    async def test_a_deferred_call_has_a_quarter_of_an_hour(self, caller: Caller) -> None:
        """Then its token is void, for new answers and for changes."""
        await caller.run(caller.call.defer(private=True))
        await caller.let_pass(14 * 60)
        sent = await caller.run(caller.call.answer(said("a"), private=True))
        await caller.let_pass(61)
        with pytest.raises(UnansweredError, match="50027"):
            await caller.run(caller.call.answer(said("b"), private=True))
        with pytest.raises(UnansweredError, match="50027"):
            await caller.run(sent.edit(said("c")))
        assert await caller.seen() == [("a", True)]

    @pytest.mark.parametrize("kind", WITH_TOKEN, indirect=True)
    async def test_a_call_is_deferred_once(self, caller: Caller) -> None:
        """A second time is refused."""
        await caller.run(caller.call.defer(private=True))
        with pytest.raises(UnansweredError):
            await caller.run(caller.call.defer(private=True))

    @pytest.mark.parametrize("kind", KINDS, indirect=True)
    async def test_a_message_of_its_own_needs_no_token(self, caller: Caller) -> None:
        """Everybody sees it, and it can be changed."""
        await caller.let_pass(16 * 60)
        sent = await caller.run(caller.call.post(said("a")))
        await caller.run(sent.edit(said("b")))
        assert await caller.seen() == [("b", False)]

    @pytest.mark.parametrize("kind", [Kind.TEXT], indirect=True)
    async def test_a_message_may_be_answered_at_any_time(self, caller: Caller) -> None:
        """It has no token that could end."""
        await caller.let_pass(16 * 60)
        await caller.run(caller.call.defer(private=True))
        await caller.run(caller.call.tell("a"))
        assert await caller.seen() == [("a", False)]
