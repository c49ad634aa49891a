#!/usr/bin/env python3
"""A process manager outside the database, with psycopg 3 and a lease.

    shipping.py

For each order that is paid it requests one shipment.  Works until it is stopped.
shipping.sql makes the subscription and the reaction, and has the same process
manager as a procedure.  The database is that of the environment variables PGHOST,
PGDATABASE and so on.

Fetching, reacting and advancing are transactions of their own, so that there is time
for slow things in between.  If this program dies or is too slow, another one takes
over when the lease is over, and reacts again to what was not advanced.  The request
id of each append is made of the event, so the second reaction changes nothing; and
es_advance() refuses the slow one (VE008).

Needs the Debian package python3-psycopg.
"""
import sys
import time

import psycopg
from psycopg.rows import namedtuple_row

CURSOR_MOVED = "VE008"


def work(connection):
    """Handle one page.  Return the position to wait for, or None if there may be more."""
    page = connection.execute("SELECT * FROM es_fetch('shipping', 20, lease => '2 seconds')").fetchall()
    if not page:
        # All partitions are leased.
        return connection.execute("SELECT es_horizon() AS horizon").fetchone().horizon
    for event in page:
        if event.position is not None:
            connection.execute("SELECT request_shipment(%s, %s)", [event.key, event.id])
    claim = page[0]
    try:
        # Also where nothing was new: it gives up the lease.
        connection.execute("SELECT es_advance('shipping', %s, %s, %s, %s)",
                           [claim.partition, claim.from_position, claim.to_position, claim.epoch])
    except psycopg.Error as error:
        if error.sqlstate != CURSOR_MOVED:
            raise
        print(f"too slow: {error}", file=sys.stderr)
        return None
    up_to_date = page[-1].position is None and claim.to_position == claim.from_position
    return claim.to_position if up_to_date else None


def main():
    while True:
        try:
            with psycopg.connect(autocommit=True, row_factory=namedtuple_row) as connection:
                while True:
                    position = work(connection)
                    if position is not None:
                        connection.execute("CALL es_wait(%s, '1 second')", [position])
        except psycopg.OperationalError as error:
            print(f"starting again: {error}", file=sys.stderr)
            time.sleep(0.1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
