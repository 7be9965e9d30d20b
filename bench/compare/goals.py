"""Rows of the table of goals that are no plain comparison with redis-server.

Each function gives back rows (name, what, measured, goal, passed); measured is text for people.
"""

import servers as make

MEMORY_KEYS = 2_000_000
IDLE_CONNECTIONS = 10_000


class Row:
    """A goal and what was measured for it."""

    def __init__(self, name, measured, goal, passed):
        self.name, self.measured, self.goal, self.passed = name, measured, goal, passed


def _with(server, work):
    """Runs `work` against a fresh server."""
    server.start()
    try:
        return work(server)
    finally:
        server.stop()


def memory(binary, port, cpus, load):
    """Growth of resident memory per key: 2 M keys of 16 B with values of 32 B, without and with a time to live."""
    rows = []
    for name, command, goal in [("memory per key, 16 B + 32 B", "SET {key} {value}", 80),
                                ("memory per key with TTL", "SET {key} {value} EX 100000", 96)]:
        flags = ["-k", str(MEMORY_KEYS), "-d", "32", "--fill-only", "--fill-command", command]
        grown = [_with(server, lambda server: load.run(server, flags)["fill"]["rss_per_key"])
                 for server in (make.ringdb(binary, port, cpus), make.redis(port, cpus))]
        rows.append(Row(name, f"{grown[0]:.1f} B (redis {grown[1]:.1f} B)", f"≤ {goal} B", grown[0] <= goal))
    return rows


def idle(binary, port, cpus, load):
    """Memory and CPU time of connections that say nothing."""
    flags = ["-w", "none", "-c", str(IDLE_CONNECTIONS), "-t", "5"]
    found = [_with(server, lambda server: load.run(server, flags)["idle"])
             for server in (make.ringdb(binary, port, cpus), make.redis(port, cpus))]
    bytes_each, share = found[0]["rss_per_connection"], found[0]["cpu_share"] * 100
    return [
        Row("10 000 idle connections, RSS each", f"{bytes_each:.0f} B (redis {found[1]['rss_per_connection']:.0f} B)",
            "≤ 1024 B", bytes_each <= 1024),
        Row("10 000 idle connections, CPU", f"{share:.2f} % (redis {found[1]['cpu_share'] * 100:.2f} %)", "≤ 0.5 %",
            share <= 0.5),
    ]


def one_key(binary, port, load, both, seconds, repeats):
    """Two loops on both cores against one loop, all clients on one key. Server and load share both cores in both cases."""
    rows = []
    for name, command in [("GET", "GET {key}"), ("INCR", "INCR {key}")]:
        flags = ["--command", command, "-k", "1", "-P", "64", "-t", str(seconds), "--threads", "2",
                 "--fill", "--fill-command", "SET {key} 0"]
        ns = {}
        for _ in range(repeats):
            for threads in (1, 2):
                server = make.ringdb(binary, port, both, threads=threads)
                got = _with(server, lambda server: load.run(server, flags, cpus=both)["server_ns"])
                ns[threads] = min(got, ns.get(threads, got))
        ratio = ns[2] / ns[1]
        rows.append(Row(f"two loops, {name} on one key", f"{ratio:.2f} × ({ns[2]:.0f} / {ns[1]:.0f} ns)", "≤ 1.3 ×", ratio <= 1.3))
    return rows


def many_loops(binary, port, cpus, load, data_flags, seconds, repeats):
    """One connection, P=64, random keys: eight loops against one, on one core; both CPU and throughput count."""
    best = {}
    for _ in range(repeats):
        for threads in (1, 8):
            def work(server):
                load.run(server, data_flags + ["--fill-only"])
                return load.run(server, data_flags + ["-c", "1", "-P", "64", "-t", str(seconds)])
            report = _with(make.ringdb(binary, port, cpus, threads=threads), work)
            ns, rate = best.get(threads, (report["server_ns"], report["per_second"]))
            best[threads] = (min(ns, report["server_ns"]), max(rate, report["per_second"]))
    (one_ns, one_rate), (eight_ns, eight_rate) = best[1], best[8]
    dearer, slower = (eight_ns / one_ns - 1) * 100, (one_rate / eight_rate - 1) * 100
    measured = f"CPU {dearer:+.1f} % ({eight_ns:.0f} / {one_ns:.0f} ns), rate {-slower:+.1f} % ({eight_rate:.0f} / {one_rate:.0f} per s)"
    return [Row("one connection P=64, 8 loops against 1", measured, "within 5 %", dearer <= 5 and slower <= 5)]


def ratios(shapes, cells):
    """The plain rows: ns per command as a ratio to redis-server, and the two engines against each other."""
    rows = []
    for shape in shapes:
        ours, theirs = cells[shape.name, "ringdb"], cells[shape.name, "redis"]
        if ours.ns() and theirs.ns():
            ratio = ours.ns() / theirs.ns()
            rows.append(Row(shape.name, f"{ratio:.3f} ({ours.ns():.0f} / {theirs.ns():.0f} ns)", f"≤ {shape.goal:.2f}", ratio <= shape.goal))
        else:
            rows.append(Row(shape.name, ours.failure or theirs.failure or "not measured", f"≤ {shape.goal:.2f}", False))
    for shape in shapes:
        ring, epoll = cells[shape.name, "ringdb"], cells[shape.name, "ringdb-epoll"]
        if ring.ns() and epoll.ns():
            ratio = epoll.ns() / ring.ns()
            rows.append(Row(f"epoll / ring, {shape.name}", f"{ratio:.3f} ({epoll.ns():.0f} / {ring.ns():.0f} ns)", "≤ 1.15", ratio <= 1.15))
    return rows
