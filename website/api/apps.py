from django.apps import AppConfig


class ApiConfig(AppConfig):
    """The app's label names its tables: `api_role` and `api_user`, as on the real site."""

    name = "website.api"
    label = "api"
    verbose_name = "Guild"
