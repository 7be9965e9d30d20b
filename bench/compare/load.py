"""Runs the load generator and reads the scenario files."""

import json
import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCENARIOS = os.path.join(ROOT, "bench", "scenarios")


class Load:
    """The load generator, pinned, with everything it ever printed."""

    def __init__(self, binary, cpus):
        self.binary, self.cpus = binary, cpus
        self.raw = []

    def run(self, server, flags, cpus=None):
        """One run against `server`; gives back the parsed report. Raises RuntimeError if it could not run."""
        command = [self.binary, *server.where(), "--pin", cpus or self.cpus, "--json", *flags]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 1 or not done.stdout.strip():
            raise RuntimeError(f"{server.name}: {done.stderr.strip()}")
        report = json.loads(done.stdout)
        self.raw.append({"server": server.name, "flags": flags, **report})
        if report.get("errors"):
            raise RuntimeError(f"{server.name} answered {report['errors']} errors to {' '.join(flags)}: {report['first_error']}")
        return report


class Shape:
    """One line of a scenario file: a load over a set of data, perhaps with the ratio it must reach."""

    def __init__(self, name, data, flags, goal):
        self.name, self.data, self.flags, self.goal = name, data, flags, goal


def read_shapes(path):
    """Shapes of a scenario file, a name in bench/scenarios or a path; sets of data stay together in file order."""
    if not os.path.exists(path):
        path = os.path.join(SCENARIOS, path if path.endswith(".tsv") else path + ".tsv")
    shapes = []
    for fields in _lines(path):
        name, data, flags = fields[:3]
        shapes.append(Shape(name, data, flags.split(), float(fields[3]) if len(fields) > 3 else None))
    return shapes


def read_data():
    """Flags of each set of data."""
    return {name: flags.split() for name, flags in _lines(os.path.join(SCENARIOS, "data.tsv"))}


def fill_flags(data, flags):
    """Flags that write a set of data."""
    return flags + ["--fill-only"] + (["--fill-command", "SET {key} 0"] if data == "counters" else [])


def _lines(path):
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                yield line.rstrip("\n").split("\t")
