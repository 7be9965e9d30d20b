"""The limit of memory against what the process takes: the resident set while values change, as a part of maxmemory.

    python3 bench/limit/main.py --server target/release/ringdb [--limit 100] [--loops 1] [--policy allkeys-lru] [--law mixed,phases]

    mixed     values of 16 B to 4 KB, evenly, to random keys, for six times the limit
    phases    values of 16 B, then 4 KB, then 200 B, then 1 KB: each phase writes all keys once, as far as that is no more than
              four times the limit
    pairs     values of 16 to 600 B, then 600 B to 4 KB, and again: random keys, six times the limit in all

Shown per phase: the highest resident set (looked at a hundred times a second from the moment at which the limit was first
reached), the one at the end and two seconds later; what is used; keys; microseconds of the server's processor time per SET.
"""

import argparse
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

CLIENTS = 4
BATCH = 200
LAWS = {
    "mixed": [(16, 4096)],
    "phases": [(16, 16), (4096, 4096), (200, 200), (1024, 1024)],
    "pairs": [(16, 600), (600, 4096), (16, 600), (600, 4096)],
}
FILLING = b"v" * 4096


class Server:
    """One server in a folder, with what the kernel says of it."""

    def __init__(self, options, folder):
        is_redis = "redis-server" in options.server
        own = [options.server, "--save", ""] if is_redis else [options.server, "--threads", str(options.loops)]
        extra = options.extra.split()
        words = [*own, "--port", str(options.port), "--dir", folder, "--maxmemory-policy", options.policy, *extra]
        self.port = options.port
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.clients = [self.connect() for _ in range(CLIENTS)]
        self.streams = [client.makefile("rb") for client in self.clients]

    def connect(self):
        for _ in range(100):
            try:
                return socket.create_connection(("127.0.0.1", self.port))
            except OSError:
                time.sleep(0.05)
        sys.exit("the server does not start")

    def call(self, *words):
        parts = [str(word).encode() for word in words]
        request = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self.clients[0].sendall(request)
        line = self.streams[0].readline()
        return self.streams[0].read(int(line[1:]) + 2) if line[:1] == b"$" else line.strip()

    def info(self):
        lines = self.call("INFO", "everything").decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def resident(self):
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * 4096

    def processor_s(self):
        total = 0
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{task}/schedstat") as file:
                total += int(file.read().split()[0])
        return total / 1e9


class Watch(threading.Thread):
    """Looks at the resident set; forgets what was before the limit was reached."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.highest, self.is_on = server, 0, True
        self.start()

    def run(self):
        while self.is_on:
            self.highest = max(self.highest, self.server.resident())
            time.sleep(0.01)


def fill(server, keys, sizes, dice):
    """SETs `keys` (numbers) to values of these sizes."""
    for begin in range(0, len(keys), BATCH * CLIENTS):
        asked = []
        for number, client in enumerate(server.clients):
            some = keys[begin + number * BATCH : begin + (number + 1) * BATCH]
            asked.append(len(some))
            if some:
                client.sendall(b"".join(request(key, dice.randint(*sizes)) for key in some))
        for stream, count in zip(server.streams, asked):
            for _ in range(count):
                stream.readline()


def request(key, length):
    return b"*3\r\n$3\r\nSET\r\n$12\r\nk%011d\r\n$%d\r\n%s\r\n" % (key, length, FILLING[:length])


def run(options, law):
    folder = tempfile.mkdtemp()
    server = Server(options, folder)
    dice, limit = random.Random(7), options.limit << 20
    server.call("CONFIG", "SET", "maxmemory", limit)
    worst, last = 0.0, 0.0
    try:
        phases = LAWS[law]
        key_count = limit // 90 if law == "phases" else 10**9
        for sizes in phases:
            mean = sum(sizes) // 2 + 60
            most = 4 * limit if law == "phases" else 6 * limit // len(phases)
            count = min(key_count, most // mean)
            keys = dice.sample(range(key_count), count)
            before, watch = server.processor_s(), Watch(server)
            if worst == 0.0:
                fill(server, keys[: count // 4], sizes, dice)
                keys, count = keys[count // 4 :], count - count // 4
                watch.highest, before = 0, server.processor_s()
            fill(server, keys, sizes, dice)
            watch.is_on = False
            end, spent = server.resident(), server.processor_s() - before
            time.sleep(2)
            info, later = server.info(), server.resident()
            worst, last = max(worst, watch.highest / limit), later / limit
            print(
                f"  {sizes[0]:5}-{sizes[1]:<5} {count:8} SETs  highest {watch.highest / limit:.3f}  end {end / limit:.3f}"
                f"  later {last:.3f}  used {int(info['used_memory']) / limit:.3f}  active"
                f" {int(info['allocator_active']) / limit:.3f}  {server.call('DBSIZE')[1:].decode():>8} keys  {spent / count * 1e6:.2f} us",
                flush=True,
            )
        print(f"{law} {options.limit} MiB, {options.loops} loops, {options.policy}: highest {worst:.3f}, last {last:.3f}")
    finally:
        server.process.kill()
        server.process.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--port", type=int, default=7599)
    parser.add_argument("--limit", type=int, default=100, help="MiB")
    parser.add_argument("--loops", type=int, default=1)
    parser.add_argument("--policy", default="allkeys-lru")
    parser.add_argument("--law", default="mixed,phases")
    parser.add_argument("--extra", default="", help="more words for the server's command line")
    options = parser.parse_args()
    for law in options.law.split(","):
        run(options, law)
