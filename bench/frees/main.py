"""What the end of a huge object does to other clients: latency of one GET after the other while an object of millions of
elements is unlinked, deleted, overwritten, expires, is trimmed away, or goes with everything else.

    python3 bench/frees/main.py --server target/release/ringdb --port 7250 --elements 10000000 [--loops 2] [--kinds set,hash]

With one loop the client that measures lives where the object's end is ordered; with two it lives on the other loop. Each
line shows p50, p99 and the longest GET in microseconds from just before the order until the memory is free again; "nothing"
is the same without an order: what the machine does by itself. On a busy machine that hides everything, so each line also
shows the processor time that the loop's thread spent on the order, until 50 ms later, with no other client: no client
waits longer than that for the loop. The object is made once, and copied before each order.
"""

import argparse
import os
import socket
import subprocess
import sys
import threading
import time


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.socket.makefile("rb")

    def send(self, *words):
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))

    def reply(self):
        line = self.stream.readline()
        if line[:1] == b"$" and line[1:2] != b"-":
            return self.stream.read(int(line[1:]) + 2)[:-2]
        assert line[:1] != b"-", line
        return line.strip()

    def call(self, *words):
        self.send(*words)
        return self.reply()

    def info(self, field):
        lines = self.call("INFO").decode().splitlines()
        return int(next(line for line in lines if line.startswith(field + ":")).split(":")[1])


def loop_times(pid):
    """Processor time of each loop's thread so far, in nanoseconds."""
    found = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        name = open(f"/proc/{pid}/task/{task}/comm").read().strip()
        if name.startswith("loop-"):
            found[int(name[5:])] = int(open(f"/proc/{pid}/task/{task}/schedstat").read().split()[0])
    return found


def home(pid, client):
    """The loop that serves a client: the one whose thread works when it talks."""
    before = loop_times(pid)
    for _ in range(2000):
        client.call("PING")
    after = loop_times(pid)
    return max(after, key=lambda loop: after[loop] - before.get(loop, 0))


def on_loop(options, pid, loop):
    """A client on this loop; the others are kept, so that the next ones go elsewhere."""
    others = []
    while True:
        client = Client(options.port)
        if options.loops == 1 or home(pid, client) == loop:
            return client
        others.append(client)


FILL = {
    "set": lambda n: ["SADD", "o"] + [f"member:{k:012}" for k in range(n, n + 1000)],
    "hash": lambda n: ["HSET", "o"] + [word for k in range(n, n + 1000) for word in (f"field:{k:09}", f"v{k}")],
    "zset": lambda n: ["ZADD", "o"] + [word for k in range(n, n + 1000) for word in (k, f"member:{k:09}")],
    "list": lambda n: ["RPUSH", "o"] + [f"element:{k:09}" for k in range(n, n + 1000)],
}


def fill(client, kind, count):
    client.call("DEL", "o")
    for first in range(0, count, 20_000):
        for n in range(first, first + 20_000, 1000):
            client.send(*FILL[kind](n))
        for _ in range(20):
            client.reply()


ORDERS = {
    "nothing": lambda client: time.sleep(0.3),
    "UNLINK": lambda client: client.call("UNLINK", "victim"),
    "DEL": lambda client: client.call("DEL", "victim"),
    "SET over it": lambda client: client.call("SET", "victim", "v"),
    "expiry": lambda client: client.call("PEXPIRE", "victim", 20),
    "FLUSHALL": lambda client: client.call("FLUSHALL"),
}


class Watch(threading.Thread):
    """One GET after the other until told to stop."""

    def __init__(self, client):
        super().__init__()
        self.client, self.stop, self.times = client, False, []

    def run(self):
        request = b"*2\r\n$3\r\nGET\r\n$5\r\nprobe\r\n"
        while not self.stop:
            started = time.perf_counter_ns()
            self.client.socket.sendall(request)
            self.client.reply()
            self.times.append(time.perf_counter_ns() - started)

    def show(self):
        times = sorted(self.times)
        picks = [times[len(times) // 2], times[len(times) * 99 // 100], times[-1]]
        return "".join(f"{pick / 1000:9.0f}" for pick in picks)


def prepare(doer, order):
    if order != "nothing":
        doer.call("COPY", "o", "victim")
        time.sleep(0.2)


def until_free(doer):
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        time.sleep(0.05)
        if doer.info("lazyfree_pending_objects") == 0:
            return


def work_of(pid, doer, order):
    """What the loop's thread spends on the order."""
    prepare(doer, order)
    before = max(loop_times(pid).values())
    ORDERS[order](doer)
    time.sleep(0.05)
    spent = max(loop_times(pid).values()) - before
    until_free(doer)
    return spent


def measure(options, pid, refill, doer, prober, order):
    spent = work_of(pid, doer, order)
    refill(order)
    prepare(doer, order)
    prober.call("SET", "probe", "v")
    watch = Watch(prober)
    watch.start()
    time.sleep(0.05)
    ORDERS[order](doer)
    until_free(doer)
    time.sleep(0.1)
    watch.stop = True
    watch.join()
    refill(order)
    print(f"  {order:12}{watch.show()}   the loop's work {spent / 1000:9.0f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="target/release/ringdb")
    parser.add_argument("--port", type=int, default=7250)
    parser.add_argument("--elements", type=int, default=10_000_000)
    parser.add_argument("--loops", type=int, choices=[1, 2], default=1)
    parser.add_argument("--kinds", default="set,hash,zset,list")
    options = parser.parse_args()
    server = subprocess.Popen([options.server, "--port", str(options.port), "--threads", str(options.loops)], stdout=subprocess.DEVNULL)
    time.sleep(1)
    try:
        doer, prober = on_loop(options, server.pid, 0), on_loop(options, server.pid, options.loops - 1)
        for kind in options.kinds.split(","):
            fill(doer, kind, options.elements)

            def refill(order):
                if order == "FLUSHALL":
                    fill(doer, kind, options.elements)

            print(f"{kind} of {options.elements} elements; GETs on {'another' if options.loops == 2 else 'the same'} loop: p50, p99, max us")
            for order in ORDERS:
                measure(options, server.pid, refill, doer, prober, order)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
