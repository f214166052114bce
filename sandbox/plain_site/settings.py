"""Django's settings, from the variables that `sandbox.plain_site.__main__` names."""

import os
import secrets
from typing import Final

import dj_database_url

SECRET_KEY = secrets.token_hex(32)  # nothing that outlives the process is signed with it
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "rest_framework",
    "rest_framework.authtoken",
    "sandbox.plain_site",
]
# Tables are made from the models as they are: this site has no older version to come from.
MIGRATION_MODULES = {name.rpartition(".")[2]: None for name in INSTALLED_APPS}
MIDDLEWARE = ["sandbox.plain_site.middleware.OneAtATime"]
ROOT_URLCONF = "sandbox.plain_site.urls"
DATABASES = {
    # Kept open: to connect anew for each request, as Django does by itself, is in the costs.
    "default": dj_database_url.parse(os.environ["DATABASE_URL"], conn_max_age=None)
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# The real site takes whatever Waitress lets in: its version of DRF asked for no limit.
DATA_UPLOAD_MAX_MEMORY_SIZE = None
USE_I18N = False
USE_TZ = True
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "loggers": {
        # A 500 with its traceback; of the 4xx the request's own line tells.
        "django.request": {"handlers": ["stderr"], "level": "ERROR", "propagate": False},
        # Waitress warns of each request that waits for a thread.
        "waitress.queue": {"level": "ERROR"},
    },
}

# What each cost is multiplied by: 0 leaves only what the work itself takes.
COSTS: Final = float(os.environ.get("COSTS") or 1)
