# One file, two images:
#   docker build --target bot     -t guild-sync-bot .
#   docker build --target website -t guild-sync-website .
ARG PYTHON_IMAGE=python:3.13.7-slim-bookworm

FROM ${PYTHON_IMAGE} AS base
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PATH=/venv/bin:$PATH
# var/ exists in the image so that a fresh named volume on it belongs to this user too.
RUN groupadd --gid 10001 app \
 && useradd --uid 10001 --gid app --no-create-home --home-dir /app --shell /usr/sbin/nologin app \
 && install --directory --owner=app --group=app /app/var
WORKDIR /app

# Wheels only: the image has no compiler, and nothing of a package runs while it is installed.
FROM base AS bot-packages
RUN python -m venv /venv
COPY requirements/bot.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --disable-pip-version-check --only-binary=:all: --require-hashes \
    -r /tmp/requirements.txt

FROM base AS website-packages
RUN python -m venv /venv
COPY requirements/website.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --disable-pip-version-check --only-binary=:all: --require-hashes \
    -r /tmp/requirements.txt

FROM base AS website
COPY --from=website-packages /venv /venv
COPY website ./website
RUN python -m compileall -q website
USER app
ENV HOST=0.0.0.0 PORT=8000 METRICS_HOST=0.0.0.0 METRICS_PORT=9101
EXPOSE 8000 9101
VOLUME /app/var
# Ready, not merely alive: whoever waits for the site waits for its database.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/api/healthcheck', timeout=4)"]
CMD ["python", "-m", "website"]

# Last, so that a build without --target makes the bot.
FROM base AS bot
COPY --from=bot-packages /venv /venv
COPY bot ./bot
COPY deploy/bot_healthcheck.py deploy/bot.py ./deploy/
RUN python -m compileall -q bot
USER app
ENV METRICS_HOST=0.0.0.0 METRICS_PORT=9100
EXPOSE 9100
VOLUME /app/var
# Healthy is a bot whose loop turns, also one that waits for Discord: see bot/health.py.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "deploy/bot_healthcheck.py"]
# Holds where the bot ends with 78: what only an operator can change is no better after a restart.
CMD ["python", "deploy/bot.py"]
