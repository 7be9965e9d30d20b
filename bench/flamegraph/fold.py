"""Folds the text of `perf script` into a tree of frames.

perf prints one paragraph per sample, leaf first:

    ringdb 4711    1003009 cpu-clock:
            67fa7 find (/target/release/ringdb)
            31b8e main (/target/release/ringdb)

Frames without a symbol and above the last known one come from code without frame pointers; they are cut off, since a
guessed address is worth nothing to a reader.
"""

import re

FRAME = re.compile(r"^\s+[0-9a-f]+ (?P<symbol>.+?) \((?P<place>[^()]*(?:\([^()]*\))?[^()]*)\)$")
HEADER = re.compile(r"^\s*(?P<thread>.+?)\s+\d+\s+\d+\s+\S+:")  # Names may hold spaces and may be padded.
# Hash at the end of Rust symbols in the old mangling.
RUST_HASH = re.compile(r"::h[0-9a-f]{16}$")


class Node:
    """A frame with all that was below it: `value` counts samples, `children` by name."""

    __slots__ = ("name", "is_kernel", "value", "own", "children")

    def __init__(self, name, is_kernel=False):
        self.name, self.is_kernel = name, is_kernel
        self.value = self.own = 0
        self.children = {}

    def child(self, name, is_kernel):
        if name not in self.children:
            self.children[name] = Node(name, is_kernel)
        return self.children[name]


def fold(lines):
    """Tree of all samples in the lines of `perf script`."""
    root, stack, thread = Node("all"), [], None
    for line in lines:
        line = line.rstrip("\n")
        if not line:
            _add(root, thread, stack)
            stack, thread = [], None
        elif found := FRAME.match(line):
            is_kernel = "kernel" in found["place"] or found["place"].endswith(".ko]")
            stack.append((_plain(found["symbol"], found["place"]), is_kernel))
        elif found := HEADER.match(line):
            thread = found["thread"]
    _add(root, thread, stack)
    return root


def _plain(symbol, place):
    if symbol == "[unknown]":
        name = place.rsplit("/", 1)[-1]
        return None if name in ("unknown", "[unknown]") else f"[{name.strip('[]')}]"
    return RUST_HASH.sub("", re.sub(r"\+0x[0-9a-f]+$", "", symbol))


def _add(root, thread, stack):
    if thread is None:
        return
    # Root first from here on; unknown frames at the root's end are what a missing frame pointer left behind.
    frames = list(reversed(stack))
    while frames and frames[0][0] is None:
        frames.pop(0)
    node = root
    root.value += 1
    for name, is_kernel in [(thread, False)] + [(name or "[unknown]", is_kernel) for name, is_kernel in frames]:
        node = node.child(name, is_kernel)
        node.value += 1
    node.own += 1


def folded_text(root):
    """One line per stack, `a;b;c count`, for other tools."""
    lines = []

    def walk(node, path):
        if node.own:
            lines.append(f"{';'.join(path)} {node.own}")
        for child in node.children.values():
            walk(child, path + [child.name.replace(";", ":")])

    walk(root, [])
    return "\n".join(sorted(lines)) + "\n"


def self_times(root, count):
    """The `count` functions with most samples of their own, as (name, share, is_kernel)."""
    totals = {}

    def walk(node):
        if node.own:
            totals[node.name, node.is_kernel] = totals.get((node.name, node.is_kernel), 0) + node.own
        for child in node.children.values():
            walk(child)

    walk(root)
    ranked = sorted(totals.items(), key=lambda item: -item[1])[:count]
    return [(name, value / max(root.value, 1), is_kernel) for (name, is_kernel), value in ranked]
