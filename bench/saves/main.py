"""What durability costs: snapshots while everything is overwritten, snapshots of large values, loading, and the journal.

    python3 bench/saves/main.py --server target/release/ringdb --load target/release/ringdb-load [--keys 2000000] [--parts save,large,load,log]

Each part asks ringdb and redis-server the same, one after the other; a part is a process of its own in an empty folder.

    save    BGSAVE under SETs of random keys of the data (P=16, 50 clients): time, MB/s, processor time of the server, what
            the resident set grew by (without Redis's child, whose copies are its own), and GETs of another client before and during it
    large   BGSAVE of one collection per type with --elements elements: the first write to each, and GETs meanwhile
    load    start with what `save` has left: time and processor time until all keys are there
    log     SET P=16 C=50 without a journal, with everysec and with always, in turns: medians of commands per second, of
            processor time each, and of the rates' ratios round by round
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.socket.makefile("rb")

    def send(self, *words):
        parts = [str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))

    def reply(self):
        line = self.stream.readline()
        if line[:1] == b"$" and line[1:2] != b"-":
            return self.stream.read(int(line[1:]) + 2)[:-2]
        return line.strip()

    def call(self, *words):
        self.send(*words)
        return self.reply()

    def info(self, section, field):
        lines = self.call("INFO", section).decode().splitlines()
        return next((line.split(":", 1)[1] for line in lines if line.startswith(field + ":")), "0")


class Server:
    """One server in a folder, with what the kernel says of it."""

    def __init__(self, options, name, folder, *extra, port=None):
        own = [options.server, "--threads", str(options.loops)] if name == "ringdb" else ["redis-server", "--save", ""]
        self.port = port or options.port
        words = [*own, "--port", str(self.port), "--dir", folder, *extra]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.started = time.monotonic()

    def client(self):
        while True:
            try:
                return Client(self.port)
            except OSError:
                time.sleep(0.02)

    def cpu_s(self):
        total = 0
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            try:
                total += int(open(f"/proc/{self.process.pid}/task/{task}/schedstat").read().split()[0])
            except OSError:
                pass  # It has just ended.
        return total / 1e9

    def resident_mb(self):
        lines = open(f"/proc/{self.process.pid}/status")
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    def stop(self):
        self.process.kill()
        self.process.wait()
        try:
            while True:  # The rings of a killed process hold its port for a moment.
                Client(self.port)
                time.sleep(0.02)
        except OSError:
            pass


class Watch(threading.Thread):
    """One GET after the other until told to stop; a mark divides what was before from what came later."""

    def __init__(self, client):
        super().__init__()
        self.client, self.stop, self.before, self.times = client, False, [], []
        self.start()

    def run(self):
        while not self.stop:
            started = time.perf_counter()
            self.client.call("GET", "probe")
            self.times.append((time.perf_counter() - started) * 1e3)
            time.sleep(0.0005)

    def mark(self):
        self.before, self.times = self.times, []

    def end(self):
        self.stop = True
        self.join()
        shown = []
        for name, times in (("before", sorted(self.before)), ("during", sorted(self.times))):
            shown.append(f"{name} p99 {times[len(times) * 99 // 100]:.2f} max {times[-1]:.2f}")
        return "GET ms " + ", ".join(shown)


def load(options, *extra, wait=True):
    words = [options.load, "-p", str(options.port), "-k", str(options.keys), "-d", "100", *extra]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return process.communicate()[0] if wait else process


def until_saved(client, seen=lambda: None):
    while client.info("persistence", "rdb_bgsave_in_progress") != "0":
        seen()
        time.sleep(0.02)


def save(options, name, folder):
    server = Server(options, name, folder)
    client = server.client()
    load(options, "--fill-only")
    writer = load(options, "-w", "set", "-P", "16", "-c", "50", "-t", "600", wait=False)
    watch = Watch(server.client())
    time.sleep(10)
    watch.mark()
    resident, cpu, started, peak = server.resident_mb(), server.cpu_s(), time.monotonic(), [0]
    client.call("BGSAVE")
    until_saved(client, lambda: peak.append(server.resident_mb()))
    took, cpu = time.monotonic() - started, server.cpu_s() - cpu
    latency = watch.end()
    writer.kill()
    size = os.path.getsize(f"{folder}/dump.rdb") / 1e6
    print(f"  {name:8} {took:6.2f} s {size / took:6.0f} MB/s   processor {cpu:5.2f} s   resident {resident:.0f} +{max(peak) - resident:.0f} MB   {latency}")
    server.stop()


FILL = {
    "hash": lambda at: ("HSET", "hash", f"field:{at}", f"value:{at}"),
    "zset": lambda at: ("ZADD", "zset", at, f"member:{at}"),
    "list": lambda at: ("RPUSH", "list", f"element:{at}"),
    "set": lambda at: ("SADD", "set", f"member:{at}"),
}
FIRST = {"hash": ("HSET", "hash", "new", 1), "zset": ("ZADD", "zset", 5, "new"), "list": ("LPOP", "list"), "set": ("SREM", "set", "member:1")}


def large(options, name, folder):
    server = Server(options, name, folder)
    client = server.client()
    for make in FILL.values():
        for first in range(0, options.elements, 1000):
            for at in range(first, first + 1000):
                client.send(*make(at))
            for _ in range(1000):
                client.reply()
    watch = Watch(server.client())
    time.sleep(2)
    watch.mark()
    client.call("BGSAVE")
    firsts = []
    for kind, words in FIRST.items():
        started = time.perf_counter()
        client.call(*words)
        firsts.append(f"{kind} {(time.perf_counter() - started) * 1e3:.2f}")
    until_saved(client)
    print(f"  {name:8} first write ms: {', '.join(firsts)}   {watch.end()}")
    server.stop()


def loading(options, name, folder):
    server = Server(options, name, folder)
    client = server.client()
    while client.info("persistence", "loading") != "0":
        time.sleep(0.02)
    took, cpu, keys = time.monotonic() - server.started, server.cpu_s(), int(client.call("DBSIZE")[1:])
    lost = f"   {options.keys - keys} keys are missing" if keys != options.keys else ""
    print(f"  {name:8} {took:6.2f} s   processor {cpu:5.2f} s{lost}")
    server.stop()


def log(options, names, base):
    """All servers stand side by side and take turns, there and back: what else the machine does meets all of them."""
    bench = ["redis-benchmark", "-q", "-P", "16", "-c", "50", "-r", "100000", "-d", "32", "-t", "set", "-n", str(options.sets)]
    runs = []
    for name in names:
        for policy in ("none", "everysec", "always"):
            # No rewrite: it would fall into some rounds only.
            extra = ("--appendonly", "yes", "--appendfsync", policy, "--auto-aof-rewrite-percentage", "0")
            folder = f"{base}/log-{name}-{policy}"
            os.mkdir(folder)
            server = Server(options, name, folder, *(() if policy == "none" else extra), port=options.port + len(runs))
            server.client()
            runs.append((f"{name} {policy}", server, [], []))
    for turn in range(options.rounds + 1):
        for _, server, rates, costs in runs if turn % 2 else runs[::-1]:
            cpu, started = server.cpu_s(), time.monotonic()
            subprocess.run([*bench, "-p", str(server.port)], stdout=subprocess.DEVNULL, check=True)
            if turn > 0:  # The first one warms up.
                rates.append(options.sets / (time.monotonic() - started))
                costs.append((server.cpu_s() - cpu) * 1e9 / options.sets)
    of = {title: rates for title, _, rates, _ in runs}
    for title, server, rates, costs in runs:
        server.stop()
        name, policy = title.split()
        others = [other for other in (f"{name} none", f"redis {policy}") if other in of and other != title]
        ratios = [f"{statistics.median(a / b for a, b in zip(rates, of[other])):.2f} of {other}" for other in others]
        rate, cost = statistics.median(rates), statistics.median(costs)
        print(f"  {title:16} {rate:9.0f} /s   {cost:6.0f} ns each   {', '.join(ratios)}")


PARTS = {"save": save, "large": large, "load": loading}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="target/release/ringdb")
    parser.add_argument("--load", default="target/release/ringdb-load")
    parser.add_argument("--port", type=int, default=7260)
    parser.add_argument("--loops", type=int, default=1)
    parser.add_argument("--keys", type=int, default=2_000_000)
    parser.add_argument("--elements", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=12, help="of the part log")
    parser.add_argument("--sets", type=int, default=300_000, help="of each round")
    parser.add_argument("--parts", default="save,load,large,log")
    parser.add_argument("--servers", default="ringdb,redis")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="saves-") as base:
        for part in options.parts.split(","):
            print(part, flush=True)
            if part == "log":
                log(options, options.servers.split(","), base)
                continue
            for name in options.servers.split(","):
                folder = f"{base}/{name}" if part in ("save", "load") else f"{base}/{part}-{name}"
                os.makedirs(folder, exist_ok=True)
                PARTS[part](options, name, folder)
                sys.stdout.flush()


if __name__ == "__main__":
    main()
