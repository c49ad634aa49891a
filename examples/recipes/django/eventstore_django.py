"""Conditional appends with Django: a version conflict is an exception of its own.

Django has none for optimistic locks, so here is one.  It is a DatabaseError, but no OperationalError: decorators that
replay a view or task on OperationalError (deadlocks, lost connections) leave it alone.
"""

import functools
import json
import random
import time

from django.db import DatabaseError, connections, transaction
from django.db.backends.signals import connection_created
from django.http import JsonResponse

# PostgreSQL's own "start again".
START_AGAIN = {"40001", "40P01"}


class VersionConflict(DatabaseError):
    """An aggregate is not where it was read: read it again, and decide again."""

    def __init__(self, message, conflicts):
        super().__init__(message)
        self.conflicts = conflicts
        self.key, self.expected, self.actual = (conflicts[0].get(field) for field in ("key", "expected", "actual"))


def sqlstate(error):
    """Of a DatabaseError, with psycopg2 (pgcode) or psycopg 3 (sqlstate)."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


def translate(execute, sql, params, many, context):
    try:
        return execute(sql, params, many, context)
    except DatabaseError as error:
        if sqlstate(error) != "VE001":
            raise
        diagnostics = error.__cause__.diag
        conflicts = json.loads(diagnostics.message_detail)["conflicts"]
        raise VersionConflict(diagnostics.message_primary, conflicts) from error.__cause__


def install():
    """Translate the conflicts of every statement. Call it from AppConfig.ready()."""
    connection_created.connect(
        lambda connection, **_: translate in connection.execute_wrappers or connection.execute_wrappers.append(translate),
        weak=False,
        dispatch_uid="eventstore",
    )


class ConflictMiddleware:
    """Answer 409 to a request that met a conflict: its user decides again."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_exception(self, request, exception):
        if isinstance(exception, VersionConflict):
            return JsonResponse({"conflicts": exception.conflicts}, status=409)
        return None


def read(key, using="default"):
    """The events of an aggregate as (version, type, data), and its version."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT version, type, data FROM es_read(%s)", [key])
        # Django leaves jsonb in raw queries as text.
        events = [(version, kind, json.loads(data) if isinstance(data, str) else data) for version, kind, data in cursor.fetchall()]
    return events, events[-1][0] if events else 0


def append(key, events, expected_version, using="default"):
    """Append in the current transaction, with whatever else it writes; return the new version."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT es_append(%s, %s, %s)", [key, json.dumps(events), expected_version])
        return cursor.fetchone()[0]


def decide_again(attempts=10, using="default"):
    """Decorate what reads, decides and appends: it runs in a transaction, and all of it again after a conflict."""

    def decorate(work):
        @functools.wraps(work)
        def wrapper(*arguments, **named):
            # Inside of an outer transaction a second attempt might see what the first has seen.
            for attempt in range(1, attempts + 1):
                try:
                    with transaction.atomic(using=using, durable=True):
                        return work(*arguments, **named)
                except DatabaseError as error:
                    again = isinstance(error, VersionConflict) or sqlstate(error) in START_AGAIN
                    if attempt == attempts or not again:
                        raise
                time.sleep(random.uniform(0, min(1, 0.005 * 2**attempt)))

        return wrapper

    return decorate
