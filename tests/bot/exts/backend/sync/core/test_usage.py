"""What is said of words that no command takes."""

import pytest

from bot.exts.backend.sync._core.messages import usage

COMMANDS = ("all", "breaker", "cancel", "pause", "plan", "resume", "status", "user", "users")


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("resmue", "resume"),
        ("PAUSE", "pause"),
        ("dry-run", "plan"),
        ("--dry-run", "plan"),
        ("stop", "cancel"),
        ("log", None),  # there is no history among these
        ("xyz", None),
        ("", None),
    ],
)
def test_the_nearest_command_is_offered(word: str, near: str | None) -> None:
    """By its letters, or by what other tools call it; none where that would be a guess."""
    assert usage.nearest(word, COMMANDS) == near


def test_what_a_group_does_not_have_is_named() -> None:
    """With what was probably meant, or else with all that there is."""
    assert usage.no_command("opn", group="sync breaker", known=["open", "reset"]) == (
        "There is no `!sync breaker opn`. Did you mean `!sync breaker open`?"
    )
    assert usage.no_command("x`y", group="sync breaker", known=["open", "reset"]) == (
        "There is no `!sync breaker x'y`. There are: `open`, `reset`."
    )


def test_a_surplus_word_is_named_with_what_stands_beside_the_command() -> None:
    """The command itself is not offered in its own place."""
    assert usage.surplus("plam", command="sync all", usage="sync all [force]", beside=COMMANDS) == (
        "`!sync all` does not take `plam`. Did you mean `!sync plan`? Usage: `!sync all [force]`"
    )
    assert usage.surplus("al", command="sync all", usage="sync all [force]", beside=COMMANDS) == (
        "`!sync all` does not take `al`. Usage: `!sync all [force]`"
    )


def test_an_argument_is_named_with_what_it_must_be() -> None:
    """Whether it is missing, wrong, too long to be shown, or not to be seen."""
    assert usage.missing("value", usage="sync set <name> <value>") == (
        "`value` is missing. Usage: `!sync set <name> <value>`"
    )
    assert usage.wrong("value", "x" * 200, due="a number", usage="sync set") == (
        f"`value` can't be `{'x' * 79}…`: it must be a number. Usage: `!sync set`"
    )
    assert usage.wrong("value", None, due="a number", usage="sync set") == (
        "`value` can't be that: it must be a number. Usage: `!sync set`"
    )
    assert usage.unpaired(usage="sync user <member>") == (
        "The quotation marks don't match up. Usage: `!sync user <member>`"
    )


def test_a_fault_of_ours_says_so_and_how_to_find_it() -> None:
    """Nobody is told to look at what they typed."""
    assert usage.fault("1a2b3c4d") == (
        "That failed because of an error in the bot, not in what you typed. It was logged and "
        "reported; its reference is `1a2b3c4d`."
    )
