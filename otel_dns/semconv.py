"""Every span, attribute and metric name, and every enumerated value, each with its source.

No other module of this project spells out a name, except for those that other instrumentations use
(`otel_dns/join/foreign.py`). The names have three kinds of source:

* **stable or in development**: OpenTelemetry semantic conventions, `registry/attributes/dns`,
  `general/metrics` and the like;
* **proposed**: semantic-conventions pull request 2432 (DNS spans);
* **ours**: everything that starts with ``otel_dns.``; nobody else defines it.
"""

from typing import Final

# -- scopes and spans -------------------------------------------------------------------------

CLIENT_SCOPE: Final = "otel_dns.client"
"""Ours. Instrumentation scope of every lookup span; the Collector's filters go by it."""

LOOKUP_SPAN: Final = "dns.lookup"
"""Ours. Name of a lookup span: low cardinality, the looked-up name is an attribute."""

SERVEDNS_SPAN: Final = "servedns"
"""CoreDNS plugin/trace/trace.go: the root span of one server's handling of one query."""

CACHE_SPAN: Final = "cache"
"""CoreDNS plugin/cache: a child within it means that the cache had no answer."""

CONNECT_SPAN: Final = "connect"
"""CoreDNS plugin/forward/forward.go: one exchange with one upstream."""

# -- the question and its answer --------------------------------------------------------------

DNS_QUESTION_NAME: Final = "dns.question.name"
"""Semantic conventions (development): the name as the application asked for it."""
DNS_ANSWERS: Final = "dns.answers"
"""Semantic conventions (development): resolved addresses, or record data as text; string[]."""
DNS_QUESTION_TYPE: Final = "dns.question.type"
"""Proposed: ``A``, ``AAAA``, ... ; set where a lookup asks for one type."""
DNS_RESPONSE_CODE: Final = "dns.response_code"
"""Proposed: RCODE mnemonic (IANA DNS RCODEs), e.g. ``NXDOMAIN``."""
ERROR_TYPE: Final = "error.type"
"""Semantic conventions (stable). For lookups: ``host_not_found``, ``try_again``, ..."""

# -- where ------------------------------------------------------------------------------------

CLIENT_ADDRESS: Final = "client.address"
"""Semantic conventions (stable): the address the application's queries come from."""
CLIENT_PORT: Final = "client.port"
"""Semantic conventions (stable): the port the query came from."""
DNS_ID: Final = "dns.id"
"""Proposed: int, the message's id."""
SERVER_ADDRESS: Final = "server.address"
"""Semantic conventions (stable): the first nameserver of the lookup's configuration; on a query,
the one asked."""
SERVER_PORT: Final = "server.port"
"""Semantic conventions (stable): on a query, the port asked."""
SERVICE_NAME: Final = "service.name"
"""Semantic conventions (stable), on the resource."""
SERVICE_INSTANCE_ID: Final = "service.instance.id"
"""Semantic conventions (stable), on the resource: of a server's spans, the address that they come
from where nothing else names the instance."""
SERVICE_VERSION: Final = "service.version"
"""Semantic conventions (stable), on the resource of the processor's own metrics and traces."""
HOST_IP: Final = "host.ip"
"""Semantic conventions (development), on the resource; string[]."""
K8S_POD_NAME: Final = "k8s.pod.name"
"""Semantic conventions (stable), on the resource."""
K8S_POD_UID: Final = "k8s.pod.uid"
"""Semantic conventions (stable), on the resource."""
K8S_POD_IP: Final = "k8s.pod.ip"
"""Semantic conventions (stable), on the resource."""
K8S_NAMESPACE_NAME: Final = "k8s.namespace.name"
"""Semantic conventions (stable), on the resource."""
K8S_NODE_NAME: Final = "k8s.node.name"
"""Semantic conventions (stable), on the resource."""
K8S_CONTAINER_NAME: Final = "k8s.container.name"
"""Semantic conventions (stable), on the resource."""
K8S_NODE_IP: Final = "k8s.node.ip"
"""As the OpenTelemetry Operator's OTEL_NODE_IP has it, on the resource; semantic conventions have
no name for it yet."""
CONTAINER_ID: Final = "container.id"
"""Semantic conventions (stable), on the resource."""
HOST_NAME: Final = "host.name"
"""Semantic conventions (development), on the resource."""
K8S_CLUSTER_NAME: Final = "k8s.cluster.name"
"""Semantic conventions (stable), on the resource: many clusters' history may lie side by side."""

