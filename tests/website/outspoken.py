"""Middleware that breaks on some requests, and says with which body: a bug as they come."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse


class Middleware:
    """Raises for requests with the header `X-Break`."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if "X-Break" in request.headers:
            body = request.body.decode()
            things: dict[str, int] = {}
            try:
                things[body]
            except KeyError as exc:
                raise ValueError(f"no such thing as {body}") from exc
        return self._get_response(request)
