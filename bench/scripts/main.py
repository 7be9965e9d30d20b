"""What scripts cost on one loop and on two, beside redis-server: CPU per EVALSHA, and how many a second.

    python3 bench/scripts/main.py --server target/release/ringdb

Every script stops all loops but its own, so two loops have nothing to win but what they do before and behind their scripts;
they must not lose. All servers are up, and take turns; the CPU is the least that was seen, of the rates all are shown. The
generator is `redis-benchmark`, a thread that needs most of a core.
"""

import argparse
import glob
import subprocess
import sys
import time

SCRIPT = "redis.call('SET',KEYS[1],ARGV[1]) redis.call('INCR',KEYS[1]) return redis.call('GET',KEYS[1])"


def cpu_ns(pid):
    return sum(int(open(path).read().split()[0]) for path in glob.glob(f"/proc/{pid}/task/*/schedstat"))


def ask(port, *words):
    return subprocess.run(["redis-cli", "-p", str(port), *words], capture_output=True, text=True, check=True).stdout.strip()


def start(command, port):
    server = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.DEVNULL)
    for _ in range(100):
        if subprocess.run(["redis-cli", "-p", str(port), "ping"], capture_output=True).returncode == 0:
            break
        time.sleep(0.05)
    return server


def turn(server, port, count):
    """Runs `count` scripts. Returns CPU nanoseconds of each, and scripts per second."""
    sha = ask(port, "SCRIPT", "LOAD", SCRIPT)
    load = ["redis-benchmark", "-p", str(port), "-q", "-P", "16", "-c", "50", "-n", str(count), "-r", "10000"]
    cpu, began = cpu_ns(server.pid), time.monotonic()
    subprocess.run([*load, "EVALSHA", sha, "1", "k:__rand_int__", "17"], stdout=subprocess.DEVNULL, check=True)
    return (cpu_ns(server.pid) - cpu) / count, count / (time.monotonic() - began)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="target/release/ringdb")
    parser.add_argument("--port", type=int, default=7260)
    parser.add_argument("--count", type=int, default=150_000)
    parser.add_argument("--turns", type=int, default=6)
    options = parser.parse_args()
    commands = {
        "one loop": [options.server, "--threads", "1"],
        "two loops": [options.server, "--threads", "2"],
        "redis-server": ["redis-server", "--save", ""],
    }
    ports = {name: options.port + index for index, name in enumerate(commands)}
    servers = {name: start(command, ports[name]) for name, command in commands.items()}
    seen = {name: [] for name in commands}
    try:
        for _ in range(options.turns):
            for name, server in servers.items():
                seen[name].append(turn(server, ports[name], options.count))
    finally:
        for server in servers.values():
            server.terminate()
    for name, turns in seen.items():
        rates = " ".join(f"{rate / 1000:.0f}" for _, rate in turns)
        print(f"{name:14} {min(cpu for cpu, _ in turns):6.0f} ns   {rates} thousand/s")


if __name__ == "__main__":
    sys.exit(main())
