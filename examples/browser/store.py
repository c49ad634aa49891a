"""What the event browser asks of the database: public functions and views only.

Every request is one read-only transaction with a time limit, on one of a few kept
connections.  Values are parameters, never part of the SQL; positions and versions are
sent as text, since JavaScript's numbers end at 2^53, and payloads as the text that
PostgreSQL makes of them, so that no number in them changes.
"""
import queue

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

CONNECTIONS = 4
TIME_LIMIT_MS = 5000
MOST_EVENTS = 200       # on a page
FIRST_WINDOW = 256      # positions to look through for a page, doubled while it is not full
LAST_WINDOW = 65536     # ... up to this; then the reader says whether to go on
MOST_TRACED = 500       # events of a trace, about
TRACE_PAGE = 250        # positions looked through at once for it

EVENT = sql.SQL("position::text, key, version::text, type, data::text, metadata::text, tags, id::text, recorded_at, "
                "metadata->>'correlation_id' AS correlation_id, metadata->>'causation_id' AS causation_id")


class BadRequest(Exception):
    def __init__(self, message, status=400):
        super().__init__(message)
        self.status = status


class Database:
    """A few connections, each used by one request at a time."""

    def __init__(self):
        self.default_store = None
        self.free = queue.LifoQueue()
        for _ in range(CONNECTIONS):
            self.free.put(None)

    def connect(self):
        connection = psycopg.connect(
            autocommit=True, row_factory=dict_row, application_name="eventstore-browser", connect_timeout=10)
        row = connection.execute("SELECT nspname FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace "
                                 "WHERE extname = 'eventstore'").fetchone()
        if row is None:
            connection.close()
            raise BadRequest("The database has no extension eventstore.", 503)
        functions = sql.Identifier(row["nspname"])
        try:
            current = connection.execute(sql.SQL("SELECT {}.es_current_store() AS store").format(functions)).fetchone()
            self.default_store = current["store"]
        except psycopg.ProgrammingError:
            self.default_store = None
        # Nobody else's functions come between.
        for name, value in (("search_path", functions.as_string(connection)), ("default_transaction_read_only", "on"),
                            ("default_transaction_isolation", "read committed"), ("statement_timeout", str(TIME_LIMIT_MS)),
                            ("lock_timeout", "1000"), ("idle_in_transaction_session_timeout", "10000"), ("TimeZone", "UTC")):
            connection.execute("SELECT set_config(%s, %s, false)", [name, value])
        return connection

    def check(self):
        self.answer("stores", {})

    def answer(self, name, arguments):
        """The answer to a request, as something that can be made JSON."""
        query = QUERIES.get(name)
        if query is None:
            raise BadRequest("There is no such query.", 404)
        connection = self.free.get()
        try:
            for attempt in (1, 2):
                fresh = connection is None or connection.closed
                if fresh:
                    connection = self.connect()
                try:
                    with connection.transaction():
                        return query(Request(connection, arguments, self.default_store))
                except psycopg.OperationalError:
                    # A kept connection may have been lost since; reading twice does no harm.
                    if not connection.closed or fresh or attempt == 2:
                        raise
        finally:
            self.free.put(connection)


class Request:
    """One request: its arguments, and the database with the store that it asks for."""

    def __init__(self, connection, arguments, default_store):
        self.connection = connection
        self.arguments = arguments
        self.default_store = default_store

    def rows(self, query, *values):
        return self.connection.execute(query, values).fetchall()

    def row(self, query, *values):
        return self.connection.execute(query, values).fetchone()

    def events(self, query, *values):
        return self.rows(sql.SQL("SELECT {event} " + query).format(event=EVENT), *values)

    def use_store(self):
        store = self.text("store")
        self.row("SELECT set_config('eventstore.store', %s, true)", store)
        return store

    def text(self, name, default=None):
        value = self.arguments.get(name, [default])[-1]
        if value is None:
            raise BadRequest(f'"{name}" is missing.')
        if "\0" in value:
            raise BadRequest(f'"{name}" holds a null character.')
        return value

    def number(self, name, default=None, least=0, most=2**63 - 1):
        value = self.arguments.get(name, [default])[-1]
        if value is None:
            raise BadRequest(f'"{name}" is missing.')
        try:
            value = int(value) if len(str(value)) < 20 else most + 1
        except ValueError:
            raise BadRequest(f'"{name}" is not a whole number.') from None
        if not least <= value <= most:
            raise BadRequest(f'"{name}" must be from {least} to {most}.')
        return value

    def query(self):
        """The filter as es_read_all() takes it, or NULL."""
        item = {}
        for field in ("types", "categories", "tags"):
            words = self.arguments.get(field, [])
            if any("\0" in word for word in words):
                raise BadRequest(f'"{field}" holds a null character.')
            if words:
                item[field] = words
        return Jsonb([item]) if item else None


def stores(request):
    names = [row["store"] for row in request.rows("SELECT store FROM es_stat_store ORDER BY store")]
    return {"stores": names, "current": request.default_store if request.default_store in names else names[0] if names else None}


