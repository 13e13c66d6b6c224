"""The first page: one sentence, how much is seen, who suffers, what changed."""

from typing import Any, Final

from otel_dns.history import answers
from otel_dns.history.history import History
from otel_dns.history.questions import EVERYTHING
from otel_dns.web.asked import SECOND, Asked
from otel_dns.web.figures import duration, plural, rate, share
from otel_dns.web.findings import find
from otel_dns.web.live import Live
from otel_dns.web.overview import totals
from otel_dns.web.pods import sufferers
from otel_dns.web.shapes import Change, Coverage, Finding, Labelled, State, Totals
from otel_dns.web.situation import Course, Seen, Situation, Stats, Trouble
from otel_dns.web.subjects import seen

_ENOUGH_LOOKUPS: Final = 10
_ENOUGH_JOINED: Final = 0.5
_GREEN_JOINED: Final = 0.9
_COMPARABLE: Final = 20
_WASTEFUL: Final = 3
_UNKNOWN: Final = "Not enough evidence"
_LOST: Final = (
    "spans_refused", "zipkin_spans_refused", "zipkin_spans_dropped_full", "server_spans_evicted",
    "lookups_settled_early", "spans_given_up", "server_spans_no_root",
)  # fmt: skip


def state(history: History, asked: Asked, live: Live) -> State:
    """Judge a time by what was seen in it."""
    now, before = history.totals(asked.where), history.totals(asked.before().where)
    all_of = totals(now, asked)
    reach = history.reach(asked.where)
    situation = _situation(history, asked, now, reach)
    found = find(situation) if now.lookups else []
    verdict, sentence, reason = _judge(now, found, asked)
    changes, changes_reason = _changes(
        totals(before, asked.before()), all_of, situation, begun=_begun(before, asked.before())
    )
    return State(
        verdict=verdict,
        sentence=sentence,
        reason=reason,
        coverage=_coverage(now, reach, _traced(situation), asked, live),
        findings=[_shown(one) for one in found],
        sufferers=sufferers(history, asked),
        changes=changes,
        changes_reason=changes_reason,
        totals=all_of,
    )


def _judge(all_of: answers.Totals, found: list[Trouble], asked: Asked) -> tuple[Any, str, str]:
    if not all_of.lookups and asked.filters != EVERYTHING:
        return "unknown", _UNKNOWN, "No lookup of this time matches the filters."
    if not all_of.lookups:
        return "unknown", _UNKNOWN, "No lookup arrived in this time."
    grave = [one for one in found if one.severity != "note"]
    if grave:
        worst = "failing" if any(one.severity == "bad" for one in grave) else "findings"
        return worst, plural(len(grave), "finding"), _summary(all_of)
    told = all_of.lookups - all_of.inferred
    if told < _ENOUGH_LOOKUPS:
        arrived = f"Only {plural(told, 'lookup')} arrived" if told else "No lookup arrived"
        beside = f"; {all_of.inferred:,} are known by server evidence alone"
        return "unknown", _UNKNOWN, f"{arrived}{beside if all_of.inferred else ''}."
    joined = all_of.joined / told
    if joined < _ENOUGH_JOINED:
        return (
            "unknown",
            _UNKNOWN,
            f"Only {share(joined)} of the lookups could be joined with what a server did.",
        )
    return "healthy", "DNS healthy", _summary(all_of)


def _summary(all_of: answers.Totals) -> str:
    failed = f"{share(all_of.failed / all_of.lookups)} failed" if all_of.failed else "none failed"
    return (
        f"{plural(all_of.lookups, 'lookup')}, {failed}; half took"
        f" {duration(all_of.latency.p50_ns)} or less, one in a hundred"
        f" {duration(all_of.latency.p99_ns)} or more."
    )


def _shown(trouble: Trouble) -> Finding:
    return Finding(
        kind=trouble.kind,
        severity=trouble.severity,  # type: ignore[arg-type]
        title=trouble.title,
        detail=trouble.detail,
        since_us=None if trouble.since_s is None else trouble.since_s * 1_000_000,
        evidence=[Labelled(label=label, value=value) for label, value in trouble.evidence],
        view=trouble.view,  # type: ignore[arg-type]
        filters=dict(trouble.filters),
        advice=trouble.advice,
    )


# -- coverage -------------------------------------------------------------------------------------


def _coverage(
    all_of: answers.Totals, reach: answers.Reach, traced: float, asked: Asked, live: Live
) -> list[Coverage]:
    told = all_of.lookups - all_of.inferred
    joined = all_of.joined / told if told else 0.0
    sure = all_of.sure / told if told else 0.0
    exact = all_of.exact_queries / all_of.client_queries if all_of.client_queries else 0.0
    shown = [
        Coverage(
            label="clients with spans",
            value=f"{reach.clients_told} of {reach.clients}",
            enough=reach.clients_told == reach.clients > 0,
            explanation="Addresses from which lookup spans come, of all that were seen to ask.",
        ),
        Coverage(
            label="lookups joined",
            value=share(joined),
            enough=joined >= _GREEN_JOINED,
            explanation=f"With what a DNS server did for them; {share(sure)} for sure.",
        ),
        Coverage(
            label="queries with exact evidence",
            value=share(exact),
            enough=exact >= _GREEN_JOINED or sure >= _GREEN_JOINED,
            explanation="Of lookups joined by ids, marks or trace context rather than by time.",
        ),
    ]
    if traced:
        shown.append(
            Coverage(
                label="queries with plugins' times",
                value=share(traced) if traced == 1 else f"{share(traced)}: estimates",
                enough=True,
                explanation=(
                    "Queries with CoreDNS's own spans. Where it traces one in N, what is said of"
                    " plugins is an estimate from those."
                ),
            )
        )
    if all_of.joined_ns:
        part = all_of.unexplained_ns / all_of.joined_ns
        shown.append(
            Coverage(
                label="time unexplained",
                value=share(part),
                enough=part <= 1 - _GREEN_JOINED,
                explanation="Of joined lookups' time, what no evidence attributes to anything.",
            )
        )
    if asked.scope.everything and live.configured:
        figures = live.figures()
        lost = None if figures is None else round(sum(figures.get(name, 0) for name in _LOST))
        shown.append(
            Coverage(
                label="telemetry lost",
                value="service away" if lost is None else plural(lost, "span") if lost else "none",
                enough=lost == 0,
                explanation="Refused, dropped or let go too early by the service since it started.",
            )
        )
    return shown


