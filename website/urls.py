from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, path, re_path

from website import admin_site, health
from website.api import views

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/healthcheck", health.ready),
    path("api/healthcheck/live", health.live),
    path("api/bot/sync/capabilities", views.Capabilities.as_view()),
    path("api/bot/sync/digests", views.Digests.as_view()),
    path("api/bot/roles", views.RoleList.as_view()),
    path("api/bot/roles/<int:pk>", views.RoleDetail.as_view()),
    path("api/bot/users", views.UserList.as_view()),
    path("api/bot/users/bulk_patch", views.UserBulkPatch.as_view()),
    path("api/bot/users/<int:pk>", views.UserDetail.as_view()),
]
if settings.ENVIRONMENT.admin:
    urlpatterns += [
        path("admin/", admin.site.urls),
        re_path(r"^static/(?P<path>.*)$", admin_site.static_file),
    ]

handler400 = "website.api.errors.bad_request"
handler404 = "website.api.errors.not_found"
handler500 = "website.api.errors.server_error"
