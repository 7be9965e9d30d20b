"""What permissions cost: GET at pipeline 64 as the default user, as a user with ten plain key patterns of which the last
one fits, and as one with ten patterns that need the general matcher. Server CPU per command, and the ratio to the
default user. The aim is 1.15.

    python3 bench/acl/main.py --server target/release/ringdb --load target/release/ringdb-load --port 7120

The machine needs two cores: the server's loop is on core 0, the generator on core 1. The rounds take turns, so that a
machine that becomes slower meanwhile does not favour one of the users; the median round counts.
"""

import argparse
import json
import statistics
import subprocess
import time

OTHERS = ["~aaa:*", "~bbb:*", "~key2:*", "~ddd", "~eee:?:*", "~fff*", "~x", "~user:[0-9]*", "~long-prefix-here:*"]
USERS = {
    "plain": OTHERS + ["~key:*"],
    "glob": ["~k?a:*", "~k[a-d]*"] + OTHERS[2:] + ["~k?y:*"],
}
SECONDS = 1.5


def load(options, user, *more):
    command = [options.load, "-p", str(options.port), "--pin", "1", "-P", "64", "-c", "50", "-k", "100000"]
    command += ["--auth", "any", "--user", user, "--json", *more]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--load", required=True)
    parser.add_argument("--port", type=int, default=7120)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    command = ["taskset", "-c", "0", options.server, "--port", str(options.port), "--threads", "1"]
    for user, patterns in USERS.items():
        command += ["--user", user, "on", "nopass", "allchannels", "+@all", *patterns]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.7)
        load(options, "default", "--fill-only")
        times = {user: [] for user in ["default", *USERS]}
        for _ in range(options.rounds):
            for user, found in times.items():
                report = load(options, user, "--server-pid", str(server.pid), "-t", str(SECONDS), "--warm-up", "0.3")
                assert report["errors"] == 0, report
                found.append(report["server_ns"])
        base = statistics.median(times["default"])
        for user, found in times.items():
            middle = statistics.median(found)
            print(f"{user:8} {middle:6.1f} ns  {middle / base:.3f}   all rounds: {' '.join(f'{ns:.1f}' for ns in found)}")
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main()
