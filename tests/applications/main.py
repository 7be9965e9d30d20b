"""Small applications on the data types, written with redis-py as one would write them for Redis: each checks itself.

    python3 tests/applications/main.py --server target/release/ringdb [--port 7260]
    python3 tests/applications/main.py --server redis-server                the same on the original

A reliable queue with workers that crash, a leaderboard, a session store, a consumer group whose consumers come and go, and
a shop that counts its stock in transactions. Nothing is assumed about speed. Needs redis-py (`pip install redis`).
"""

import argparse
import random
import subprocess
import sys
import tempfile
import threading
import time

import redis


def in_threads(count, work):
    """Runs `work(number)` in so many threads; an exception in one of them is raised here."""
    failures = []

    def guarded(number):
        try:
            work(number)
        except BaseException as failure:  # noqa: BLE001 - handed on below
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def queue(connect, options):
    """Jobs go from `jobs` to the worker's own list, and are taken off there when done. A worker that crashes leaves its job
    there; the janitor puts it back. Each job is done at least once, and none is left anywhere."""
    total, done, guard = 2000, {}, threading.Lock()

    def worker(number):
        db, luck = connect(), random.Random(number)
        mine = f"jobs:doing:{number}"
        while True:
            job = db.blmove("jobs", mine, 1, "RIGHT", "LEFT")
            if job is None:
                if db.llen("jobs") == 0 and db.get("jobs:closed"):
                    return
                continue
            if luck.random() < 0.02:  # It crashes; a new process takes its place and looks after its list.
                db.close()
                db = connect()
                for _ in range(db.llen(mine)):
                    db.lmove(mine, "jobs", "RIGHT", "LEFT")
                continue
            with guard:
                done[job] = done.get(job, 0) + 1
            assert db.lrem(mine, 1, job) == 1

    def producer():
        db = connect()
        for first in range(0, total, 50):
            db.lpush("jobs", *range(first, first + 50))
        db.set("jobs:closed", 1)

    threading.Thread(target=producer).start()
    in_threads(6, worker)
    assert sorted(map(int, done)) == list(range(total)), "a job was lost"
    assert set(done.values()) == {1}, "a job was done twice"
    assert connect().keys("jobs:doing:*") == []


def leaderboard(connect, options):
    """Scores that only grow, the best ten, the players around one, and the sum of several days."""
    db = connect()
    days = [{f"player:{n}": random.Random(day * 1000 + n).randrange(1, 10_000) for n in range(500)} for day in range(3)]

    def play(day):
        mine = connect()
        for player, points in days[day].items():
            while points > 0:
                step = min(points, 5000)
                mine.zincrby(f"board:{day}", step, player)
                points -= step

    in_threads(3, play)
    for day, points in enumerate(days):
        expected = sorted(points.items(), key=lambda item: (-item[1], item[0]))
        best = db.zrevrange(f"board:{day}", 0, 9, withscores=True)
        assert [score for _, score in best] == [score for _, score in expected[:10]]
        player, score = expected[100]
        assert db.zscore(f"board:{day}", player) == score
        rank = db.zrevrank(f"board:{day}", player)
        around = db.zrevrange(f"board:{day}", max(0, rank - 2), rank + 2)
        assert player in around and len(around) == 5
        assert db.zcount(f"board:{day}", score, "+inf") == sum(other >= score for other in points.values())
    sums = {player: sum(day[player] for day in days) for player in days[0]}
    assert db.zunionstore("board:all", ["board:0", "board:1", "board:2"]) == 500
    assert dict(db.zrange("board:all", 0, -1, withscores=True)) == sums
    assert db.zadd("board:0", {"player:1": 1}, gt=True, ch=True) == 0, "a score never falls"
    db.zremrangebyrank("board:all", 0, -101)
    assert db.zcard("board:all") == 100
    lowest = db.zpopmin("board:all", 2)[0][1]
    assert lowest == sorted(sums.values())[-100]


def sessions(connect, options):
    """A hash per session that lives as long as it is used, an index of the sessions of each user, and fields that expire by
    themselves where the server knows them."""
    db = connect()

    def login(user):
        mine = connect()
        for number in range(40):
            name = f"session:{user}:{number}"
            mine.hset(name, mapping={"user": user, "cart": "0", "agent": "browser"})
            mine.expire(name, 100)
            mine.sadd(f"user:{user}", name)
            for _ in range(3):
                mine.hincrby(name, "cart", 1)
                mine.expire(name, 100)

    in_threads(5, login)
    for user in range(5):
        names = db.smembers(f"user:{user}")
        assert len(names) == 40
        for name in names:
            assert db.hgetall(name) == {"user": str(user), "cart": "3", "agent": "browser"}
            assert 0 < db.ttl(name) <= 100
    for name in db.sscan_iter("user:0"):
        db.pexpire(name, 1)
    give_up = time.monotonic() + 20
    while sum(db.exists(name) for name in db.smembers("user:0")) > 0:
        assert time.monotonic() < give_up, "sessions outlive their time"
        time.sleep(0.01)
    assert sum(1 for _ in db.scan_iter("session:*", count=100)) == 160
    try:
        assert db.execute_command("HPEXPIRE", "session:1:1", 1, "FIELDS", 1, "cart") == [1]
    except redis.ResponseError:
        return  # Older servers do not know it.
    while db.hget("session:1:1", "cart") is not None:
        assert time.monotonic() < give_up, "a field outlives its time"
    assert db.hgetall("session:1:1") == {"user": "1", "agent": "browser"}


