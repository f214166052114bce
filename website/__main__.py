"""Run the site, or make a key for it.

    python -m website          migrate, then serve until SIGTERM
    python -m website token    migrate, then make another API key and print it: 40 hexadecimal
                               digits. Only a hash is kept, so it can't be printed again.
    python -m website revoke   end every API key but the newest

The settings are environment variables (see `website.environment`). For Django's own commands, such
as making an account for the admin: DJANGO_SETTINGS_MODULE=website.settings python -m django …
"""

import os
import sys

import django

from website import logs, memory
from website.environment import SettingError


def main(arguments: list[str]) -> int:
    """Do what the arguments ask; return the exit code."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "website.settings"
    match arguments:
        case []:
            run, log_stream = _serve, sys.stdout
        case ["token"]:
            run, log_stream = _token, sys.stderr  # stdout is for the key alone
        case ["revoke"]:
            run, log_stream = _revoke, sys.stderr
        case _:
            sys.stderr.write(f"{__doc__}\n")
            return 2
    logs.configure(log_stream)
    try:
        run()
    except SettingError as exc:
        sys.stderr.write(f"website: {exc}\n")
        return 1
    return 0


def _serve() -> None:
    memory.give_back_large_blocks()
    django.setup()
    # Imported here since Django must be set up first.
    from django.conf import settings  # noqa: PLC0415
    from django.db import connections  # noqa: PLC0415

    from website import database, privacy, reporting, server  # noqa: PLC0415
    from website.api import keys  # noqa: PLC0415

    environment = settings.ENVIRONMENT
    privacy.hide(environment.secrets)
    reporting.configure(environment.sentry_dsn, environment.sentry_environment)
    database.migrate()
    keys.remember_all()
    connections.close_all()
    server.serve(host=environment.host, port=environment.port)
    reporting.flush()


def _token() -> None:
    django.setup()
    # Imported here since Django must be set up first.
    from django.contrib.auth.models import User  # noqa: PLC0415
    from django.db import connections  # noqa: PLC0415

    from website import database  # noqa: PLC0415
    from website.api import keys  # noqa: PLC0415

    database.migrate()
    bot, is_new = User.objects.get_or_create(username="bot")
    if is_new:
        bot.set_unusable_password()
        bot.save()
    bot.user_permissions.add(keys.permission())
    key = keys.make(bot)
    connections.close_all()
    sys.stdout.write(f"{key}\n")


def _revoke() -> None:
    django.setup()
    # Imported here since Django must be set up first.
    from django.db import connections  # noqa: PLC0415

    from website import database  # noqa: PLC0415
    from website.api import keys  # noqa: PLC0415

    database.migrate()
    ended = keys.end_all_but_the_newest()
    connections.close_all()
    sys.stdout.write(f"{ended} keys ended; the newest is still good\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
