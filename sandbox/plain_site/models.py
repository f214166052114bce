"""The guild's copy, as the real site keeps it: ordinary models, a user's roles in an array.

The tables have the names that the reference website's have, so that the same SQL looks into both.
"""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models


class Role(models.Model):
    """A role of the guild."""

    id = models.BigIntegerField("ID", primary_key=True, validators=[MinValueValidator(0)])
    name = models.CharField(max_length=100)
    colour = models.IntegerField(validators=[MinValueValidator(0)])
    permissions = models.BigIntegerField(validators=[MinValueValidator(0)])
    position = models.IntegerField(default=-1)

    objects: ClassVar[models.Manager["Role"]] = models.Manager()

    class Meta:  # noqa: D106  Django's place for options
        db_table = "api_role"

    def __str__(self) -> str:
        return self.name


class User(models.Model):
    """A member of the guild, or somebody who was one."""

    id = models.BigIntegerField("ID", primary_key=True, validators=[MinValueValidator(0)])
    name = models.CharField(max_length=32)
    display_name = models.CharField(max_length=32, blank=True)
    discriminator = models.PositiveSmallIntegerField(validators=[MaxValueValidator(9999)])
    roles = ArrayField(models.BigIntegerField(), default=list, blank=True)
    in_guild = models.BooleanField(default=True)

    objects: ClassVar[models.Manager["User"]] = models.Manager()

    class Meta:  # noqa: D106  Django's place for options
        db_table = "api_user"

    def __str__(self) -> str:
        return self.name
