"""What is said to people about the words of a command that it does not take."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from .notice import Notice, Tone, code

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SHOWN: Final = 80
# What other tools call it.
_MEANT: Final = {
    "abort": "cancel",
    "check": "plan",
    "compare": "plan",
    "diff": "plan",
    "dry": "plan",
    "dryrun": "plan",
    "dry-run": "plan",
    "--dry-run": "plan",
    "info": "status",
    "log": "history",
    "member": "user",
    "preview": "plan",
    "runs": "history",
    "start": "all",
    "stop": "cancel",
    "unpause": "resume",
}


# By what somebody wants to do, the most frequent first.
_HELP: Final = (
    (
        "See how things stand",
        (
            ("status", "the sync that is running, or the last one, and what holds others back"),
            ("history [run]", "the latest runs, or the details of one"),
            ("breaker", "whether writes are allowed, and why not"),
            ("parked", "the rows that the site rejects"),
            ("audit", "who ordered what, and when"),
        ),
    ),
    (
        "Sync now",
        (
            ("all [force]", "roles and members; `force` tries though the breaker is open"),
            ("users [force]", "members only"),
            ("roles [force]", "roles only"),
            ("user <member>", "one member, field by field"),
            ("plan", "only show what a sync would change"),
            ("retry", "try the parked rows again"),
            ("forget <id>", "forget what is kept about somebody who has left"),
        ),
    ),
    (
        "Slow down or stop",
        (
            ("set target <seconds>", "how long a request should take, for the run in progress"),
            ("set max-items <rows>", "the most rows per request, for the run in progress"),
            ("cancel", "stop the run in progress"),
            ("pause", "write nothing until `resume`"),
            ("resume", "end the pause"),
            ("breaker open [reason]", "write nothing until the breaker is reset"),
            ("breaker reset", "allow writes again"),
        ),
    ),
    (
        "Decide",
        (
            ("approve [list]", "let withheld departures or role deletions be written"),
            ("reject [list]", "keep them from being written"),
        ),
    ),
)


def overview() -> Notice:
    """List the commands, by what somebody wants to do."""
    return Notice(
        title="What `sync` can do",
        description="For administrators and the configured roles, as text or as slash commands.",
        tone=Tone.RUNNING,
        fields=tuple(
            (aim, "\n".join(f"`!sync {command}` {text}" for command, text in commands))
            for aim, commands in _HELP
        ),
    )


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return which of the known words was probably meant."""
    known = [*known]
    word = word.lower()
    meant = _MEANT.get(word)
    if meant in known:
        return meant
    return next(iter(get_close_matches(word, known, n=1)), None)


def no_command(word: str, *, group: str, known: Sequence[str]) -> str:
    """Say that a group, like `sync breaker`, has no such command."""
    text = f"There is no {_typed(f'!{group} {word}')}."
    near = nearest(word, known)
    if near is not None:
        return f"{text} Did you mean `!{group} {near}`?"
    return f"{text} There are: {', '.join(f'`{name}`' for name in known)}."


def surplus(word: str, *, command: str, usage: str, beside: Sequence[str]) -> str:
    """Say that a command takes no such word; `beside` are the commands that stand beside it."""
    text = f"`!{command}` does not take {_typed(word)}."
    group, _, own = command.rpartition(" ")
    near = nearest(word, (name for name in beside if name != own))
    if near is not None:
        text += f" Did you mean `!{group} {near}`?"
    return f"{text} {_usage(usage)}"


def missing(name: str, *, usage: str) -> str:
    """Say that an argument is missing."""
    return f"`{name}` is missing. {_usage(usage)}"


def wrong(name: str, given: str | None, *, due: str, usage: str) -> str:
    """Say that an argument can't be what was given for it; `due` says what it must be."""
    what = "that" if given is None else _typed(given)
    return f"`{name}` can't be {what}: it must be {due}. {_usage(usage)}"


def unpaired(*, usage: str) -> str:
    """Say that a quotation mark has no counterpart."""
    return f"The quotation marks don't match up. {_usage(usage)}"


def fault(reference: str) -> str:
    """Say that it was a fault of ours, under which reference it was logged."""
    return (
        f"That failed because of an error in the bot, not in what you typed. It was logged and "
        f"reported; its reference is `{reference}`."
    )


def _usage(usage: str) -> str:
    return f"Usage: {code(f'!{usage}')}"


def _typed(text: str) -> str:
    return code(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…")
