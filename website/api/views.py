"""The contract's endpoints. Users go by plain SQL rows, roles by DRF's generic views."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.core.paginator import InvalidPage, Paginator
from django.db import IntegrityError, transaction
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast
from django.http import Http404, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.generics import ListCreateAPIView, RetrieveUpdateDestroyAPIView
from rest_framework.pagination import PageNumberPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer, IntegerField, Serializer
from rest_framework.views import APIView

from website.api import bulk, digests, rows
from website.api.limits import LARGEST_BIGINT
from website.api.models import Role, User
from website.api.parsers import LazyListParser, ListBody
from website.api.serializers import RoleSerializer, UserSerializer
from website.middleware import note_rows, note_written

# Roles as text: they are handed on as they are.
_KEPT = tuple("roles_text" if field == "roles" else field for field in rows.FIELDS)
MINIMAL = {"Preference-Applied": "return=minimal"}
LARGEST_PAGE = 10_000


class Endpoint(APIView):
    """An endpoint that leaves nothing of a request out without saying so.

    `parameters` names the query parameters it knows, by method. Any other is refused: a filter that
    is ignored would answer all rows instead of some, without a word.
    """

    http_method_names: list[str] = ["get", "head", "post", "put", "patch", "delete"]  # noqa: RUF012 - as Django declares it
    parameters: ClassVar[Mapping[str, frozenset[str]]] = {}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse what may not come in, or what this endpoint would not heed."""
        super().initial(request, *args, **kwargs)
        method = "GET" if request.method == "HEAD" else str(request.method)
        known = self.parameters.get(method, frozenset())
        for name, values in request.query_params.lists():
            if name not in known:
                raise ValidationError({name[:100]: ["This query parameter is not known."]})
            if len(values) > 1:
                raise ValidationError({name: ["This query parameter is given more than once."]})


class Capabilities(Endpoint):
    """What this site offers beyond the contract, and its limits."""

    def get(self, _request: Request) -> Response:
        """Answer the limits, and what a client may use."""
        return Response(
            {
                "max_items": settings.MAX_REQUEST_ITEMS,
                "max_bytes": settings.MAX_REQUEST_BYTES,
                "minimal_responses": True,
                "pages_by_id": True,
                "digests": digests.MOST_RANGES,
                "version": 1,
            }
        )


class Digests(Endpoint):
    """What the guild's rows in ranges of ids come to: enough to tell whether they are right."""

    parameters: ClassVar = {"GET": frozenset({"bounds"})}

    def get(self, request: Request) -> Response:
        """Answer the count and the sum of each range."""
        text = request.query_params.get("bounds")
        if text is None:
            raise ValidationError({"bounds": ["This query parameter is required."]})
        counts, sums = digests.of_ranges(digests.read_bounds(text))
        # Text: many a reader of JSON rounds integers beyond 2^53.
        return Response({"counts": counts, "sums": [f"{one:016x}" for one in sums]})


class PageSize(PageNumberPagination):
    """How many users a page has: what the client asks for; nonsense counts as unasked."""

    page_size = 2_500
    page_size_query_param = "page_size"


class PageAfter(Serializer[Any]):
    """A page by id: it doesn't shift when rows are inserted, and costs the same everywhere."""

    after = IntegerField(min_value=0, max_value=LARGEST_BIGINT)


class UserFilter(forms.Form):
    """The real site's filters: each exact, all together. An empty one counts as not given.

    A form, because django-filter's are forms too: they coerce and complain in the same words.
    """

    name = forms.CharField(required=False)
    display_name = forms.CharField(required=False)
    discriminator = forms.IntegerField(
        required=False, error_messages={"invalid": "Enter a number."}
    )


class UserList(Endpoint):
    """All users, by pages; and the way to create some."""

    parser_classes = (LazyListParser,)
    parameters: ClassVar = {
        "GET": frozenset({"page", "page_size", "after", *UserFilter.base_fields})
    }

    def get(self, request: Request) -> StreamingHttpResponse:
        """Answer one page, by `page` number or `after` an id."""
        users = filtered(request)
        size = page_size(request)
        if "after" in request.query_params:
            if "page" in request.query_params:
                raise ValidationError({"after": ["A page is read by number or by id, not both."]})
            query = PageAfter(data=request.query_params)
            query.is_valid(raise_exception=True)
            # One more than is answered tells whether there is another page.
            rest = users.filter(id__gt=query.validated_data["after"])[: size + 1]
            pieces, last_id, has_more = encoded(rest, most=size)
            envelope: dict[str, Any] = {"next_after": last_id if has_more else None}
        else:
            number = request.query_params.get("page") or 1
            paginator = Paginator(users, size)
            try:
                page = paginator.page(paginator.num_pages if number == "last" else number)
            except InvalidPage:
                raise NotFound("Invalid page.") from None
            pieces, *_ = encoded(users[(page.number - 1) * size : page.number * size], most=size)
            envelope = {
                "count": paginator.count,
                "next_page_no": page.next_page_number() if page.has_next() else None,
                "previous_page_no": page.previous_page_number() if page.has_previous() else None,
            }
        before = json.dumps(envelope, separators=(",", ":")).encode()
        return rows.answer(pieces, before=before[:-1] + b',"results":[', after=b"]}")

    def post(self, request: Request) -> Response:
        """Create a list of users, skipping ids that exist; or one user, which must be new."""
        body = request.data
        if isinstance(body, ListBody):
            note_written(bulk.create_list(body))
            return Response([], status=201, headers=MINIMAL if wants_minimal(request) else None)

        serializer = UserSerializer(data=body, context={"known_roles": bulk.known_roles()})
        row = {**rows.DEFAULTS, **checked(serializer)}
        if not bulk.create(bulk.Batch.of(row)):
            raise ValidationError({"id": ["User with ID already present."]})
        note_written([row["id"]])
        return row_response(request, row, status=201)


