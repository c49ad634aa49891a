#!/usr/bin/env python3
"""Read, decide, append, and again after a conflict: with psycopg 3.

    counter.py KEY WORKERS INCREMENTS [ATTEMPTS]

Each worker increments the counter KEY so many times, all of them at once.  The
database is that of the environment variables PGHOST, PGDATABASE and so on.

Needs the Debian package python3-psycopg.
"""
import json
import logging
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
from psycopg.types.json import Jsonb

# VE001 is ours: decide again.  40001 and 40P01 are PostgreSQL's own for "start again".
TRY_AGAIN = {"VE001", "40001", "40P01"}


def change(connection, key, decide, attempts=10, on_conflict=None):
    """Append what decide() makes of the aggregate; return its new version."""
    for attempt in range(1, attempts + 1):
        try:
            with connection.transaction():
                events = connection.execute(
                    "SELECT version, data FROM es_read(%s)", [key]).fetchall()
                version = events[-1][0] if events else 0
                return connection.execute(
                    "SELECT es_append(%s, %s, %s)", [key, Jsonb(decide(events)), version]).fetchone()[0]
        except psycopg.Error as error:
            if error.sqlstate not in TRY_AGAIN or attempt == attempts:
                raise
            if on_conflict:
                on_conflict(error)
        time.sleep(random.uniform(0, min(1, 0.005 * 2 ** attempt)))


def describe(error):
    """The facts of a conflict are in DETAIL, as JSON."""
    if error.sqlstate != "VE001":
        return f"conflict: SQLSTATE {error.sqlstate}"
    conflict = json.loads(error.diag.message_detail)["conflicts"][0]
    return f"conflict: expected version {conflict['expected']}, actual {conflict['actual']}"


def increment(events):
    """The decision: it is wrong, and not only late, if the events are old."""
    value = events[-1][1]["value"] if events else 0
    return [{"type": "incremented", "data": {"value": value + 1}}]


def work(worker, key, increments, attempts):
    conflicts = 0

    def on_conflict(error):
        nonlocal conflicts
        conflicts += 1
        logging.warning(describe(error))

    with psycopg.connect(autocommit=True) as connection:
        for _ in range(increments):
            try:
                change(connection, key, increment, attempts, on_conflict)
            except psycopg.Error as error:
                if error.sqlstate not in TRY_AGAIN:
                    raise
                logging.error("worker %d gives up: %s", worker, describe(error))
                return False
    logging.info("worker %d: %d increments, %d conflicts", worker, increments, conflicts)
    return True


def main(key, workers, increments, attempts=10):
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with ThreadPoolExecutor(int(workers)) as pool:
        tasks = [pool.submit(work, worker, key, int(increments), int(attempts))
                 for worker in range(1, int(workers) + 1)]
    sys.exit(0 if all(task.result() for task in tasks) else 1)


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit("usage: counter.py KEY WORKERS INCREMENTS [ATTEMPTS]")
    main(*sys.argv[1:])
