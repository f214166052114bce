from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, path, re_path

from website import admin_site, health
from website.api import views

# The metrics call a view by its name.
urlpatterns: list[URLPattern | URLResolver] = [
    path("api/healthcheck", health.ready, name="healthcheck"),
    path("api/healthcheck/live", health.live, name="live"),
    path("api/bot/sync/capabilities", views.Capabilities.as_view(), name="capabilities"),
    path("api/bot/sync/digests", views.Digests.as_view(), name="digests"),
    path("api/bot/roles", views.RoleList.as_view(), name="roles"),
    path("api/bot/roles/<int:pk>", views.RoleDetail.as_view(), name="role"),
    path("api/bot/users", views.UserList.as_view(), name="users"),
    path("api/bot/users/bulk_patch", views.UserBulkPatch.as_view(), name="bulk_patch"),
    path("api/bot/users/<int:pk>", views.UserDetail.as_view(), name="user"),
]
if settings.ENVIRONMENT.admin:
    urlpatterns += [
        path("admin/", admin.site.urls),
        re_path(r"^static/(?P<path>.*)$", admin_site.static_file, name="static"),
    ]

handler400 = "website.api.errors.bad_request"
handler404 = "website.api.errors.not_found"
handler500 = "website.api.errors.server_error"
