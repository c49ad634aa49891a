"""One run: a contestant in a cell, checked afterwards."""

import json
import os
import subprocess
import threading
import time
from dataclasses import dataclass, field

import machine
import words
from cells import DURABILITY
from server import Failure

# When the session that holds a snapshot begins and ends, as a part of the time.
HELD_FROM, HELD_TO = 0.2, 0.7


@dataclass
class Run:
    """What one run showed; one line of runs.tsv."""
    cell: str
    contestant: str
    round: int
    rate: float  # of events, or of reads, a second
    server: float  # microseconds of server CPU for each
    wal: float  # bytes an event
    disk: float  # bytes an event
    conflicts: float  # for each call that succeeded
    p50: float  # microseconds a call
    p99: float
    others: float  # share of the machine that other work took, 0 to 1
    intervals: list = field(default_factory=list, repr=False)  # events in each tenth of a second

    COLUMNS = ("cell", "contestant", "round", "rate", "server", "wal", "disk", "conflicts", "p50", "p99", "others")

    def line(self):
        return "\t".join(f"{value:.4g}" if isinstance(value, float) and abs(value) < 1000 else
                         f"{value:.0f}" if isinstance(value, float) else str(value)
                         for value in (getattr(self, column) for column in self.COLUMNS))


class Snapshot:
    """A session that holds a snapshot for a while."""

    def __init__(self, database, seconds):
        self.timers = [threading.Timer(seconds * HELD_FROM, self.begin), threading.Timer(seconds * HELD_TO, self.end)]
        self.session = subprocess.Popen(["psql", "-qXAt", "-d", database], stdin=subprocess.PIPE, text=True,
                                        stdout=subprocess.DEVNULL)
        for timer in self.timers:
            timer.start()

    def begin(self):
        self.session.stdin.write("BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT 1;\n")
        self.session.stdin.flush()

    def end(self):
        self.session.stdin.write("COMMIT;\n")
        self.session.stdin.flush()

    def close(self):
        for timer in self.timers:
            timer.join()
        self.session.stdin.close()
        self.session.wait()


class Bench:
    def __init__(self, server, client, seconds, warmup):
        self.server = server
        self.client = client  # the program
        self.seconds = seconds
        self.warmup = warmup

    def _seconds(self, cell):
        """A held snapshot shows its effect with time."""
        return self.seconds * 8 if cell.held else self.seconds

    @staticmethod
    def _warm_calls(cell):
        """What is not prewarmed is visited twice: then it is in memory, and no page of it has its image logged."""
        return max(7, 2 * cell.working_set // cell.clients)

    def _command(self, cell, contestant, fill, round_number):
        stride = fill.aggregates // cell.working_set if cell.working_set else 1
        # Reads find the aggregates of a round as they were filled: appends have others.
        offset = (round_number + (stride // 2 if cell.reads else 0)) % stride
        command = [self.client, "-c", cell.clients, "-w", self.warmup, "-m", self._warm_calls(cell), "-t", self._seconds(cell),
                   "-n", cell.calls // cell.clients, "-a", cell.working_set or fill.aggregates, "-o", offset,
                   "-s", stride, "-k", fill.key_length, "-v", fill.events, "-b", contestant.batch or cell.batch,
                   "-e", contestant.writes, "-r", contestant.retry, "-R", max(1, fill.aggregates * fill.events - cell.reads)]
        for name, value in (("type", words.TYPE), ("data", words.data(fill.data_bytes)), ("count", cell.reads),
                            ("events", words.events(contestant.batch or cell.batch, fill.data_bytes))):
            command += ["-D", f"{name}={value}"]
        script = os.path.join(self.server.contestants, contestant.folder, contestant.script + ".sql")
        return [str(word) for word in command + (["-h"] if cell.hot else []) + [script]]

    def _database(self, cell, contestant, fill):
        """A copy, unless the run changes nothing or the store is too large to copy."""
        template = self.server.template(contestant.folder, fill)
        self.server.leave_room_for_wal()
        if self._too_large(cell, fill):
            return template
        if cell.reads:
            self.server.prewarm(template)
            return template
        return self.server.fresh(template)

    @staticmethod
    def _too_large(cell, fill):
        return fill.aggregates > cell.working_set > 0

    def _run_client(self, command, database, durability, held):
        """The client's figures, the seconds that the server used, the share of the machine that others did."""
        environment = dict(os.environ, PGDATABASE=database,
                           PGOPTIONS=f"{os.environ.get('PGOPTIONS', '')} {DURABILITY[durability]}")
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env=environment) as client:
            def used():
                return (time.monotonic(), machine.server_seconds(self.server.postmaster), machine.machine_seconds(),
                        machine.process_seconds(client.pid))

            def expect(word):
                if client.stdout.readline().strip() != word:
                    raise Failure(f"{' '.join(command)}: {client.stderr.read().strip()}")
                return used()

            def go_on():
                client.stdin.write("\n")
                client.stdin.flush()

            before = expect("ready")
            snapshot = Snapshot(database, held) if held else None
            go_on()
            after = expect("done")
            if snapshot:
                snapshot.close()
            go_on()
            figures = json.loads(client.stdout.readline())
        wall, server, everything, loader = (late - early for early, late in zip(before, after))
        return figures, server, max(0, everything - server - loader) / (wall * os.cpu_count())

    def _count(self, cell, fill, database, after=0):
        """How many events are stored.  Of a large store, those after a position, or that position."""
        if cell.reads:
            return 0
        if not self._too_large(cell, fill):
            return self.server.count(database) - after
        if after == 0:
            return int(self.server.value(database, "SELECT max(position) FROM es_events"))
        return int(self.server.value(database, f"SELECT count(*) FROM es_events WHERE position > {after}"))

    def _check(self, cell, contestant, fill, database, before, written):
        if cell.reads:
            return
        stored = self._count(cell, fill, database, before)
        if stored != written:
            raise Failure(f"{cell.name}, {contestant.label}: {stored} events stored, {written} counted")
        if not self._too_large(cell, fill):
            findings = self.server.findings(database)
            if findings:
                raise Failure(f"{cell.name}, {contestant.label}: {findings}")

    def run(self, cell, entry, round_number):
        contestant, fill = entry[0], cell.fill_of(entry)
        database = self._database(cell, contestant, fill)
        held = self._seconds(cell) if cell.held and "nobody" not in contestant.label else 0
        before = self._count(cell, fill, database)
        disk, wal = self.server.bytes_on_disk(database), self.server.wal_position()
        figures, server, others = self._run_client(
            self._command(cell, contestant, fill, round_number), database, cell.durability, held)
        wal, disk = self.server.wal_position() - wal, self.server.bytes_on_disk(database) - disk

        per_call = max(1, contestant.writes) * (contestant.batch or cell.batch)
        total, measured, calls = (figures[which] * per_call for which in ("total", "measured", "calls"))
        if calls == 0:
            raise Failure(f"{cell.name}, {contestant.label}: nothing done")
        if cell.reads and figures["rows"] != figures["calls"] * cell.reads:
            raise Failure(f"{cell.name}, {contestant.label}: {figures['rows']} rows in {figures['calls']} calls")
        self._check(cell, contestant, fill, database, before, total)
        if cell.reads and cell.unit == "events":
            measured, calls = measured * cell.reads, calls * cell.reads
        return Run(cell.name, contestant.label, round_number, calls / figures["seconds"], server * 1e6 / measured,
                   0 if cell.reads else wal / total, 0 if cell.reads else disk / total,
                   figures["conflicts"] / figures["measured"], figures["p50"], figures["p99"], others,
                   [count * per_call for count in figures["intervals"]])
