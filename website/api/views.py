"""The contract's endpoints. Users go by plain SQL rows, roles by DRF's generic views."""

import json
from typing import Any

from django.conf import settings
from django.core.paginator import InvalidPage, Paginator
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.generics import ListCreateAPIView, RetrieveUpdateDestroyAPIView
from rest_framework.pagination import PageNumberPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer, IntegerField, Serializer
from rest_framework.views import APIView

from website.api import bulk, rows
from website.api.models import LARGEST_BIGINT, Role, User
from website.api.parsers import LazyListParser, ListBody
from website.api.serializers import RoleSerializer, UserSerializer
from website.middleware import note_rows, note_written

MINIMAL = {"Preference-Applied": "return=minimal"}


@require_safe
def healthcheck(_request: HttpRequest) -> JsonResponse:
    """Tell that the process answers. It asks nothing of the database, so it never waits for it."""
    return JsonResponse({"status": "ok"})


class Capabilities(APIView):
    """What this site offers beyond the contract, and its limits."""

    def get(self, _request: Request) -> Response:
        """Answer the limits, and what a client may use."""
        return Response(
            {
                "max_items": settings.MAX_REQUEST_ITEMS,
                "max_bytes": settings.MAX_REQUEST_BYTES,
                "minimal_responses": True,
                "pages_by_id": True,
                "version": 1,
            }
        )


class PageSize(PageNumberPagination):
    """How many users a page has: what the client asks for, within limits."""

    page_size = 2_500
    page_size_query_param = "page_size"
    max_page_size = 10_000


class PageAfter(Serializer[Any]):
    """A page by id: it doesn't shift when rows are inserted, and costs the same everywhere."""

    after = IntegerField(min_value=0, max_value=LARGEST_BIGINT)


class UserList(APIView):
    """All users, by pages; and the way to create some."""

    parser_classes = (LazyListParser,)

    def get(self, request: Request) -> StreamingHttpResponse:
        """Answer one page, by `page` number or `after` an id."""
        users = User.objects.order_by("id")
        size = PageSize().get_page_size(request) or PageSize.page_size
        if "after" in request.query_params:
            query = PageAfter(data=request.query_params)
            query.is_valid(raise_exception=True)
            pieces, last_id = encoded(users.filter(id__gt=query.validated_data["after"])[:size])
            has_more = last_id is not None and users.filter(id__gt=last_id).exists()
            envelope: dict[str, Any] = {"next_after": last_id if has_more else None}
        else:
            try:
                page = Paginator(users, size).page(request.query_params.get("page", 1))
            except InvalidPage:
                raise NotFound("Invalid page.") from None
            pieces, _ = encoded(users[(page.number - 1) * size : page.number * size])
            envelope = {
                "count": page.paginator.count,
                "next_page_no": page.next_page_number() if page.has_next() else None,
                "previous_page_no": page.previous_page_number() if page.has_previous() else None,
            }
        before = json.dumps(envelope, separators=(",", ":")).encode()
        return rows.answer(pieces, before=before[:-1] + b',"results":[', after=b"]}")

    def post(self, request: Request) -> Response:
        """Create a list of users, skipping ids that exist; or one user, which must be new."""
        body = request.data
        if isinstance(body, ListBody):
            batch = bulk.check(body, partial=False)
            bulk.create(batch)
            note_written(batch.json_by_id)
            return Response([], status=201, headers=MINIMAL if wants_minimal(request) else None)

        serializer = UserSerializer(data=body, context=bulk.serializer_context())
        row = {**rows.DEFAULTS, **checked(serializer)}
        batch = bulk.Batch.of(row)
        if not bulk.create(batch):
            raise ValidationError({"id": ["User with ID already present."]})
        note_written(batch.json_by_id)
        return row_response(request, row, status=201)


class UserBulkPatch(APIView):
    """Many users at once."""

    parser_classes = (LazyListParser,)

    def patch(self, request: Request) -> StreamingHttpResponse:
        """Write each row's own fields, and answer the rows in full."""
        body = request.data
        if not isinstance(body, ListBody):
            raise not_a_list(body)
        minimal = wants_minimal(request)
        batch = bulk.check(body, partial=True)
        if not batch.json_by_id:
            raise ValidationError({"non_field_errors": ["This list may not be empty."]})
        pieces = bulk.update(batch, answer_rows=not minimal)
        note_written(batch.json_by_id)
        return rows.answer(pieces, headers=MINIMAL if minimal else None)


class UserDetail(APIView):
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

    def _write(self, request: Request, pk: int, *, partial: bool) -> Response:
        user = get_object_or_404(User.objects.only("id"), pk=pk)
        changes = checked(
            UserSerializer(
                user, data=request.data, partial=partial, context=bulk.serializer_context()
            )
        )
        with transaction.atomic():
            if changes:
                User.objects.filter(pk=pk).update(**changes)
            row = stored(pk)
        note_written([pk])
        return row_response(request, row)


class RoleList(ListCreateAPIView[Role]):
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


class RoleDetail(RetrieveUpdateDestroyAPIView[Role]):
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


def encoded(users: QuerySet[User]) -> tuple[list[bytes], int | None]:
    """Read the users; return them as pieces of JSON, and the last one's id."""
    pieces: list[bytes] = []
    count, last_id = 0, None
    for part in rows.slices(users.values_list(*rows.FIELDS).iterator(rows.SLICE_ROWS)):
        pieces.append(rows.encode(part))
        count, last_id = count + len(part), part[-1][0]
    note_rows(count)
    return pieces, last_id


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
