"""What CoreDNS's plugins make of a query, one name for each that does something odd with it.

One CoreDNS with a server block for each, and an upstream whose answers are late under
``late.test``. Both are traced, and the first is tapped.
"""

import sys
from collections.abc import Sequence
from typing import Final

from otel_dns.lab.corefiles import METRICS_PORT
from otel_dns.lab.dns import DnsServer
from otel_dns.lab.lab import Lab
from otel_dns.lab.places import Pod

NAMESERVER: Final = "10.96.0.35"
OTHER_UPSTREAM: Final = "192.0.2.54"
SEARCH: Final = ("shop.odd.test", "odd.test")

NAMES: Final = (
    "www",  # autopath finds it under the second domain
    "cdn.out.test",  # ... and this one outside of them
    "alias.odd.test.",  # a CNAME to another zone: the server asks itself
    "four.six.test.",  # dns64: it asks itself for the A records
    "refreshed.late.test.", "refreshed.late.test.",  # the second time from the cache, with prefetch
    "stale.late.test.", "verified.late.test.",
    "sleep:1.2",  # they expire
    "stale.late.test.", "verified.late.test.",  # from the cache, expired, and asked for again
    "pods.view.test.",  # two server blocks of one zone
    "next.out.test.",  # forward twice: what one upstream does not know, the next is asked
    "old.out.test.",  # asked for under another name
    "sleep:0.5",  # what runs in the background ends
)  # fmt: skip
"""What the application does, in this order."""
LOOKUPS: Final = sum(not name.startswith("sleep:") for name in NAMES)

_APPLICATION: Final = """
import socket, sys, time
for name in sys.argv[1:]:
    if name.startswith("sleep:"):
        time.sleep(float(name[6:]))
        continue
    try:
        socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
    except OSError as error:
        print(name, error)
"""

_ODD_ZONE: Final = """\
$ORIGIN odd.test.
@     60 IN SOA ns hostmaster 1 7200 1800 86400 60
@     60 IN NS  ns
ns    60 IN A   192.0.2.1
www   60 IN A   192.0.2.2
www   60 IN AAAA 2001:db8::2
alias 60 IN CNAME cdn.out.test.
"""
_SIX_ZONE: Final = """\
$ORIGIN six.test.
@     60 IN SOA ns hostmaster 1 7200 1800 86400 60
@     60 IN NS  ns
ns    60 IN A   192.0.2.1
four  60 IN A   192.0.2.6
"""


def set_up(lab: Lab, *, zipkin: str, dnstap: str) -> tuple[Pod, Sequence[DnsServer], DnsServer]:
    """Start the servers and make the Pod.

    Args:
        lab: a running lab without DNS servers.
        zipkin: where the servers' spans go.
        dnstap: where the first server taps to.

    Returns:
        The application's Pod, the servers that are traced, and the one that is tapped.

    Raises:
        ProgramMissing: there is no CoreDNS.
        ProgramFailed: it did not start.
    """
    upstream = lab.upstream_dns(_upstream(zipkin))
    lab.upstream_dns(_UPSTREAM_WITHOUT_NAMES, name="upstream-1", address=OTHER_UPSTREAM)
    cluster = lab.cluster_dns(_corefile(lab, zipkin, dnstap), address=NAMESERVER)
    pod = lab.pod("odd", namespace="shop", nameservers=[NAMESERVER], search=SEARCH)
    return pod, (cluster, upstream), cluster


def application() -> list[str]:
    """Return the program that looks all names up, to be run under ``opentelemetry-instrument``."""
    return [sys.executable, "-c", _APPLICATION, *NAMES]


_UPSTREAM_WITHOUT_NAMES: Final = """\
.:53 {
    template ANY ANY . {
        rcode NXDOMAIN
    }
}
"""


def _upstream(zipkin: str) -> str:
    common = f"""\
    log . "{{common}}"
    trace zipkin {zipkin} {{
        service upstream
    }}
"""
    return f"""\
verified.late.test:53 {{
{common}
    erratic {{
        drop 0
        truncate 0
        delay 1 300ms
    }}
}}
late.test:53 {{
{common}
    erratic {{
        drop 0
        truncate 0
        delay 1 30ms
    }}
}}
.:53 {{
{common}
    template IN A {{
        match "^(cdn|next|new)\\.out\\.test\\.$"
        answer "{{{{ .Name }}}} 60 IN A 192.0.2.77"
        fallthrough
    }}
    template IN AAAA {{
        match "^(cdn|next|new)\\.out\\.test\\.$"
        answer "{{{{ .Name }}}} 60 IN AAAA 2001:db8::77"
        fallthrough
    }}
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
}}
"""


def _corefile(lab: Lab, zipkin: str, dnstap: str) -> str:
    zone = lab.session.write("odd.zone", _ODD_ZONE)
    six = lab.session.write("six.zone", _SIX_ZONE)
    search = lab.session.write("search", f"search {' '.join(SEARCH)}\n")
    common = f"""\
    metadata
    errors
    prometheus 0.0.0.0:{METRICS_PORT}
    log . "{{common}} {{/trace/traceid}}"
    trace zipkin {zipkin} {{
        service coredns
    }}
    dnstap {dnstap} full {{
        identity coredns
        extra "{{/trace/traceid}} {{>id}} {{port}}"
    }}
"""
    return f"""\
odd.test:53 {{
{common}
    autopath odd.test {search}
    file {zone} odd.test
    forward . 192.0.2.53
}}
six.test:53 {{
{common}
    dns64 {{
        allow_ipv4
    }}
    file {six}
}}
refreshed.late.test:53 {{
{common}
    cache 9 {{
        # Of 9 s, 90% are all of them: whatever is asked for twice is fetched again.
        success 100 9 9
        prefetch 1 1m 90%
    }}
    forward . 192.0.2.53
}}
stale.late.test:53 {{
{common}
    cache 1 {{
        success 100 1 1
        serve_stale 1h immediate
    }}
    forward . 192.0.2.53
}}
verified.late.test:53 {{
{common}
    cache 1 {{
        success 100 1 1
        serve_stale 1h verify 20ms
    }}
    forward . 192.0.2.53
}}
view.test:53 {{
    view pods {{
        expr incidr(client_ip(), '10.244.0.0/16')
    }}
{common}
    template IN A {{
        answer "{{{{ .Name }}}} 60 IN A 192.0.2.88"
    }}
    template IN AAAA {{
        answer "{{{{ .Name }}}} 60 IN AAAA 2001:db8::88"
    }}
}}
view.test:53 {{
{common}
    template ANY ANY . {{
        rcode REFUSED
    }}
}}
out.test:53 {{
{common}
    rewrite name exact old.out.test new.out.test
    forward next.out.test {OTHER_UPSTREAM} {{
        next NXDOMAIN
    }}
    forward . 192.0.2.53
}}
.:53 {{
{common}
    forward . 192.0.2.53
}}
"""
