"""The site's settings, read from the environment once and checked before anything is touched.

| variable               | default                          |                                 |
|------------------------|----------------------------------|---------------------------------|
| `HOST`, `PORT`         | `127.0.0.1`, `8000`              | 0: any free port, see the log   |
| `DATABASE_URL`         | `sqlite:///var/website.sqlite3`  | or `postgresql://…`             |
| `SECRET_KEY`           | kept in `var/website-secret-key` | signs the admin's sessions      |
| `ALLOWED_HOSTS`        | `localhost,127.0.0.1,[::1]`      | comma-separated                 |
| `CSRF_TRUSTED_ORIGINS` | none                             | the admin's, behind a TLS proxy |
| `MAX_REQUEST_BYTES`    | 1 MiB                            | a larger body answers 413       |
| `MAX_REQUEST_ITEMS`    | 2,500                            | a longer list answers 413       |
| `ADMIN`                | `on`                             | `off` leaves the admin out      |
| `EXTRA_MIDDLEWARE`     | none                             | dotted names, comma-separated   |
| `METRICS_PORT`         | none: no metrics                 | 0: any free port, see the log   |
| `METRICS_HOST`         | `127.0.0.1`                      | where Prometheus reaches it     |
| `SENTRY_DSN`           | none: errors are only logged     | where errors are reported       |
| `SENTRY_ENVIRONMENT`   | `production`                     | and as which environment        |

`SECRET_KEY_FILE`, `DATABASE_URL_FILE` and `SENTRY_DSN_FILE` name files that hold those instead.

`EXTRA_MIDDLEWARE` names Django middleware of the deployment's own, such as for access rules or
metrics. It comes innermost, so the request's log line tells of what it answers too.
"""

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

STATE_DIRECTORY = Path("var")


class SettingError(Exception):
    """A setting is missing or malformed; the message starts with its name, never shows secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Every setting, checked."""

    host: str
    port: int
    database_url: str
    secret_key: str
    allowed_hosts: tuple[str, ...]
    csrf_trusted_origins: tuple[str, ...]
    max_request_bytes: int
    max_request_items: int
    admin: bool
    extra_middleware: tuple[str, ...]
    metrics_host: str
    metrics_port: int | None
    sentry_dsn: str
    sentry_environment: str

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must be told nowhere."""
        password = urlsplit(self.database_url).password or ""
        key = urlsplit(self.sentry_dsn).username or ""
        return (self.secret_key, self.database_url, password, unquote(password), key)


def read(environ: Mapping[str, str]) -> Environment:
    """Read every setting, or raise SettingError for the first that is wrong."""
    return Environment(
        host=environ.get("HOST") or "127.0.0.1",
        port=_whole_number(environ, "PORT", default=8000, least=0, most=65_535),
        database_url=_database_url(environ),
        secret_key=_secret(environ, "SECRET_KEY") or _kept_secret_key(),
        allowed_hosts=_names(environ, "ALLOWED_HOSTS") or ("localhost", "127.0.0.1", "[::1]"),
        csrf_trusted_origins=_origins(environ, "CSRF_TRUSTED_ORIGINS"),
        max_request_bytes=_whole_number(
            environ, "MAX_REQUEST_BYTES", default=1_048_576, least=1_024, most=2**31
        ),
        max_request_items=_whole_number(
            environ, "MAX_REQUEST_ITEMS", default=2_500, least=1, most=10_000_000
        ),
        admin=_switch(environ, "ADMIN", default=True),
        extra_middleware=_dotted_names(environ, "EXTRA_MIDDLEWARE"),
        metrics_host=environ.get("METRICS_HOST") or "127.0.0.1",
        metrics_port=_metrics_port(environ),
        sentry_dsn=_sentry_dsn(environ),
        sentry_environment=environ.get("SENTRY_ENVIRONMENT") or "production",
    )


def _secret(environ: Mapping[str, str], name: str) -> str:
    """Return a secret, from the file that `<name>_FILE` names if that is given instead."""
    value, path = environ.get(name, "").strip(), environ.get(f"{name}_FILE", "").strip()
    if not path:
        return value
    if value:
        raise SettingError(f"{name}: is set, and {name}_FILE too")
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or "not a text file"
        raise SettingError(f"{name}_FILE: {path} cannot be read ({reason})") from exc


def _whole_number(
    environ: Mapping[str, str], name: str, *, default: int, least: int, most: int
) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise SettingError(f"{name}: {text[:40]!r} is not a whole number from {least} to {most}")
    return int(text)


def _metrics_port(environ: Mapping[str, str]) -> int | None:
    if not environ.get("METRICS_PORT", "").strip():
        return None
    return _whole_number(environ, "METRICS_PORT", default=0, least=0, most=65_535)


def _switch(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = environ.get(name, "").strip().lower()
    switches = {"": default, "on": True, "true": True, "off": False, "false": False}
    if text not in switches:
        raise SettingError(f"{name}: {text[:40]!r} is neither on nor off")
    return switches[text]


def _names(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in environ.get(name, "").split(",") if part.strip())


def _dotted_names(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    names = _names(environ, name)
    for dotted in names:
        parts = dotted.split(".")
        if len(parts) < 2 or not all(part.isidentifier() for part in parts):  # noqa: PLR2004  a module and a name
            raise SettingError(f"{name}: {dotted[:80]!r} is not a dotted name like module.Class")
    return names


def _origins(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    origins = _names(environ, name)
    for origin in origins:
        if not origin.startswith(("https://", "http://")):
            raise SettingError(f"{name}: {origin[:80]!r} must begin with https:// or http://")
    return origins


def _database_url(environ: Mapping[str, str]) -> str:
    url = _secret(environ, "DATABASE_URL") or f"sqlite:///{STATE_DIRECTORY}/website.sqlite3"
    try:
        parts = urlsplit(url)
        _ = parts.port  # read here because it is only checked when it is read
    except ValueError as exc:
        raise SettingError(f"DATABASE_URL: is not a URL ({exc})") from None
    if parts.scheme not in {"sqlite", "postgres", "postgresql"}:
        raise SettingError(
            f"DATABASE_URL: must begin with sqlite:/// or postgresql://, not {parts.scheme[:20]!r}"
        )
    if parts.path in {"", "/"}:
        raise SettingError("DATABASE_URL: names no database")
    if parts.scheme == "sqlite" and (parts.netloc or parts.path == "/:memory:"):
        # Each thread would have a database of its own.
        raise SettingError("DATABASE_URL: must name a file, as sqlite:///var/website.sqlite3 does")
    return url


def _sentry_dsn(environ: Mapping[str, str]) -> str:
    dsn = _secret(environ, "SENTRY_DSN")
    if dsn and not re.fullmatch(r"https?://[^@\s/]+@[^@\s/]+/\S+", dsn):
        raise SettingError("SENTRY_DSN: must look like https://key@host/number")
    return dsn


def _kept_secret_key() -> str:
    """Return the key that the first start made. Whoever loses it only has to log in again."""
    path = STATE_DIRECTORY / "website-secret-key"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            # Written aside and linked, so that two first starts agree on one whole key.
            # Under a name that nobody can have put a link to elsewhere at.
            draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
            draft.touch(mode=0o600, exist_ok=False)
            draft.write_text(secrets.token_urlsafe(50))
            try:
                os.link(draft, path)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        key = path.read_text().strip()
    except OSError as exc:
        raise SettingError(
            f"SECRET_KEY: is not set, and none can be kept in {path} ({exc.strerror})"
        ) from exc
    if not key:
        raise SettingError(f"SECRET_KEY: is not set, and the one kept in {path} is empty")
    return key
