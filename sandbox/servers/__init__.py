"""The servers of a world: each an owned child that can be stopped, killed and started again."""

from sandbox.servers.bot import Bot
from sandbox.servers.discord import BOT_TOKEN, Discord
from sandbox.servers.plain_site import PlainSite
from sandbox.servers.postgres import Postgres
from sandbox.servers.process import Server, ServerError, until
from sandbox.servers.valkey import Valkey
from sandbox.servers.website import Website

__all__ = (
    "BOT_TOKEN",
    "Bot",
    "Discord",
    "PlainSite",
    "Postgres",
    "Server",
    "ServerError",
    "Valkey",
    "Website",
    "until",
)
