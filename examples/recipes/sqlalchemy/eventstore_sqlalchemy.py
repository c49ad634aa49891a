"""Conditional appends with SQLAlchemy: a version conflict is a StaleDataError.

That is what the ORM itself raises when a row with a version_id_col was changed by somebody else, so one handler
serves both.  It is no DBAPIError: loops that replay those (OperationalError, or SQLSTATE class 40) leave it alone.
"""

import json
import random
import time

from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm.exc import StaleDataError

# PostgreSQL's own "start again".
START_AGAIN = {"40001", "40P01"}


class VersionConflict(StaleDataError):
    """An aggregate is not where it was read: read it again, and decide again."""

    def __init__(self, message, conflicts):
        super().__init__(message)
        self.conflicts = conflicts
        self.key, self.expected, self.actual = (conflicts[0].get(field) for field in ("key", "expected", "actual"))


def sqlstate(error):
    """Of a DBAPIError, with psycopg2 (pgcode) or psycopg 3 (sqlstate)."""
    original = getattr(error, "orig", None)
    return getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)


def install(engine):
    """Translate the conflicts of every statement on the engine, those of a flush included."""

    @event.listens_for(engine, "handle_error")
    def translate(context):
        if sqlstate(context.sqlalchemy_exception) == "VE001":
            diagnostics = context.original_exception.diag
            return VersionConflict(diagnostics.message_primary, json.loads(diagnostics.message_detail)["conflicts"])
        return None


def read(session, key):
    """The events of an aggregate, and its version."""
    events = session.execute(text("SELECT version, type, data FROM es_read(:key)"), {"key": key}).all()
    return events, events[-1].version if events else 0


def append(session, key, events, expected_version):
    """Append in the session's transaction, with whatever else it writes; return the new version."""
    return session.execute(
        text("SELECT es_append(:key, CAST(:events AS jsonb), :expected)"),
        {"key": key, "events": json.dumps(events), "expected": expected_version},
    ).scalar_one()


def decide_again(sessions, work, attempts=10):
    """Call work(session) in a transaction, and all of it again after a conflict: it must read before it decides."""
    for attempt in range(1, attempts + 1):
        try:
            with sessions.begin() as session:
                return work(session)
        except (StaleDataError, DBAPIError) as error:
            if attempt == attempts or not (isinstance(error, StaleDataError) or sqlstate(error) in START_AGAIN):
                raise
        time.sleep(random.uniform(0, min(1, 0.005 * 2**attempt)))
