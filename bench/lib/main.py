"""The benchmark's driver; bench/run starts it beside a server of its own."""

import argparse
import fnmatch
import os
import sys
import time

import cells as plan
import machine
import plots
import report
from cells import all_cells
from figures import Figures
from measure import Bench, Run
from server import Failure, Server

# Rounds, seconds of a run, seconds of its warm-up.
KINDS = {plan.QUICK: (1, 0.4, 0.1), plan.DEFAULT: (3, 1, 0.2), plan.FULL: (5, 1.5, 0.3), plan.HUGE: (5, 1.5, 0.3)}


def arguments():
    parser = argparse.ArgumentParser(prog="bench/run", add_help=False)
    parser.add_argument("--quick", dest="kind", action="store_const", const=plan.QUICK)
    parser.add_argument("--full", dest="kind", action="store_const", const=plan.FULL)
    parser.add_argument("--huge", dest="kind", action="store_const", const=plan.HUGE)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--contestants", help="only these, as patterns with commas between")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--tree", default="", help="what is measured, for the header")
    for name in ("--data", "--folder", "--client", "--out"):
        parser.add_argument(name)
    parser.add_argument("cells", nargs="*", help="only these, as patterns")
    return parser.parse_args()


def chosen_cells(options, kind):
    """Named cells are measured whole, whatever the kind of run."""
    chosen = []
    for cell in all_cells():
        named = any(fnmatch.fnmatch(cell.name, pattern) for pattern in options.cells)
        if options.cells and not named or not options.cells and cell.kind > kind:
            continue
        patterns = (options.contestants or "*").split(",")
        limit = max(kind, plan.FULL) if named else kind
        cell.entries = [entry for entry in cell.entries if entry[1] <= limit
                        and any(fnmatch.fnmatch(entry[0].label, pattern) for pattern in patterns)]
        if cell.entries:
            chosen.append(cell)
    return chosen


def drop_missing(server, cells):
    """Leave out contestants whose function does not exist (yet)."""
    missing = set()
    for cell in cells:
        for entry in list(cell.entries):
            needs = entry[0].needs
            if needs and not server.has_function(server.template(entry[0].folder, cell.fill_of(entry)), needs):
                cell.entries.remove(entry)
                missing.add(needs)
    for name in sorted(missing):
        print(f"left out: this build has no {name}()", file=sys.stderr)


def fill(server, cells):
    for cell in cells:
        for entry in cell.entries:
            wanted = cell.fill_of(entry)
            if wanted.aggregates * wanted.events >= 1_000_000 and not server.has_template(entry[0].folder, wanted):
                print(f"filling {wanted.aggregates * wanted.events:,} events", file=sys.stderr)
            server.template(entry[0].folder, wanted)


def measure(bench, cells, rounds, log):
    runs = []
    for number in range(1, rounds + 1):
        begun = time.monotonic()
        for cell in cells:
            if cell.once and number > 1:
                continue
            for entry in cell.entries:
                run = bench.run(cell, entry, number)
                runs.append(run)
                log.write(run.line() + "\n")
                log.flush()
        print(f"round {number} of {rounds} done in {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return runs


def main():
    options = arguments()
    kind = options.kind or plan.DEFAULT
    rounds, seconds, warmup = KINDS[kind]
    rounds, seconds = options.rounds or rounds, options.seconds or seconds
    cells = chosen_cells(options, kind)
    if not cells:
        sys.exit("no such cell or contestant; bench/run --list tells which there are")
    if options.list:
        for cell in cells:
            print(f"{cell.name}: {cell.title}\n    {', '.join(entry[0].label for entry in cell.entries)}")
        return

    server = Server(options.data, os.path.join(options.folder, "contestants"))
    where = f"{time.strftime('%Y-%m-%d')}; PostgreSQL {server.version()}; {machine.processor()}, client and server together"
    where += f"; {options.tree}." if options.tree else "."
    print(where)
    drop_missing(server, cells)
    fill(server, cells)
    with open(os.path.join(options.out, "runs.tsv"), "w", encoding="utf-8") as log:
        log.write("\t".join(Run.COLUMNS) + "\n")
        figures = Figures(measure(Bench(server, options.client, seconds, warmup), cells, rounds, log))
    print(report.text(cells, figures))
    drawn = list(plots.draw(figures, options.out))
    with open(os.path.join(options.out, "README.md"), "w", encoding="utf-8") as file:
        file.write(report.markdown(cells, figures, where, rounds, seconds, drawn))


try:
    main()
except Failure as failure:
    sys.exit(f"bench: {failure}")
