"""Writes a result directory: tables, raw reports, machine card, plot. Never touches an older one."""

import datetime
import json
import os
import platform
import subprocess

from load import ROOT


def new_directory(question, wanted=None):
    """bench/results/DATE-question, with a number behind it if that exists."""
    base = wanted or os.path.join(ROOT, "bench", "results", f"{datetime.date.today()}-{question}")
    path, number = base, 2
    while os.path.exists(path):
        path, number = f"{base}-{number}", number + 1
    os.makedirs(path)
    return path


def machine_card(command_line, binaries):
    """What a reader needs to judge or repeat the numbers."""
    lines = [f"command      {command_line}", f"date         {datetime.datetime.now():%Y-%m-%d %H:%M}",
             f"kernel       {platform.release()} {platform.machine()}", f"cpu          {_cpu()} × {os.cpu_count()}",
             f"memory       {_memory()}", f"governor     {_read('/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor')}",
             f"congestion   {_read('/proc/sys/net/ipv4/tcp_congestion_control')}",
             f"commit       {_output(['git', '-C', ROOT, 'describe', '--always', '--dirty'])}"]
    lines += [f"{name:12} {_output([path, '--version'])}" for name, path in binaries.items() if path]
    lines.append("method       server CPU ns per command = on-CPU ns of all server threads / replies (bench/README.md)")
    return "\n".join(lines) + "\n"


def shape_tables(shapes, servers, cells, baseline):
    """Markdown and TSV of a comparison."""
    names = [server.name for server in servers]
    head = ["shape"] + [f"{name} ns" for name in names] + [f"{name} / {baseline}" for name in names if name != baseline]
    head += [f"{name} p99 µs" for name in names]
    rows, tsv = [], [["shape", "server", "ns_min", "ns_median", "ratio_to_" + baseline, "per_second_max", "p99_us"]]
    for shape in shapes:
        base = cells[shape.name, baseline].ns() if baseline in names else None
        row = [shape.name] + [_two(cells[shape.name, name]) for name in names]
        row += [_ratio(cells[shape.name, name].ns(), base) for name in names if name != baseline]
        row += [_number(cells[shape.name, name].p99_us()) for name in names]
        rows.append(row)
        for name in names:
            cell = cells[shape.name, name]
            values = (cell.ns(), cell.median(), cell.ns() / base if cell.ns() and base else None, cell.per_second(), cell.p99_us())
            tsv.append([shape.name, name] + ["" if value is None else f"{value:.4g}" if value < 10 else f"{value:.1f}" for value in values])
    return _markdown(head, rows), "\n".join("\t".join(row) for row in tsv) + "\n"


def goal_tables(rows):
    """Markdown and TSV of the table of goals."""
    cells = [[row.name, row.measured, row.goal, "yes" if row.passed else "**no**"] for row in rows]
    head = ["row", "measured", "goal", "reached"]
    return _markdown(head, cells), "\n".join("\t".join(row) for row in [head, *cells]).replace("**", "") + "\n"


def write(directory, name, text):
    """Writes one file of the result."""
    with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
        file.write(text)


def write_raw(directory, raw):
    """Every report as it came, one line each."""
    write(directory, "raw.jsonl", "".join(json.dumps(report) + "\n" for report in raw))


def _markdown(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def _two(cell):
    """Minimum, and the median where it differs."""
    if cell.ns() is None:
        return "–"
    least, median = _number(cell.ns()), _number(cell.median())
    return least if least == median else f"{least} (med {median})"


def _ratio(value, base):
    return f"{value / base:.2f}" if value and base else "–"


def _number(value):
    return "–" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return "unknown"


def _cpu():
    return next((line.split(":", 1)[1].strip() for line in _read("/proc/cpuinfo").splitlines() if line.startswith("model name")), "unknown")


def _memory():
    return _read("/proc/meminfo").splitlines()[0].split(":")[1].strip()


def _output(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip().split("\n")[0]
    except OSError:
        return "unknown"
