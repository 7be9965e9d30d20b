"""Instructions that the server executes per command, in user space: a figure that a busy machine does not change.

    python3 bench/instructions/main.py OLD [NEW] [--load "-t set -r 100000"] [--port 7260] [--lines FUNCTION]

Runs each binary under cachegrind (Debian: `apt install valgrind`), on the epoll engine with one loop, twice: with a warm-up
alone, and with COMMANDS more from `redis-benchmark`. The difference of the two is what those commands cost; start and end
cancel out. Prints the sum and the functions that differ most (of one binary: that cost most); `--lines` shows one function
by source lines.

It counts what is executed, not how long that takes: waits for memory, system calls and the kernel's work are not in it.
"""

import argparse
import collections
import os
import subprocess
import sys
import tempfile
import time

COMMANDS = 80_000
WARM_UP = 20_000


def loaded(binary, port, load, commands, out):
    """Serves so many commands under cachegrind; its report goes to `out`."""
    server = subprocess.Popen(
        ["valgrind", "--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={out}", binary]
        + ["--port", str(port), "--threads", "1", "--io-engine", "epoll"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    cli = ["redis-cli", "-p", str(port)]
    for _ in range(300):
        if subprocess.run(cli + ["ping"], capture_output=True).stdout == b"PONG\n":
            break
        time.sleep(0.1)
    else:
        sys.exit(f"{binary} does not answer on port {port}")
    for count in [WARM_UP] + [commands] * (commands > 0):
        bench = ["redis-benchmark", "-p", str(port), "-q", "-P", "64", "-c", "10", "-n", str(count)]
        subprocess.run(bench + load.split(), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.run(cli + ["shutdown", "nosave"], capture_output=True)
    server.wait()


def add(report, sign, total):
    """Adds a report's counts to `total`, by function, file and line."""
    file = function = ""
    for line in open(report):
        if line.startswith("fl="):
            file = line[3:].strip()
        elif line.startswith("fn="):
            function = line[3:].strip()
        elif line[0].isdigit():
            number, count = line.split()[:2]
            total[function, file, int(number)] += sign * int(count)


def measured(binary, port, load):
    total = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        for commands, sign in ((0, -1), (COMMANDS, 1)):
            out = os.path.join(folder, str(commands))
            loaded(binary, port, load, commands, out)
            add(out, sign, total)
    return total


def by_function(total):
    sums = collections.Counter()
    for (function, _, _), count in total.items():
        sums[function] += count
    return sums


def show_lines(total, wanted):
    for (function, file, number), count in sorted(total.items(), key=lambda item: item[0][1:]):
        if wanted in function and count >= COMMANDS:
            try:
                text = open(file).read().split("\n")[number - 1].strip()[:100]
            except (OSError, IndexError):
                text = ""
            print(f"{count / COMMANDS:8.1f}  {'/'.join(file.split('/')[-2:])}:{number}  {text}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binaries", nargs="+")
    parser.add_argument("--load", default="-t set -r 100000")
    parser.add_argument("--port", type=int, default=7260)
    parser.add_argument("--lines", metavar="FUNCTION")
    parser.add_argument("--rows", type=int, default=25)
    args = parser.parse_args()
    totals = [measured(binary, args.port, args.load) for binary in args.binaries[:2]]
    sums = [by_function(total) for total in totals]
    old, new = sums[0], sums[-1]
    print(f"{'old':>8} {'new':>8} {'change':>8}  instructions per command: {args.load}")
    rows = [("all", sum(old.values()), sum(new.values()))]
    weight = (lambda name: abs(new[name] - old[name])) if len(sums) > 1 else (lambda name: old[name])
    rows += [(name, old[name], new[name]) for name in sorted(set(old) | set(new), key=weight, reverse=True)[: args.rows]]
    for name, before, after in rows:
        print(f"{before / COMMANDS:8.1f} {after / COMMANDS:8.1f} {(after - before) / COMMANDS:+8.1f}  {name[:110]}")
    if args.lines:
        show_lines(totals[-1], args.lines)


main()
