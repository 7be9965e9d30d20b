"""What commands on many keys at one instant cost: CPU of the server per key, against redis-server beside it.

    python3 bench/together/main.py --server target/release/ringdb [--loops 1] [--keys 1000000]

One client, one command at a time, random keys of `--keys`. `filled`: a tenth of the keys and more are there; `emptied`: nearly
all of them were removed before. Medians of the ns per key, first command of each row aside.
"""

import argparse
import os
import random
import socket
import statistics
import subprocess
import time

SIZES = {100: 100, 1_000: 40, 10_000: 15, 100_000: 7}


class Server:
    def __init__(self, words, port):
        self.process = subprocess.Popen([*words, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", port))
                break
            except OSError:
                time.sleep(0.02)
        self.stream = self.socket.makefile("rb")

    def cpu_ns(self):
        tasks = f"/proc/{self.process.pid}/task"
        return sum(int(open(f"{tasks}/{task}/schedstat").read().split()[0]) for task in os.listdir(tasks))

    def call(self, words):
        head = b"*%d\r\n" % len(words)
        self.socket.sendall(head + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
        line = self.stream.readline()
        for _ in range(int(line[1:]) if line[:1] == b"*" else 0):
            bulk = int(self.stream.readline()[1:])
            self.stream.read(bulk + 2 if bulk >= 0 else 0)

    def ns_per_key(self, name, count, times, key_count, prng):
        costs = []
        for _ in range(times):
            keys = [b"key:%012d" % prng.randrange(key_count) for _ in range(count)]
            words = [name, *(word for key in keys for word in (key, b"x" * 32))] if name == b"MSET" else [name, *keys]
            before = self.cpu_ns()
            self.call(words)
            costs.append((self.cpu_ns() - before) / count)
        return statistics.median(costs[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="target/release/ringdb")
    parser.add_argument("--port", type=int, default=7280)
    parser.add_argument("--loops", type=int, default=1)
    parser.add_argument("--keys", type=int, default=1_000_000)
    options = parser.parse_args()
    words = [[options.server, "--threads", str(options.loops)], ["redis-server", "--save", ""]]
    servers = [Server(words, options.port + at) for at, words in enumerate(words)]
    turns = 2 * options.keys // 100_000

    def row(title, name, count, times):
        prng = random.Random(count)
        state = prng.getstate()
        costs = []
        for server in servers:
            prng.setstate(state)
            costs.append(server.ns_per_key(name, count, times, options.keys, prng))
        print(f"{title:8} {name.decode():6} {count:6}   {costs[0]:5.0f} {costs[1]:5.0f}   {costs[0] / costs[1]:.2f}", flush=True)

    try:
        print("state    command  keys   ringdb redis  ratio, ns per key")
        row("empty", b"MSET", 100_000, turns)
        for name in (b"MSET", b"MGET", b"EXISTS"):
            for count, times in SIZES.items():
                row("filled", name, count, times)
        for count, times in SIZES.items():
            row("filled", b"DEL", count, times)
        row("emptying", b"DEL", 100_000, turns)
        for name in (b"MGET", b"EXISTS"):
            for count, times in SIZES.items():
                row("emptied", name, count, times)
    finally:
        for server in servers:
            server.process.kill()


if __name__ == "__main__":
    main()
