"""What is measured: one cell a workload, durability and number of clients."""

from dataclasses import dataclass, field

import contestants as c

# From which kind of run on a cell, or a contestant in it, takes part.
QUICK, DEFAULT, FULL, HUGE = 1, 2, 3, 4

DURABILITY = {
    "off": "-c synchronous_commit=off",
    "on": "-c synchronous_commit=on",
    # The one who flushes waits so long for others to join: a disk that takes 2 ms.
    "2ms": "-c synchronous_commit=on -c commit_delay=2000 -c commit_siblings=0",
}


@dataclass(frozen=True)
class Fill:
    """What is in the tables before the run."""
    aggregates: int = 10000
    events: int = 5  # of each aggregate
    key_length: int = 16
    data_bytes: int = 0  # 0: an everyday event
    bulk: bool = False


USUAL = Fill()


@dataclass
class Cell:
    name: str
    title: str
    entries: list  # of (contestant, kind of run, Fill or None)
    durability: str = "off"
    clients: int = 1
    fill: Fill = USUAL
    batch: int = 1  # events that a call adds
    hot: bool = False
    reads: int = 0  # rows that a call reads, if it reads
    working_set: int = 0  # so many aggregates, evenly spread, others in every round; 0: all
    calls: int = 0  # in all, instead of a time
    held: bool = False  # another session holds a snapshot for a while
    once: bool = False
    kind: int = DEFAULT
    subject: str = "es_append"  # ratios are of this one to the others
    unit: str = "events"
    notes: list = field(default_factory=list)

    def fill_of(self, entry):
        return entry[2] or self.fill


def _entries(*groups, kind=QUICK):
    """Contestants, or (kind of run, contestants)."""
    found = []
    for group in groups:
        this, members = (group if isinstance(group, tuple) and isinstance(group[0], int) else (kind, group))
        for member in members if isinstance(members, (tuple, list)) else (members,):
            found.append((member, this, None))
    return found


_EVERYDAY = (c.FLOOR, c.HAND_INSERT, c.HAND_CTE, c.HAND_FN, c.ES_APPEND)
_OTHERS = (c.ES_TRY_APPEND, c.ES_APPEND_MANY, c.ES_APPEND_EACH, c.ES_LOCK, c.ES_EXECUTE)
_KINDS = {
    ("off", 1): DEFAULT, ("off", 8): QUICK, ("off", 32): DEFAULT, ("off", 200): DEFAULT,
    ("on", 8): QUICK, ("2ms", 32): QUICK,
}


def _single():
    for durability in DURABILITY:
        for clients in (1, 2, 8, 32, 200):
            entries = _entries(_EVERYDAY)
            if (durability, clients) == ("off", 8):
                entries += _entries(c.HAND_CTE_PLAIN, *c.LIBRARIES, *_OTHERS)
            elif clients < 200:
                entries += _entries((FULL, c.LIBRARIES))
            if (durability, clients) == ("off", 1):
                entries += _entries((FULL, (c.HAND_CTE_PLAIN, *_OTHERS)))
            yield Cell(f"single-{durability}-{clients}", "One event to an existing aggregate, version known",
                       entries, durability, clients, kind=_KINDS.get((durability, clients), FULL))


def _several():
    new = _entries(c.FLOOR, c.HAND_INSERT_NEW, c.HAND_CTE_NEW, c.HAND_FN_NEW, c.ES_NEW)
    for durability, clients, kind in (("off", 1, FULL), ("off", 8, QUICK), ("on", 8, FULL)):
        yield Cell(f"new-{durability}-{clients}", "One event to a new aggregate", new, durability, clients, kind=kind)
    for batch in (10, 100):
        for durability, clients, kind in (("off", 2, QUICK), ("off", 8, FULL), ("on", 8, FULL)):
            yield Cell(f"batch{batch}-{durability}-{clients}", f"{batch} events a call to an existing aggregate",
                       _entries(c.HAND_CTE, c.HAND_FN, c.INSERT_SELECT, c.ES_APPEND),
                       durability, clients, batch=batch, kind=kind)
    two = [(c.Contestant("es_append_many", "eventstore", "es_append_many", writes=2), QUICK, None),
           (c.Contestant("es_append_each", "eventstore", "es_append_each", writes=2), QUICK, None),
           (c.Contestant("hand-fn each", "hand", "each", writes=2), QUICK, None)]
    for durability, clients, kind in (("off", 8, QUICK), ("on", 8, FULL)):
        yield Cell(f"two-{durability}-{clients}", "One event to each of two aggregates, in one call", two,
                   durability, clients, kind=kind, subject="es_append_many")
    hundred = [(c.Contestant("es_append_each", "eventstore", "es_append_each", writes=100), QUICK, None),
               (c.Contestant("es_append_many", "eventstore", "es_append_many", writes=100), QUICK, None),
               (c.Contestant("hand-fn each", "hand", "each", writes=100), QUICK, None),
               (c.ES_APPEND, QUICK, None)]
    for durability, clients, kind in (("on", 1, QUICK), ("off", 1, FULL), ("off", 8, FULL)):
        yield Cell(f"each100-{durability}-{clients}",
                   "100 independent writes of one event a call; es_append is one a call", hundred,
                   durability, clients, kind=kind, subject="es_append_each")


