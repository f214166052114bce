"""A message of the local Discord as the page draws it: texts read, names looked up."""

from datetime import datetime
from typing import Any, Final

from sandbox.playground.markup import Names, Node, parse

Json = dict[str, Any]

_LOADING: Final = 1 << 7
_STYLES: Final = {1: "primary", 2: "secondary", 3: "success", 4: "danger", 5: "link"}
_PICTURES: Final = (".png", ".jpg", ".jpeg", ".gif", ".webp")


def message_view(told: Json, *, names: Names) -> Json:
    """Return what the page is told of a line of `DiscordControl.feed` that holds a message.

    `pings` names the roles and members whom it calls. Ids are text; times are Unix seconds.
    """
    message = told["message"]
    edited = message.get("edited_timestamp")
    interaction = told.get("interaction")
    return {
        "id": str(message["id"]),
        "channel": str(message["channel_id"]),
        "deleted": bool(told["deleted"]),
        "ephemeral": told["visible_to"] is not None,
        "thinking": bool(int(message.get("flags") or 0) & _LOADING),
        "author": _author(message["author"], names),
        "at": _seconds(message["timestamp"]),
        # A "thinking" that became an answer was not edited, as Discord has it.
        "edited": None if edited is None or interaction is not None else _seconds(edited),
        "answers": None if interaction is None else _author(interaction["user"], names)["name"],
        "content": parse(message.get("content") or "", names),
        "embeds": [_embed(embed, names) for embed in message.get("embeds") or ()],
        "rows": [_row(row) for row in message.get("components") or ()],
        "files": [_file(file) for file in message.get("attachments") or ()],
        "pings": _pings(message),
    }


def _author(user: Json, names: Names) -> Json:
    id_ = str(user["id"])
    name = names("user", int(id_)) or user.get("global_name") or user["username"]
    return {"id": id_, "name": name, "bot": bool(user.get("bot"))}


def _embed(embed: Json, names: Names) -> Json:
    colour = embed.get("color")
    return {
        "colour": None if colour is None else f"#{colour:06x}",
        "title": _text(embed.get("title"), names),
        "href": embed.get("url"),
        "description": _text(embed.get("description"), names),
        "author": (embed.get("author") or {}).get("name"),
        "fields": [
            {
                "name": _text(field["name"], names),
                "value": _text(field["value"], names),
                "inline": bool(field.get("inline")),
            }
            for field in embed.get("fields") or ()
        ],
        "footer": (embed.get("footer") or {}).get("text"),
        "at": _seconds(embed["timestamp"]) if embed.get("timestamp") else None,
        # "attachment://name" stands for a file of the same message, which the page finds by name.
        "image": (embed.get("image") or {}).get("url"),
    }


def _text(text: str | None, names: Names) -> list[Node]:
    return parse(text, names) if text else []


def _row(row: Json) -> list[Json]:
    return [
        {
            "label": part.get("label") or "",
            "style": _STYLES.get(part.get("style", 2), "secondary"),
            "custom_id": part.get("custom_id"),
            "href": part.get("url"),
            "disabled": bool(part.get("disabled")),
        }
        for part in row.get("components") or ()
    ]


def _file(file: Json) -> Json:
    name = file["filename"]
    return {
        "name": name,
        "bytes": file["size"],
        "url": f"/files/{file['id']}/{name}",
        "picture": name.lower().endswith(_PICTURES),
    }


def _pings(message: Json) -> list[str]:
    return [
        *(str(role) for role in message.get("mention_roles") or ()),
        *(str(user["id"]) for user in message.get("mentions") or ()),
        *(["everyone"] if message.get("mention_everyone") else ()),
    ]


def _seconds(moment: str) -> float:
    return round(datetime.fromisoformat(moment).timestamp(), 3)