# -- the lookup, as the client saw it (ours) --------------------------------------------------

LOOKUP_API: Final = "otel_dns.lookup.api"
"""The function called: ``socket.getaddrinfo``, ``dns.resolver.Resolver.resolve``."""
LOOKUP_FAMILY: Final = "otel_dns.lookup.family"
"""Address families asked for: ``any``, ``inet`` or ``inet6``."""
RESOLVER_KIND: Final = "otel_dns.resolver.kind"
"""Whose search rules apply: ``glibc``, ``musl``, ``dnspython``, ``c-ares`` or ``other``."""
RESOLVER_NAMESERVERS: Final = "otel_dns.resolver.nameservers"
"""string[], in the order of resolv.conf(5); at most three for glibc."""
RESOLVER_SEARCH: Final = "otel_dns.resolver.search"
"""string[]: the search list in force for this lookup, in order."""
RESOLVER_NDOTS: Final = "otel_dns.resolver.ndots"
"""int: resolv.conf(5) ``ndots``."""
RESOLVER_OPTIONS: Final = "otel_dns.resolver.options"
"""string[]: other options of resolv.conf(5) and RES_OPTIONS, as written; ``timeout`` and
``attempts`` where they are not the defaults."""
RESOLVER_CLIENT_ADDRESSES: Final = "otel_dns.resolver.client_addresses"
"""string[] beside the nameservers, where queries to them come from different addresses: the source
address towards each, empty where there is no route."""
LOOKUP_BESIDES_DNS: Final = "otel_dns.lookup.besides_dns"
"""string[], where there are any: who could have answered without a query, by their names in
nsswitch.conf(5): ``files`` if /etc/hosts has the name, ``myhostname``, ``nscd``, ...; or
``resolver_cache``, one in the application that does not say whether it answered."""
LOOKUP_CACHED: Final = "otel_dns.lookup.cached"
"""bool, where the resolver has a cache of its own: whether that answered, without any query."""
LOOKUP_MARKED: Final = "otel_dns.lookup.marked"
"""``case``: the name's letter case on the wire is `otel_dns.marks.cased` of this span's trace id,
span id and name, as far as the name that was asked for reaches; the search list's part is bare."""

# -- lookups that are not sampled, many in one span (ours) --------------------------------------
# Beside these a record's span has what its lookups have in common: client.address, the resolver's
# attributes, otel_dns.lookup.api and otel_dns.lookup.family or dns.question.type.

UNSAMPLED_SPAN: Final = "dns.lookups.unsampled"
"""Ours. Name of a record's span: a root from the first lookup's start to the last one's end. The
processor reads it and does not send it on."""
UNSAMPLED_LOOKUPS: Final = "otel_dns.unsampled.lookups"
"""JSON text, since lists as attributes cost several times as much: for each lookup a list of
the name as the application asked for it, nanoseconds from this span's start to the lookup's,
nanoseconds that it took, and its error.type or an empty text."""

# -- one query on the wire, as the client saw it (dnspython) ------------------------------------
# Beside these a query's span has dns.question.name and dns.question.type, dns.id,
# dns.response_code, server.address and server.port, client.address and client.port, error.type.

