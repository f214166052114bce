from typing import Any

from rest_framework import serializers

from website.api.models import LARGEST_BIGINT, Role


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
        # Without these a value that no 64 bits hold would reach the database.
        extra_kwargs = {  # noqa: RUF012  DRF reads it, nobody writes it
            "id": {"max_value": LARGEST_BIGINT},
            "permissions": {"max_value": LARGEST_BIGINT},
        }


class UserSerializer(UnchangedIdMixin, serializers.Serializer[Any]):
    """Check one user; the context's `known_roles` holds the ids of all roles that the site has."""

    id = serializers.IntegerField(min_value=0, max_value=LARGEST_BIGINT)
    name = serializers.CharField(max_length=32)
    display_name = serializers.CharField(max_length=32, allow_blank=True, default="")
    discriminator = serializers.IntegerField(min_value=0, max_value=9999)
    roles = serializers.ListField(
        child=serializers.IntegerField(min_value=0, max_value=LARGEST_BIGINT), default=list
    )
    in_guild = serializers.BooleanField(default=True)

    def validate_roles(self, roles: list[int]) -> list[int]:
        """Return the role ids, or raise ValidationError for those that the site doesn't have."""
        unknown = [role for role in roles if role not in self.context["known_roles"]]
        if unknown:
            raise serializers.ValidationError(
                [f"Role with ID {role} does not exist" for role in unknown]
            )
        return roles