def _hot():
    for durability, clients, kind in (("off", 16, QUICK), ("on", 16, DEFAULT), ("2ms", 16, FULL)):
        yield Cell(f"hot-{durability}-{clients}", "One event, everybody to the same aggregate",
                   _entries(c.HOT), durability, clients, hot=True, kind=kind)
    held = [(c.Contestant("es_append", "eventstore", "any"), QUICK, None),
            (c.Contestant("hand-fn", "hand", "fn-any"), QUICK, None),
            (c.Contestant("es_append, 10 events a call", "eventstore", "any", batch=10), QUICK, None),
            (c.Contestant("es_append, nobody holds", "eventstore", "any"), QUICK, None)]
    yield Cell("held-off-8", "Unconditional to one aggregate, while another session holds a snapshot from 20 % to 70 % of the time",
               held, "off", 8, hot=True, held=True, once=True, kind=QUICK)


def _reads():
    for rows, aggregates, kind in ((10, 9000, QUICK), (100, 900, QUICK), (1000, 90, QUICK)):
        yield Cell(f"read{rows}-2", f"Read an aggregate of {rows} events",
                   _entries(c.Contestant("SELECT", "eventstore", "read-plain"), c.Contestant("es_read", "eventstore", "read")),
                   clients=2, fill=Fill(aggregates, rows), reads=rows, kind=kind, subject="es_read", unit="reads")
    for clients, kind in ((1, FULL), (2, QUICK)):
        yield Cell(f"log1000-{clients}", "Read the log in pages of 1000 from random places",
                   _entries(c.Contestant("SELECT", "eventstore", "log-plain"), c.Contestant("es_read_all", "eventstore", "log")),
                   clients=clients, fill=Fill(9000, 10), reads=1000, kind=kind, subject="es_read_all")


GROWTH = (
    ("10 thousand events", QUICK, Fill(1000, 10, bulk=True)),
    ("1 million events", DEFAULT, Fill(100000, 10, bulk=True)),
    ("1 million aggregates", FULL, Fill(1000000, 2, bulk=True)),
    ("20 million events", HUGE, Fill(1000000, 20, bulk=True)),
)


def _growth():
    appends = [(c.Contestant(label, "eventstore", "es_append"), kind, fill) for label, kind, fill in GROWTH]
    reads = [(c.Contestant(label + by, "eventstore", script), kind, fill) for label, kind, fill in GROWTH if fill.events >= 10
             for script, by in (("read", ""), ("read-plain", ", SELECT"))]
    yield Cell("growth-append", "One event to one of 1000 aggregates of a store that has so many", appends, "off", 8,
               working_set=1000, kind=QUICK, subject="10 thousand events")
    yield Cell("growth-read", "Read 10 events of one of 1000 aggregates of a store that has so many", reads, "off", 2,
               working_set=1000, reads=10, kind=QUICK, subject="10 thousand events", unit="reads")


def _sizes():
    few = _entries(c.HAND_INSERT, c.HAND_CTE, c.ES_APPEND)
    for size, label in ((100, "100 bytes"), (1000, "1 kB"), (20000, "20 kB")):
        yield Cell(f"data{size}-off-8", f"One event with {label} of data", few, "off", 8,
                   fill=Fill(2000 if size == 20000 else 10000, 1 if size == 20000 else 5, data_bytes=size), kind=FULL)
    for length in (42, 200):
        yield Cell(f"key{length}-off-8", f"One event, keys of {length} bytes", few, "off", 8,
                   fill=Fill(key_length=length), kind=FULL)
    yield Cell("bytes", "WAL and disk of 50,000 appends of one event", _entries(_EVERYDAY), "off", 4,
               calls=50000, once=True, kind=QUICK)


def all_cells():
    return [*_single(), *_several(), *_hot(), *_reads(), *_growth(), *_sizes()]
