"""What is answered to whoever asks or orders something."""

import pytest

from bot.exts.backend.sync._core.messages.notice import Notice, Tone
from bot.exts.backend.sync._core.messages.reply import Reply, said


@pytest.mark.parametrize("done", [False, True])
def test_a_sentence_makes_an_answer(*, done: bool) -> None:
    """Without a file, and an order that was carried out only where it says so."""
    notice = Notice(title="Sync", description="Nothing waits.", tone=Tone.RUNNING)
    assert said("Nothing waits.", done=done) == Reply(notice=notice, done=done, file=None)


def test_an_answer_is_no_order_unless_it_says_so() -> None:
    """What only tells something is for its caller."""
    assert not said("Nothing waits.").done
