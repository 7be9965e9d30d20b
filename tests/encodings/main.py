"""Random commands on the collection types, to ringdb and to redis-server, with encodings forced small and forced large:
every reply must be the same, but for the order of what has none.

    python3 tests/encodings/main.py --server target/release/ringdb [--seed 1] [--rounds 100] [--port 7270]

A round: one setting of all `*-max-*` parameters (the least, the most, or a mixture), one protocol, one or two types, and 400
commands on five keys, some of them damaged; blocking commands wait for a millisecond. A difference is shrunk to a few
commands and printed. This joins the differential test in tests/black_box, whose commands come from COMMAND DOCS and which
knows strings, lists and streams; here each command's arguments are made by hand, so that they mostly make sense.

What may differ: the order of sets and hashes; the digits of a floating-point number that both read as the same; what is new
since 7.0 or open there (ranges by member where scores differ; BY patterns that weigh nothing; random members).
"""

import argparse
import random
import re
import socket
import subprocess
import sys
import tempfile
import time

PARAMETERS = {
    "hash-max-listpack-entries": ["0", "5", "512"],
    "hash-max-listpack-value": ["0", "64", "200"],
    "set-max-intset-entries": ["0", "4", "512"],
    "zset-max-listpack-entries": ["0", "5", "1000"],
    "zset-max-listpack-value": ["0", "64", "1000"],
    "list-max-listpack-size": ["1", "-2", "-5"],
    "list-compress-depth": ["0", "1", "2"],
    "hll-sparse-max-bytes": ["0", "20", "3000"],
    "stream-node-max-entries": ["1", "3", "100"],
}
KEYS = ["a", "b", "c", "d", "e"]
ODD = ["", "x", "-1", "0", "01", " 1", "1e3", "inf", "-inf", "nan", "9223372036854775807", "-9223372036854775807",
       "9223372036854775808", "1.5", "+1", "0x10", "(1", "[a", "-", "+", "("]
UNORDERED = {"SMEMBERS", "SINTER", "SUNION", "SDIFF", "HKEYS", "HVALS", "HGETALL", "SPOP", "SRANDMEMBER", "SSCAN", "HSCAN",
             "ZSCAN", "HRANDFIELD", "ZRANDMEMBER", "GEOSEARCH", "GEORADIUS"}
