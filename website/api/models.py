"""The guild's copy: roles and users.

The names and limits are the contract's. A user's role ids are a JSON list on both databases
(`jsonb` on PostgreSQL): kept in the order and number given, and no foreign keys, since the rows of
people who have left keep the ids of roles that are gone.
"""

from collections.abc import Collection, Iterable

from django.contrib.auth.models import User as Account
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from website.api.limits import MOST_ROLES


class Role(models.Model):
    """A role of the guild."""

    id = models.BigIntegerField("ID", primary_key=True, validators=[MinValueValidator(0)])
    name = models.CharField(max_length=100)
    colour = models.IntegerField(validators=[MinValueValidator(0)])
    permissions = models.BigIntegerField(validators=[MinValueValidator(0)])
    position = models.IntegerField()

    def __str__(self) -> str:
        return self.name


def fault_of_roles(roles: Iterable[int], *, known: Collection[int]) -> str | None:
    """Say what is wrong with the first role id that is: unknown to the site, or a repetition.

    Only the first is named: an error for each would make the answer larger than the request.
    """
    seen: set[int] = set()
    for role_id in roles:
        if role_id in seen:
            return f"Role with ID {role_id} given multiple times."
        if role_id not in known:
            return f"Role with ID {role_id} does not exist"
        seen.add(role_id)
    return None


def check_roles_exist(value: object) -> None:
    """Raise ValidationError unless the value is a list of ids of roles that the site has."""
    if not (isinstance(value, list) and all(type(role_id) is int for role_id in value)):
        raise ValidationError("A list of role ids is expected.")
    if len(value) > MOST_ROLES:
        raise ValidationError(f"At most {MOST_ROLES} roles are expected.")
    fault = fault_of_roles(value, known=set(Role.objects.values_list("id", flat=True)))
    if fault:
        raise ValidationError(fault)


class User(models.Model):
    """A member of the guild, or somebody who was one."""

    id = models.BigIntegerField("ID", primary_key=True, validators=[MinValueValidator(0)])
    name = models.CharField(max_length=32)
    display_name = models.CharField(max_length=32, blank=True, default="")
    discriminator = models.PositiveSmallIntegerField(validators=[MaxValueValidator(9999)])
    roles = models.JSONField(default=list, blank=True, validators=[check_roles_exist])
    in_guild = models.BooleanField(default=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.pk})"


class Key(models.Model):
    """A key to the API, of which only a hash is kept: whoever reads the database learns none."""

    digest = models.CharField(max_length=64, primary_key=True)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="keys")
    made_at = models.DateTimeField(auto_now_add=True)

    class Meta:  # noqa: D106  Django's place for options
        default_permissions = ()
        permissions = (("use_api", "Can read and write the guild's copy through the API"),)

    def __str__(self) -> str:
        return f"a key of {self.account}, made {self.made_at:%Y-%m-%d %H:%M}"
