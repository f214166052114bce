import hashlib
from typing import Any

from django.db import migrations

# Of Django REST framework, which kept the keys as they are.
PLAIN_KEYS = "authtoken_token"


def let_the_bot_in(apps: Any, _schema_editor: Any) -> None:
    """Give the bot's account the permission that the API asks for from now on."""
    bot = apps.get_model("auth", "User").objects.filter(username="bot").first()
    if bot is None:
        return
    # Django makes permissions only after all migrations; it finds this one then, and leaves it.
    content_type, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label="api", model="key"
    )
    permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=content_type,
        codename="use_api",
        defaults={"name": "Can read and write the guild's copy through the API"},
    )
    bot.user_permissions.add(permission)


def hash_plain_keys(apps: Any, schema_editor: Any) -> None:
    """Keep the keys that are in use as hashes, and forget the keys themselves."""
    connection = schema_editor.connection
    if PLAIN_KEYS not in connection.introspection.table_names():
        return
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA secure_delete = ON")  # or they would stay in the file
        cursor.execute("SELECT key, user_id FROM authtoken_token")
        apps.get_model("api", "Key").objects.bulk_create(
            apps.get_model("api", "Key")(
                digest=hashlib.sha256(key.encode()).hexdigest(), account_id=account
            )
            for key, account in cursor.fetchall()
        )
        # The table stays, empty, for whoever goes back to the version before.
        cursor.execute("DELETE FROM authtoken_token")


class Migration(migrations.Migration):
    dependencies = [
        ("api", "0002_key"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.RunPython(let_the_bot_in, migrations.RunPython.noop),
        migrations.RunPython(hash_plain_keys, migrations.RunPython.noop),
    ]
