"""Servers under test: start, pin, wait until they answer, stop.

A server is either ours to run (ringdb, redis-server: started fresh for every set of data, so that no run inherits another
one's memory) or given by address (asked to FLUSHALL instead).
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time

START_TIMEOUT_S = 10
MAXCLIENTS = 15000  # Above the 10 000 idle connections of the table of goals.


class Server:
    """One server: `start` leaves it empty and answering on `port` as process `pid`."""

    def __init__(self, name, host, port, command=None, pid=None, cpus="0"):
        self.name, self.host, self.port = name, host, port
        self.command, self.given_pid, self.cpus = command, pid, cpus
        self.process = None
        self.directory = None

    @property
    def pid(self):
        return self.process.pid if self.process else self.given_pid

    def start(self):
        """Starts the process, or empties a server given by address. Raises RuntimeError with the server's own words."""
        if self.command is None:
            self.ask("FLUSHALL")
            return
        self.directory = tempfile.mkdtemp(prefix="compare-")
        log = open(os.path.join(self.directory, "log"), "w+", encoding="utf-8")
        self.process = subprocess.Popen(["taskset", "-c", self.cpus, *self.command], stdout=log, stderr=log,
                                        stdin=subprocess.DEVNULL, cwd=self.directory)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                log.seek(0)
                words = log.read().strip()[-600:]
                self.stop()
                raise RuntimeError(f"{self.name} did not start ({' '.join(self.command)}): {words}")
            time.sleep(0.02)

    def stop(self):
        """Ends a process of ours and removes its directory."""
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None
        if self.directory:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory = None

    def _answers(self):
        try:
            return self.ask("PING").startswith(b"+PONG")
        except OSError:
            return False

    def ask(self, *words):
        """Sends one command and gives back the first bytes of its reply."""
        with socket.create_connection((self.host, self.port), timeout=30) as connection:
            text = f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
            connection.sendall(text.encode())
            return connection.recv(65536)

    def where(self):
        """Flags that lead the load generator here."""
        flags = ["--host", self.host, "--port", str(self.port)]
        return flags + (["--server-pid", str(self.pid)] if self.pid else [])


def ringdb(binary, port, cpus, engine=None, threads=1, name="ringdb"):
    """ringdb with `threads` loops; `engine` as it chooses itself if None."""
    command = [binary, "--port", str(port), "--threads", str(threads), "--maxclients", str(MAXCLIENTS)]
    if engine:
        command += ["--io-engine", engine]
    return Server(name, "127.0.0.1", port, command, cpus=cpus)


def redis(port, cpus, program="redis-server", name="redis"):
    """redis-server without persistence."""
    command = [shutil.which(program) or program, "--port", str(port), "--save", "", "--appendonly", "no",
               "--maxclients", str(MAXCLIENTS)]
    return Server(name, "127.0.0.1", port, command, cpus=cpus)


def given(text):
    """A server from `[name=]host:port[:pid]`."""
    name, _, address = text.rpartition("=")
    parts = address.split(":")
    if len(parts) not in (2, 3):
        raise SystemExit(f"compare: a server is [name=]host:port[:pid], not {text!r}")
    pid = int(parts[2]) if len(parts) == 3 else None
    return Server(name or address, parts[0], int(parts[1]), pid=pid)
