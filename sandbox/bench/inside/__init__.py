"""What runs inside the programs that are measured, or beside them as a process of its own.

Here are its names only: a program must not load what is for another one.
"""

from typing import Final

# Extensions of the bot, and the middleware of the website.
BOT_WATCH: Final = f"{__name__}.bot_watch"
MEMBERS_ONLY: Final = f"{__name__}.members_only"
SAMPLER: Final = f"{__name__}.sampler"
SITE_WATCH: Final = f"{__name__}.site_watch.Bytes"
SITE_SAMPLER: Final = f"{__name__}.sampler.Sampled"
# What they say in the logs.
STALLED: Final = "bench.stalled"
CACHED: Final = "bench.members.cached"
BYTES: Final = "bench.bytes"
SAMPLES: Final = "bench.samples"
FOREGROUND_STARTED: Final = "bench.foreground.started"
FOREGROUND_ANSWERED: Final = "bench.foreground.answered"

TICK_S: Final = 0.010  # of the bot's loop, part of each gap that is told
SAMPLE_S: Final = 0.005
