"""The server under test: SQL by psql, filled databases, fresh copies of them."""

import os
import subprocess

import words

# As much WAL as may come before a run, so that no checkpoint falls into it.
WAL_BEFORE_CHECKPOINT = 2 * 1024**3


class Failure(Exception):
    """Something that makes the figures worthless."""


class Server:
    def __init__(self, data_folder, contestants_folder):
        self.contestants = contestants_folder
        with open(os.path.join(data_folder, "postmaster.pid"), encoding="utf-8") as file:
            self.postmaster = int(file.readline())
        self.templates = {}

    def sql(self, database, text=None, file=None, variables=None):
        """Run statements; returns the rows as lists of strings."""
        command = ["psql", "-qXAt", "-v", "ON_ERROR_STOP=1", "-F", "\t", "-d", database]
        for name, value in (variables or {}).items():
            command += ["-v", f"{name}={value}"]
        command += ["-f", file] if file else ["-f", "-"]
        done = subprocess.run(command, input=text or "", capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failure(f"{file or text}: {done.stderr.strip()}")
        return [line.split("\t") for line in done.stdout.splitlines()]

    def value(self, database, text):
        return self.sql(database, text)[0][0]

    def version(self):
        return self.value("postgres", "SHOW server_version")

    # ---- databases ----

    def has_template(self, folder, fill):
        return (folder, fill) in self.templates

    def template(self, folder, fill):
        """A database filled for a contestant; made at the first call."""
        wanted = (folder, fill)
        if wanted not in self.templates:
            name = f"filled{len(self.templates)}"
            self.sql("postgres", f"CREATE DATABASE {name}")
            self.sql(name, file=os.path.join(self.contestants, folder, "setup.sql"), variables={
                "aggregates": fill.aggregates, "events": fill.events, "key_length": fill.key_length,
                "bulk": int(fill.bulk), "type": words.TYPE, "data": words.data(fill.data_bytes)})
            self.sql(name, "VACUUM (ANALYZE)")
            self.templates[wanted] = name
        return self.templates[wanted]

    def has_function(self, database, name):
        return self.value(database, f"SELECT to_regproc('{name}') IS NOT NULL") == "t"

    def fresh(self, template):
        """A copy of a template, in memory.  Dropping makes a checkpoint, and the copying is
        logged: no page of the copy has its image written to WAL again."""
        self.sql("postgres", "SET client_min_messages = warning;\nDROP DATABASE IF EXISTS run;")
        self.sql("postgres", f"CREATE DATABASE run TEMPLATE {template}")
        self.prewarm("run")
        return "run"

    def prewarm(self, database):
        self.sql(database, """SELECT pg_prewarm(oid::regclass) FROM pg_class
            WHERE relnamespace = 'bench'::regnamespace AND relkind IN ('r', 'i', 'S')""")

    def leave_room_for_wal(self):
        if int(self.value("postgres", "SELECT (pg_current_wal_lsn() - redo_lsn)::bigint FROM pg_control_checkpoint()")) \
                > WAL_BEFORE_CHECKPOINT:
            self.sql("postgres", "CHECKPOINT")

    # ---- what a run leaves behind ----

    def wal_position(self):
        return int(self.value("postgres", "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint"))

    def bytes_on_disk(self, database):
        return int(self.value(database, """SELECT sum(pg_relation_size(oid, 'main') + CASE WHEN reltoastrelid <> 0
                THEN pg_total_relation_size(reltoastrelid) ELSE 0 END)::bigint
            FROM pg_class WHERE relnamespace = 'bench'::regnamespace AND relkind IN ('r', 'i')"""))

    def count(self, database):
        return int(self.value(database, "SELECT count FROM bench_count"))

    def findings(self, database):
        found = self.sql(database, "SELECT finding FROM bench_findings LIMIT 3")
        if self.has_function(database, "es_check_store"):
            found += self.sql(database, "SELECT finding FROM es_check_store('bench') LIMIT 3")
        return [row[0] for row in found]
