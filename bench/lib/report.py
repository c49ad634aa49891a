"""The tables, as text for the terminal and as Markdown for doc/benchmarks."""

from aims import outcomes
from cells import Cell
from figures import DISTURBED, quartiles
from measure import HELD_FROM, HELD_TO


def _number(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def _ratio(values, places=2):
    low, middle, high = quartiles(values)
    return f"{middle:.{places}f} ({low:.{places}f}–{high:.{places}f})" if len(values) > 1 else f"{middle:.{places}f}"


def _logs(cell: Cell):
    """Where images of pages are logged, as in stores too large to copy, WAL says little."""
    return not cell.reads and not cell.working_set


def _columns(cell: Cell, figures):
    columns = ["contestant", f"{cell.unit}/s", f"{cell.subject} ÷ this", f"server CPU µs/{cell.unit[:-1]}",
               f"{cell.subject} ÷ this", "p50 µs", "p99 µs"]
    if _logs(cell):
        columns.append("WAL B/event")
    if cell.calls:
        columns.append("disk B/event")
    if any(figures.median(cell.name, label, "conflicts") for label in figures.contestants(cell.name)):
        columns.append("conflicts a success")
    return columns


def cell_table(cell: Cell, figures):
    """Header and rows of strings."""
    columns = _columns(cell, figures)
    subject = (cell.name, cell.subject)
    rows = []
    for label in figures.contestants(cell.name):
        this = (cell.name, label)
        compared = figures.has(*subject) and label != cell.subject
        row = [label, _number(figures.median(*this, "rate")),
               _ratio(figures.ratios(subject, this, "rate")) if compared else "",
               _number(figures.median(*this, "server")),
               _ratio(figures.ratios(subject, this, "server")) if compared else "",
               _number(figures.median(*this, "p50")), _number(figures.median(*this, "p99"))]
        if _logs(cell):
            row.append(_number(figures.median(*this, "wal")))
        if cell.calls:
            row.append(_number(figures.median(*this, "disk")))
        if "conflicts a success" in columns:
            row.append(f"{figures.median(*this, 'conflicts'):.2f}")
        rows.append(row)
    return columns, rows


def _rounds(cell: Cell, figures):
    """How many rounds count, and what other work took of the machine in them."""
    rounds = len(figures.rounds(cell.name))
    others = [share for label in figures.contestants(cell.name) for share in figures.values(cell.name, label, "others")]
    return f"{rounds} round{'s' * (rounds != 1)}, others {quartiles(others)[1]:.0%}"


def held_table(cell: Cell, figures):
    """How the rate goes while a snapshot is held, and after."""
    columns = ["contestant", "events/s before", "after 1/4 of the held time", "at its end", "after the release"]
    rows = []
    for label in figures.contestants(cell.name):
        run = next(iter(figures.runs[cell.name, label].values()))
        tenths = run.intervals

        def rate(begin, end, tenths=tenths):
            these = tenths[int(len(tenths) * begin):max(int(len(tenths) * end), int(len(tenths) * begin) + 1)]
            return _number(10 * sum(these) / len(these))

        span = HELD_TO - HELD_FROM
        rows.append([label, rate(0, HELD_FROM), rate(HELD_FROM + span * 0.2, HELD_FROM + span * 0.3),
                     rate(HELD_TO - span * 0.1, HELD_TO), rate(0.9, 1)])
    return columns, rows


def aims_table(figures):
    columns = ["aim", "cell", "against", "wanted", "measured", "by server CPU", ""]
    rows = []
    for outcome in outcomes(figures):
        spread = f" ({outcome.low:.2f}–{outcome.high:.2f})" if outcome.low != outcome.high else ""
        rows.append([outcome.aim.text, outcome.place, outcome.against, outcome.wanted.replace("0.833333", "1/1.2"),
                     f"{outcome.middle:.2f}{spread}", f"{outcome.processor:.2f}" if outcome.processor else "",
                     "met" if outcome.met else "MISSED"])
    return columns, rows


def as_text(table):
    columns, rows = table
    widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
    lines = []
    for row in [columns, *rows]:
        lines.append("  ".join(word.ljust(width) if i == 0 else word.rjust(width)
                               for i, (word, width) in enumerate(zip(row, widths))).rstrip())
    return "\n".join(lines)


def as_markdown(table, left=1):
    columns, rows = table
    lines = ["| " + " | ".join(columns) + " |",
             "| " + " | ".join(["---"] * left + ["--:"] * (len(columns) - left)) + " |"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def text(cells, figures):
    parts = []
    for cell in cells:
        if not figures.contestants(cell.name):
            continue
        table = held_table(cell, figures) if cell.held else cell_table(cell, figures)
        parts.append(f"{cell.name}: {cell.title} ({_rounds(cell, figures)})\n{as_text(table)}")
    parts.append("Aims\n" + as_text(aims_table(figures)))
    return "\n\n".join(parts)


_HEAD = """# Measured

<!-- Written by bench/run; do not edit. -->

{where}

Medians of up to {rounds} rounds of {seconds:g} s, contestants in turn; ratios are medians of the ratios inside one round, in brackets
their quartiles. "By server CPU" is the ratio that server CPU an event gives, other work disturbs it least. What the contestants and cells are, and how it is measured: [bench/README.md](../../bench/README.md).
Every single run is in [runs.tsv](runs.tsv). Other work took {others} of the machine; rounds in which it took more than
{disturbed:.0%} are left out where three quieter ones remain.
"""


def markdown(cells, figures, where, rounds, seconds, plots):
    others = figures.others()
    middle, worst = others[len(others) // 2], others[-1]
    parts = [_HEAD.format(where=where, rounds=rounds, seconds=seconds, disturbed=DISTURBED,
                          others=f"{middle:.0%} (at worst {worst:.0%})"),
             "## Aims\n", as_markdown(aims_table(figures), left=4), ""]
    for title, file in plots:
        parts.append(f"![{title}]({file})")
    by_title = {}
    for cell in cells:
        if figures.contestants(cell.name):
            by_title.setdefault(cell.title, []).append(cell)
    for title, group in by_title.items():
        parts.append(f"\n## {title}\n")
        for cell in group:
            table = held_table(cell, figures) if cell.held else cell_table(cell, figures)
            parts += [f"`{cell.name}` ({_rounds(cell, figures)})\n", as_markdown(table), ""]
    return "\n".join(parts) + "\n"
