"""How a time went, column by column."""

from otel_dns import semconv
from otel_dns.history import answers
from otel_dns.history.history import History
from otel_dns.web import labels
from otel_dns.web.asked import SECOND, Asked
from otel_dns.web.shapes import Course, Totals

_NOTHING = answers.Latency(None, None, None, None)


def course(history: History, asked: Asked) -> Course:
    """Rate, failures, percentiles, where the time went and how sure the joins are, over time."""
    points = {
        point.at // SECOND: point
        for point in history.over_time(asked.window.step_s * SECOND, asked.where)
    }
    times = asked.window.times
    columns = [points.get(time) for time in times]
    latencies = [point.latency if point else _NOTHING for point in columns]
    return Course(
        times=times,
        step_s=asked.window.step_s,
        from_s=asked.window.from_ns / SECOND,
        to_s=asked.window.to_ns / SECOND,
        lookups=[point.lookups if point else 0 for point in columns],
        failed=[point.failed if point else 0 for point in columns],
        p50_ns=[each.p50_ns for each in latencies],
        p95_ns=[each.p95_ns for each in latencies],
        p99_ns=[each.p99_ns for each in latencies],
        segments={
            name: [
                round(point.segments[name] / point.joined) if point and point.joined else None
                for point in columns
            ]
            for name, _ in labels.SEGMENTS
        },
        joins={
            name: [_share(point, name) if point else None for point in columns]
            for name, _ in labels.CERTAINTIES
        },
    )


def _share(point: answers.Point, certainty: str) -> float:
    not_joined = point.lookups - point.joined
    count = not_joined if certainty == semconv.METHOD_NONE else point.certainties[certainty]
    return count / point.lookups


def totals(all_of: answers.Totals, asked: Asked) -> Totals:
    """All lookups of the time, added up."""
    return Totals(
        lookups=all_of.lookups,
        rate=all_of.lookups / max(asked.window.seconds, 1),
        failed=all_of.failed,
        p50_ns=all_of.latency.p50_ns,
        p95_ns=all_of.latency.p95_ns,
        p99_ns=all_of.latency.p99_ns,
        joined=all_of.joined,
        sure=all_of.sure,
        queries=all_of.queries,
        waste_queries=all_of.waste_queries,
    )
