#!/usr/bin/env python3
"""A projector outside the database, with psycopg 3: follows the events of orders.

    orders.py

Works until it is stopped; start as many as there are partitions.  orders.sql makes
the tables and the subscription, and has the same projector as a procedure.  The
database is that of the environment variables PGHOST, PGDATABASE and so on.

The read model is in the same database, so fetching, projecting and advancing are one
transaction: an event is projected exactly once, whatever happens to this program.

Needs the Debian package python3-psycopg.
"""
import sys
import time

import psycopg
from psycopg.rows import namedtuple_row


def project(connection, event):
    """What an event means for the read model."""
    if event.type == "placed":
        connection.execute("INSERT INTO order_summary VALUES (%s, %s, 'placed', 0)", [event.key, event.version])
    elif event.type == "item_added":
        # A product without a price makes total NULL, and so the event fail.
        connection.execute(
            "UPDATE order_summary SET version = %s, total = total + %s"
            " * (SELECT price FROM products WHERE product = %s) WHERE order_key = %s",
            [event.version, event.data["quantity"], event.data["product"], event.key])
    else:
        connection.execute(
            "UPDATE order_summary SET version = %s, status = CASE %s WHEN 'paid' THEN 'paid' ELSE status END"
            " WHERE order_key = %s", [event.version, event.type, event.key])


def handle(connection, event):
    """Project an event, or park it; false if it was parked."""
    try:
        with connection.transaction():      # a savepoint
            project(connection, event)
            if event.parked:
                connection.execute("SELECT es_unpark('orders', %s)", [event.position])
        return True
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        connection.execute("SELECT es_park('orders', %s, %s, retry_after => '1 second')",
                           [event.position, str(error)])
        return False


def work(connection):
    """Handle one page.  Return the position to wait for, or None if there may be more."""
    with connection.transaction():
        page = connection.execute("SELECT * FROM es_fetch('orders', 100)").fetchall()
        if not page:
            # The others have all partitions.
            return connection.execute("SELECT es_horizon() AS horizon").fetchone().horizon
        parked_keys = set()
        for event in page:
            if event.position is not None and event.key not in parked_keys:
                if not handle(connection, event):
                    parked_keys.add(event.key)
        # Also where nothing was new: the cursor moves over what the subscription does not want.
        claim = page[0]
        connection.execute("SELECT es_advance('orders', %s, %s, %s)",
                           [claim.partition, claim.from_position, claim.to_position])
    up_to_date = page[-1].position is None and claim.to_position == claim.from_position
    return claim.to_position if up_to_date else None


def main():
    while True:
        try:
            with psycopg.connect(autocommit=True, row_factory=namedtuple_row) as connection:
                while True:
                    position = work(connection)
                    if position is not None:
                        # Outside of a transaction it sleeps without a snapshot.
                        connection.execute("CALL es_wait(%s, '1 second')", [position])
        except psycopg.OperationalError as error:
            # Connection lost, deadlock, ...: what was not committed is done again.
            print(f"starting again: {error}", file=sys.stderr)
            time.sleep(0.1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
