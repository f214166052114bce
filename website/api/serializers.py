from typing import Any

from rest_framework import serializers

from website.api.limits import LARGEST_BIGINT, LARGEST_INT, MOST_ROLES
from website.api.models import Role, fault_of_roles


class UnchangedIdMixin:
    """Refuse an update that names another id than the row's: it would make a second row."""

    instance: Any

    def validate_id(self, value: int) -> int:
        """Return the id, or raise ValidationError if the row has another."""
        if self.instance is not None and value != self.instance.pk:
            raise serializers.ValidationError("The ID cannot be changed.")
        return value


class RoleSerializer(UnchangedIdMixin, serializers.ModelSerializer[Role]):
    """Check one role."""

    class Meta:  # noqa: D106  DRF's place for options
        model = Role
        fields = ("id", "name", "colour", "permissions", "position")
        # Without these a value that the column can't hold would reach PostgreSQL, and be kept by
        # SQLite, which knows no such limits.
        extra_kwargs = {  # noqa: RUF012  DRF reads it, nobody writes it
            "id": {"max_value": LARGEST_BIGINT},
            "colour": {"max_value": LARGEST_INT},
            "permissions": {"max_value": LARGEST_BIGINT},
            "position": {"min_value": -LARGEST_INT - 1, "max_value": LARGEST_INT},
        }


class RoleIds(serializers.ListField):
    """A list of role ids, checked no further than to its first fault."""

    child = serializers.IntegerField(min_value=0, max_value=LARGEST_BIGINT)

    def to_internal_value(self, data: Any) -> list[int]:
        """Return the ids, or raise ValidationError: too many are refused before any is looked at.

        DRF would check, and word, every one of them first.
        """
        if isinstance(data, list) and len(data) > MOST_ROLES:
            raise serializers.ValidationError(
                f"Ensure this field has no more than {MOST_ROLES} elements."
            )
        ids: list[int] = super().to_internal_value(data)
        return ids

    def run_child_validation(self, data: list[Any]) -> list[int]:
        """Return the ids, or raise ValidationError for the first that is none."""
        ids = []
        for index, item in enumerate(data):
            try:
                ids.append(self.child.run_validation(item))
            except serializers.ValidationError as exc:
                raise serializers.ValidationError({str(index): exc.detail}) from exc
        return ids


class UserSerializer(UnchangedIdMixin, serializers.Serializer[Any]):
    """Check one user; the context's `known_roles` holds the ids of all roles that the site has.

    What is not required and not given is left out: a new row then takes it from `rows.DEFAULTS`, a
    row that is there keeps its own, by PUT too.
    """

    id = serializers.IntegerField(min_value=0, max_value=LARGEST_BIGINT)
    name = serializers.CharField(max_length=32)
    display_name = serializers.CharField(max_length=32, allow_blank=True, required=False)
    discriminator = serializers.IntegerField(min_value=0, max_value=9999)
    roles = RoleIds(required=False)
    in_guild = serializers.BooleanField(required=False)

    def validate_roles(self, roles: list[int]) -> list[int]:
        """Return the role ids, or raise ValidationError for the first that the site can't keep."""
        fault = fault_of_roles(roles, known=self.context["known_roles"])
        if fault:
            raise serializers.ValidationError(fault)
        return roles
