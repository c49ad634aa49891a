#!/usr/bin/python3
"""Run the recipe on the database of PGHOST, PGDATABASE and so on."""

import json
import os
import sys
import threading

import django
from django.conf import settings

settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": os.environ.get("PGDATABASE", "postgres"),
            # From the environment, as libpq does.
            "USER": os.environ.get("PGUSER", ""),
            "HOST": os.environ.get("PGHOST", ""),
            "PORT": os.environ.get("PGPORT", ""),
        }
    },
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["eventstore_django.ConflictMiddleware"],
    SECRET_KEY="check",
    ALLOWED_HOSTS=["*"],
)
django.setup()

# pylint: disable=wrong-import-position
from django.db import DatabaseError, OperationalError, connection, transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import path

from eventstore_django import VersionConflict, append, decide_again, install, read, sqlstate

DEPOSITED = {"type": "deposited", "data": {"amount": 1}}


def view(request):
    """The version comes from the client, so a conflict is for the client to see."""
    version = append("account-1", [DEPOSITED], int(request.headers["If-Match"]))
    return HttpResponse(status=201, headers={"ETag": version})


urlpatterns = [path("deposits", view)]


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


@decide_again(attempts=50)
def deposit(key):
    """Decided on what was read: the amount is wrong, not only late, if that was old."""
    events, version = read(key)
    append(key, [{"type": "deposited", "data": {"total": len(events) + 1}}], version)


def work():
    for _ in range(5):
        deposit("account-2")
    connection.close()


def main():
    install()
    ok(append("account-1", [DEPOSITED, DEPOSITED], 0) == 2, "append")

    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE django_note (note text)")

    def stale():
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("INSERT INTO django_note VALUES ('stale')")
            append("account-1", [DEPOSITED], 1)

    error = refused(DatabaseError, stale)
    ok((type(error), error.key, error.expected, error.actual) == (VersionConflict, "account-1", 1, 2), "a conflict with its facts")
    ok(not isinstance(error, OperationalError), "which a loop over OperationalError leaves alone")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM django_note")
        ok(cursor.fetchone()[0] == 0, "the transaction's own rows are gone with it")

    client = Client()
    response = client.post("/deposits", HTTP_IF_MATCH="1")
    ok(response.status_code == 409 and json.loads(response.content)["conflicts"][0]["actual"] == 2, "409 to a stale ETag")
    response = client.post("/deposits", HTTP_IF_MATCH="2")
    ok(response.status_code == 201 and response.headers["ETag"] == "3", "201 to the right one")

    calls = []

    @decide_again(attempts=3)
    def attempt(sql):
        calls.append(1)
        with connection.cursor() as cursor:
            cursor.execute(sql)

    error = refused(OperationalError, attempt, "DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")
    ok(sqlstate(error) == "40001" and len(calls) == 3, "40001 starts again")
    calls.clear()
    refused(DatabaseError, attempt, "SELECT 1/0")
    ok(len(calls) == 1, "other errors do not")
    with transaction.atomic():
        refused(RuntimeError, attempt, "SELECT 1")
    ok(True, "nor does it start inside of another transaction")

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    events, version = read("account-2")
    ok(version == 20 and [data["total"] for _, _, data in events] == list(range(1, 21)), "of racing deposits none is lost or decided on old facts")


main()
