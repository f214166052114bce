"""The words that may be repeated of what a site says: none of them is anybody's name or secret.

They are those of the messages that sites, frameworks, databases and whatever stands before a site
have for errors, and of our own. Whatever else is said is taken for a value.
"""

from __future__ import annotations

import builtins
from http import HTTPStatus
from typing import Final

_GRAMMAR: Final = """
a about above after again against all already also although always an and another any are as at
away be because been before being below between both but by can can't cannot could couldn't did
didn't do does doesn't doing don't done down during each either else end ended enough ever every
except few fewer first for from further get give given go goes going gone had has hasn't have
haven't having here how i if in instead into is isn't it it's its itself just last later least
less like long longer made make many may maybe might more most much must near need needs neither
never new next no nobody none nor not nothing now of off on once one ones only or other others our
out over own per rather right same shall should shouldn't since site's so some soon still such
than that the their them then there these they this those three through time times to together too
two under until up us use used uses using very was wasn't we well were weren't what when where
whether which while who whom whose why will with within without won't would yes yet you your
"""
_OF_REQUESTS: Final = """
absent accept acceptable accepted access account action active address administrator again alive
allow allowed answer answered apache api app application applied array ask asked attempt attention
attribute authenticate authenticated authentication authorization authorized available avatar
avoid backend bad balancer ban banned bearer biginteger blank blocked body boolean bot bot_api
broken browser bulk_patch busy byte bytes cache caddy call capacity captcha certificate challenge
change changed channel character characters charset check checking checks choice choices chunk
client close closed cloudflare cloudfront code codec color colour column columns commas
configuration configured conflict connect connected connecting connection consisting constraint
contact contain contained contains content continue contract control cookie cookies correct
corrupted count create created credentials csrf csrf_token currency current data database date
datetime days dd deadline deadlock debian debug decimal decode decoding deep default degraded
delay delete deleted delimiter denied depth deserialize detail detailed detected determined
dictionary different digest digit digits directory disabled disallowed disconnected discord
discriminator display_name django dns doctype document domain drf duplicate duplicated duration
edge element elements email empty enabled encode encoded encoding endpoint ensure enter envoy
equal error errors escape exceed exceeded exceeds exception exist existing exists expect expected
expecting expired extension extensions extra fail failed failing fails failure false fastly fatal
field fields file filename filter firewall fk float follow following forbidden foreign form format
formats forward found front full gateway general generated greater group guild guilds gunicorn
handle handler handshake haproxy header headers healthcheck held heroku hex hexadecimal hh host
hostname hour hours html http https human hyperlink hyphens id identifier ids iis image
implemented in_guild incapsula include incomplete incorrect index input inside insufficient int
integer integers integrity internal interrupted invalid ip ipv4 ipv6 item items json kestrel key
keys kind known large larger length letters limit line list lists litespeed load located lock
locked log log-in logged login lost lower maintenance malformed malicious match matched matches
matching maximum mechanism media member members memory message messages method methods
milliseconds minimum minute minutes missing mm mode model moment moments moved multiple name
nested network next_after next_page_no nginx nick nickname non non_field_errors null number
numbers object objects occurred openresty operation options origin outdated overload overloaded
overloading page pages parameter parameters parse parsed parser parsing part password path pattern
pending perform permission permissions permitted pk place places please point pool port position
positive post postgres postgresql precondition present previous_page_no primary process processed
processing property protected protocol provided proxy put python query queue quota quote quoted
quotes range rate ray reach reached read ready reason receive received record recorded records
recursion redacted redirect ref refresh refused reject rejected rejects relation release reload
remaining remote repeat repeated request requested requests require required requires reserved
reset resource resources response responses rest_framework restart result results retry return
returned role roles root route row rows rule rules run running save second seconds secret secure
security see select selection send sent separated serializer serve server servers service session
set shard short shorter show shut shutdown sign signature site sites size slow slug small
something sorry space special specific specified sql squid ss start started starting state
statement states status step stop stopped storage store string strings style submitted sucuri
support supported syntax system table takes temporarily temporary text throttled timed timeout
timestamp timezone title token tokens tomcat tornado total traefik transaction transport tried
true try trying type types tz ubuntu unable unauthorized unavailable undefined underscores
unexpected unicode unique unit unix unknown unreachable unsupported unterminated upload uploaded
upper upstream uri url user user_agent username users utf uuid uuuuuu uvicorn uwsgi valid validate
validation value values varnish verification verify verifying version violate violated violates
waf wait waiting waitress warning web weeks within word words worker write writing wrong years
yyyy zero zone
"""
_OF_PROGRAMS: Final = """
argument arguments ascii assert assertion assigned attribute attributes base bool bytearray bytes
callable cancellederror char closeerror complex concatenate connecterror connecttimeout convert
covers decodingerror dict division frozenset gaierror hashable import index indices instance
iterable iterate iterator literal localprotocolerror mapped mapping module networkerror nonetype
operand operands overflow pooltimeout pop positional proxyerror readerror readtimeout recursion
remoteprotocolerror repr resize sequence set slice sslcertverificationerror sslerror str
subscriptable super takes tuple unhashable unpack unpacked unsupportedprotocol writeerror
writetimeout
"""
_OF_DATABASES: Final = """
aborted admin apiexception authenticationfailed cancel canceled canceling cancelled clients
command concurrent databaseerror dataerror disallowedhost disallowedredirect disk doesnotexist due
exclusion fielderror improperlyconfigured insert integrityerror interfaceerror internalerror
methodnotallowed middlewarenotused multipleobjectsreturned multiplevaluedictkeyerror
noreversematch notacceptable notauthenticated notsupportederror objectdoesnotexist
operationalerror parseerror permissiondenied programmingerror requestaborted requestdatatoobig
serialization serialize slots snapshot sorry superuser suspiciousoperation templatedoesnotexist
templatesyntaxerror terminated terminating throttled toomanyfieldssent transactionmanagementerror
tuples unreadablepost unsupportedmediatype update updated validationerror
"""
_OURS: Final = """
alters anything asked belong block blocked breaker checked cipher comes compared compares
contract's counts credentials date differ differs digests discovers guild's half healthcheck's
hexadecimal hold keeps kept latest lease lists matches meanwhile members min month next nothing
offered opened order ours own page past patience probe profile row's rows says sending sends sits
somebody's state stays sums surrogate sync syncing syncs told twice two u unwell usually way whole
without written year
"""


def _phrases() -> str:
    """Return what HTTP itself has for each status."""
    return " ".join(f"{status.phrase} {status.description}" for status in HTTPStatus)


def _exceptions() -> str:
    """Return the names of Python's own exceptions."""
    return " ".join(
        name
        for name, one in vars(builtins).items()
        if isinstance(one, type) and issubclass(one, BaseException)
    )


def _words(*texts: str) -> frozenset[str]:
    parts = " ".join(texts).lower().replace("-", " ").replace(",", " ").replace(".", " ")
    return frozenset(word for word in parts.split() if len(word) > 1 or word in {"a", "i", "u"})


KNOWN: Final = _words(
    _GRAMMAR, _OF_REQUESTS, _OF_PROGRAMS, _OF_DATABASES, _OURS, _phrases(), _exceptions()
)
