"""The extension in another bot, copied or installed, without this repository."""

import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from sandbox.servers import Server
from tests.e2e.trouble.harness import GUILD, Stage, variables

pytestmark = pytest.mark.slow

_ROOT = Path(__file__).parents[3]
_EXTENSION = _ROOT / "bot" / "exts" / "backend" / "sync"
_PINNED = _ROOT / "requirements" / "bot.txt"

# Loaded before it logs in, as discord.py's own examples do it, and with all of its defaults: here
# the guild's members are asked for at start-up by discord.py itself, too.
_OTHER_BOT = """
import asyncio, json, os, sys
import discord, yarl
from discord.ext import commands

discord.http.Route.BASE = os.environ["DISCORD_API_URL"]
discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(os.environ["DISCORD_GATEWAY_URL"])


async def finished(values):
    print(json.dumps({"event": "heard", "ending": values["ending"]}), flush=True)


async def main():
    async with commands.Bot("?", intents=discord.Intents.all()) as bot:
        await bot.load_extension(os.environ["EXTENSION"])
        bot.add_listener(finished, "on_sync_finished")
        await asyncio.sleep(0.1)
        ours = {name.split(".")[0] for name in sys.modules} & {"bot", "website", "sandbox"}
        print(json.dumps({"event": "loaded", "ours": sorted(ours)}), flush=True)
        await bot.start(os.environ["BOT_TOKEN"])


asyncio.run(main())
"""


class OtherBot(Server):
    """A plain discord.py bot in a directory of its own, which loads the extension by a name."""

    name: ClassVar[str] = "otherbot"

    def __init__(
        self,
        directory: Path,
        environment: Mapping[str, str],
        *,
        extension: str,
        python: str = sys.executable,
    ) -> None:
        super().__init__(directory)
        (directory / "otherbot.py").write_text(_OTHER_BOT)
        self._environment = {**environment, "EXTENSION": extension}
        self._python = python

    def command(self) -> Sequence[str]:
        return [self._python, "otherbot.py"]

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
    ids = await stage.guild(1500)
    await stage.control.fault("member_interval_s", 0)
    await stage.control.fault("rate_limit_repeats")
    given = variables(stage.discord, stage.website, site_url=stage.site.api_url)
    async with OtherBot(home, given, extension="plugins.guildmirror") as program:
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


async def test_it_syncs_where_it_is_installed(stage: Stage, tmp_path: Path) -> None:
    """From a wheel, into an environment that holds nothing else: what it needs comes with it."""
    home = tmp_path / "otherbot"
    home.mkdir()
    python = await asyncio.to_thread(_installed, tmp_path)
    await stage.guild()
    given = variables(stage.discord, stage.website, site_url=stage.site.api_url)
    async with OtherBot(home, given, extension="guild_sync", python=python) as program:
        end = await stage.run_end()
        in_step = stage.database.stored() == await stage.rows_due()
        heard = await program.wait_for_event("heard")

    assert program.events("loaded") == [{"event": "loaded", "ours": []}]
    assert heard["ending"] == "verified"
    assert (end["title"], in_step) == ("Sync of roles and users finished", True)


def _installed(directory: Path) -> str:
    """Build the wheel, install it into a new environment, and return that one's Python.

    What it needs is looked for by pip; which versions, as everywhere, say the requirements.
    """
    pins = re.findall(r"^[a-z][^ ]+==[^ ]+", _PINNED.read_text("utf-8"), re.MULTILINE)
    (directory / "pins.txt").write_text("\n".join(pins))
    wheels, place = directory / "wheels", directory / "environment"
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    offline = ("--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(_ROOT))
    subprocess.run([*pip, "wheel", *offline], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    python = str(place / "bin" / "python")
    (wheel,) = map(str, wheels.glob("guild_sync-*.whl"))
    into = ("--python", python, "install", "--constraint", str(directory / "pins.txt"))
    subprocess.run([*pip, *into, wheel], check=True)
    return python
