"""What is aimed at, and whether it was reached."""

from dataclasses import dataclass

import contestants as c
from figures import quartiles

LIBRARIES = tuple(library.label for library in c.LIBRARIES)


@dataclass
class Aim:
    text: str
    what: str  # rate, server, wal, disk or conflicts
    one: tuple  # (cell, contestant)
    others: tuple  # of (cell, contestant): the best of these; none: the figure of "one" itself
    at_least: float = None
    at_most: float = None


@dataclass
class Outcome:
    aim: Aim
    place: str
    low: float
    middle: float
    high: float
    against: str
    processor: float = None  # of a ratio of rates: the same of server CPU, the other way round

    @property
    def wanted(self):
        return f"≥ {self.aim.at_least:g}" if self.aim.at_least is not None else f"≤ {self.aim.at_most:g}"

    @property
    def met(self):
        if self.aim.at_least is not None:
            return self.middle >= self.aim.at_least
        return self.middle <= self.aim.at_most


def _single():
    for clients in (1, 2, 8, 32):
        cell = f"single-off-{clients}"
        ours = (cell, "es_append")
        yield Aim("one event, existing aggregate: rate ÷ hand-cte", "rate", ours, ((cell, "hand-cte"),), at_least=1.1)
        yield Aim("one event, existing aggregate: rate ÷ best library design", "rate", ours,
                  tuple((cell, name) for name in LIBRARIES), at_least=1.5)
        yield Aim("one event, existing aggregate: server CPU ÷ floor", "server", ours, ((cell, "floor"),), at_most=1.5)
    for durability in ("on", "2ms"):
        for clients in (1, 2, 8, 32):
            cell = f"single-{durability}-{clients}"
            yield Aim("one event, waiting for the disk: rate ÷ hand-insert", "rate", (cell, "es_append"),
                      ((cell, "hand-insert"),), at_least=0.97)
    for durability in ("off", "on", "2ms"):
        yield Aim("200 clients: rate ÷ 32 clients", "rate", (f"single-{durability}-200", "es_append"),
                  ((f"single-{durability}-32", "es_append"),), at_least=0.8)


def _several():
    for batch in (10, 100):
        for place in ("off-2", "off-8", "on-8"):
            cell = f"batch{batch}-{place}"
            yield Aim(f"{batch} events a call: rate ÷ hand-cte", "rate", (cell, "es_append"), ((cell, "hand-cte"),),
                      at_least=1.0)
            if batch == 100:
                yield Aim("100 events a call: rate ÷ one INSERT ... SELECT", "rate", (cell, "es_append"),
                          ((cell, "insert-select"),), at_least=1 / 1.2)
    yield Aim("es_append_each, 100 writes a call: rate ÷ single calls", "rate", ("each100-on-1", "es_append_each"),
              (("each100-on-1", "es_append"),), at_least=8)
    for place in ("off-16", "on-16", "2ms-16"):
        cell = f"hot-{place}"
        for label in ("es_append", "es_execute"):
            yield Aim(f"hot aggregate, {label}: rate ÷ hand-fn", "rate", (cell, label), ((cell, "hand-fn"),), at_least=1.1)
            yield Aim(f"hot aggregate, {label}: failed calls", "conflicts", (cell, label), (), at_most=0)


def _reads():
    for rows in (10, 100, 1000):
        cell = f"read{rows}-2"
        yield Aim("read of one aggregate: rate ÷ SELECT", "rate", (cell, "es_read"), ((cell, "SELECT"),), at_least=0.95)
    for clients in (1, 2):
        cell = f"log1000-{clients}"
        yield Aim("the log in pages of 1000: rate ÷ SELECT", "rate", (cell, "es_read_all"), ((cell, "SELECT"),), at_least=0.9)


def _sizes():
    for what, label in (("wal", "WAL"), ("disk", "disk")):
        yield Aim(f"{label} an event ÷ hand-cte", what, ("bytes", "es_append"), (("bytes", "hand-cte"),), at_most=1.0)
    for cell in ("growth-append", "growth-read"):
        for size in ("1 million events", "1 million aggregates", "20 million events"):
            yield Aim(f"{cell}, {size}: server CPU ÷ 10 thousand", "server", (cell, size), ((cell, "10 thousand events"),),
                      at_most=1.15)


def _outcome(figures, aim):
    if not figures.has(*aim.one):
        return None
    if not aim.others:
        low, middle, high = quartiles(figures.values(*aim.one, aim.what))
        return Outcome(aim, aim.one[0], low, middle, high, "")
    present = [other for other in aim.others if figures.has(*other)]
    if not present:
        return None
    best = max(present, key=lambda other: figures.median(*other, aim.what))
    ratios = figures.ratios(aim.one, best, aim.what)
    if not ratios:
        return None
    processor = quartiles(figures.ratios(best, aim.one, "server"))[1] if aim.what == "rate" else None
    return Outcome(aim, aim.one[0], *quartiles(ratios), best[1], processor)


def scaling(figures):
    """With how many clients more comes how much more: ours beside the floor."""
    for durability in ("on", "2ms"):
        one, many = f"single-{durability}-1", f"single-{durability}-32"
        if all(figures.has(cell, label) for cell in (one, many) for label in ("es_append", "floor")):
            ours = figures.median(many, "es_append", "rate") / figures.median(one, "es_append", "rate")
            floor = figures.median(many, "floor", "rate") / figures.median(one, "floor", "rate")
            aim = Aim("32 clients ÷ 1 client, beside that of floor", "rate", (many, "es_append"), (), at_least=0.97)
            yield Outcome(aim, f"single-{durability}", ours / floor, ours / floor, ours / floor, "floor")


def outcomes(figures):
    for aim in (*_single(), *_several(), *_reads(), *_sizes()):
        outcome = _outcome(figures, aim)
        if outcome:
            yield outcome
    yield from scaling(figures)