def consumers(connect, options):
    """Readings go into a stream; consumers of one group share them. Some die with readings unacknowledged, which others claim.
    Each reading is acknowledged once, and nothing is pending at the end."""
    db, total, seen, guard = connect(), 1500, {}, threading.Lock()
    db.xgroup_create("readings", "plant", id="0", mkstream=True)

    def consume(number):
        mine, luck, generation = connect(), random.Random(number), 0
        while True:
            name = f"c{number}.{generation}"
            batch = mine.xreadgroup("plant", name, {"readings": ">"}, count=10, block=200)
            if isinstance(batch, dict):  # RESP3
                batch = [(name, parts[0]) for name, parts in batch.items()]
            entries = batch[0][1] if batch else []
            if not entries:
                entries = mine.xautoclaim("readings", "plant", name, min_idle_time=100, count=20)[1]
            if not entries:
                if len(seen) >= total:
                    return
                time.sleep(0.02)
                continue
            if luck.random() < 0.1:
                generation += 1  # It dies before it has worked.
                continue
            for entry, fields in entries:
                if mine.xack("readings", "plant", entry) == 1:
                    with guard:
                        seen[entry] = seen.get(entry, 0) + 1
                        assert fields["n"] not in (None, "")

    def produce():
        mine = connect()
        for first in range(0, total, 100):
            pipeline = mine.pipeline(transaction=False)
            for n in range(first, first + 100):
                pipeline.xadd("readings", {"n": n, "celsius": n % 40})
            pipeline.execute()

    threading.Thread(target=produce).start()
    in_threads(4, consume)
    assert len(seen) == total and set(seen.values()) == {1}
    assert db.xpending("readings", "plant")["pending"] == 0
    assert db.xlen("readings") == total
    assert db.xtrim("readings", maxlen=100, approximate=False) == total - 100
    assert db.xinfo_groups("readings")[0]["entries-read"] == total


def shop(connect, options):
    """Stock is taken with WATCH and MULTI by many at once: nothing is sold that is not there."""
    db = connect()
    try:
        db.execute_command("MULTI")
        db.execute_command("DISCARD")
    except redis.ResponseError:
        print("  (no transactions here)", end="")
        return
    db = connect()
    db.hset("stock", mapping={"apple": 60, "pear": 40})

    def buy(number):
        mine, luck = connect(), random.Random(number)
        for _ in range(30):
            fruit = luck.choice(["apple", "pear"])
            with mine.pipeline() as pipeline:
                while True:
                    try:
                        pipeline.watch("stock")
                        left = int(pipeline.hget("stock", fruit))
                        pipeline.multi()
                        if left == 0:
                            pipeline.lpush("missed", fruit)
                        else:
                            pipeline.hincrby("stock", fruit, -1)
                            pipeline.lpush("sold", fruit)
                        pipeline.execute()
                        break
                    except redis.WatchError:
                        continue

    in_threads(5, buy)
    assert db.hgetall("stock") == {"apple": "0", "pear": "0"}
    assert db.llen("sold") == 100 and db.llen("missed") == 50
    assert sum(fruit == "apple" for fruit in db.lrange("sold", 0, -1)) == 60


APPLICATIONS = [queue, leaderboard, sessions, consumers, shop]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="target/release/ringdb")
    parser.add_argument("--port", type=int, default=7260)
    parser.add_argument("--protocol", type=int, choices=[2, 3])
    options = parser.parse_args()
    folder = tempfile.mkdtemp()
    words = [options.server, "--port", str(options.port), "--dir", folder, "--save", ""]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    failed = 0
    try:
        for protocol in [options.protocol] if options.protocol else [2, 3]:

            def connect():
                return redis.Redis(port=options.port, decode_responses=True, protocol=protocol)

            for _ in range(200):
                try:
                    connect().flushall()
                    break
                except redis.ConnectionError:
                    time.sleep(0.05)
            for application in APPLICATIONS:
                connect().flushall()
                print(f"RESP{protocol} {application.__name__:12}", end="", flush=True)
                try:
                    application(connect, options)
                    print("  ok")
                except Exception as failure:  # noqa: BLE001 - shown, and the next one runs
                    failed += 1
                    print(f"  FAILED: {type(failure).__name__}: {failure}")
    finally:
        server.terminate()
        server.wait()
    return failed


if __name__ == "__main__":
    sys.exit(main())
