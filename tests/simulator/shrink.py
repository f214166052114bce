"""Make the story of a finding short: leave out whatever it does without."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from tests.simulator.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.simulator.rules import Broken
    from tests.simulator.story import Story

_T = TypeVar("_T")


def play_out(story: Story) -> Broken | None:
    """Play a story; return what it breaks, if it breaks anything."""
    return World(story).play()


def shrink(
    story: Story,
    rule: str,
    *,
    tries: int = 1500,
    play: Callable[[Story], Broken | None] = play_out,
) -> Story:
    """Return a story with no more in it than it takes to break this rule."""
    left = tries

    def breaks(one: Story) -> bool:
        nonlocal left
        left -= 1
        found = play(one) if left >= 0 else None
        return found is not None and found.rule == rule

    changed = True
    while changed and left > 0:
        changed = False
        for shorter in _simpler(story):
            if left <= 0:
                break
            if breaks(shorter):
                story, changed = shorter, True
        moves = _without(
            story.moves,
            lambda kept: breaks(replace(story, moves=tuple(kept))),  # noqa: B023 - called in this turn only
        )
        if len(moves) < len(story.moves):
            story, changed = replace(story, moves=tuple(moves)), True
        for name in ("fates", "reads", "delays"):
            whole = getattr(story, name)
            keys = _without(tuple(whole), _some_break(story, name, breaks))
            if len(keys) < len(whole):
                story, changed = _only(story, name, keys), True
    return story


def _only(story: Story, name: str, keys: Sequence[int]) -> Story:
    whole = getattr(story, name)
    kept: dict[str, Any] = {name: {key: whole[key] for key in keys}}
    return replace(story, **kept)


def _some_break(
    story: Story, name: str, breaks: Callable[[Story], bool]
) -> Callable[[Sequence[int]], bool]:
    return lambda keys: breaks(_only(story, name, keys))


def _simpler(story: Story) -> Iterator[Story]:
    simpler: tuple[dict[str, Any], ...] = (
        {"fates": {}},
        {"reads": {}},
        {"delays": {}},
        {"hurry": 0.0},
        {"schedule": 0},
        {"by_id": False},
        {"digests": False},
        {"lease_s": None},
        {"cached": True},
        {"stored": True},
    )
    for changes in simpler:
        one = replace(story, **changes)
        if one != story:
            yield one
    for id_ in story.members if len(story.members) > 1 else ():
        yield replace(story, members=tuple(i for i in story.members if i != id_))


def _without(items: Sequence[_T], breaks: Callable[[Sequence[_T]], bool]) -> Sequence[_T]:
    """Leave out whatever can be, in pieces that get smaller (Zeller's delta debugging)."""
    size = max(1, len(items) // 2)
    while True:
        start = 0
        while start < len(items):
            rest = [*items[:start], *items[start + size :]]
            if len(rest) < len(items) and breaks(rest):
                items = rest
            else:
                start += size
        if size == 1:
            return items
        size = max(1, size // 2)