QUERY_SPAN: Final = "dns.query"
"""Ours. Name of a query's span: a child of the lookup's, in the same scope. A query that the
application sent by itself is a lookup too, and says so by otel_dns.lookup.api."""
QUERY_TRANSPORT: Final = "otel_dns.query.transport"
"""``udp``, ``tcp``, ``tls``, ``https`` or ``quic``; HTTP/3 is ``https``."""
QUERY_TRUNCATED: Final = "otel_dns.query.truncated"
"""bool: the answer was truncated; set if so."""
QUERY_TCP_FALLBACK: Final = "otel_dns.query.tcp_fallback"
"""bool: asks over TCP again what was answered truncated; set if so."""
QUERY_RESEND_COUNT: Final = "otel_dns.query.resend_count"
"""int: which repetition of the same question within its lookup this is, from 1; a TCP fall-back
does not count. Absent from the first query."""
QUERY_SIZE: Final = "otel_dns.query.size"
"""int bytes of the query's message."""
RESPONSE_SIZE: Final = "otel_dns.query.response.size"
"""int bytes of the answer's message."""
QUERY_MARKED: Final = "otel_dns.query.marked"
"""string[]: the marks that this query carried. ``edns``: EDNS option 65500 with this span's
trace context. ``case``: the letter case is `otel_dns.marks.cased` of this span's trace id and span
id and the whole name. ``b3``: B3 headers with this span's context."""

TRANSPORT_UDP: Final = "udp"
TRANSPORT_TCP: Final = "tcp"
TRANSPORT_TLS: Final = "tls"
TRANSPORT_HTTPS: Final = "https"
TRANSPORT_QUIC: Final = "quic"
MARK_EDNS: Final = "edns"
MARK_CASE: Final = "case"
MARK_B3: Final = "b3"
MARKS: Final = (MARK_EDNS, MARK_CASE, MARK_B3)

# -- CoreDNS's own (plugin/trace/trace.go) ----------------------------------------------------

COREDNS_NAME: Final = "coredns.io/name"
"""Query name after any rewrite, lower case, fully qualified."""
COREDNS_TYPE: Final = "coredns.io/type"
"""Question type, as a mnemonic."""
COREDNS_RCODE: Final = "coredns.io/rcode"
"""RCODE mnemonic of the answer."""
COREDNS_PROTO: Final = "coredns.io/proto"
"""``udp``, ``tcp``, ..."""
COREDNS_REMOTE: Final = "coredns.io/remote"
"""Client address, without port."""
PEER_ADDRESS: Final = "peer.address"
"""On ``connect``: ``address:port`` of the upstream."""

# -- what the processor writes on a joined lookup span (ours; single strings are searchable) ---

JOIN_METHOD: Final = "otel_dns.join.method"
"""How it was joined: by the client's trace context that the server took (``context``) or that the
query carried (``edns``), by port and id of the query (``id``), by the letter case of its name
(``case``), by client address, candidate names and time (``time``); or ``none``: no server trace was
found for the lookup. On a lookup the least exact of its server traces'."""
JOIN_CERTAINTY: Final = "otel_dns.join.certainty"
"""``sure``: right with a confidence of at least 0.99. ``group``: one of several interchangeable
lookups, whose server traces nobody can tell apart. ``unsure``: anything less."""
JOIN_CONFIDENCE: Final = "otel_dns.join.confidence"
"""double: calibrated probability that every server trace of this join is the lookup's own."""
JOIN_CLOCKS: Final = "otel_dns.join.clocks"
"""``unknown`` where a join by time is not sure because it was not known how the clocks of client
and server differ; left out elsewhere."""
JOIN_GROUP_SIZE: Final = "otel_dns.join.group.size"
"""int: how many interchangeable lookups there were, where there were several."""
LOOKUP_OUTCOME: Final = "otel_dns.lookup.outcome"
"""How the lookup ended for the application: ``ok``, ``not_found``, ``timeout``,
``server_failure`` (a server answered SERVFAIL, REFUSED or the like) or ``error``."""
BOTTLENECK: Final = "otel_dns.bottleneck"
"""What took most: a segment (``stub``, ``network``, ``stub_network``, ``upstream``, ``waiting``,
``unattributed``), or ``plugin:<name>`` for one plugin's own time."""
WASTE_QUERIES: Final = "otel_dns.search.waste_queries"
"""int: queries spent on candidates of the search list before the one that gave the answer."""
WASTE_TIME: Final = "otel_dns.search.waste_ns"
"""int nanoseconds until the first query for the candidate that gave the answer."""
LOOKUP_RETRIES: Final = "otel_dns.lookup.retries"
"""int: queries that repeated one which got no answer, or none that was of use."""
QUERIES: Final = "otel_dns.queries"
"""int: queries that servers saw for this lookup."""
BREAKDOWN_PREFIX: Final = "otel_dns.breakdown."
"""int nanoseconds by segment: ``otel_dns.breakdown.<segment>_ns``; they add up to the span."""
BREAKDOWN_PLUGIN_PREFIX: Final = "otel_dns.breakdown.plugin."
"""int nanoseconds by plugin, the parts of segment ``server``."""
AFTER_ANSWER: Final = "otel_dns.after_answer_ns"
"""int nanoseconds that servers spent after the answer was out; outside the lookup."""

