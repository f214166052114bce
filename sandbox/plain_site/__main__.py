"""Run the plain site, or print the key that lets a bot in.

    python -m sandbox.plain_site          make missing tables, then serve until SIGTERM
    python -m sandbox.plain_site token    make missing tables, then print the bot's token

| variable          | default     |                                                              |
|-------------------|-------------|--------------------------------------------------------------|
| `DATABASE_URL`    | required    | `postgresql://...`                                           |
| `HOST`, `PORT`    | `127.0.0.1`, `8000` | 0: any free port, see the log                        |
| `COSTS`           | `1`         | what every cost is multiplied by; 0: only what the work takes |
| `MEMORY_LIMIT_MB` | none        | how much may be resident; beyond it the process is killed    |
"""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import django

THREADS = 4
MOST_RECEIVED_BYTES = 50 * 2**20


def main(arguments: list[str]) -> int:
    """Do what the arguments ask; return the exit code."""
    if arguments not in ([], ["token"]) or "DATABASE_URL" not in os.environ:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    os.environ["DJANGO_SETTINGS_MODULE"] = "sandbox.plain_site.settings"
    django.setup()
    _make_tables()
    if arguments:
        _print_token()
    else:
        _serve()
    return 0


def _make_tables() -> None:
    from django.core.management import call_command  # noqa: PLC0415  Django must be set up first
    from django.db import connections  # noqa: PLC0415

    call_command("migrate", run_syncdb=True, interactive=False, verbosity=0)
    connections.close_all()


def _print_token() -> None:
    from django.contrib.auth.models import User  # noqa: PLC0415  Django must be set up first
    from rest_framework.authtoken.models import Token  # noqa: PLC0415

    bot, _ = User.objects.get_or_create(username="bot")
    token, _ = Token.objects.get_or_create(user=bot)
    sys.stdout.write(f"{token.key}\n")


def _serve() -> None:
    from django.core.wsgi import get_wsgi_application  # noqa: PLC0415  Django must be set up first
    from waitress import create_server  # type: ignore[import-untyped]  # noqa: PLC0415

    from sandbox.plain_site import memory_limit  # noqa: PLC0415
    from sandbox.plain_site.middleware import say  # noqa: PLC0415

    server = create_server(
        get_wsgi_application(),
        host=os.environ.get("HOST") or "127.0.0.1",
        port=int(os.environ.get("PORT") or 8000),
        threads=THREADS,
        max_request_body_size=MOST_RECEIVED_BYTES,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    if limit_mb := os.environ.get("MEMORY_LIMIT_MB"):
        memory_limit.keep(int(limit_mb))
    say("website.started", host=server.effective_host, port=int(server.effective_port))
    server.run()


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit  # Waitress's loop ends with it, and then its threads


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
