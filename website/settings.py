"""Django's settings. What an operator may choose is in `environment`."""

import os
from typing import Any, Final

import dj_database_url

from website import environment

# Whoever runs the site, or one of Django's commands, makes files for itself alone: the database,
# its journal, the key that signs sessions, and the directories they are in.
os.umask(0o077)

ENVIRONMENT: Final = environment.read(os.environ)

SECRET_KEY = ENVIRONMENT.secret_key
DEBUG = False
ALLOWED_HOSTS = list(ENVIRONMENT.allowed_hosts)
CSRF_TRUSTED_ORIGINS = list(ENVIRONMENT.csrf_trusted_origins)
CSRF_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"

MAX_REQUEST_BYTES: Final = ENVIRONMENT.max_request_bytes
MAX_REQUEST_ITEMS: Final = ENVIRONMENT.max_request_items
# How many requests of each kind may be under way; more hear 503 at once. A password takes a third
# of a second of one core to check, so they are checked one at a time; a browser asks for six files
# at once.
REQUESTS_AT_ONCE: Final = {"api": 6, "strangers": 2, "admin": 6, "login": 1}
# Each thread may keep a database connection. Two are always left for healthchecks, which need none:
# they must answer while every other thread waits for a slow database.
THREADS: Final = sum(REQUESTS_AT_ONCE.values()) + 2

INSTALLED_APPS = [
    "website.admin_site.Config",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "website.api",
]
MIDDLEWARE = [
    "website.metrics.Middleware",
    "website.middleware.RequestMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    *ENVIRONMENT.extra_middleware,
]
ROOT_URLCONF = "website.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["website.api.keys.KeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["website.api.keys.MayUseApi"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["website.api.parsers.PlainJSONParser"],
    "DEFAULT_METADATA_CLASS": None,  # OPTIONS is left out
    "URL_FORMAT_OVERRIDE": None,  # `format` is a query parameter like any other
    "EXCEPTION_HANDLER": "website.api.errors.answer",
}

LANGUAGE_CODE = "en-us"
USE_I18N = False  # errors are part of the contract: an Accept-Language must not translate them
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGGING_CONFIG = None  # `logs.configure` does it, before Django is set up

# A statement that is stuck must let go well before the 30 s after which the bot gives up.
STATEMENT_TIMEOUT_MS: Final = 25_000
LOCK_TIMEOUT_MS: Final = 10_000


def _database(url: str) -> dict[str, Any]:
    database: dict[str, Any] = {**dj_database_url.parse(url)}
    options: dict[str, Any] = database.setdefault("OPTIONS", {})
    # Django's own, which counts its statements besides.
    database["ENGINE"] = database["ENGINE"].replace("django.db", "django_prometheus.db", 1)
    database["CONN_MAX_AGE"] = 300
    # A page of rows fits in the client; a server-side cursor only adds round trips.
    database["DISABLE_SERVER_SIDE_CURSORS"] = True
    database["CONN_HEALTH_CHECKS"] = True  # a restarted PostgreSQL costs nobody an error
    if database["ENGINE"].endswith("sqlite3"):
        options |= {
            "timeout": LOCK_TIMEOUT_MS / 1_000,
            # A deferred transaction that turns into a write fails at once when another has
            # written meanwhile, however long the timeout; an immediate one waits its turn.
            "transaction_mode": "IMMEDIATE",
            # Readers don't wait for a writer.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        }
    else:
        limits = (
            f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c lock_timeout={LOCK_TIMEOUT_MS}"
            " -c idle_in_transaction_session_timeout=60000"
        )
        options["options"] = f"{limits} {options.get('options', '')}".strip()
        options.setdefault("connect_timeout", 5)
        # Else a chunk of rows is quoted into its statement here, and taken out of it there.
        options["server_side_binding"] = True
        options.setdefault("application_name", "website")
    return database


DATABASES = {"default": _database(ENVIRONMENT.database_url)}