LATENCY_CLASS: Final = "otel_dns.latency.class"
"""How long the lookup took, in one word to search for: ``under_1ms``, ``under_10ms``,
``under_100ms``, ``under_1s`` or ``over_1s``."""

# -- why something of a lookup was not seen (ours) ---------------------------------------------

JOIN_UNSEEN: Final = "otel_dns.join.unseen"
"""On a lookup of which no server trace is there, or none with CoreDNS's own spans: why.
``not_sampled``: CoreDNS's trace plugin left it out (``every``); dnstap or the log may tell of it
nevertheless. ``lost``: a server handled it, and its spans did not come. ``not_arrived``: the client
waited for its timeout, and no server saw the query, or none before. ``no_query``: /etc/hosts, a
cache or the name itself answered. ``not_traced``: only dnstap or the log tell of it, as CoreDNS
does not trace. ``unknown``: nothing was ever seen from this client's address, or the evidence does
not tell."""
UNSEEN_NOT_SAMPLED: Final = "not_sampled"
UNSEEN_LOST: Final = "lost"
UNSEEN_NOT_ARRIVED: Final = "not_arrived"
UNSEEN_NO_QUERY: Final = "no_query"
UNSEEN_NOT_TRACED: Final = "not_traced"
UNSEEN_UNKNOWN: Final = "unknown"
UNSEEN_NOT_INSTRUMENTED: Final = "not_instrumented"
"""Of an inferred lookup, and on no span: nothing at its address tells of lookups."""
UNSEEN_NOT_RECORDED: Final = "not_recorded"
"""Likewise: its address has lookups, and this is not among them. The application's sampler left it
out, code that is not Python's made it, or its span was lost."""
UNSEEN: Final = (
    UNSEEN_NOT_SAMPLED, UNSEEN_LOST, UNSEEN_NOT_ARRIVED, UNSEEN_NO_QUERY, UNSEEN_NOT_TRACED,
    UNSEEN_UNKNOWN,
)  # fmt: skip
BESIDES_CACHE: Final = "cache"
"""Beside nsswitch.conf(5)'s names: the resolver's own cache answered."""
BESIDES_RESOLVER_CACHE: Final = "resolver_cache"
"""Likewise: the resolver's own cache may have answered."""

METHOD_CONTEXT: Final = "context"
METHOD_EDNS: Final = "edns"
METHOD_ID: Final = "id"
METHOD_CASE: Final = "case"
METHOD_TIME: Final = "time"
METHOD_NONE: Final = "none"
METHOD_INFERRED: Final = "inferred"
"""No join, and on no span: a lookup that nobody told of, made of its server traces."""
METHODS: Final = (
    METHOD_CONTEXT, METHOD_EDNS, METHOD_ID, METHOD_CASE, METHOD_TIME, METHOD_NONE,
)  # fmt: skip
"""The ladder, the most exact first."""
CERTAINTY_SURE: Final = "sure"
CERTAINTY_UNSURE: Final = "unsure"
CERTAINTY_GROUP: Final = "group"
CLOCKS_UNKNOWN: Final = "unknown"
OUTCOME_OK: Final = "ok"
OUTCOME_NOT_FOUND: Final = "not_found"
OUTCOME_TIMEOUT: Final = "timeout"
OUTCOME_SERVER_FAILURE: Final = "server_failure"
OUTCOME_ERROR: Final = "error"

