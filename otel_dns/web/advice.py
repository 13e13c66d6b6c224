"""What a change of a Pod's resolv.conf would save, computed from what its lookups did."""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from otel_dns.history.answers import Habit
from otel_dns.history.history import History
from otel_dns.web.asked import Asked
from otel_dns.web.figures import duration, plural, share
from otel_dns.web.shapes import Advice, Advised, Way

_WORTH_QUERIES: Final = 10
_WORTH_SHARE: Final = 0.1
_ADVICE: Final = 3
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+")
_HIGHEST: Final = 5
"""Kubernetes' own ndots: advice only lowers it."""


@dataclass(slots=True)
class Habits:
    """How the successful lookups of one workload went, by the dots in the name."""

    pod: str = ""
    ndots: int = _HIGHEST
    queries: int = 0
    lookups: int = 0
    wasted: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """Queries that would not be sent if names of so many dots were tried as they are first."""
    wasted_ns: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    searched: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """Lookups of names of so many dots that the search list completed: these would pay."""

    def add(self, habit: Habit) -> None:
        """Count what names of so many dots did."""
        self.pod = habit.pod
        self.ndots = min(self.ndots, habit.ndots)
        self.queries += habit.queries
        self.lookups += habit.lookups
        if habit.as_it_is:
            self.wasted[habit.dots] += habit.waste_queries
            self.wasted_ns[habit.dots] += habit.waste_ns
        else:
            self.searched[habit.dots] += habit.lookups

    def saving(self, ndots: int) -> tuple[int, int]:
        """Queries and nanoseconds that this ``ndots`` would save; below zero where it costs."""
        queries = sum(count for dots, count in self.wasted.items() if dots >= ndots)
        cost = sum(2 * count for dots, count in self.searched.items() if dots >= ndots)
        time_ns = sum(ns for dots, ns in self.wasted_ns.items() if dots >= ndots)
        return queries - cost, time_ns

    def best(self) -> tuple[int, int, int]:
        """The ``ndots`` that saves most, and its saving; of equals the highest."""
        choices = [(*self.saving(ndots), ndots) for ndots in range(1, self.ndots)]
        queries, time_ns, ndots = max(choices, key=lambda choice: (choice[0], choice[2]))
        return ndots, queries, time_ns


def advice(history: History, asked: Asked) -> Advised:
    """Advise on ndots and trailing dots, by workload, the most worth first."""
    habits: dict[tuple[str, str], Habits] = {}
    for habit in history.habits(asked.where):
        habits.setdefault((habit.namespace, habit.workload), Habits()).add(habit)
    names: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in history.wasted_names(asked.where):
        names[one.namespace, one.workload].append(one.name)
    made = [
        _advise(namespace, workload, of, names[namespace, workload])
        for (namespace, workload), of in habits.items()
    ]
    worth = [one for one in made if one is not None]
    worth.sort(key=lambda one: -one.saved_queries)
    return Advised(advice=worth[:_ADVICE])


def _advise(namespace: str, workload: str, habits: Habits, names: list[str]) -> Advice | None:
    if habits.ndots < 2:
        return None
    ndots, queries, time_ns = habits.best()
    if queries < _WORTH_QUERIES or queries < _WORTH_SHARE * habits.queries:
        return None
    return Advice(
        title=(
            f"{namespace}/{workload}: ndots:{ndots} would save {share(queries / habits.queries)}"
            " of its queries"
        ),
        text=(
            f"{plural(habits.lookups, 'lookup')} made {plural(habits.queries, 'query', 'queries')}."
            f" With ndots:{ndots} instead of {habits.ndots}, {queries:,} of them and"
            f" {duration(time_ns)} of waiting ({duration(time_ns / habits.lookups)} a lookup)"
            " would not have been."
        ),
        namespace=namespace,
        pod=habits.pod,
        saved_queries=queries,
        saved_ns=time_ns,
        ways=[
            Way(
                text="In the Pod's template; the cluster's own names still go by the search list:",
                paste=[
                    "spec:",
                    "  dnsConfig:",
                    "    options:",
                    "      - name: ndots",
                    f'        value: "{ndots}"',
                ],
            ),
            Way(
                text="Or in the application's configuration, names with a dot at their end:",
                # These are for pasting: what is no host's name is not among them.
                paste=[f"{name}." for name in names if _HOST_NAME.fullmatch(name)],
            ),
        ],
    )
