"""Horizontal bars as SVG: server CPU ns per command of each server, relative to one of them."""

from html import escape

COLOURS = ["#2f6fb0", "#c2542d", "#4c9a5b", "#8a5fb0", "#b08a2f", "#5f6b76"]
BAR, GAP, LEFT, WIDTH, TOP = 14, 12, 210, 560, 62


def bars(title, shapes, servers, cells, baseline):
    """SVG text. A bar's length is its ratio to `baseline` (or to the slowest server, without one); its label is in ns."""
    names = [server.name for server in servers]
    group = BAR * len(names) + GAP
    height = TOP + group * len(shapes) + 34
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 110}" height="{height}" '
             'font-family="sans-serif" font-size="11" fill="#222">',
             '<rect width="100%" height="100%" fill="#fff"/>',
             f'<text x="10" y="20" font-size="14" font-weight="bold">{escape(title)}</text>']
    for at, name in enumerate(names):
        x = 10 + at * 140
        parts.append(f'<rect x="{x}" y="32" width="11" height="11" fill="{COLOURS[at % len(COLOURS)]}"/>'
                     f'<text x="{x + 16}" y="42">{escape(name)}</text>')
    longest = max([_ratio(cells, shape, name, names, baseline) or 0 for shape in shapes for name in names] + [1.0])
    scale = WIDTH / longest
    for row, shape in enumerate(shapes):
        top = TOP + row * group
        parts.append(f'<text x="{LEFT - 8}" y="{top + group / 2 - 1}" text-anchor="end">{escape(shape.name)}</text>')
        for at, name in enumerate(names):
            parts.append(_bar(cells, shape, name, names, baseline, top + at * BAR, scale, COLOURS[at % len(COLOURS)]))
        if shape.goal:
            x = LEFT + shape.goal * scale
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top - 2}" y2="{top + group - GAP + 2}" stroke="#000" stroke-dasharray="3 2"/>')
    parts.append(_axis(scale, longest, TOP + group * len(shapes), baseline))
    return "\n".join(parts + ["</svg>"]) + "\n"


def _ratio(cells, shape, name, names, baseline):
    values = {other: cells[shape.name, other].ns() for other in names}
    known = [value for value in values.values() if value]
    if not values[name]:
        return None
    return values[name] / (values.get(baseline) or max(known))


def _bar(cells, shape, name, names, baseline, y, scale, colour):
    ratio = _ratio(cells, shape, name, names, baseline)
    if ratio is None:
        return f'<text x="{LEFT + 4}" y="{y + 11}" fill="#999">{escape(name)}: not measured</text>'
    ns = cells[shape.name, name].ns()
    return (f'<rect x="{LEFT}" y="{y}" width="{ratio * scale:.1f}" height="{BAR - 2}" fill="{colour}"/>'
            f'<text x="{LEFT + ratio * scale + 4:.1f}" y="{y + 10}">{ns:.0f} ns · {ratio:.2f}</text>')


def _axis(scale, longest, y, baseline):
    marks = [f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y}" y2="{y}" stroke="#999"/>']
    step = 0.25 if longest <= 2 else 1.0
    mark = 0.0
    while mark <= longest:
        marks.append(f'<text x="{LEFT + mark * scale:.1f}" y="{y + 14}" text-anchor="middle" fill="#666">{mark:g}</text>')
        mark += step
    marks.append(f'<text x="{LEFT}" y="{y + 28}" fill="#666">server CPU ns per command, {escape(baseline)} = 1; dashes: goal</text>')
    return "".join(marks)
