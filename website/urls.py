from django.contrib import admin
from django.urls import path

from website.api import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/healthcheck", views.healthcheck),
    path("api/bot/sync/capabilities", views.Capabilities.as_view()),
    path("api/bot/roles", views.RoleList.as_view()),
    path("api/bot/roles/<int:pk>", views.RoleDetail.as_view()),
    path("api/bot/users", views.UserList.as_view()),
    path("api/bot/users/bulk_patch", views.UserBulkPatch.as_view()),
    path("api/bot/users/<int:pk>", views.UserDetail.as_view()),
]

handler400 = "website.api.errors.bad_request"
handler404 = "website.api.errors.not_found"
handler500 = "website.api.errors.server_error"
