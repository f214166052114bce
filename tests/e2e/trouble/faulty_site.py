"""The way between bot and site that these tests make trouble on."""

from sandbox.site_proxy import Answer, Call, Fault, Forward, first, lose
from sandbox.site_proxy import SiteProxy as FaultySite

__all__ = ("Answer", "Call", "Fault", "FaultySite", "Forward", "first", "lose")
