from django.urls import path

from sandbox.plain_site import views

urlpatterns = [
    path("api/healthcheck", views.Healthcheck.as_view()),
    path("api/bot/roles", views.RoleList.as_view()),
    path("api/bot/roles/<int:pk>", views.RoleDetail.as_view()),
    path("api/bot/users", views.UserList.as_view()),
    path("api/bot/users/bulk_patch", views.UserBulkPatch.as_view()),
    path("api/bot/users/<int:pk>", views.UserDetail.as_view()),
]
