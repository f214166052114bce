"""Keys to the API: made, kept as hashes, and what each request may do with one.

A key is 160 random bits, so a plain hash of it is as good as a slow one: nobody can try them all.
"""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any, Final

from django.contrib.auth.models import Permission, User
from django.db import InterfaceError, OperationalError, connection
from rest_framework.authentication import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from website.api.models import Key

# The key, whose it is, and whether that account has the permission, by itself or by a group. Plain
# SQL: to have Django put it together at each request would take five times as long as to ask it.
_BY_DIGEST: Final = """
    SELECT auth_user.id, auth_user.username, auth_user.is_active,
           EXISTS (
               SELECT 1
                 FROM auth_permission
                 JOIN django_content_type ON django_content_type.id = content_type_id
                WHERE codename = 'use_api' AND app_label = 'api'
                  AND (auth_permission.id IN (
                          SELECT permission_id FROM auth_user_user_permissions
                           WHERE user_id = auth_user.id)
                       OR auth_permission.id IN (
                          SELECT permission_id
                            FROM auth_group_permissions
                            JOIN auth_user_groups USING (group_id)
                           WHERE user_id = auth_user.id))
           )
      FROM api_key JOIN auth_user ON auth_user.id = account_id
     WHERE digest = %s
"""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What a request's key is good for."""

    digest: str
    may_use_api: bool


class KeyAuthentication(TokenAuthentication):
    """`Authorization: Token <key>`, in DRF's words, against the hashes."""

    def authenticate_credentials(self, key: str) -> tuple[User, Pass]:
        """Return the key's account and what it may do, or raise AuthenticationFailed.

        The database is asked each time: whoever loses the right loses it at once.
        """
        of_key = digest(key)
        found = _found(of_key)
        if found is None:
            _good.discard(of_key)
            raise AuthenticationFailed("Invalid token.")
        *account, may_use_api = found
        user = User.from_db(connection.alias, ["id", "username", "is_active"], account)
        if not user.is_active:
            raise AuthenticationFailed("User inactive or deleted.")
        return user, Pass(digest=of_key, may_use_api=bool(may_use_api))


def _found(of_key: str) -> tuple[Any, ...] | None:
    """Return what the database has of a key.

    This is the first that a request asks of it, and can be asked again: so it finds out by itself
    whether the connection from the request before still works. Django would ask that first.
    """
    connection.health_check_done = True  # type: ignore[attr-defined]  # not in the stubs
    is_kept = connection.connection is not None
    try:
        return _asked(of_key)
    except (InterfaceError, OperationalError):
        if not is_kept or connection.is_usable():
            raise
        connection.close()
        return _asked(of_key)


def _asked(of_key: str) -> tuple[Any, ...] | None:
    with connection.cursor() as cursor:
        cursor.execute(_BY_DIGEST, [of_key])
        found: tuple[Any, ...] | None = cursor.fetchone()
        return found


class MayUseApi(BasePermission):
    """Let in whose account has the permission itself, alone or by a group.

    An administrator has not: a key that lies in a bot's settings must not carry an administrator's
    rights, nor be had by making one for any account that happens to exist.
    """

    def has_permission(self, request: Request, view: Any) -> bool:  # noqa: ARG002  DRF's interface
        """Tell whether the request may go on."""
        if not isinstance(request.auth, Pass) or not request.auth.may_use_api:
            return False
        _good.add(request.auth.digest)
        return True
