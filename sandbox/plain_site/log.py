"""The site's log: one JSON object a line."""

import json
import sys


def say(event: str, **fields: object) -> None:
    """Write a line, at once and whole, whatever ends the process."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()