CACHE_HIT: Final = "hit"
CACHE_MISS: Final = "miss"

# -- what people search for, on the lookup span and on its servedns spans alike (ours) ------------

# A search of Jaeger's is for tags of one span of one service, by equality. So each of these is a
# single string on both, as are dns.question.name, otel_dns.lookup.outcome, otel_dns.bottleneck,
# otel_dns.latency.class and otel_dns.join.method: one search works from the application's side and
# from the server's.
SEARCH_POD: Final = "otel_dns.pod"
"""The Pod whose application made the lookup."""
SEARCH_NAMESPACE: Final = "otel_dns.namespace"
"""Its namespace."""
SEARCH_NODE: Final = "otel_dns.node"
"""The node that it runs on."""

# -- segments of a breakdown (ours) --------------------------------------------------------------

SEGMENT_STUB: Final = "stub"
"""In the stub resolver: no query is on its way, as the client itself tells (dnspython)."""
SEGMENT_NETWORK: Final = "network"
"""A query or its answer is on its way: within the client's query, and outside of the server. What
sockets and the client's scheduler add is in it, and over TCP, TLS and HTTPS the connecting."""
SEGMENT_STUB_NETWORK: Final = "stub_network"
"""In the stub resolver or on the network: no query is at a server. The two are not told apart
where the client does not tell of its queries."""
SEGMENT_SERVER: Final = "server"
"""Own time of the DNS server's plugins."""
SEGMENT_UPSTREAM: Final = "upstream"
"""The DNS server waits for its upstream (``connect`` spans)."""
SEGMENT_WAITING: Final = "waiting"
"""The stub waits for an answer that does not come, until its timeout."""
SEGMENT_UNATTRIBUTED: Final = "unattributed"
"""Time that no evidence explains."""
SEGMENTS: Final = (
    SEGMENT_STUB,
    SEGMENT_NETWORK,
    SEGMENT_STUB_NETWORK,
    SEGMENT_SERVER,
    SEGMENT_UPSTREAM,
    SEGMENT_WAITING,
    SEGMENT_UNATTRIBUTED,
)

# -- what the processor writes on server spans (ours) ------------------------------------------

ORIGINAL_TRACE_ID: Final = "otel_dns.original.trace_id"
"""On servedns: the trace id CoreDNS gave, 32 hex digits."""
ORIGINAL_SPAN_ID: Final = "otel_dns.original.span_id"
"""On servedns: the span id CoreDNS gave, 16 hex digits; the root's is also the trace id that
CoreDNS's log and dnstap show (``{/trace/traceid}``)."""
SKEW: Final = "otel_dns.skew_ns"
"""int on servedns: what was added to this server's times to bring them to the client's clock; left
out where nothing was."""
HOP: Final = "otel_dns.hop"
"""int on servedns: 1 for the server that the asked one asked, and so on; left out for the first."""
EVIDENCE: Final = "otel_dns.evidence"
"""On servedns and connect: what tells of it where no span of CoreDNS's does: ``dnstap`` or ``log``;
otel-dns made the span of that."""
SOURCE_TRACE: Final = "trace"
OWN_TIME: Final = "otel_dns.own_ns"
"""int nanoseconds spent in this span and in none of its children."""
BACKGROUND: Final = "otel_dns.background_ns"
"""int nanoseconds that a server's span went on after ``servedns`` had ended, as with prefetch and
serve_stale of CoreDNS's cache. Nobody waited for that; it is in no breakdown."""
CANDIDATE_INDEX: Final = "otel_dns.candidate.index"
"""int on servedns: place of the queried name in the lookup's candidates, from 0."""

# -- OpenTelemetry in other formats ---------------------------------------------------------------

