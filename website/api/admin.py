from django.contrib import admin
from django.http import HttpRequest

from website.api.models import Role, User


@admin.register(Role)
class RoleAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Roles, the highest first."""

    list_display = ("name", "id", "position", "colour", "permissions")
    ordering = ("-position", "id")
    search_fields = ("=id", "name")

    def get_readonly_fields(
        self, _request: HttpRequest, obj: Role | None = None
    ) -> tuple[str, ...]:
        """Fix the id once it is saved: under another one it would make a second row."""
        return ("id",) if obj else ()


@admin.register(User)
class UserAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Users, in the order of the contract's pages."""

    list_display = ("name", "display_name", "id", "in_guild")
    list_filter = ("in_guild",)
    ordering = ("id",)
    search_fields = ("=id", "name", "display_name")
    show_full_result_count = False  # it would count a large table once more for each search

    def get_readonly_fields(
        self, _request: HttpRequest, obj: User | None = None
    ) -> tuple[str, ...]:
        """Fix the id once it is saved, as for roles."""
        return ("id",) if obj else ()
