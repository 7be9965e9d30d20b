"""Measures shapes: every server in turn, again and again, over the same data."""

import statistics
import sys

from load import fill_flags


class Cell:
    """Measurements of one shape on one server."""

    def __init__(self):
        self.reports = []
        self.failure = None

    def ns(self, how=min):
        values = [report["server_ns"] for report in self.reports if report.get("server_ns")]
        return how(values) if values else None

    def median(self):
        return self.ns(statistics.median)

    def p99_us(self):
        values = [report["latency_ns"]["p99"] for report in self.reports]
        return statistics.median(values) / 1e3 if values else None

    def per_second(self):
        values = [report["per_second"] for report in self.reports]
        return max(values) if values else None


def measure(servers, shapes, data, load, repeats, seconds, warm_up):
    """Cells by (shape name, server name). A server that fails a shape gets the reason in place of a number."""
    cells = {(shape.name, server.name): Cell() for shape in shapes for server in servers}
    for kind in dict.fromkeys(shape.data for shape in shapes):
        mine = [shape for shape in shapes if shape.data == kind]
        running = [server for server in servers if _prepare(server, kind, data[kind], load, mine, cells)]
        for turn in range(repeats):
            for shape in mine:
                # Every second turn runs the servers the other way round, so that none always comes first.
                for server in running if turn % 2 == 0 else reversed(running):
                    _one(server, shape, data[kind], load, cells[shape.name, server.name], seconds, warm_up)
                _progress(turn, shape, running, cells)
        for server in running:
            server.stop()
    return cells


def _prepare(server, kind, flags, load, shapes, cells):
    """Starts and fills a server; false if that failed."""
    try:
        server.start()
        load.run(server, fill_flags(kind, flags))
        return True
    except (RuntimeError, OSError) as error:
        print(f"  {error}", file=sys.stderr)
        server.stop()
        for shape in shapes:
            cells[shape.name, server.name].failure = str(error)
        return False


def _one(server, shape, data_flags, load, cell, seconds, warm_up):
    flags = data_flags + shape.flags + ["-t", str(seconds), "--warm-up", str(warm_up)]
    try:
        cell.reports.append(load.run(server, flags))
    except RuntimeError as error:
        cell.failure = str(error)
        print(f"  {error}", file=sys.stderr)


def _progress(turn, shape, servers, cells):
    parts = []
    for server in servers:
        ns = cells[shape.name, server.name].ns()
        parts.append(f"{server.name} {ns:.0f} ns" if ns else f"{server.name} -")
    print(f"  [{turn + 1}] {shape.name:28} {'   '.join(parts)}", file=sys.stderr, flush=True)
