"""Message bodies: read from requests, checked against Discord's limits, mentions resolved.

Source: Discord's documentation of messages and embeds.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from aiohttp import web

    from .state import Guild, State

Json = dict[str, Any]

_EMPTY: Final[Json] = {"content": "", "embeds": [], "components": [], "flags": 0, "attachments": []}
_EMBED_LIMITS: Final = {"title": 256, "description": 4096}
_MAX_FIELDS, _MAX_NAME, _MAX_VALUE, _MAX_FOOTER, _MAX_EMBED = 25, 256, 1024, 2048, 6000
_MAX_CONTENT, _MAX_EMBEDS, _MAX_ROWS, _MAX_BUTTONS = 2000, 10, 5, 5
_MAX_LABEL, _MAX_CUSTOM_ID = 80, 100
_ROLE: Final = re.compile(r"<@&(\d+)>")
_USER: Final = re.compile(r"<@!?(\d+)>")


async def read(request: web.Request, state: State) -> Json:
    """Return the JSON body of a request; its files become attachments that can be fetched."""
    if not request.content_type.startswith("multipart/"):
        body = await request.json() if request.can_read_body else {}
        return body if isinstance(body, dict) else {"list": body}
    body = {}
    attachments = []
    async for part in await request.multipart():
        name = getattr(part, "name", None)
        if name == "payload_json":
            body = json.loads(await part.text())  # type: ignore[union-attr] # no nested multipart
        elif name is not None and name.startswith("files["):
            content = bytes(await part.read())  # type: ignore[union-attr] # as above
            id_ = state.snowflake()
            state.files[id_] = content
            filename = getattr(part, "filename", None) or "file"
            url = f"{request.url.origin()}/files/{id_}/{filename}"
            attachments.append(
                {
                    "id": str(id_),
                    "filename": filename,
                    "size": len(content),
                    "url": url,
                    "proxy_url": url,
                }
            )
    target = body["data"] if isinstance(body.get("data"), dict) else body
    if attachments:
        target["_uploaded"] = attachments
    return body


def keep(body: Json, before: Json | None = None) -> Json:
    """Return the parts of a body that make a message, or that change the message `before`.

    A null empties its part. `attachments` lists those that stay, beside what is uploaded.
    """
    kept = {name: body[name] or empty for name, empty in _EMPTY.items() if name in body}
    had: list[Json] = (before or {}).get("attachments", [])
    if "attachments" in kept:
        stay = {str(each.get("id")) for each in kept["attachments"]}
        kept["attachments"] = [each for each in had if each["id"] in stay]
    if "_uploaded" in body:
        others = kept.get("attachments", had)
        kept["attachments"] = [*others, *body["_uploaded"]]
    return kept


def refusal(body: Json) -> Json | None:
    """Return Discord's "Invalid Form Body" for a body beyond the limits, or None."""
    errors: Json = {}
    if len(body.get("content") or "") > _MAX_CONTENT:
        errors["content"] = _too_long(_MAX_CONTENT)
    embeds = body.get("embeds") or []
    if len(embeds) > _MAX_EMBEDS:
        errors["embeds"] = _too_long(_MAX_EMBEDS)
    if sum(map(_size, embeds)) > _MAX_EMBED:
        errors["embeds"] = _error("MAX_EMBED_SIZE_EXCEEDED", f"{_MAX_EMBED} characters in all")
    for place, embed in enumerate(embeds):
        wrong = _embed_errors(embed)
        if wrong:
            errors.setdefault("embeds", {})[str(place)] = wrong
    wrong = _component_errors(body.get("components") or [])
    if wrong:
        errors["components"] = wrong
    if not errors:
        return None
    return {"code": 50035, "message": "Invalid Form Body", "errors": errors}


def is_empty(body: Json) -> bool:
    """Say whether a new message would hold nothing to see."""
    return not any(body.get(name) for name in ("content", "embeds", "components", "_uploaded"))


def _component_errors(rows: list[Json]) -> Json:
    buttons = [button for row in rows for button in row.get("components", ())]
    custom_ids = [button["custom_id"] for button in buttons if button.get("custom_id")]
    if len(rows) > _MAX_ROWS or any(len(row.get("components", ())) > _MAX_BUTTONS for row in rows):
        return _too_long(_MAX_ROWS)
    if len(custom_ids) != len(set(custom_ids)):
        return _error("COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated")
    if any(len(id_) > _MAX_CUSTOM_ID for id_ in custom_ids):
        return _too_long(_MAX_CUSTOM_ID)
    if any(len(button.get("label") or "") > _MAX_LABEL for button in buttons):
        return _too_long(_MAX_LABEL)
    return {}


def _embed_errors(embed: Json) -> Json:
    wrong: Json = {
        name: _too_long(limit)
        for name, limit in _EMBED_LIMITS.items()
        if len(embed.get(name) or "") > limit
    }
    if len((embed.get("footer") or {}).get("text") or "") > _MAX_FOOTER:
        wrong["footer"] = _too_long(_MAX_FOOTER)
    fields = embed.get("fields") or []
    if len(fields) > _MAX_FIELDS:
        wrong["fields"] = _too_long(_MAX_FIELDS)
    for field in fields:
        name, value = field.get("name") or "", field.get("value") or ""
        if not 0 < len(name) <= _MAX_NAME or not 0 < len(value) <= _MAX_VALUE:
            wrong["fields"] = _error("BASE_TYPE_BAD_LENGTH", "a field's name or value")
    return wrong


def _size(embed: Json) -> int:
    texts = [embed.get("title"), embed.get("description")]
    texts += [
        (embed.get(part) or {}).get(key) for part, key in (("footer", "text"), ("author", "name"))
    ]
    for field in embed.get("fields") or []:
        texts += [field.get("name"), field.get("value")]
    return sum(len(text or "") for text in texts)


def _too_long(limit: int) -> Json:
    return _error("BASE_TYPE_MAX_LENGTH", f"Must be {limit} or fewer in length.")


def _error(code: str, message: str) -> Json:
    return {"_errors": [{"code": code, "message": message}]}


def mentions(body: Json, guild: Guild) -> Json:
    """Return who is pinged by a message: what its content names, as far as it allows."""
    content = body.get("content") or ""
    allowed: Any = body.get("allowed_mentions")
    parse = {"roles", "users", "everyone"} if allowed is None else set(allowed.get("parse") or ())
    # Ids come as text or, from discord.py, as numbers.
    listed = {kind: set(map(str, (allowed or {}).get(kind) or ())) for kind in ("roles", "users")}
    roles = [id_ for id_ in _ROLE.findall(content) if int(id_) in guild.roles]
    users = [id_ for id_ in _USER.findall(content) if int(id_) in guild.members]
    return {
        "mention_everyone": "everyone" in parse and bool(re.search("@(everyone|here)", content)),
        "mention_roles": [r for r in roles if "roles" in parse or r in listed["roles"]],
        "mentions": [
            guild.members[int(id_)].user()
            for id_ in users
            if "users" in parse or id_ in listed["users"]
        ],
    }
