"""Compares servers by CPU ns per command.

All servers run on one core, the load generator on another; they take turns, and each turn is repeated. The table shows the
minimum (and the median) of the repeats; a ratio is minimum to minimum. Results go to bench/results/DATE-question.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys

import goals
import plot
import results
import servers as make
from load import ROOT, Load, read_data, read_shapes
from shapes import measure


def parse():
    parser = argparse.ArgumentParser(prog="scripts/compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the shapes of quick.tsv, once; less than three minutes")
    parser.add_argument("--rows", action="store_true", help="every row of the table of goals, memory and idle connections included")
    parser.add_argument("--shapes", action="append", help="scenario file (name in bench/scenarios, or path); may be repeated")
    parser.add_argument("--only", help="only shapes whose name contains this")
    parser.add_argument("--binary", help="ringdb to run in place of a fresh release build")
    parser.add_argument("--load-binary", help="ringdb-load to run in place of a fresh release build")
    parser.add_argument("--no-ringdb", action="store_true", help="leave ringdb out")
    parser.add_argument("--no-redis", action="store_true", help="leave redis-server out")
    parser.add_argument("--epoll", action="store_true", help="also run ringdb's epoll engine")
    parser.add_argument("--server", action="append", default=[], metavar="[NAME=]HOST:PORT[:PID]",
                        help="also compare this server; it is emptied with FLUSHALL. May be repeated")
    parser.add_argument("--baseline", default="redis", help="server that the ratios are taken to")
    parser.add_argument("--port", type=int, default=7390, help="first of up to three ports for servers started here")
    parser.add_argument("--server-cpu", default="0")
    parser.add_argument("--load-cpu", default="1")
    parser.add_argument("--repeats", type=int, help="turns (3; quick 1)")
    parser.add_argument("--seconds", type=float, help="measured seconds of a turn (2; quick 1)")
    parser.add_argument("--question", help="name of the result directory behind the date")
    parser.add_argument("--out", help="result directory")
    return parser.parse_args()


def build(options):
    """Paths of ringdb and ringdb-load; builds what was not given."""
    wanted = [] if options.binary or options.no_ringdb else ["-p", "ringdb"]
    wanted += [] if options.load_binary else ["-p", "bench"]
    if wanted:
        subprocess.run(["cargo", "build", "--release", "--bins", *wanted], cwd=ROOT, check=True)
    target = os.path.join(ROOT, os.environ.get("CARGO_TARGET_DIR", "target"), "release")
    binary = options.binary or os.path.join(target, "ringdb")
    return os.path.abspath(binary), os.path.abspath(options.load_binary or os.path.join(target, "ringdb-load"))


def line_up(options, binary):
    """The servers of this comparison."""
    cpus, port = options.server_cpu, options.port
    all_servers = []
    if not options.no_ringdb:
        all_servers.append(make.ringdb(binary, port, cpus))
        if options.epoll or options.rows:
            all_servers.append(make.ringdb(binary, port + 1, cpus, engine="epoll", name="ringdb-epoll"))
    if not options.no_redis:
        if shutil.which("redis-server"):
            all_servers.append(make.redis(port + 2, cpus))
        else:
            print("compare: no redis-server on this machine, going on without", file=sys.stderr)
    return all_servers + [make.given(text) for text in options.server]


def special_rows(options, binary, load, seconds, repeats):
    """Rows that need servers of their own; one that fails is a row that says why."""
    both = f"{options.server_cpu},{options.load_cpu}"
    data = read_data()["strings"]
    cpus, port = options.server_cpu, options.port
    parts = [
        ("memory per key", lambda: goals.memory(binary, port, cpus, load)),
        ("idle connections", lambda: goals.idle(binary, port, cpus, load)),
        ("two loops on one key", lambda: goals.one_key(binary, port, load, both, seconds, repeats)),
        ("one connection, 8 loops", lambda: goals.many_loops(binary, port, cpus, load, data, seconds, repeats)),
    ]
    rows = []
    for name, work in parts:
        try:
            rows += work()
        except (RuntimeError, OSError, TypeError) as error:
            rows.append(goals.Row(name, f"failed: {error}", "", False))
        print(f"  {rows[-1].name}: {rows[-1].measured}", file=sys.stderr)
    return rows


def main():
    options = parse()
    if options.rows and (options.no_ringdb or options.no_redis):
        raise SystemExit("compare: --rows needs both ringdb and redis-server")
    binary, load_binary = build(options)
    question = options.question or ("goals" if options.rows else "quick" if options.quick else "compare")
    files = options.shapes or (["rows"] if options.rows else ["quick"] if options.quick else ["pipelines", "wide"])
    shapes = [shape for file in files for shape in read_shapes(file) if not options.only or options.only in shape.name]
    repeats = options.repeats or (1 if options.quick else 3)
    seconds = options.seconds or (1 if options.quick else 2)
    load = Load(load_binary, options.load_cpu)
    servers = line_up(options, binary)
    baseline = options.baseline if any(server.name == options.baseline for server in servers) else servers[-1].name
    try:
        cells = measure(servers, shapes, read_data(), load, repeats, seconds, warm_up=0.5)
        rows = goals.ratios(shapes, cells) + special_rows(options, binary, load, seconds, repeats) if options.rows else []
    finally:
        for server in servers:
            server.stop()

    directory = results.new_directory(question, options.out)
    table, tsv = results.shape_tables(shapes, servers, cells, baseline)
    programs = {"ringdb": None if options.no_ringdb else binary, "ringdb-load": load_binary,
                "redis-server": None if options.no_redis else shutil.which("redis-server")}
    card = results.machine_card(shlex.join(["scripts/compare", *sys.argv[1:]]), programs)
    if rows:
        goal_table, goal_tsv = results.goal_tables(rows)
        results.write(directory, "goals.tsv", goal_tsv)
        table = goal_table + "\n" + table
    results.write(directory, "table.md", f"# {question}\n\n{table}\n```\n{card}```\n")
    results.write(directory, "table.tsv", tsv)
    results.write(directory, "plot.svg", plot.bars(f"{question}: server CPU ns per command", shapes, servers, cells, baseline))
    results.write_raw(directory, load.raw)
    print(table)
    print(f"written to {os.path.relpath(directory)}", file=sys.stderr)


if __name__ == "__main__":
    main()
