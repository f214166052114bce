"""The contract's endpoints by DRF's generic views, each of which notes what its work was."""

from typing import Any, Final

from rest_framework import status
from rest_framework.generics import (
    GenericAPIView,
    ListCreateAPIView,
    RetrieveUpdateDestroyAPIView,
)
from rest_framework.pagination import PageNumberPagination
from rest_framework.permissions import SAFE_METHODS, AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from sandbox.plain_site.costs import PAGE, WRITE, Work
from sandbox.plain_site.models import Role, User
from sandbox.plain_site.serializers import OneUserSerializer, RoleSerializer, UserSerializer

WORK: Final = "sandbox.plain_site.work"  # the key of a request's `Work` in its environment


class Healthcheck(APIView):
    """Tell that the process answers. It waits its turn like every other request."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def get(self, _request: Request) -> Response:
        """Answer that all is well."""
        return Response({"status": "ok"})


class Costed(APIView):
    """An endpoint whose writes cost by their rows, once it is known who asks."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse whoever may not come in, and count the rows that are to be written."""
        super().initial(request, *args, **kwargs)
        if request.method not in SAFE_METHODS:
            rows = len(request.data) if isinstance(request.data, list) else 1
            request.META[WORK] = Work(cost=WRITE, rows=rows)


class Pages(PageNumberPagination):
    """Pages by number."""

    page_size = 2_500
    page_size_query_param = "page_size"
    max_page_size = 10_000

    def get_paginated_response(self, data: Any) -> Response:
        """Answer a page, with the numbers of those beside it instead of their addresses."""
        assert self.page is not None  # noqa: S101  it is called for a page that was made
        return Response(
            {
                "count": self.page.paginator.count,
                "next_page_no": self.page.next_page_number() if self.page.has_next() else None,
                "previous_page_no": (
                    self.page.previous_page_number() if self.page.has_previous() else None
                ),
                "results": data,
            }
        )


class Users(Costed, GenericAPIView[User]):
    """What all endpoints of users have in common."""

    queryset = User.objects.order_by("id")
    serializer_class: type[UserSerializer] = UserSerializer
    pagination_class = Pages

    def get_serializer_context(self) -> dict[str, Any]:
        """Return what a serializer has to know: the roles that the site has, too."""
        known_roles = frozenset(Role.objects.values_list("id", flat=True))
        return {**super().get_serializer_context(), "known_roles": known_roles}


class UserList(Users, ListCreateAPIView[User]):
    """All users, by pages; and the way to create some."""

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Answer a page by its number."""
        request.META[WORK] = Work(cost=PAGE, rows=0)
        response = super().list(request, *args, **kwargs)
        request.META[WORK] = Work(cost=PAGE, rows=len(response.data["results"]))
        return response

    def create(self, request: Request, *_args: Any, **_kwargs: Any) -> Response:
        """Create one user and answer it, or those of a list and answer none."""
        serializer = self.get_serializer(data=request.data, many=isinstance(request.data, list))
        serializer.is_valid(raise_exception=True)
        serializer.save()
        return Response(serializer.data, status=status.HTTP_201_CREATED)


class UserBulkPatch(Users):
    """Many users at once."""

    def patch(self, request: Request) -> Response:
        """Write the given fields of each row, and answer all rows in full."""
        serializer = self.get_serializer(
            instance=self.get_queryset(), data=request.data, many=True, partial=True
        )
        serializer.is_valid(raise_exception=True)
        serializer.save()
        return Response(serializer.data)


class UserDetail(Users, RetrieveUpdateDestroyAPIView[User]):
    """One user."""

    def get_serializer_class(self) -> type[UserSerializer]:
        """Return that which shows other accounts where the user is only read."""
        return OneUserSerializer if self.request.method in SAFE_METHODS else UserSerializer


class RoleList(Costed, ListCreateAPIView[Role]):
    """All roles, the highest first."""

    queryset = Role.objects.order_by("-position", "id")
    serializer_class = RoleSerializer


class RoleDetail(Costed, RetrieveUpdateDestroyAPIView[Role]):
    """One role."""

    queryset = Role.objects.all()
    serializer_class = RoleSerializer
