"""Flamegraph of a server under load: builds, starts the server, loads it, samples it with perf, draws an SVG.

Everything behind `--` goes to ringdb-load, for example:

    scripts/flamegraph -- -w get -P 64
    scripts/flamegraph --redis -- -w mset10 -P 64
    scripts/flamegraph --pid 4711 --port 6379 -- -w incr -P 16

ringdb is built with frame pointers in its own target directory, so that stacks are whole. The samples come from the
cpu-clock software event: virtual machines often have no hardware counters, and a timer sees the same functions.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compare"))

import draw
import fold
import results
import servers as make
from load import ROOT

SAMPLES_PER_S = 1997  # A prime, so that the samples do not march in step with a timer of the server.


def parse():
    arguments = sys.argv[1:]
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(prog="scripts/flamegraph", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, help="sampled seconds")
    parser.add_argument("--redis", action="store_true", help="look at redis-server instead")
    parser.add_argument("--pid", type=int, help="look at this running server instead (with --port)")
    parser.add_argument("--port", type=int, default=7395)
    parser.add_argument("--threads", type=int, default=1, help="loops of ringdb")
    parser.add_argument("--io-engine", help="engine of ringdb")
    parser.add_argument("--binary", help="ringdb to run; it should have frame pointers")
    parser.add_argument("--load-binary", help="ringdb-load to run")
    parser.add_argument("--call-graph", default="fp", help="fp, or dwarf for programs without frame pointers")
    parser.add_argument("--server-cpu", default="0")
    parser.add_argument("--load-cpu", default="1")
    parser.add_argument("--out", help="result directory")
    return parser.parse_args(arguments[:cut]), arguments[cut + 1:]


def build(options):
    """Paths of ringdb (None if another server is meant) and ringdb-load."""
    target = os.path.join(ROOT, "target", "flamegraph")
    flags = (os.environ.get("RUSTFLAGS", "") + " -C force-frame-pointers=yes").strip()
    environment = {**os.environ, "RUSTFLAGS": flags, "CARGO_TARGET_DIR": target}
    wanted = [] if options.binary or options.redis or options.pid else ["-p", "ringdb"]
    wanted += [] if options.load_binary else ["-p", "bench"]
    if wanted:
        subprocess.run(["cargo", "build", "--release", "--bins", *wanted], cwd=ROOT, env=environment, check=True)
    release = os.path.join(target, "release")
    return os.path.abspath(options.binary or os.path.join(release, "ringdb")), os.path.abspath(options.load_binary or os.path.join(release, "ringdb-load"))


def choose_server(options, binary):
    if options.pid:
        return make.Server(f"pid {options.pid}", "127.0.0.1", options.port, pid=options.pid)
    if options.redis:
        return make.redis(options.port, options.server_cpu)
    return make.ringdb(binary, options.port, options.server_cpu, engine=options.io_engine, threads=options.threads)


def sample(server, load, load_flags, options, data):
    """Loads the server while perf samples it; gives back the lines of `perf script`."""
    subprocess.run([*load, "--fill-only", *load_flags], check=True, stdout=subprocess.DEVNULL)
    loading = subprocess.Popen([*load, *load_flags, "-t", str(options.seconds + 1), "--warm-up", "0.5"])
    try:
        time.sleep(0.7)  # Warm-up: connections are open and the batches run.
        record = ["perf", "record", "-q", "-F", str(SAMPLES_PER_S), "-e", "cpu-clock", "--call-graph", options.call_graph,
                  "-p", str(server.pid), "-o", data, "--", "sleep", str(options.seconds)]
        done = subprocess.run(record, capture_output=True, text=True, check=False)
        if not os.path.exists(data) or not os.path.getsize(data):
            raise SystemExit(f"flamegraph: perf record failed: {done.stderr.strip()}\n"
                             "perf needs kernel.perf_event_paranoid <= 1, or root, to see the kernel's part")
    finally:
        loading.wait()
    script = subprocess.run(["perf", "script", "-i", data, "--no-inline", "-F", "comm,tid,period,event,ip,sym,dso"],
                            capture_output=True, text=True, errors="replace", check=True)
    return script.stdout.splitlines()


def main():
    options, load_flags = parse()
    if not shutil.which("perf"):
        raise SystemExit("flamegraph: perf is not installed (Debian: apt-get install linux-perf)")
    load_flags = load_flags or ["-w", "get", "-P", "64"]
    binary, load_binary = build(options)
    server = choose_server(options, binary)
    if not options.pid:
        server.start()
    try:
        with tempfile.TemporaryDirectory() as directory:
            load = [load_binary, *server.where(), "--pin", options.load_cpu]
            lines = sample(server, load, load_flags, options, os.path.join(directory, "perf.data"))
    finally:
        server.stop()
    root = fold.fold(lines)
    if not root.value:
        raise SystemExit("flamegraph: no samples: was the server idle?")
    title = f"{server.name}: {shlex.join(load_flags)} ({root.value} samples)"
    directory = results.new_directory("flamegraph", options.out)
    results.write(directory, "flamegraph.svg", draw.draw(root, title))
    results.write(directory, "stacks.folded", fold.folded_text(root))
    top = "\n".join(f"{share * 100:6.2f} %  {'kernel' if is_kernel else '      '}  {name}" for name, share, is_kernel in fold.self_times(root, 40))
    programs = {"ringdb": None if options.redis or options.pid else binary, "ringdb-load": load_binary}
    card = results.machine_card(shlex.join(["scripts/flamegraph", *sys.argv[1:]]), programs)
    results.write(directory, "top.txt", f"{title}\n\n{top}\n\n{card}")
    print("\n".join(top.splitlines()[:25]))
    print(f"written to {os.path.relpath(directory)}/flamegraph.svg", file=sys.stderr)


if __name__ == "__main__":
    main()
