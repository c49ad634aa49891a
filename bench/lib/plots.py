"""Plots, by gnuplot."""

import subprocess

from measure import HELD_FROM, HELD_TO

_COLOURS = {"es_append": "#c0392b", "hand-cte": "#2980b9", "hand-fn": "#8e44ad", "hand-insert": "#27ae60", "floor": "#7f8c8d"}
_MORE = ("#d35400", "#16a085", "#2c3e50", "#f39c12", "#9b59b6", "#34495e")


def _gnuplot(path, commands):
    script = f"""set terminal svg noenhanced size 760,420 font 'sans-serif,13' background rgb 'white'
set output '{path}'
set grid ytics lc rgb '#dddddd'
set border 3
set tics nomirror
{commands}
"""
    done = subprocess.run(["gnuplot"], input=script, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"gnuplot: {done.stderr}")


def _block(name, rows):
    lines = "\n".join("\t".join(f'"{value}"' if isinstance(value, str) else f"{value:.6g}" for value in row) for row in rows)
    return f"${name} << EOD\n{lines}\nEOD\n"


def _lines(path, title, xlabel, ylabel, series, more=""):
    """series: label -> [(x, y)]"""
    blocks, plots = "", []
    colours = iter(_MORE)
    for number, (label, points) in enumerate(series.items()):
        blocks += _block(f"d{number}", points)
        colour = _COLOURS.get(label) or next(colours)
        plots.append(f"$d{number} using 1:2 with linespoints pt 7 ps 0.5 lw 2 lc rgb '{colour}' title \"{label}\"")
    _gnuplot(path, f"""{blocks}set title "{title}"
set xlabel "{xlabel}"
set ylabel "{ylabel}"
set yrange [0:*]
set key outside right
{more}
plot {", ".join(plots)}""")


def _bars(path, title, xlabel, bars):
    """bars: [(label, value)], the first on top."""
    rows = [(label, float(value), float(len(bars) - number)) for number, (label, value) in enumerate(bars)]
    ours = "(strcol(1)[1:3] eq 'es_' ? 0xc0392b : 0x95a5a6)"
    _gnuplot(path, f"""{_block("d", rows)}set title "{title}"
set xlabel "{xlabel}"
set style fill solid
set xrange [0:*]
set yrange [0.3:{len(bars)}.7]
set grid noytics xtics lc rgb '#dddddd'
set lmargin 26
unset key
plot $d using (0):3:(0):2:($3-0.35):($3+0.35):{ours}:ytic(1) with boxxyerror lc rgb variable""")


def _by_clients(figures, folder):
    for durability, label in (("off", "synchronous_commit off"), ("on", "synchronous_commit on"), ("2ms", "flush takes 2 ms")):
        series = {}
        for name in ("floor", "hand-insert", "hand-cte", "hand-fn", "es_append"):
            points = [(float(clients), figures.median(f"single-{durability}-{clients}", name, "rate"))
                      for clients in (1, 2, 8, 32, 200) if figures.has(f"single-{durability}-{clients}", name)]
            if len(points) > 1:
                series[name] = points
        if series:
            file = f"single-{durability}.svg"
            _lines(f"{folder}/{file}", f"One event, existing aggregate, {label}", "clients", "events a second", series,
                   "set logscale x\nset xtics (1, 2, 8, 32, 200)")
            yield f"One event, {label}", file


_BARS = (
    ("single-off-8", "rate", "One event, 8 clients, synchronous_commit off", "events a second"),
    ("single-off-8", "server", "The same: server CPU", "microseconds an event"),
    ("hot-off-16", "rate", "One hot aggregate, 16 clients, synchronous_commit off", "successful appends a second"),
    ("hot-on-16", "rate", "One hot aggregate, 16 clients, synchronous_commit on", "successful appends a second"),
    ("each100-on-1", "rate", "100 independent writes, 1 client, synchronous_commit on", "events a second"),
    ("bytes", "wal", "WAL", "bytes an event"),
)


def _all_bars(figures, folder):
    for cell, what, title, label in _BARS:
        if figures.contestants(cell):
            bars = [(name, figures.median(cell, name, what)) for name in figures.contestants(cell)]
            bars.sort(key=lambda bar: bar[1], reverse=what == "rate")
            file = f"{cell}-{what}.svg"
            _bars(f"{folder}/{file}", title, label, bars)
            yield title, file


def _held(figures, folder):
    cell = "held-off-8"
    series = {}
    for name in figures.contestants(cell):
        tenths = next(iter(figures.runs[cell, name].values())).intervals
        step = max(1, len(tenths) // 100)
        series[name] = [((i + step / 2) / 10, 10 * sum(tenths[i:i + step]) / step) for i in range(0, len(tenths) - step + 1, step)]
    if series:
        length = len(tenths) / 10
        _lines(f"{folder}/held.svg", "One hot aggregate while another session holds a snapshot (grey)", "seconds",
               "appends a second", series,
               f"set object 1 rectangle from {length * HELD_FROM}, graph 0 to {length * HELD_TO}, graph 1 "
               "fc rgb '#eeeeee' fs solid noborder behind")
        yield "A snapshot is held", "held.svg"


def _growth(figures, folder):
    bars = [(f"{kind.split('-')[1]}, {name}", figures.median(kind, name, "server"))
            for kind in ("growth-append", "growth-read") for name in figures.contestants(kind)]
    if len(bars) > 2:
        _bars(f"{folder}/growth.svg", "Server CPU as the store grows", "microseconds a call", bars)
        yield "Growth", "growth.svg"


def draw(figures, folder):
    """Write the plots; yields (title, file)."""
    yield from _by_clients(figures, folder)
    yield from _all_bars(figures, folder)
    yield from _held(figures, folder)
    yield from _growth(figures, folder)
