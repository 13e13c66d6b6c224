"""The first page: one sentence, how much is seen, who suffers, what changed."""

from typing import Any, Final

from otel_dns import semconv
from otel_dns.web.answering import Answering
from otel_dns.web.asked import SECOND, Asked
from otel_dns.web.figures import duration, plural, share
from otel_dns.web.findings import find
from otel_dns.web.live import Live
from otel_dns.web.overview import FAILED_SQL, totals
from otel_dns.web.pods import sufferers
from otel_dns.web.shapes import Change, Coverage, Finding, Labelled, State, Totals
from otel_dns.web.situation import Course, PluginTime, Seen, Situation, Stats, Trouble
from otel_dns.web.subjects import plugin_times, seen, traced_share

# A query that was repeated after glibc's shortest timeout counts too: where the server itself waits
# for its upstream meanwhile, the breakdown has the time there.
_WAITED_SQL: Final = (
    f"(waiting_ns > 0 OR outcome = '{semconv.OUTCOME_TIMEOUT}'"
    " OR retries > 0 AND duration_ns >= 900000000)"
)
_ENOUGH_LOOKUPS: Final = 10
_ENOUGH_JOINED: Final = 0.5
_GREEN_JOINED: Final = 0.9
_COMPARABLE: Final = 20
_EXACT_SQL: Final = ", ".join(
    f"'{method}'"
    for method in semconv.METHODS
    if method not in {semconv.METHOD_TIME, semconv.METHOD_NONE}
)
_LOST: Final = (
    "spans_refused", "zipkin_spans_refused", "zipkin_spans_dropped_full", "server_spans_evicted",
    "lookups_settled_early", "spans_given_up", "server_spans_no_root",
)  # fmt: skip


def state(answering: Answering, asked: Asked, live: Live) -> State:
    """Judge a time by what was seen in it."""
    all_of = totals(answering, asked)
    situation = _situation(answering, asked, all_of)
    found = find(situation) if all_of.lookups else []
    coverage = _coverage(answering, asked, all_of, live)
    verdict, sentence, reason = _judge(all_of, found)
    changes, changes_reason = _changes(answering, asked, all_of, situation)
    return State(
        verdict=verdict,
        sentence=sentence,
        reason=reason,
        coverage=coverage,
        findings=[_shown(one) for one in found],
        sufferers=sufferers(answering, asked),
        changes=changes,
        changes_reason=changes_reason,
        totals=all_of,
    )


def _judge(all_of: Totals, found: list[Trouble]) -> tuple[Any, str, str]:
    if not all_of.lookups:
        return "unknown", "Not enough evidence", "No lookup arrived in this time."
    grave = [one for one in found if one.severity != "note"]
    if grave:
        worst = "failing" if any(one.severity == "bad" for one in grave) else "findings"
        return worst, plural(len(grave), "finding"), _summary(all_of)
    joined = all_of.joined / all_of.lookups
    if all_of.lookups < _ENOUGH_LOOKUPS:
        return "unknown", "Not enough evidence", f"Only {plural(all_of.lookups, 'lookup')} arrived."
    if joined < _ENOUGH_JOINED:
        return (
            "unknown",
            "Not enough evidence",
            f"Only {share(joined)} of the lookups could be joined with what a server did.",
        )
    return "healthy", "DNS healthy", _summary(all_of)


