"""Make what tables are missing, then serve the plain site until SIGTERM.

    python -m sandbox.plain_site

| variable          | default             |                                                       |
|-------------------|---------------------|-------------------------------------------------------|
| `DATABASE_URL`    | required            | `postgresql://...`                                    |
| `API_TOKEN`       | none                | the one token that lets a bot in                      |
| `HOST`, `PORT`    | `127.0.0.1`, `8000` | 0: any free port, see the log                         |
| `COSTS`           | `1`                 | multiplies every cost; 0: only what the work takes    |
| `MEMORY_LIMIT_MB` | none                | beyond so much resident memory the process is killed  |

`python -m sandbox plain-site` does the same with a PostgreSQL of its own, and rows.
"""

import os
import signal
import sys
from types import FrameType
from typing import Final, NoReturn

import django

from sandbox.plain_site import memory_limit
from sandbox.plain_site.log import say

THREADS: Final = 4
MOST_RECEIVED_BYTES: Final = 50 * 2**20


def main(arguments: list[str]) -> int:
    """Serve; return the exit code."""
    if arguments or "DATABASE_URL" not in os.environ:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    os.environ["DJANGO_SETTINGS_MODULE"] = "sandbox.plain_site.settings"
    django.setup()
    _make_tables()
    if token := os.environ.get("API_TOKEN"):
        _let_in(token)
    _serve()
    return 0


def _make_tables() -> None:
    from django.core.management import call_command  # noqa: PLC0415  Django must be set up first

    call_command("migrate", run_syncdb=True, interactive=False, verbosity=0)


def _let_in(token: str) -> None:
    from django.contrib.auth.models import User  # noqa: PLC0415  Django must be set up first
    from rest_framework.authtoken.models import Token  # noqa: PLC0415

    bot, _ = User.objects.get_or_create(username="bot")
    Token.objects.filter(user=bot).delete()
    Token.objects.create(user=bot, key=token)


def _serve() -> None:
    from django.core.wsgi import get_wsgi_application  # noqa: PLC0415  Django must be set up first
    from django.db import connections  # noqa: PLC0415
    from waitress import create_server  # type: ignore[import-untyped]  # noqa: PLC0415

    connections.close_all()
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
