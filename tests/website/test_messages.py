"""What a site of Django's says about a row is told, whatever of its messages it is."""

import json
import os
import subprocess
import sys
from pathlib import Path

from bot.exts.backend.sync._core.model.redaction import without_values

# In a process of its own, for Django's settings are the whole process'.
_MESSAGES = r"""
import json, re
from django.conf import settings
settings.configure(USE_I18N=False)
import django
django.setup()
from django.db.models import fields as model_fields
from rest_framework import exceptions, fields, relations, serializers, validators

holders = [one for module in (fields, relations, serializers, model_fields)
           for one in vars(module).values()]
by_code = [getattr(one, "default_error_messages", None) for one in holders]
texts = {str(text) for one in by_code if isinstance(one, dict) for text in one.values()}
texts |= {str(one.default_detail) for one in vars(exceptions).values()
          if isinstance(one, type) and hasattr(one, "default_detail")}
texts |= {str(one.message) for one in vars(validators).values()
          if isinstance(one, type) and hasattr(one, "message")}
print(json.dumps(sorted(re.sub(r"%\(\w+\)[rsd]|\{[^}]*\}", "7", text) for text in texts)))
"""


def test_every_message_of_the_frameworks_is_repeated() -> None:
    """Of Django and its REST framework, with a number for each value that they would name."""
    printed = subprocess.run(
        [sys.executable, "-c", _MESSAGES],
        env={"PATH": os.environ["PATH"]},
        cwd=Path(__file__).parents[2],
        check=True,
        capture_output=True,
        timeout=60,
    ).stdout
    texts = json.loads(printed)

    assert len(texts) > 80
    assert [text for text in texts if without_values(text) != text] == []
