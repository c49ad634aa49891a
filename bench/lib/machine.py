"""What the machine and its processes have used of the processor."""

import os

TICKS = os.sysconf("SC_CLK_TCK")


def _stat(pid):
    """The fields of /proc/PID/stat from the state on; None if the process has gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _run_time(pid, stat):
    """Seconds on a processor, to the nanosecond where the kernel tells."""
    try:
        with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
            nanoseconds = int(file.read().split()[0])
    except (OSError, IndexError):
        nanoseconds = 0
    return nanoseconds / 1e9 or (int(stat[11]) + int(stat[12])) / TICKS


def server_seconds(postmaster):
    """Of all processes of the server, those that have ended included."""
    total = 0.0
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        stat = _stat(name)
        if stat is None:
            continue
        if int(name) == postmaster:
            total += _run_time(name, stat) + (int(stat[13]) + int(stat[14])) / TICKS
        elif int(stat[1]) == postmaster:
            total += _run_time(name, stat)
    return total


def process_seconds(pid):
    """Of one process with all its threads."""
    stat = _stat(pid)
    return (int(stat[11]) + int(stat[12])) / TICKS if stat else 0.0


def machine_seconds():
    """Of everything that runs on the machine."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _idle, _iowait, irq, softirq = map(int, file.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / TICKS


def processor():
    """Model and number of cores."""
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{os.cpu_count()} cores ({model})"
