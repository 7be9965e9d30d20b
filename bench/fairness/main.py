"""What greedy clients do to the others: GET latency of 50 clients beside an endless pipeline of 10 000 commands and
KEYS in a loop, on the same loop and on another one.

    python3 bench/fairness/main.py --server target/release/ringdb --load target/release/ringdb-load --port 7250

The machine needs two cores: loop 0 stays on core 0, loop 1 on core 1. The greedy clients are placed on loop 0. The
generator of the 50 runs on core 1 at a fixed rate, those of the greedy clients run there only when nobody else wants to
(SCHED_IDLE). Whatever else the machine has to do moves to core 1 when core 0 is busy; so the yardstick is not only the
quiet server but also "core 0 busy": the quiet server beside a program that spins on core 0. The tail of a shared machine
changes from one minute to the next, so all rows are measured in rounds, and what is compared at the end are medians.

A client is placed by holding idle connections on the loop that it must not get: new connections go to the loop with the
fewest. Where a connection lives is seen by the thread whose processor time grows when it talks.
"""

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time

HELD = 60


def thread_times(pid):
    times = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        name = open(f"/proc/{pid}/task/{task}/comm").read().strip()
        if name.startswith("loop-"):
            times[int(name[5:])] = int(open(f"/proc/{pid}/task/{task}/schedstat").read().split()[0])
    return times


def connect(port):
    return socket.create_connection(("127.0.0.1", port))


def home(pid, connection):
    """The loop that serves a connection. Loop 1 does nothing else while this is asked."""
    before = thread_times(pid)[1]
    connection.sendall(b"PING\r\n" * 5000)
    wanted = 7 * 5000
    while wanted > 0:
        wanted -= len(connection.recv(1 << 16))
    return 1 if thread_times(pid)[1] - before > 100_000 else 0


def hold(pid, port, loop, count):
    """Idle connections on one loop. Of two that are opened one after the other each loop gets one."""
    pairs = [(connect(port), connect(port)) for _ in range(count)]
    kept = []
    for pair in pairs:
        right = 0 if home(pid, pair[0]) == loop else 1
        kept.append(pair[right])
        pair[1 - right].close()
    time.sleep(0.1)
    return kept


def load(options, *words, core=1, idle=False):
    command = (["chrt", "-i", "0"] if idle else []) + [options.load, "-p", str(options.port), "--pin", str(core), "--json", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def start_server(options, loops):
    command = [options.server, "--port", str(options.port), "--threads", str(loops), "--io-engine", options.engine]
    command += ["--server-cpulist", ",".join(map(str, range(loops)))] if loops > 1 else []
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    for _ in range(100):
        try:
            connect(options.port).close()
            break
        except OSError:
            time.sleep(0.05)
    if loops == 1:
        os.sched_setaffinity(server.pid, {0})
        for task in os.listdir(f"/proc/{server.pid}/task"):
            os.sched_setaffinity(int(task), {0})
    return server


def gets(options):
    rate = ["-c", 50, "-P", 1, "-w", "get", "-k", options.keys, "--rate", options.rate]
    process = load(options, *rate, "-t", options.seconds, "--warm-up", 0.5)
    report = json.loads(process.communicate()[0])
    return {name: report["latency_ns"][name] / 1000 for name in ("p50", "p99", "p99.9", "max")}


GREEDY = {
    "a pipeline of 10 000": [["-c", 1, "-P", 10000, "-w", "get"]],
    "KEYS that finds nothing": [["-c", 1, "--command", "KEYS nothing*"]],
    "both": [["-c", 1, "-P", 10000, "-w", "get"], ["-c", 1, "--command", "KEYS nothing*"]],
    "KEYS * (100 MB)": [["-c", 1, "--command", "KEYS *"]],
}


def scenarios(options, pid, loops, show):
    show("quiet", gets(options))
    if loops == 2:
        spinner = subprocess.Popen(["taskset", "-c", "0", sys.executable, "-c", "while True: pass"])
        show("quiet, core 0 busy", gets(options))
        spinner.kill()
        spinner.wait()
    for name, words in GREEDY.items():
        held = hold(pid, options.port, 1, HELD) if loops == 2 else []
        greedy = [load(options, *each, "-k", options.keys, "-t", 60, "--warm-up", 0, idle=True) for each in words]
        time.sleep(0.3)
        for connection in held:
            connection.close()
        held = hold(pid, options.port, 0, HELD) if loops == 2 else []
        show(name, gets(options))
        for process in greedy:
            process.send_signal(signal.SIGKILL)
            process.wait()
        for connection in held:
            connection.close()
        time.sleep(0.5)


class Rounds:
    """What each row showed in each round: row -> name of the figure -> one value a round."""

    def __init__(self):
        self.rows = {}

    def show(self, name, latency):
        row = self.rows.setdefault(name, {key: [] for key in latency})
        for key, value in latency.items():
            row[key].append(value)
        print(f"  {name:28}" + "".join(f"{key} {value:9.0f}   " for key, value in latency.items()), flush=True)

    def medians(self):
        middle = {name: {key: statistics.median(values) for key, values in row.items()} for name, row in self.rows.items()}
        print("medians, and p99 against quiet and against core 0 busy")
        for name, row in middle.items():
            against = [row["p99"] / middle[other]["p99"] for other in ("quiet", "quiet, core 0 busy") if other in middle]
            figures = "".join(f"{key} {value:9.0f}   " for key, value in row.items())
            print(f"  {name:28}{figures}" + "  ".join(f"{ratio:.2f}" for ratio in against))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="target/release/ringdb")
    parser.add_argument("--load", default="target/release/ringdb-load")
    parser.add_argument("--port", type=int, default=7250)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--keys", type=int, default=5_000_000)
    parser.add_argument("--rate", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loops", type=int, choices=[1, 2], default=2)
    options = parser.parse_args()
    server = start_server(options, options.loops)
    try:
        load(options, "-k", options.keys, "--fill-only", core=1).wait()
        where = "greedy clients on loop 0, the others on loop 1" if options.loops == 2 else "all on one loop"
        print(f"{options.keys} keys, {options.rate} GET/s of 50 clients, {where}; microseconds")
        rounds = Rounds()
        for _ in range(options.rounds):
            scenarios(options, server.pid, options.loops, rounds.show)
        rounds.medians()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
