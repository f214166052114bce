"""Where the rest of the time goes: one run of ours, with samples of what bot and website are at."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from sandbox.bench import bots
from sandbox.bench.inside import BOT_WATCH, SAMPLE_S, SAMPLER, SAMPLES, SITE_SAMPLER, SITE_WATCH
from sandbox.bench.plan import Part
from sandbox.bench.record import Record, Tally
from sandbox.bench.results import Key
from sandbox.bench.sides import Taken
from sandbox.bench.website import SITE, Stage

WAY: Final = "profile"
_SHOWN: Final = 12
_CASES: Final = ("removed", "nothing", "one-percent", "new")
_BOT: Final = {"BOT_EXTENSIONS": f"{bots.ERRORS},{BOT_WATCH},{SAMPLER},{bots.SYNC}"}
_SITE: Final = {"EXTRA_MIDDLEWARE": f"{SITE_WATCH},{SITE_SAMPLER}"}


def can(part: Part) -> bool:
    """Say whether a run of ours in this part can be looked into."""
    return part.site == SITE and part.case in _CASES


async def measure(part: Part, directory: Path, record: Record, *, files: Path) -> None:
    """Let our way bring one case in step, and keep the seconds of each module of both programs.

    While the database works the website is in `psycopg`.
    """
    async with Stage(
        directory, record, members=part.members, files=files, settings=_BOT, site_settings=_SITE
    ) as stage:
        run, bot, site = await stage.ours(part.case)
    assert run.began is not None  # noqa: S101  of ours it is known
    assert run.ended is not None  # noqa: S101  as above
    span = run.began.timestamp(), run.ended.timestamp()
    figures = {
        f"{name} {module}": seconds
        for name, events in (("bot", bot.events(SAMPLES)), ("website", site.events(SAMPLES)))
        for module, seconds in by_module(events, since_s=span[0], until_s=span[1]).items()
    }
    tally = Tally()
    kept = ("wall_s", "bot_cpu_s", "site_cpu_s", "database_cpu_s")
    tally.add(Taken(figures={**figures, **{name: run.figures[name] for name in kept}}))
    record.keep(Key(part.site, part.case, part.members, WAY), tally)
    for name, seconds in figures.items():
        record.say(f"    {seconds:6.2f} s  {name}")


def by_module(
    events: Iterable[Mapping[str, Any]], *, since_s: float, until_s: float
) -> dict[str, float]:
    """Return for how many seconds of that time threads were in each module, the most first.

    Those beyond a dozen are "others".
    """
    seen = Counter[str]()
    for event in events:
        if since_s <= event["at_s"] <= until_s:
            seen.update(event["seen"])
    most = seen.most_common(_SHOWN)
    rest = seen.total() - sum(count for _, count in most)
    return {module: count * SAMPLE_S for module, count in [*most, ("others", rest)] if count}