def status(request):
    """Statistics of the store, its subscriptions, and who is in flight."""
    store = request.use_store()
    statistics = request.row("SELECT * FROM es_stat_store WHERE store = %s", store)
    if statistics is None:
        raise BadRequest("There is no such store, or no right to read it.", 404)
    return {
        "now": request.row("SELECT clock_timestamp() AS now")["now"],
        "statistics": {name: str(value) if isinstance(value, int) else value for name, value in statistics.items()},
        "subscriptions": request.rows(
            "SELECT subscription, partition, position::text, lag::text, waiting_since, parked::text, claimed_by, claimed_until, "
            "advanced_at FROM es_stat_subscription WHERE store = %s ORDER BY subscription, partition", store),
        "in_flight": request.rows(
            "SELECT bound::text, pid, gid, since, role, application_name, state FROM es_in_flight "
            "WHERE store = %s ORDER BY bound NULLS LAST LIMIT 100", store),
    }


def aggregate(request):
    """A page of the events of an aggregate, the last ones first or the first ones first."""
    request.use_store()
    key = request.text("key")
    count = request.number("count", 50, 1, MOST_EVENTS)
    backwards = request.text("backwards", "0") == "1"
    version = request.row("SELECT es_version(%s) AS version, es_category(%s) AS category", key, key)
    if backwards:
        start = request.number("from", version["version"], 0)
        events = request.events("FROM es_read(%s, 1, %s, %s, true)", key, max(start, 1), count) if start else []
    else:
        events = request.events("FROM es_read(%s, %s, NULL, %s)", key, request.number("from", 1, 1), count)
    return {"key": key, "category": version["category"], "version": str(version["version"]), "events": events}


def log(request):
    """A page of the log, in the order of the log or backwards from a position."""
    request.use_store()
    count = request.number("count", 50, 1, MOST_EVENTS)
    query = request.query()
    horizon = request.row("SELECT es_horizon() AS horizon")["horizon"]
    if horizon is None:
        raise BadRequest("The log has no horizon here: a standby needs the worker on its primary.", 503)
    if "after" in request.arguments:
        after = request.number("after")
        events = request.events("FROM es_read_all(%s, %s, %s, %s)", after, count, query, horizon) if after < horizon else []
        reached = int(events[-1]["position"]) if len(events) == count else max(horizon, after)
        return {"events": events, "horizon": str(horizon), "reached": str(reached)}
    before = min(request.number("before", horizon + 1), horizon + 1)
    events, low = read_back(request, before - 1, count, query)
    return {"events": events, "horizon": str(horizon), "reached": str(low)}


def read_back(request, high, count, query):
    """The last events up to a position, and how far down was looked for them.

    es_read_all() reads forwards: look through windows that double, so that a page costs
    no more than a few times what is on it.
    """
    events = []
    window = max(FIRST_WINDOW, 2 * count)
    while high > 0 and len(events) < count:
        low = max(high - window, 0)
        found = request.events("FROM es_read_all(%s, %s, %s, %s) ORDER BY es_read_all.position DESC LIMIT %s",
                               low, high - low, query, high, count - len(events))
        events += found
        high = int(found[-1]["position"]) - 1 if len(events) == count else low
        if window >= LAST_WINDOW:
            break
        window *= 2
    return events, high


def event(request):
    request.use_store()
    position = request.number("position", least=1)
    events = request.events("FROM es_read_all(%s, 1, NULL, %s)", position - 1, position)
    if not events:
        raise BadRequest("There is no event at this position.", 404)
    return events[0]


def trace(request):
    """The events that share an event's correlation, or are its causes or effects, nearby."""
    start = event(request)
    span = request.number("span", 10000, 1, LAST_WINDOW)
    position = int(start["position"])
    horizon = request.row("SELECT es_horizon() AS horizon")["horizon"]
    low = max(position - 1 - span, 0)
    high = min(position + span, max(horizon, position))
    first = low + 1
    # Correlation ids are the application's; without one, the event's own id begins the trace.
    correlation = start["correlation_id"] or start["id"]
    events = []
    # Page by page, since the server makes each of them whole, payloads included.
    while low < high and len(events) < MOST_TRACED:
        events += request.events(
            "FROM es_read_all(%s, %s, NULL, %s) WHERE metadata->>'correlation_id' = %s OR metadata->>'causation_id' = %s "
            "OR id::text IN (%s, %s, %s) ORDER BY es_read_all.position",
            low, TRACE_PAGE, min(low + TRACE_PAGE, high), correlation, start["id"], start["id"], start["causation_id"], correlation)
        low += TRACE_PAGE
    return {"event": start, "correlation": correlation, "events": events, "from": str(first), "to": str(min(low, high)),
            "complete": first == 1 and high >= horizon, "cut": low < high}


QUERIES = {"stores": stores, "status": status, "aggregate": aggregate, "log": log, "event": event, "trace": trace}