def _traced(situation: Situation) -> float:
    """What part of all queries came with CoreDNS's own spans, and so with plugins' times."""
    queries = sum(one.now.count for one in situation.servers)
    return sum(one.now.traced for one in situation.servers) / queries if queries else 0.0


# -- what findings are made of --------------------------------------------------------------------


def _situation(
    history: History, asked: Asked, all_of: answers.Totals, reach: answers.Reach
) -> Situation:
    step_ns, where = asked.window.step_s * SECOND, asked.both().where
    strains = history.strains(step_ns, asked.window.from_ns, where)
    now = [one for one in strains if not one.is_before]
    before = [one for one in strains if one.is_before]

    def stats(of: list[answers.Strain], count: str, failed: str, total: str) -> Stats:
        return Stats(*(sum(getattr(one, name) for one in of) for name in (count, failed, total)))

    def course(failed: str) -> Course:
        return Course(
            times=[one.at // SECOND for one in now],
            counts=[one.lookups for one in now],
            p95_ns=[None] * len(now),
            failed=[getattr(one, failed) for one in now],
        )

    wasteful = history.wasters(asked.where, limit=_WASTEFUL)
    servers = seen(history, asked, "own")
    return Situation(
        lookups=Seen("lookups", stats(now, "lookups", "failed", "total_ns")),
        timeouts=Seen(
            "timeouts",
            stats(now, "waited", "timeouts", "waiting_ns"),
            stats(before, "waited", "timeouts", "waiting_ns"),
            course("waited"),
        ),
        failures=Seen(
            "failures",
            stats(now, "server_failures", "server_failures", "total_ns"),
            stats(before, "server_failures", "server_failures", "total_ns"),
            course("server_failures"),
        ),
        upstreams=seen(history, asked, "upstream"),
        servers=servers,
        # Who has neighbours is measured by them, not by the time before.
        outside=seen(history, asked, "outside", before=len(servers) < 2),
        plugins=[one for one in history.plugin_sums(asked.where) if one.server],
        queries=all_of.queries,
        waste_queries=all_of.waste_queries,
        waste_ns=all_of.waste_ns,
        worst_waste=[(one.pod, one.waste_queries) for one in wasteful],
        clients_waited=reach.clients_waited,
        clients=reach.clients,
    )


# -- what changed ---------------------------------------------------------------------------------

_CHANGED: Final = 1.5
_CHANGES: Final = 6
_BEGUN: Final = 0.1
_NONE: Final = 1e-9
"""In place of no failure, so that a ratio can be made."""


def _begun(before: answers.Totals, asked: Asked) -> bool:
    """Whether lookups seem to begin only within a time: then its rate is of no whole time."""
    if before.first_at is None:
        return True
    return (before.first_at - asked.window.from_ns) / SECOND > _BEGUN * asked.window.seconds


def _changes(
    before: Totals, now: Totals, situation: Situation, *, begun: bool
) -> tuple[list[Change], str]:
    for of, what in ((now, "in this time"), (before, "in the time before")):
        if of.lookups < _COMPARABLE:
            few = "There are too few lookups" if of.lookups else "There is no lookup"
            return [], f"{few} {what} to compare."
    found: list[Change] = []

    def compare(
        label: str, then: float | None, this: float | None, write: Any, **filters: str
    ) -> None:
        if then and this and (this / then >= _CHANGED or then / this >= _CHANGED):
            found.append(
                Change(label=label, text=f"{write(then)} → {write(this)}", filters=filters)
            )

    if not begun:
        compare("lookups a second", before.rate, now.rate, rate)
    compare("p95 of lookups", before.p95_ns, now.p95_ns, duration)
    failed = (before.failed / before.lookups, now.failed / now.lookups)
    if failed[0] != failed[1] and max(failed) >= 0.001:
        compare("share that failed", failed[0] or _NONE, failed[1] or _NONE, _failed)
    for kind, what, subjects in (
        ("upstream", "upstream", situation.upstreams),
        ("server", "DNS server", situation.servers),
    ):
        for one in subjects:
            filters = {kind: one.name}
            if not one.before.count:
                found.append(Change(label=f"{what} {one.name}", text="is new", filters=filters))
            elif not one.now.count:
                found.append(
                    Change(label=f"{what} {one.name}", text="is not seen any more", filters={})
                )
            elif min(one.now.count, one.before.count) >= _COMPARABLE:
                compare(
                    f"{what} {one.name}, p95",
                    one.before.p95_ns,
                    one.now.p95_ns,
                    duration,
                    **filters,
                )
    return found[:_CHANGES], "Nothing worth mentioning: as in the time before."


def _failed(part: float) -> str:
    return share(0 if part == _NONE else part)