FLOAT = re.compile(rb"^,?-?[0-9.]+(e[+-]?[0-9]+)?$")


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.settimeout(30)
        self.stream = self.socket.makefile("rb")

    def run(self, commands):
        replies = []
        for first in range(0, len(commands), 50):
            part = [[word.encode() for word in command] for command in commands[first:first + 50]]
            for words in part:
                self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
            replies += [self.reply() for _ in part]
        return replies

    def reply(self):
        line = self.stream.readline()[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"$" and rest != b"-1":
            return self.stream.read(int(rest) + 2)[:-2]
        if kind in b"*~>%" and rest != b"-1":
            return [self.reply() for _ in range(int(rest) * (2 if kind == b"%" else 1))]
        return (line,)  # Nulls, numbers and errors are told apart from texts.


class Words:
    """Arguments; `lex` rounds give all members one score, so that ranges by member mean something."""

    def __init__(self, luck, lex):
        self.luck, self.lex = luck, lex

    def pick(self, *choices):
        return self.luck.choice(choices)

    def key(self):
        return self.luck.choice(KEYS)

    def member(self):
        luck = self.luck
        return self.pick(f"m{luck.randrange(12)}", str(luck.randrange(-5, 20)), "x" * luck.choice([1, 44, 63, 64, 65, 100]),
                         luck.choice(ODD), luck.choice(["32767", "32768", "-32769", "2147483648", "99999999999"]))

    def value(self):
        luck = self.luck
        return self.pick(f"v{luck.randrange(9)}", str(luck.randrange(-100, 100)), luck.choice(ODD),
                         "y" * luck.choice([3, 64, 65, 200]), f"{luck.uniform(-9, 9):.4f}")

    def number(self):
        return self.pick(str(self.luck.randrange(-12, 13)), str(self.luck.randrange(5)), self.luck.choice(ODD), "2", "3")

    def score(self):
        if self.lex:
            return "0"
        luck = self.luck
        return self.pick(str(luck.randrange(-5, 6)), f"{luck.uniform(-5, 5):.2f}", "inf", "-inf", "0.1", "1e-10", "3.0e3",
                         luck.choice(ODD))

    def by_score(self):
        return self.pick("", "(") + self.score()

    def by_member(self):
        return self.pick("-", "+", "[" + self.member(), "(" + self.member())

    def timeout(self):
        return self.pick("0.001", "0.001", "0.002", "-1", "x")

    def end(self):
        return self.pick("LEFT", "RIGHT", "left", "RIGHT", "UP")

    def several(self, most, word):
        return [word() for _ in range(self.luck.randrange(1, most + 1))]

    def numbered(self):
        keys = self.several(3, self.key)
        return [str(len(keys)) if self.luck.random() < 0.95 else self.number()] + keys

    def maybe(self, *words):
        return list(words) if self.luck.random() < 0.35 else []

    def place(self):
        luck = self.luck
        if luck.random() < 0.1:
            return [self.number(), self.number()]
        return [f"{luck.uniform(13, 16):.6f}", f"{luck.uniform(36, 39):.6f}"]


def hashes(w):
    pairs = [word for _ in range(w.luck.randrange(1, 6)) for word in (w.member(), w.value())]
    return w.pick(
        ["HSET", w.key(), *pairs], ["HSET", w.key(), *pairs], ["HMSET", w.key(), *pairs],
        ["HSETNX", w.key(), w.member(), w.value()], ["HGET", w.key(), w.member()],
        ["HMGET", w.key(), *w.several(4, w.member)], ["HDEL", w.key(), *w.several(3, w.member)], ["HLEN", w.key()],
        ["HSTRLEN", w.key(), w.member()], ["HEXISTS", w.key(), w.member()], ["HKEYS", w.key()], ["HVALS", w.key()],
        ["HGETALL", w.key()], ["HINCRBY", w.key(), w.member(), w.number()],
        ["HINCRBYFLOAT", w.key(), w.member(), w.score()],
        ["HSCAN", w.key(), "0", *w.maybe("MATCH", w.pick("m*", "*", "[0-9]")), "COUNT", w.pick("1000", "1000", "0", "x")],
        ["HRANDFIELD", w.key(), "90", *w.maybe("WITHVALUES")])


def sets(w):
    keys = w.several(3, w.key)
    return w.pick(
        ["SADD", w.key(), *w.several(6, w.member)], ["SADD", w.key(), *w.several(6, lambda: str(w.luck.randrange(40)))],
        ["SREM", w.key(), *w.several(4, w.member)], ["SISMEMBER", w.key(), w.member()],
        ["SMISMEMBER", w.key(), *w.several(3, w.member)], ["SCARD", w.key()], ["SMEMBERS", w.key()],
        ["SMOVE", w.key(), w.key(), w.member()], ["SINTER", *keys], ["SUNION", *keys], ["SDIFF", *keys],
        ["SINTERSTORE", w.key(), *keys], ["SUNIONSTORE", w.key(), *keys], ["SDIFFSTORE", w.key(), *keys],
        ["SINTERCARD", *w.numbered(), *w.maybe("LIMIT", w.number())], ["SPOP", w.key(), w.pick("100", "-1", "x", "0")],
        ["SRANDMEMBER", w.key(), w.pick("100", "x", "0")], ["SSCAN", w.key(), "0", *w.maybe("MATCH", "m*"), "COUNT", "1000"])


def sorted_sets(w):
    pairs = [word for _ in range(w.luck.randrange(1, 6)) for word in (w.score(), w.member())]
    options = [word for word in ("NX", "XX", "GT", "LT", "CH", "INCR") if w.luck.random() < 0.1]
    scores, limit = w.maybe("WITHSCORES"), w.maybe("LIMIT", w.number(), w.number())
    sources = w.numbered()
    weights = w.maybe("WEIGHTS", *[w.score() for _ in sources[1:]]) + w.maybe("AGGREGATE", w.pick("SUM", "min", "MAX", "x"))
    return w.pick(
        ["ZADD", w.key(), *options, *pairs], ["ZADD", w.key(), *pairs], ["ZADD", w.key(), *pairs],
        ["ZINCRBY", w.key(), w.score(), w.member()], ["ZREM", w.key(), *w.several(3, w.member)], ["ZCARD", w.key()],
        ["ZSCORE", w.key(), w.member()], ["ZMSCORE", w.key(), *w.several(3, w.member)], ["ZRANK", w.key(), w.member()],
        ["ZREVRANK", w.key(), w.member()], ["ZCOUNT", w.key(), w.by_score(), w.by_score()],
        ["ZLEXCOUNT", w.key(), w.by_member(), w.by_member()],
        ["ZRANGE", w.key(), w.number(), w.number(), *w.maybe("REV"), *scores],
        ["ZRANGE", w.key(), w.by_score(), w.by_score(), "BYSCORE", *w.maybe("REV"), *scores, *limit],
        ["ZRANGE", w.key(), w.by_member(), w.by_member(), "BYLEX", *w.maybe("REV"), *limit],
        ["ZREVRANGE", w.key(), w.number(), w.number(), *scores],
        [w.pick("ZRANGEBYSCORE", "ZREVRANGEBYSCORE"), w.key(), w.by_score(), w.by_score(), *scores, *limit],
        [w.pick("ZRANGEBYLEX", "ZREVRANGEBYLEX"), w.key(), w.by_member(), w.by_member(), *limit],
        ["ZRANGESTORE", w.key(), w.key(), w.number(), w.number(), *w.maybe("REV")],
        ["ZRANGESTORE", w.key(), w.key(), w.by_score(), w.by_score(), "BYSCORE", *limit],
        ["ZREMRANGEBYRANK", w.key(), w.number(), w.number()], ["ZREMRANGEBYSCORE", w.key(), w.by_score(), w.by_score()],
        ["ZREMRANGEBYLEX", w.key(), w.by_member(), w.by_member()],
        [w.pick("ZPOPMIN", "ZPOPMAX"), w.key(), *w.maybe(w.number())],
        ["ZMPOP", *w.numbered(), w.pick("MIN", "max"), *w.maybe("COUNT", w.number())],
        [w.pick("ZUNIONSTORE", "ZINTERSTORE"), w.key(), *sources, *weights], ["ZDIFFSTORE", w.key(), *sources],
        [w.pick("ZUNION", "ZINTER"), *sources, *weights, *scores], ["ZDIFF", *sources, *scores],
        ["ZINTERCARD", *w.numbered(), *w.maybe("LIMIT", w.number())], ["ZSCAN", w.key(), "0", "COUNT", "1000"],
        ["ZRANDMEMBER", w.key(), "90", *scores], [w.pick("BZPOPMIN", "BZPOPMAX"), *w.several(2, w.key), w.timeout()],
        ["BZMPOP", w.timeout(), *w.numbered(), w.pick("MIN", "MAX"), *w.maybe("COUNT", w.number())])


def lists(w):
    return w.pick(
        [w.pick("LPUSH", "RPUSH", "LPUSHX", "RPUSHX"), w.key(), *w.several(5, w.value)],
        [w.pick("LPUSH", "RPUSH"), w.key(), *w.several(5, w.value)],
        [w.pick("LPOP", "RPOP"), w.key(), *w.maybe(w.number())], ["LRANGE", w.key(), w.number(), w.number()],
        ["LTRIM", w.key(), w.number(), w.number()],
        ["LINSERT", w.key(), w.pick("BEFORE", "after", "x"), w.value(), w.value()],
        ["LSET", w.key(), w.number(), w.value()], ["LREM", w.key(), w.number(), w.value()],
        ["LINDEX", w.key(), w.number()], ["LLEN", w.key()],
        ["LPOS", w.key(), w.value(), *w.maybe("RANK", w.number()), *w.maybe("COUNT", w.number())],
        ["LMOVE", w.key(), w.key(), w.end(), w.end()], ["RPOPLPUSH", w.key(), w.key()],
        ["LMPOP", *w.numbered(), w.end(), *w.maybe("COUNT", w.number())],
        [w.pick("BLPOP", "BRPOP"), *w.several(2, w.key), w.timeout()],
        ["BLMOVE", w.key(), w.key(), w.end(), w.end(), w.timeout()], ["BRPOPLPUSH", w.key(), w.key(), w.timeout()],
        ["BLMPOP", w.timeout(), *w.numbered(), w.end(), *w.maybe("COUNT", w.number())])


def streams(w):
    def entry():
        return f"{w.luck.randrange(1, 60)}-{w.luck.randrange(3)}"

    pairs = [word for _ in range(w.luck.randrange(1, 4)) for word in (w.pick("f", "g", "h"), w.value())]
    trim = [w.pick("MAXLEN", "MINID"), w.pick("=", "~", "="), w.pick("0", "3", "9", "30")]
    return w.pick(
        ["XADD", w.key(), entry(), *pairs], ["XADD", w.key(), entry(), *pairs], ["XADD", w.key(), *trim, entry(), *pairs],
        ["XRANGE", w.key(), w.pick("-", entry()), w.pick("+", entry()), *w.maybe("COUNT", w.number())],
        ["XREVRANGE", w.key(), w.pick("+", entry()), w.pick("-", entry()), *w.maybe("COUNT", w.number())],
        ["XLEN", w.key()], ["XDEL", w.key(), *w.several(3, entry)], ["XTRIM", w.key(), *trim],
        ["XREAD", "COUNT", "5", *w.maybe("BLOCK", "1"), "STREAMS", w.key(), w.pick("0", entry(), "$")],
        ["XGROUP", "CREATE", w.key(), "g", w.pick("0", "$", entry())], ["XGROUP", "DESTROY", w.key(), "g"],
        ["XREADGROUP", "GROUP", "g", w.pick("ann", "ben"), "COUNT", "3", "STREAMS", w.key(), w.pick(">", ">", "0")],
        ["XACK", w.key(), "g", *w.several(3, entry)], ["XPENDING", w.key(), "g"],
        ["XCLAIM", w.key(), "g", "ben", "0", entry(), "JUSTID"], ["XAUTOCLAIM", w.key(), "g", "ann", "0", "0", "JUSTID"])


def places(w):
    return w.pick(
        ["GEOADD", w.key(), *w.maybe(w.pick("NX", "XX", "CH")), *w.place(), w.member(), *w.place(), w.member()],
        ["GEODIST", w.key(), w.member(), w.member(), *w.maybe(w.pick("m", "km", "ft", "mi", "x"))],
        ["GEOPOS", w.key(), *w.several(3, w.member)], ["GEOHASH", w.key(), *w.several(3, w.member)],
        ["GEOSEARCH", w.key(), *w.pick(["FROMMEMBER", w.member()], ["FROMLONLAT", *w.place()]),
         *w.pick(["BYRADIUS", w.pick("200", "50", "-1")], ["BYBOX", "300", "200"]), w.pick("m", "km"),
         *w.maybe(w.pick("ASC", "DESC")), *w.maybe("WITHDIST"), *w.maybe("WITHHASH"), *w.maybe("WITHCOORD")],
        ["GEORADIUS", w.key(), *w.place(), "200", w.pick("km", "mi"), "ASC", *w.maybe("WITHDIST")],
        ["GEOSEARCHSTORE", w.key(), w.key(), "FROMLONLAT", "15", "37", "BYRADIUS", "200", "km", *w.maybe("STOREDIST")])


def counters(w):
    return w.pick(["PFADD", w.key(), *w.several(5, w.member)], ["PFADD", w.key()], ["PFCOUNT", *w.several(3, w.key)],
                  ["PFMERGE", w.key(), *w.several(3, w.key)], ["GET", w.key()])


def sorts(w):
    return w.pick(["SORT", w.key(), *w.maybe("ALPHA"), *w.maybe("DESC"), *w.maybe("LIMIT", w.number(), w.number()),
                   *w.maybe("STORE", w.key())], sets(w), lists(w))


def any_key(w):
    return w.pick(["DEL", w.key()], ["TYPE", w.key()], ["RENAME", w.key(), w.key()], ["COPY", w.key(), w.key(), "REPLACE"],
                  ["EXISTS", *w.several(3, w.key)], ["SET", w.key(), w.value()])


TYPES = [hashes, sets, sorted_sets, lists, streams, places, counters, sorts]


def plain(value):
    """Numbers as numbers."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    text = value[0] if isinstance(value, tuple) else value
    if FLOAT.match(text) and (not isinstance(value, tuple) or text[:1] == b","):
        try:
            return float(text.lstrip(b","))
        except ValueError:
            return value
    return value


def in_order(value):
    return sorted((in_order(item) for item in value), key=repr) if isinstance(value, list) else value


def differ(command, ours, theirs, lex):
    if ours == theirs:
        return False
    ours, theirs, name = plain(ours), plain(theirs), command[0].upper()
    if ours == theirs or name in UNORDERED and in_order(ours) == in_order(theirs):
        return False
    if "LEX" in " ".join(command).upper() and not lex:
        return False
    if name in ("ZRANK", "ZREVRANK") and len(command) == 4 or name == "XPENDING":
        return False  # WITHSCORE is new; clocks.
    if name in ("ZRANDMEMBER", "HRANDFIELD", "SRANDMEMBER") and (len(command) < 3 or command[2] in ODD):
        return False
    return True


def trial(ports, setup, commands, lex):
    """The first command whose replies differ, and the replies."""
    replies = []
    for port in ports:
        client = Client(port)
        client.run(setup)
        replies.append(client.run(commands))
        client.socket.close()
    for at, (command, ours, theirs) in enumerate(zip(commands, *replies)):
        if differ(command, ours, theirs, lex):
            return at, ours, theirs
    return None


def shrunk(ports, setup, commands, lex):
    step = max(1, len(commands) // 2)
    while True:
        at, before = 0, len(commands)
        while at < len(commands):
            fewer = commands[:at] + commands[at + step:]
            if fewer and trial(ports, setup, fewer, lex):
                commands = fewer
            else:
                at += step
        if step == 1 and before == len(commands):
            return commands
        step = max(1, step // 2)


def damage(luck, command):
    at = luck.randrange(1, len(command) + 1)
    if at < len(command) and luck.random() < 0.4:
        return command[:at] + command[at + 1:]
    return command[:at] + [luck.choice(ODD)] + command[at:]


def one_round(ports, luck):
    """Returns what differed, as text."""
    lex, force = luck.random() < 0.3, luck.choice(["least", "most", "mixed"])
    words = Words(luck, lex)
    pick = {"least": lambda values: values[0], "most": lambda values: values[-1], "mixed": luck.choice}[force]
    setup = [["FLUSHALL"], ["HELLO", luck.choice(["2", "3"])]]
    setup += [["CONFIG", "SET", name, pick(values)] for name, values in PARAMETERS.items()]
    types = luck.sample(TYPES, luck.choice([1, 1, 2, len(TYPES)]))
    commands = []
    for _ in range(400):
        command = (any_key if luck.random() < 0.15 else luck.choice(types))(words)
        if luck.random() < 0.03 and not command[0].startswith(("B", "X")):
            command = damage(luck, command)
        commands.append(command)
    found = trial(ports, setup, commands, lex)
    if not found:
        return None
    few = shrunk(ports, setup, commands[:found[0] + 1], lex)
    again = trial(ports, setup, few, lex) or found
    lines = [f"    {' '.join(map(repr, command))}" for command in setup[1:] + few]
    return "\n".join([*lines, f"    ringdb    {again[1]}", f"    reference {again[2]}"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="target/release/ringdb")
    parser.add_argument("--reference", default="redis-server")
    parser.add_argument("--port", type=int, default=7270)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    ports = [options.port, options.port + 1]
    servers = []
    for binary, port in zip([options.server, options.reference], ports):
        words = [binary, "--port", str(port), "--save", "", "--dir", tempfile.mkdtemp()]
        servers.append(subprocess.Popen(words, stdout=subprocess.DEVNULL))
    findings = 0
    try:
        time.sleep(1.5)
        for number in range(options.seed, options.seed + options.rounds):
            finding = one_round(ports, random.Random(number))
            if finding:
                findings += 1
                print(f"--seed {number} --rounds 1\n{finding}", flush=True)
    finally:
        for server in servers:
            server.terminate()
            server.wait()
    print(f"{options.rounds} rounds of 400 commands, {findings} differences")
    return findings > 0


if __name__ == "__main__":
    sys.exit(main())
