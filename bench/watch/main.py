"""What do transactions of clients that watch their keys cost? Rate and CPU per command of several servers, in alternating rounds.

    python3 bench/watch/main.py [--pipeline 16] [--rounds 7] NAME=PROGRAM,LOOPS …     redis-server counts as one, too

Each of 50 clients repeats {WATCH k, GET k, MULTI, SET k v, EXEC} on keys of its own, so that no transaction is in vain; a batch
has `--pipeline` of them. The generator is this process: on two cores, two loops and it are three that run on two.
"""

import argparse
import glob
import select
import socket
import statistics
import subprocess
import tempfile
import time

CLIENTS = 50
KEYS = 200
VALUE = b"v" * 16
BASE_PORT = 7930
# What comes back of one transaction: OK, the value, OK, QUEUED, an array of OK.
REPLY_LEN = 5 + 23 + 5 + 9 + 9


def encode(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def transaction(key):
    return encode(b"watch", key) + encode(b"get", key) + encode(b"multi") + encode(b"set", key, VALUE) + encode(b"exec")


class Server:
    def __init__(self, spec, port, pipeline):
        self.name, rest = spec.split("=")
        program, loops = rest.split(",")
        self.folder = tempfile.TemporaryDirectory()
        options = ["--save", ""] if "redis" in program else ["--threads", loops]
        command = [program, *options, "--port", str(port), "--dir", self.folder.name]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        time.sleep(0.6)
        self.port, self.reply_len = port, pipeline * REPLY_LEN
        self.clients = {}
        for client in range(CLIENTS):
            link = socket.create_connection(("127.0.0.1", port))
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            keys = [b"k:%d:%d" % (client, key) for key in range(KEYS)]
            for key in keys:
                link.sendall(encode(b"set", key, VALUE))
                link.recv(64)
            batches = [b"".join(map(transaction, (keys * pipeline)[at :: KEYS // 4 + 1][:pipeline])) for at in range(4)]
            self.clients[link.fileno()] = (link, batches)
        self.costs, self.rates = [], []

    def cpu_ns(self):
        return sum(int(open(path).read().split()[0]) for path in glob.glob(f"/proc/{self.process.pid}/task/*/schedstat"))

    def round(self, batch_count):
        poll, left = select.epoll(), dict.fromkeys(self.clients, self.reply_len)
        for number, (link, batches) in self.clients.items():
            poll.register(number, select.EPOLLIN)
            link.sendall(batches[0])
        sent, done = len(self.clients), 0
        while done < sent:
            for number, _ in poll.poll():
                link, batches = self.clients[number]
                left[number] -= len(link.recv(1 << 16))
                assert left[number] >= 0, "a transaction was in vain"
                if left[number] == 0:
                    left[number] = self.reply_len
                    done += 1
                    if sent < batch_count:
                        link.sendall(batches[sent % 4])
                        sent += 1

    def measure(self, batch_count, pipeline):
        commands = batch_count * pipeline * 5
        cpu, began = self.cpu_ns(), time.monotonic()
        self.round(batch_count)
        self.rates.append(commands / (time.monotonic() - began))
        self.costs.append((self.cpu_ns() - cpu) / commands)

    def stops(self):
        command = ["redis-cli", "-p", str(self.port), "info", "stats"]
        lines = subprocess.run(command, capture_output=True, text=True).stdout.split()
        return " ".join(line for line in lines if line.startswith("transactions_"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("servers", nargs="+")
    options = parser.parse_args()
    batch_count = 40_000 // options.pipeline
    servers = [Server(spec, BASE_PORT + at, options.pipeline) for at, spec in enumerate(options.servers)]
    for server in servers:
        server.round(batch_count // 4)
    for turn in range(options.rounds):
        for server in servers if turn % 2 else servers[::-1]:
            server.measure(batch_count, options.pipeline)
    first = servers[0]
    for server in servers:
        ratio = statistics.median(mine / its for mine, its in zip(server.rates, first.rates))
        cost, rate = statistics.median(server.costs), statistics.median(server.rates) / 1000
        print(f"{server.name:12} {cost:6.0f} ns  {rate:6.0f} thousand/s  rate / first's {ratio:.2f}  {server.stops()}")
        server.process.kill()


main()