OTEL_SCOPE_NAME: Final = "otel.scope.name"
"""OpenTelemetry to non-OTLP formats (stable): the scope, as a tag of a Jaeger span."""
OTEL_SCOPE_VERSION: Final = "otel.scope.version"
"""OpenTelemetry to non-OTLP formats (stable)."""
OTEL_STATUS_DESCRIPTION: Final = "otel.status_description"
"""OpenTelemetry to non-OTLP formats (stable)."""

# -- metrics ----------------------------------------------------------------------------------

DNS_LOOKUP_DURATION: Final = "dns.lookup.duration"
"""Semantic conventions (development): histogram, seconds."""
DNS_LOOKUP_DURATION_BUCKETS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
)  # fmt: skip
"""Semantic conventions: explicit bucket boundaries advised for ``dns.lookup.duration``."""
CLIENT_FAILURES: Final = "otel_dns.client.failures"
"""Ours: counter of instrumentation's own failures, which the application never sees."""
CLIENT_ACTIVE_LOOKUPS: Final = "otel_dns.client.active_lookups"
"""Ours: up-down counter of lookups that have begun and not ended, in one process."""
CLIENT_QUERY_DURATION: Final = "otel_dns.client.query.duration"
"""Ours: histogram, seconds, of queries on the wire (dnspython), by otel_dns.query.transport and
dns.response_code, or error.type where there was no answer. Its count is that of queries."""
CLIENT_QUERY_RESENDS: Final = "otel_dns.client.query.resends"
"""Ours: counter of queries that repeat a question of the same lookup."""
CLIENT_QUERY_TCP_FALLBACKS: Final = "otel_dns.client.query.tcp_fallbacks"
"""Ours: counter of queries sent over TCP because the answer over UDP was truncated."""
OTHER_NAMES: Final = "_OTHER"
"""Semantic conventions' fallback value; here dns.question.name of a metric beyond the bound."""

# -- metrics of the processor (ours; Prometheus has them with underscores and units) -------------

PROCESSOR_SCOPE: Final = "otel_dns.processor"
"""Instrumentation scope of the processor's own metrics and spans."""
METRIC_LOOKUP_DURATION: Final = "otel_dns.lookup.duration"
"""Histogram, seconds: lookups as the applications saw them."""
METRIC_NODE_LOOKUP_DURATION: Final = "otel_dns.node.lookup.duration"
"""Histogram, seconds: lookups by the node that their Pod runs on."""
METRIC_SERVER_LOOKUP_DURATION: Final = "otel_dns.server.lookup.duration"
"""Histogram, seconds: joined lookups by the server that was asked, its queue included."""
METRIC_LOOKUPS: Final = "otel_dns.lookups"
"""Counter: lookups by outcome and bottleneck."""
METRIC_POD_LOOKUPS: Final = "otel_dns.pod.lookups"
"""Counter: lookups by Pod, node and outcome."""
METRIC_WATCHED_LOOKUPS: Final = "otel_dns.watched.lookups"
"""Counter: lookups of names on the watch list, by its entry and Pod."""
WATCHED: Final = "otel_dns.watched"
"""An entry of the watch list (``metrics.watch``)."""
METRIC_POD_QUERIES: Final = "otel_dns.pod.queries"
"""Counter: queries of a Pod's lookups, as servers saw them."""
METRIC_WASTE_QUERIES: Final = "otel_dns.search.wasted.queries"
"""Counter: queries for candidates of the search list before the one that answered, by Pod."""
METRIC_WASTE_TIME: Final = "otel_dns.search.wasted.time"
"""Counter, seconds: time until the first query for the candidate that answered, by Pod."""
METRIC_RETRIES: Final = "otel_dns.retries"
"""Counter: repeated queries, by Pod."""
METRIC_INFERRED_LOOKUPS: Final = "otel_dns.inferred.lookups"
"""Counter: lookups that nobody told of, made of what servers told alone."""
METRIC_SEGMENT_DURATION: Final = "otel_dns.segment.duration"
"""Histogram, seconds: a joined lookup's time by segment."""
METRIC_JOINS: Final = "otel_dns.joins"
"""Counter: lookups by method and certainty of their join."""
METRIC_PLUGIN_DURATION: Final = "otel_dns.plugin.duration"
"""Histogram, seconds: own time of a server's plugin in one query."""
METRIC_UPSTREAM_DURATION: Final = "otel_dns.upstream.duration"
"""Histogram, seconds: one exchange of a server with its upstream."""
METRIC_SERVER_QUERIES: Final = "otel_dns.server.queries"
"""Counter: queries of which a server told, joined to a lookup or not."""
METRIC_TRACED_QUERIES: Final = "otel_dns.server.traced.queries"
"""Counter: queries with spans of CoreDNS's own, and so with plugins' times. Their share of
otel_dns.server.queries is by how much figures of plugins are estimates."""
METRIC_CLOCK_SKEW: Final = "otel_dns.clock.skew"
"""Gauge, seconds: what is added to a server's times."""
METRIC_OVERFLOWED: Final = "otel_dns.metrics.overflowed"
"""Counter: measurements under a metric's overflow series."""
SEGMENT: Final = "otel_dns.segment"
"""Which segment of a breakdown."""
PLUGIN: Final = "otel_dns.plugin"
"""Which plugin of CoreDNS; ``servedns`` is the server around them. On spans, to search for: the one
that took most of the lookup's time at servers."""
SERVER_INSTANCE: Final = "otel_dns.server"
"""Which DNS server: its Pod or dnstap identity where known, else its service. On spans, to search
for: on servedns its own, on the lookup the one asked first."""
JOINED: Final = "otel_dns.joined"
"""``true`` where the query belongs to a known lookup, else ``false``."""
METRIC: Final = "otel_dns.metric"
"""Which metric."""

