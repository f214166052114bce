"""Rows as they come and go; many at once as Django's ORM does it, with all that this costs."""

from typing import Any

from django.db import IntegrityError
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.serializers import (
    IntegerField,
    ListSerializer,
    ModelSerializer,
    SerializerMethodField,
)

from sandbox.plain_site.models import Role, User


class RoleSerializer(ModelSerializer[Role]):
    """A role."""

    class Meta:  # noqa: D106  DRF's place for options
        model = Role
        fields = ("id", "name", "colour", "permissions", "position")


class UserListSerializer(ListSerializer[User]):
    """Many users: created whatever exists, or updated in one statement."""

    def to_internal_value(self, data: Any) -> list[Any]:
        """Return the checked rows, or raise ValidationError with one object for each of them."""
        if not isinstance(data, list):
            kind = type(data).__name__
            raise ValidationError(
                {"non_field_errors": [f'Expected a list of items but got type "{kind}".']}
            )
        # DRF's own does the same, but warns that a future one will answer in another form.
        checked: list[Any] = []
        errors: list[Any] = []
        for item in data:
            try:
                checked.append(self.run_child_validation(item))
            except ValidationError as exc:
                errors.append(exc.detail)
            else:
                errors.append({})
        if any(errors):
            raise ValidationError(errors)
        return checked

    def create(self, validated_data: list[dict[str, Any]]) -> Any:
        """Create those that are not there, and answer none of them."""
        _refuse_repeated(validated_data)
        User.objects.bulk_create([User(**row) for row in validated_data], ignore_conflicts=True)
        return []

    def update(self, instance: Any, validated_data: list[dict[str, Any]]) -> Any:
        """Write the union of all given fields to every row; return the objects as they were sent.

        They are not read again: an answer shows what the site understood, not what it has stored.
        """
        _refuse_repeated(validated_data)
        ids = [row["id"] for row in validated_data]
        by_id: dict[int, User] = {user.pk: user for user in instance.filter(id__in=ids)}
        fields: set[str] = set()
        for row in validated_data:
            if row["id"] not in by_id:
                raise NotFound(f"User with id {row['id']} not found.")
            fields |= row.keys()
            for name, value in row.items():
                setattr(by_id[row["id"]], name, value)
        fields.remove("id")  # and so an empty list is a KeyError and a 500, as there
        if not fields:
            raise ValidationError({"non_field_errors": ["Insufficient data provided."]})
        users = [by_id[user_id] for user_id in ids]
        # No batch size: one UPDATE with a CASE of an arm a row for each field.
        User.objects.bulk_update(users, sorted(fields))
        return users


class UserSerializer(ModelSerializer[User]):
    """A user; the context's `known_roles` holds the ids of all roles that the site has."""

    id = IntegerField(min_value=0)  # named, as a primary key is otherwise checked for being new

    class Meta:  # noqa: D106  DRF's place for options
        model = User
        fields = ("id", "name", "display_name", "discriminator", "roles", "in_guild")
        list_serializer_class = UserListSerializer

    def validate_roles(self, roles: list[int]) -> list[int]:
        """Return the roles, or raise ValidationError for the first that the site doesn't know."""
        for role_id in roles:
            if role_id not in self.context["known_roles"]:
                raise ValidationError(f"Role with ID {role_id} does not exist")
        return roles

    def create(self, validated_data: Any) -> User:
        """Create one user, which must be new."""
        try:
            return super().create(validated_data)
        except IntegrityError:
            raise ValidationError({"id": ["User with ID already present."]}) from None


class OneUserSerializer(UserSerializer):
    """A user alone, with what the real site tells of nobody else: here always nothing."""

    alts = SerializerMethodField()

    class Meta(UserSerializer.Meta):  # noqa: D106  as above
        fields = (*UserSerializer.Meta.fields, "alts")  # type: ignore[assignment]

    def get_alts(self, _user: User) -> list[int]:
        """Return the other accounts of the person, which are no part of a sync."""
        return []


def _refuse_repeated(rows: list[dict[str, Any]]) -> None:
    seen: set[int] = set()
    for row in rows:
        if "id" not in row:
            raise ValidationError({"id": ["This field is required."]})
        if row["id"] in seen:
            raise ValidationError({"id": [f"User with ID {row['id']} given multiple times."]})
        seen.add(row["id"])
