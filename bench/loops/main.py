"""Do two loops hinder each other on one key? Rate and CPU per command of one loop and of two, in turns.

    python3 bench/loops/main.py --server target/release/ringdb [--rows lpush,get,evalsha] [--turns 6] [--nice -15]
                                [--options "--server-cpulist 0,1"]

The generator is `redis-benchmark`, one thread that needs most of a core. On a machine of two cores two loops and the
generator are three that run on two. `--nice -15` (which needs root) gives the generator priority, as if it had a core of its
own; `--options` are those of the server of two loops.
"""

import argparse
import glob
import shlex
import statistics
import subprocess
import time

SCRIPT = "redis.call('SET',KEYS[1],ARGV[1]) redis.call('INCR',KEYS[1]) return redis.call('GET',KEYS[1])"
TEST_ROWS = ["lpush", "rpush", "lpop", "rpop", "sadd", "spop", "hset", "zadd", "zpopmin", "incr", "set", "get"]
ROWS = {name: f"-t {name}" for name in TEST_ROWS} | {"hget": "HGET h f", "evalsha": "-r 10000 EVALSHA {sha} 1 k:__rand_int__ 17"}
# What a row that takes things away finds.
FILLS = {
    "lpop": "-t rpush",
    "rpop": "-t rpush",
    "spop": "-r 1000000000 SADD myset e:__rand_int__",
    "zpopmin": "-r 1000000000 ZADD myzset __rand_int__ e:__rand_int__",
    "hget": "-n 1 HSET h f value",
}


NICE = "0"


def cpu_ns(pid):
    return sum(int(open(path).read().split()[0]) for path in glob.glob(f"/proc/{pid}/task/*/schedstat"))


def ask(port, *words):
    return subprocess.run(["redis-cli", "-p", str(port), *words], capture_output=True, text=True).stdout.strip()


def load(port, count, words):
    command = ["nice", "-n", NICE, "redis-benchmark", "-p", str(port), "-q", "-P", "64", "-c", "50", "-n", str(count)]
    subprocess.run([*command, *shlex.split(words)], stdout=subprocess.DEVNULL, check=True)


def turn(server, port, count, name):
    """Commands a second, and CPU nanoseconds of each."""
    ask(port, "FLUSHALL")
    if name in FILLS:
        load(port, count, FILLS[name])
    words = ROWS[name].replace("{sha}", ask(port, "SCRIPT", "LOAD", SCRIPT))
    cpu, began = cpu_ns(server.pid), time.monotonic()
    load(port, count, words)
    return count / (time.monotonic() - began), (cpu_ns(server.pid) - cpu) / count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="target/release/ringdb")
    parser.add_argument("--port", type=int, default=7260)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--count", type=int, default=2_000_000)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--nice", default=NICE)
    parser.add_argument("--options", default="")
    options = parser.parse_args()
    globals()["NICE"] = options.nice
    servers = {}
    for loops in (1, 2):
        port = options.port + loops
        more = shlex.split(options.options) if loops == 2 else []
        command = [options.server, "--port", str(port), "--threads", str(loops), *more]
        servers[loops] = (subprocess.Popen(command, stdout=subprocess.DEVNULL), port)
        while ask(port, "PING") != "PONG":
            time.sleep(0.05)
    try:
        for name in options.rows.split(","):
            count = options.count // 8 if name == "evalsha" else options.count
            seen = {1: [], 2: []}
            for index in range(options.turns):
                for loops in (1, 2) if index % 2 else (2, 1):
                    seen[loops].append(turn(*servers[loops], count, name))
            mean = {loops: statistics.mean(rate for rate, _ in turns) for loops, turns in seen.items()}
            least = {loops: min(cpu for _, cpu in turns) for loops, turns in seen.items()}
            texts = [f"{loops}: {mean[loops] / 1000:5.0f} thousand/s {least[loops]:5.0f} ns" for loops in seen]
            print(f"{name:8} {'   '.join(texts)}   two / one: rate {mean[2] / mean[1]:.2f}, CPU {least[2] / least[1]:.2f}", flush=True)
    finally:
        for server, _ in servers.values():
            server.terminate()


if __name__ == "__main__":
    main()
