#!/usr/bin/python3
"""Run the recipe on the database of PGHOST, PGDATABASE and so on."""

import sys
import threading

from sqlalchemy import Column, Integer, Text, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import declarative_base, sessionmaker
from sqlalchemy.orm.exc import StaleDataError

from eventstore_sqlalchemy import VersionConflict, append, decide_again, install, read, sqlstate

DEPOSITED = {"type": "deposited", "data": {"amount": 1}}
Base = declarative_base()


class Balance(Base):
    __tablename__ = "sqlalchemy_balance"
    account = Column(Text, primary_key=True)
    amount = Column(Integer, nullable=False)
    version = Column(Integer, nullable=False)
    __mapper_args__ = {"version_id_col": version}


def ok(condition, what):
    if not condition:
        sys.exit(f"not ok - {what}")
    print(f"ok - {what}")


def refused(kind, work, *arguments):
    try:
        work(*arguments)
    except kind as error:
        return error
    sys.exit(f"not ok - no {kind.__name__}")


def deposit(session, key):
    """Decided on what was read: the amount is wrong, not only late, if that was old."""
    events, version = read(session, key)
    append(session, key, [{"type": "deposited", "data": {"total": len(events) + 1}}], version)


def main():
    engine = create_engine("postgresql+psycopg2://", pool_size=10)
    install(engine)
    sessions = sessionmaker(engine, future=True)
    Base.metadata.create_all(engine)

    with sessions.begin() as session:
        ok(append(session, "account-1", [DEPOSITED, DEPOSITED], 0) == 2, "append")

    def stale():
        with sessions.begin() as session:
            session.add(Balance(account="anna", amount=1))
            session.flush()
            append(session, "account-1", [DEPOSITED], 1)

    error = refused(StaleDataError, stale)
    ok((type(error), error.key, error.expected, error.actual) == (VersionConflict, "account-1", 1, 2), "a conflict with its facts")
    ok(not isinstance(error, DBAPIError), "which a loop over DBAPIError leaves alone")
    with sessions() as session:
        ok(session.get(Balance, "anna") is None, "the transaction's own rows are gone with it")

    # A conflict that the flush of an ORM object meets is the same exception.
    with sessions.begin() as session:
        session.add(Balance(account="anna", amount=1))
    one, two = sessions(), sessions()
    for session in (one, two):
        session.get(Balance, "anna").amount += 1
    one.commit()
    refused(StaleDataError, two.commit)
    ok(True, "one handler serves rows with a version_id_col and aggregates")

    calls = []

    def serialization_failure(session):
        calls.append(1)
        if len(calls) < 3:
            session.execute(text("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"))
        return "done"

    ok(decide_again(sessions, serialization_failure) == "done" and len(calls) == 3, "40001 starts again")
    calls.clear()
    error = refused(DBAPIError, decide_again, sessions, lambda session: calls.append(1) or session.execute(text("SELECT 1/0")))
    ok(sqlstate(error) == "22012" and len(calls) == 1, "other errors do not")
    calls.clear()
    refused(VersionConflict, decide_again, sessions, lambda s: calls.append(1) or append(s, "account-1", [DEPOSITED], 1), 3)
    ok(len(calls) == 3, "a conflict that stays comes through in the end")

    workers = [threading.Thread(target=lambda: [decide_again(sessions, lambda s: deposit(s, "account-2"), 50) for _ in range(5)]) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    with sessions() as session:
        events, version = read(session, "account-2")
        ok(version == 20 and [e.data["total"] for e in events] == list(range(1, 21)), "of racing deposits none is lost or decided on old facts")


main()