def _summary(all_of: Totals) -> str:
    failed = f"{share(all_of.failed / all_of.lookups)} failed" if all_of.failed else "none failed"
    return (
        f"{plural(all_of.lookups, 'lookup')}, {failed}; half took {duration(all_of.p50_ns)} or"
        f" less, one in a hundred {duration(all_of.p99_ns)} or more."
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


def _coverage(answering: Answering, asked: Asked, all_of: Totals, live: Live) -> list[Coverage]:
    (row,) = answering.rows(
        f"""
        SELECT count(DISTINCT client) FILTER (NOT inferred) AS told,
            count(DISTINCT client) AS clients,
            sum(queries) FILTER (method IN ({_EXACT_SQL})) AS exact,
            sum(unattributed_ns) FILTER (method <> 'none') AS unexplained,
            sum(duration_ns) FILTER (method <> 'none') AS explained
        FROM lookups
        """,
        asked,
    )
    joined = all_of.joined / all_of.lookups if all_of.lookups else 0.0
    sure = all_of.sure / all_of.lookups if all_of.lookups else 0.0
    exact = float(row["exact"] or 0) / all_of.queries if all_of.queries else 0.0
    shown = [
        Coverage(
            label="clients with spans",
            value=f"{row['told']} of {row['clients']}",
            enough=row["told"] == row["clients"] > 0,
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
    traced = traced_share(answering, asked)
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
    if row["explained"]:
        part = float(row["unexplained"] or 0) / float(row["explained"])
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


# -- what findings are made of --------------------------------------------------------------------


def _situation(answering: Answering, asked: Asked, all_of: Totals) -> Situation:
    both = Asked(
        type(asked.window)(asked.before().window.from_ns, asked.window.to_ns),
        asked.scope,
        asked.filters,
    )
    step_s = asked.window.step_s
    rows = answering.rows(
        f"""
        SELECT start_ns >= {asked.window.from_ns} AS is_now, start_ns // {step_s * SECOND} AS col,
            count(*) AS lookups, count(*) FILTER ({FAILED_SQL}) AS failed,
            sum(duration_ns)::BIGINT AS total,
            count(*) FILTER ({_WAITED_SQL}) AS waited,
            count(*) FILTER (outcome = 'timeout') AS timeouts,
            coalesce(sum(waiting_ns), 0)::BIGINT AS waiting,
            count(*) FILTER (outcome = 'server_failure') AS failures,
            coalesce(sum(waste_ns), 0)::BIGINT AS waste_ns
        FROM lookups GROUP BY ALL ORDER BY col
        """,
        both,
    )
    now = [row for row in rows if row["is_now"]]
    before = [row for row in rows if not row["is_now"]]

    def stats(of: list[dict[str, Any]], count: str, failed: str, total: str) -> Stats:
        return Stats(*(sum(row[key] for row in of) for key in (count, failed, total)))

    def course(failed: str) -> Course:
        return Course(
            times=[row["col"] * step_s for row in now],
            counts=[row["lookups"] for row in now],
            p95_ns=[None] * len(now),
            failed=[row[failed] for row in now],
        )

    (pods_waiting,) = answering.rows(
        f"SELECT count(DISTINCT (namespace, pod, client)) AS n FROM lookups WHERE {_WAITED_SQL}",
        asked,
    )
    wasteful = answering.rows(
        "SELECT pod, sum(waste_queries)::BIGINT AS wasted FROM lookups GROUP BY pod"
        " HAVING wasted > 0 ORDER BY wasted DESC, pod LIMIT 3",
        asked,
    )
    return Situation(
        lookups=Seen("lookups", stats(now, "lookups", "failed", "total")),
        timeouts=Seen(
            "timeouts",
            stats(now, "waited", "timeouts", "waiting"),
            stats(before, "waited", "timeouts", "waiting"),
            course("waited"),
        ),
        failures=Seen(
            "failures",
            stats(now, "failures", "failures", "total"),
            stats(before, "failures", "failures", "total"),
            course("failures"),
        ),
        upstreams=seen(answering, asked, "upstream"),
        servers=seen(answering, asked, "own"),
        outside=seen(answering, asked, "outside"),
        plugins=[
            PluginTime(row["server"], row["plugin"], row["queries"], row["own_ns"])
            for row in plugin_times(answering, asked)
        ],
        queries=all_of.queries,
        waste_queries=all_of.waste_queries,
        waste_ns=sum(row["waste_ns"] for row in now),
        worst_waste=[(row["pod"], row["wasted"]) for row in wasteful],
        pods_with_timeouts=pods_waiting["n"],
    )


# -- what changed ---------------------------------------------------------------------------------

_CHANGED: Final = 1.5
_CHANGES: Final = 6


def _changes(
    answering: Answering, asked: Asked, now: Totals, situation: Situation
) -> tuple[list[Change], str]:
    before = totals(answering, asked.before())
    if before.lookups < _COMPARABLE or now.lookups < _COMPARABLE:
        return [], "There are too few lookups in this time, or in the time before, to compare."
    found: list[Change] = []

    def compare(
        label: str, then: float | None, this: float | None, write: Any, **filters: str
    ) -> None:
        if then and this and (this / then >= _CHANGED or then / this >= _CHANGED):
            found.append(
                Change(label=label, text=f"{write(then)} → {write(this)}", filters=filters)
            )

    compare("lookups a second", before.rate, now.rate, lambda value: f"{value:.2g}")
    compare("p95 of lookups", before.p95_ns, now.p95_ns, duration)
    failed = (before.failed / before.lookups, now.failed / now.lookups)
    if failed[0] != failed[1] and max(failed) >= 0.001:
        compare("share that failed", failed[0] or 1e-9, failed[1] or 1e-9, share)
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
