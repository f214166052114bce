"""The extension in another bot, under another path, without this repository."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from sandbox.servers import Server
from tests.e2e.trouble.harness import GUILD, Stage, variables

pytestmark = pytest.mark.slow

_EXTENSION = Path(__file__).parents[3] / "bot" / "exts" / "backend" / "sync"

# Loaded before it logs in, as discord.py's own examples do it, and with all of its defaults: here
# the guild's members are asked for at start-up by discord.py itself, too.
_OTHER_BOT = """
import asyncio, json, os, sys
import discord, yarl
from discord.ext import commands

discord.http.Route.BASE = os.environ["DISCORD_API_URL"]
discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(os.environ["DISCORD_GATEWAY_URL"])


async def main():
    async with commands.Bot("?", intents=discord.Intents.all()) as bot:
        await bot.load_extension("plugins.guildmirror")
        await asyncio.sleep(0.1)
        ours = {name.split(".")[0] for name in sys.modules} & {"bot", "website", "sandbox"}
        print(json.dumps({"event": "loaded", "ours": sorted(ours)}), flush=True)
        await bot.start(os.environ["BOT_TOKEN"])


asyncio.run(main())
"""


class OtherBot(Server):
    """A plain discord.py bot in a directory of its own, with the extension among its plugins."""

    name: ClassVar[str] = "otherbot"

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        super().__init__(directory)
        self._environment = environment

    def command(self) -> Sequence[str]:
        return [sys.executable, "otherbot.py"]

    def variables(self) -> Mapping[str, str]:
        # What programs of this repository get as PYTHONPATH, this one must do without.
        return {**self._environment, "PYTHONPATH": ""}

    def is_ready(self) -> bool:
        return bool(self.events("loaded", latest_start=True))


async def test_it_syncs_in_another_bot(stage: Stage, tmp_path: Path) -> None:
    """Copied elsewhere and loaded by name, it fills the site, verifies it, hears live events.

    That bot asks for the members first, so the extension's own request is refused and has to be
    made again. How long after is up to discord.py, which lets 2 s pass before it is ready: so the
    refusal depends on the order of the two requests, and not on an interval between them.
    """
    home = tmp_path / "otherbot"
    shutil.copytree(
        _EXTENSION,
        home / "plugins" / "guildmirror",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (home / "otherbot.py").write_text(_OTHER_BOT)
    ids = await stage.guild(1500)
    await stage.control.fault("member_interval_s", 0)
    await stage.control.fault("rate_limit_repeats")
    given = variables(stage.discord, stage.website, site_url=stage.site.api_url)
    async with OtherBot(home, given) as program:
        end = await stage.run_end()
        in_step = stage.database.stored() == await stage.rows_due()
        await stage.control.rename(GUILD, ids[3], "renamed")
        due = await stage.rows_due()
        await stage.until(lambda: stage.database.stored() == due)

    assert program.events("loaded") == [{"event": "loaded", "ours": []}]
    counters = await stage.control.counters()
    assert (counters["member_requests"], counters["rate_limited"]) == (3, 1)
    assert [end["title"], in_step] == ["Sync of roles and users finished", True]
    assert "**Verified** in" in end["description"]
