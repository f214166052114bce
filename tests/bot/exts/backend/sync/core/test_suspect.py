"""Whether a role is to blame for the site's failing, or the site."""

from dataclasses import dataclass

import pytest

from bot.exts.backend.sync._core.policy.suspect import Suspect
from bot.exts.backend.sync._core.site.outcome import ProtocolError, Trouble

from .troubles import BLOCKED, BUSY, ERROR, LOST, UNREACHABLE

ODD = ProtocolError(status=405, reason="detail: No.")


@dataclass(frozen=True, slots=True)
class Course:
    """How it went: what was sent until the end, and whether it was found guilty."""

    sent: str
    guilty: bool


def course(*own: Trouble, witness: str, sends: int = 5) -> Course:
    """Send a role, which has these answers in turn, until it is found guilty or that often.

    `witness` has a "+" for each time that a witness passes.
    """
    suspect, sent = Suspect(), ""
    answers, verdicts = list(own), list(witness)
    while not suspect.guilty and sent.count("R") < sends:
        suspect = suspect.failed(answers.pop(0) if len(answers) > 1 else answers[0])
        sent += "R"
        if suspect.wants_witness:
            suspect = suspect.witnessed(passed=verdicts.pop(0) == "+" if verdicts else False)
            sent += "W"
    return Course(sent, suspect.guilty)


@pytest.mark.parametrize("trouble", [ERROR, LOST, ODD])
def test_a_role_is_to_blame_that_fails_between_two_that_pass(trouble: Trouble) -> None:
    """Three times in all, and the third time right behind a witness and before another."""
    assert course(trouble, witness="++") == Course("RRWRW", guilty=True)


def test_a_firewalls_page_speaks_for_itself() -> None:
    """It need not be seen a third time."""
    assert course(BLOCKED, witness="++") == Course("RWRW", guilty=True)


@pytest.mark.parametrize(
    ("witness", "sent"),
    [
        ("", "RRWRWRWRW"),
        ("-", "RRWRWRWRW"),
        ("+-", "RRWRWRWRW"),
        ("-+-", "RRWRWRWRW"),
        ("+--+", "RRWRWRWRW"),
    ],
)
def test_while_the_site_is_ill_no_role_is_to_blame(witness: str, sent: str) -> None:
    """A witness before it that fails is as good as one behind it."""
    assert course(ERROR, witness=witness) == Course(sent, guilty=False)


@pytest.mark.parametrize("trouble", [BUSY, UNREACHABLE])
def test_what_never_was_looked_at_blames_no_role(trouble: Trouble) -> None:
    """An overloaded site, and one that can't be reached."""
    assert course(trouble, witness="+++++") == Course("RRRRR", guilty=False)


def test_a_busy_site_between_the_two_withdraws_the_accusation() -> None:
    """Right behind a witness means right behind it."""
    assert course(ERROR, ERROR, BUSY, ERROR, witness="+-+-+", sends=4).guilty is False
