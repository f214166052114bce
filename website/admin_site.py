"""The admin: who may try a password, and the files that its pages need."""

import time
from math import ceil
from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.apps import AdminConfig
from django.contrib.staticfiles.views import serve
from django.core.exceptions import SuspiciousFileOperation
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from website.guesses import Guesses


class Config(AdminConfig):
    """Django's admin, with our site as the one that models are registered with."""

    default_site = "website.admin_site.Site"


class Site(AdminSite):
    """Django's admin site, on which passwords can't be guessed by trying many."""

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self._guesses = Guesses()

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the form, or try the name and password in it unless too many were wrong."""
        if request.method != "POST":
            return super().login(request, extra_context)
        name, address = request.POST.get("username", ""), request.META["REMOTE_ADDR"]
        wait_s = self._guesses.wait_s(name=name, address=address, now_s=time.monotonic())
        if wait_s:
            return HttpResponse(
                f"Too many wrong passwords. Try again in {ceil(wait_s / 60)} min.\n",
                status=429,
                content_type="text/plain",
                headers={"Retry-After": str(ceil(wait_s))},
            )
        response = super().login(request, extra_context)
        if response.status_code != 302:  # noqa: PLR2004  whoever is let in is sent on
            self._guesses.note_wrong(name=name, address=address, now_s=time.monotonic())
        return response


def static_file(request: HttpRequest, path: str) -> HttpResponseBase:
    """Answer one of the files of the admin's pages; whatever else the path leads to is not there.

    A view, not Django's handler around the whole application: so these requests are bounded and
    logged as all others are.
    """
    try:
        return serve(request, path, insecure=True)
    except SuspiciousFileOperation:
        raise Http404 from None
