"""A process that withholds departures."""

from typing import Any

from tests.bot.exts.backend.sync.orchestration.conftest import Stage
from tests.fakes.process import Process

GONE = range(1000, 1600)


async def withholding(stage: Stage, **settings: object) -> Process:
    """Start a process whose site has 600 rows of people whom the guild does not have."""
    stage.guild(10, 11)
    for id_ in GONE:
        stage.rows.users[id_] = {**stage.rows.users[10], "id": id_, "name": f"gone{id_}"}
    stage.rows.users[11]["name"] = "wrong"
    sizes: dict[str, Any] = {
        "sync_first_items": 100,
        "sync_floor_items": 10,
        "sync_max_items": 1000,
        "sync_page_items": 500,
    }
    return await stage.start(60, **sizes | settings)