# -- the processor's own traces -----------------------------------------------------------------

REQUEST_SPAN: Final = "otel_dns.request"
"""Ours. A request in the processor: from its arrival until all in it waits for its partners, or for
the outputs."""
REQUEST_SORT_SPAN: Final = "otel_dns.sort"
"""Ours. Within it: read, checked, and sorted by what is to be done with it."""
REQUEST_ROOM_SPAN: Final = "otel_dns.wait_for_room"
"""Ours. Within it: until a queue took it."""
REQUEST_QUEUE_SPAN: Final = "otel_dns.queue"
"""Ours. Within it: in the queue before the join."""
REQUEST_TAKE_SPAN: Final = "otel_dns.take"
"""Ours. Within it: its spans and messages taken into the join."""
REQUEST_SIZE: Final = "otel_dns.request.size"
"""Ours. On ``otel_dns.request``: bytes of it, unpacked."""
REQUEST_SPANS: Final = "otel_dns.request.spans"
"""Ours. On ``otel_dns.request``: spans taken."""

# -- values of error.type on lookups ------------------------------------------------------------
# Semantic conventions, `dns.lookup.duration`: getaddrinfo's errors by name, as .NET's runtime and
# netdb.h's h_errno spell them. Whatever is none of these is the exception's class name.

ERROR_HOST_NOT_FOUND: Final = "host_not_found"
"""The name does not exist (EAI_NONAME, NXDOMAIN)."""
ERROR_NO_DATA: Final = "no_data"
"""The name exists and has no record of the kind asked for (EAI_NODATA, an empty answer)."""
ERROR_TRY_AGAIN: Final = "try_again"
"""No answer in time, or SERVFAIL: getaddrinfo does not tell which (EAI_AGAIN)."""
ERROR_NO_RECOVERY: Final = "no_recovery"
"""Servers refused, or answered what cannot be used (EAI_FAIL)."""
ERROR_TIMEOUT: Final = "timeout"
"""No answer in time, where the library tells (dnspython's LifetimeTimeout)."""
ERROR_FAMILY: Final = "address_family_not_supported"
"""The address family is none of this machine's, or the name has no address in it (EAI_FAMILY)."""
