"""What is measured: sites, cases, sizes, and how often each; and what of it is chosen; pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby
from typing import Final

from sandbox.bench import plain, scenes, website

MAIN: Final = 80_000
QUICK: Final = 8_000
_LIVE: Final = 8_000
_LIVE_QUICK: Final = 1_000
_SMALL: Final = (8_000, MAIN)
_LARGE: Final = 400_000
_LARGEST: Final = 1_000_000
_OFTEN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A case on a site with so many members, measured so often, with the old way beside or not."""

    site: str
    case: str
    members: int
    repetitions: int = 1
    old: bool = True

    @property
    def name(self) -> str:
        """How it is chosen."""
        return f"{self.site}/{self.case}/{self.members}"

    @property
    def stage(self) -> tuple[str, int, str]:
        """What it shares servers with: a scenario has its own."""
        alone = self.case if self.case in scenes.CASES else ""
        return self.site, self.members, alone


def parts(*, quick: bool = False, members: int | None = None) -> list[Part]:
    """Return all parts in their order; `members` takes the place of each size, for a trial."""
    if members is not None:
        return [*_of_website(members, often=1), *_of_plain(members, often=1), *_scenes(members)]
    if quick:
        return _quick()
    return [
        *(part for size in _SMALL for part in _of_website(size, often=_OFTEN)),
        *_of_plain(MAIN, often=_OFTEN),
        *_scenes(_LIVE, probe=MAIN),
        # Once: a turn through all ways takes minutes.
        *_of_website(_LARGE, often=1),
        # The old way reads all pages by number, the same in each case: it is measured in one.
        *_of_website(_LARGEST, often=1, without=("new",), old=("removed",)),
    ]


def chosen(of: Iterable[Part], patterns: Sequence[str]) -> list[Part]:
    """Return those whose name one of the patterns fits, or begins; all without a pattern."""
    return [
        part
        for part in of
        if not patterns
        or any(fnmatchcase(f"{part.name}/", f"{one.rstrip('/')}/*") for one in patterns)
    ]


def by_stage(of: Iterable[Part]) -> list[list[Part]]:
    """Return the parts that share servers, together, in their order."""
    return [list(together) for _, together in groupby(of, key=lambda part: part.stage)]


def _of_website(
    members: int,
    *,
    often: int,
    without: Sequence[str] = (),
    old: Sequence[str] = website.CASES,
) -> list[Part]:
    once = {"idle": 1, "cache": 1}
    return [
        Part(
            site=website.SITE,
            case=case,
            members=members,
            repetitions=once.get(case, often),
            old=case in old,
        )
        for case in website.CASES
        if case not in without
    ]


def _of_plain(members: int, *, often: int) -> list[Part]:
    # All at once takes minutes by each way, and those who ask while it is busy are many at once.
    times = {"nothing": often, "few": often}
    return [
        Part(site=plain.SITE, case=case, members=members, repetitions=times.get(case, 1))
        for case in plain.CASES
    ]


def _scenes(members: int, *, probe: int | None = None) -> list[Part]:
    return [
        Part(site=website.SITE, case="live", members=members),
        Part(site=website.SITE, case="probe", members=probe or members),
    ]


def _quick() -> list[Part]:
    return [
        *_of_website(QUICK, often=1, without=("one-percent", "new")),
        *(part for part in _of_plain(QUICK, often=1) if part.case != "all"),
        Part(site=website.SITE, case="live", members=_LIVE_QUICK),
    ]