class UserBulkPatch(Endpoint):
    """Many users at once."""

    parser_classes = (LazyListParser,)

    def patch(self, request: Request) -> StreamingHttpResponse:
        """Write each row's own fields, and answer the rows in full."""
        body = request.data
        if not isinstance(body, ListBody):
            raise not_a_list(body)
        minimal = wants_minimal(request)
        ids, pieces = bulk.update_list(body, answer_rows=not minimal)
        note_written(ids)
        return rows.answer(pieces, headers=MINIMAL if minimal else None)


class UserDetail(Endpoint):
    """One user."""

    def get(self, _request: Request, pk: int) -> Response:
        """Answer the user."""
        note_rows(1)
        # `alts` belongs to another part of the real site; the contract only has it empty.
        return Response({**stored(pk), "alts": []})

    def put(self, request: Request, pk: int) -> Response:
        """Write every field."""
        return self._write(request, pk, partial=False)

    def patch(self, request: Request, pk: int) -> Response:
        """Write the given fields."""
        return self._write(request, pk, partial=True)

    def delete(self, _request: Request, pk: int) -> Response:
        """Delete the user's row."""
        deleted, _ = User.objects.filter(pk=pk).delete()
        if not deleted:
            raise Http404("No User matches the given query.")
        note_written([pk])
        return Response(status=204)

    def _write(self, request: Request, pk: int, *, partial: bool) -> Response:
        user = get_object_or_404(User.objects.only("id"), pk=pk)
        changes = checked(
            UserSerializer(
                user,
                data=request.data,
                partial=partial,
                context={"known_roles": bulk.known_roles()},
            )
        )
        with transaction.atomic():
            if changes:
                User.objects.filter(pk=pk).update(**changes)
            row = stored(pk)
        note_written([pk])
        return row_response(request, row)


class RoleList(Endpoint, ListCreateAPIView[Role]):
    """All roles: the highest first; of two in one position the older one, as Discord ranks them."""

    queryset = Role.objects.order_by("-position", "id")
    serializer_class = RoleSerializer

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Answer all roles."""
        response = super().list(request, *args, **kwargs)
        note_rows(len(response.data))
        return response

    def perform_create(self, serializer: BaseSerializer[Role]) -> None:
        """Create the role that was checked."""
        try:
            role = serializer.save()
        except IntegrityError as exc:  # another request has made it since it was checked
            raise ValidationError({"id": ["role with this ID already exists."]}) from exc
        note_written([role.pk])


class RoleDetail(Endpoint, RetrieveUpdateDestroyAPIView[Role]):
    """One role."""

    queryset = Role.objects.all()
    serializer_class = RoleSerializer

    def perform_update(self, serializer: BaseSerializer[Role]) -> None:
        """Write the role that was checked."""
        note_written([serializer.save().pk])

    def perform_destroy(self, instance: Role) -> None:
        """Delete the role, and leave users' rows alone: the members are the bot's job."""
        role_id = instance.pk
        instance.delete()
        note_written([role_id])


def filtered(request: Request) -> QuerySet[User]:
    """Return the users that the query asks for, in the order of their ids."""
    query = UserFilter(request.query_params)
    if not query.is_valid():
        raise ValidationError({name: [*texts] for name, texts in query.errors.items()})
    given = {name: value for name, value in query.cleaned_data.items() if value not in {None, ""}}
    return User.objects.filter(**given).order_by("id")


def page_size(request: Request) -> int:
    """Return how many users the page is to have, or raise ValidationError if those are too many."""
    size = PageSize().get_page_size(request) or PageSize.page_size
    if size > LARGEST_PAGE:
        raise ValidationError(
            {"page_size": [f"Ensure this value is less than or equal to {LARGEST_PAGE}."]}
        )
    return size


def encoded(users: QuerySet[User], *, most: int) -> tuple[list[bytes], int | None, bool]:
    """Read the users; return them as pieces of JSON, the last one's id, and if there are more."""
    pieces: list[bytes] = []
    count, last_id, has_more = 0, None, False
    as_kept = users.annotate(roles_text=Cast("roles", TextField())).values_list(*_KEPT)
    for part in rows.slices(as_kept.iterator(rows.SLICE_ROWS)):
        shown = part[: most - count]
        has_more = len(part) > len(shown)
        if shown:
            pieces.append(rows.encode(shown))
            count, last_id = count + len(shown), shown[-1][0]
    note_rows(count)
    return pieces, last_id, has_more


def wants_minimal(request: Request) -> bool:
    """Tell whether the client would rather have no rows in the answer (RFC 7240)."""
    preferences = request.headers.get("Prefer", "").replace(";", ",").split(",")
    return "return=minimal" in {part.strip().lower() for part in preferences}


def row_response(request: Request, row: dict[str, Any], *, status: int = 200) -> Response:
    """Answer a written row, or nothing of it if the client would rather not have it."""
    if wants_minimal(request):
        return Response({}, status=status, headers=MINIMAL)
    return Response({field: row[field] for field in rows.FIELDS}, status=status)


def not_a_list(body: object) -> ValidationError:
    """Make the error for a body that should be a list."""
    kind = type(body).__name__
    return ValidationError(
        {"non_field_errors": [f'Expected a list of items but got type "{kind}".']}
    )


def stored(pk: int) -> dict[str, Any]:
    """Return the user's row, or raise Http404."""
    row: dict[str, Any] = get_object_or_404(User.objects.values(*rows.FIELDS), pk=pk)
    return row


def checked(serializer: UserSerializer) -> dict[str, Any]:
    """Return the serializer's checked values, or raise its errors."""
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)
