"""Keys to the API: made, kept as hashes, and what each request may do with one.

A key is 160 random bits, so a plain hash of it is as good as a slow one: nobody can try them all.
"""

import hashlib
import secrets
from typing import Any, Final

from django.contrib.auth.models import Permission, User
from django.db.models import Exists, OuterRef, Q
from rest_framework.authentication import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from website.api.models import Key

# Whether a key's account has the permission, by itself or by a group.
_MAY_USE_API: Final = Exists(
    Permission.objects.filter(
        Q(user=OuterRef("account")) | Q(group__user=OuterRef("account")),
        codename="use_api",
        content_type__app_label="api",
    )
)
# The digests that were last found good. They decide whose share of the site a request comes out of,
# before the database is asked; what it may do is asked of the database each time.
_good: set[str] = set()


def make(account: User) -> str:
    """Make another key of the account, and return it: it can't be had again."""
    key = secrets.token_hex(20)
    Key.objects.create(digest=digest(key), account=account)
    return key


def end_all_but_the_newest() -> int:
    """End every key but the one made last; return how many were ended."""
    newest = Key.objects.order_by("-made_at", "digest").values_list("digest", flat=True).first()
    ended, _ = Key.objects.exclude(digest=newest).delete()
    return ended


def digest(key: str) -> str:
    """Return what is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def permission() -> Permission:
    """Return the permission that a key's account needs, and needs only."""
    return Permission.objects.get(codename="use_api", content_type__app_label="api")


def remember_all() -> None:
    """Count the keys of the database as found good: the first requests after a start are known."""
    _good.update(Key.objects.values_list("digest", flat=True))


def looks_good(authorization: str) -> bool:
    """Tell whether an Authorization header carries a key that was good when it was last used."""
    scheme, _, key = authorization.strip().partition(" ")
    return scheme.lower() == "token" and digest(key.strip()) in _good


class KeyAuthentication(TokenAuthentication):
    """`Authorization: Token <key>`, in DRF's words, against the hashes."""

    def authenticate_credentials(self, key: str) -> tuple[User, Key]:
        """Return the key's account and the key, or raise AuthenticationFailed."""
        known = (
            Key.objects.select_related("account")
            .annotate(may_use_api=_MAY_USE_API)
            .filter(digest=digest(key))
            .first()
        )
        if known is None:
            _good.discard(digest(key))
            raise AuthenticationFailed("Invalid token.")
        if not known.account.is_active:
            raise AuthenticationFailed("User inactive or deleted.")
        return known.account, known


class MayUseApi(BasePermission):
    """Let in whose account has the permission itself, alone or by a group.

    An administrator has not: a key that lies in a bot's settings must not carry an administrator's
    rights, nor be had by making one for any account that happens to exist.
    """

    def has_permission(self, request: Request, view: Any) -> bool:  # noqa: ARG002  DRF's interface
        """Tell whether the request may go on."""
        # Asked together with the key, at each request: whoever loses the right loses it at once.
        if not isinstance(request.auth, Key) or not getattr(request.auth, "may_use_api", False):
            return False
        _good.add(request.auth.digest)
        return True
