"""Draws a tree of frames as SVG: width is time, a click zooms, a search marks.

Orange frames ran in the server, blue ones in the kernel. The file needs nothing but a browser.
"""

import zlib
from html import escape

ROW, WIDTH, EDGE = 17, 1400, 10
SMALLEST = 0.25  # Pixels; narrower frames are left out of the file.

SCRIPT = """
const frames = [...document.querySelectorAll('g.f')], info = document.getElementById('info');
const W = %(width)d, EDGE = %(edge)d;
function place(from, share) {
  for (const g of frames) {
    const x = +g.dataset.x, w = +g.dataset.w, r = g.querySelector('rect'), t = g.querySelector('text');
    const left = (x - from) / share, wide = w / share, inside = x + w > from + 1e-9 && x < from + share - 1e-9;
    g.style.display = inside ? '' : 'none';
    if (!inside) continue;
    const a = Math.max(0, left), b = Math.min(1, left + wide);
    r.setAttribute('x', EDGE + a * W); r.setAttribute('width', Math.max(0, (b - a) * W - 0.3));
    t.setAttribute('x', EDGE + a * W + 3);
    const room = Math.floor(((b - a) * W - 5) / 6.4), name = g.dataset.n;
    t.textContent = room < 3 ? '' : name.length <= room ? name : name.slice(0, room - 1) + '…';
  }
}
for (const g of frames) {
  g.onclick = () => place(+g.dataset.x, +g.dataset.w);
  g.onmouseover = () => info.textContent = g.querySelector('title').textContent;
}
document.getElementById('search').onclick = () => {
  const wanted = prompt('Mark functions that contain:');
  if (wanted === null) return;
  let share = 0; const spans = [];
  for (const g of frames) {
    const hit = wanted && g.dataset.n.includes(wanted);
    g.querySelector('rect').style.fill = hit ? '#d23fd2' : '';
    if (hit && !spans.some(([x, w]) => +g.dataset.x >= x - 1e-9 && +g.dataset.x < x + w)) { spans.push([+g.dataset.x, +g.dataset.w]); share += +g.dataset.w; }
  }
  info.textContent = wanted ? wanted + ': ' + (share * 100).toFixed(1) + ' %%' : '';
};
place(0, 1);
"""


def draw(root, title):
    """SVG text of the tree, root at the bottom."""
    height = (_depth(root) + 1) * ROW + 80
    boxes = []
    _place(root, 0.0, 0, root.value or 1, height - 30, boxes)
    script = SCRIPT % {"width": WIDTH, "edge": EDGE}
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + 2 * EDGE}" height="{height}" font-family="monospace" font-size="11">',
        "<style>g.f{cursor:pointer} g.f:hover rect{stroke:#000}</style>",
        '<rect width="100%" height="100%" fill="#fdfcf8"/>',
        f'<text x="{EDGE}" y="20" font-size="14">{escape(title)}</text>',
        f'<text id="search" x="{WIDTH - 60}" y="20" style="cursor:pointer" fill="#06c">search</text>',
        f'<text id="info" x="{EDGE}" y="{height - 8}"> </text>',
        *boxes,
        f"<script><![CDATA[{script}]]></script></svg>",
    ]) + "\n"


def _depth(node):
    return 1 + max((_depth(child) for child in node.children.values()), default=0)


def _place(node, start, depth, total, bottom, boxes):
    share = node.value / total
    if share * WIDTH < SMALLEST:
        return
    x, y, width = EDGE + start * WIDTH, bottom - (depth + 1) * ROW, share * WIDTH
    name = escape(node.name, quote=True)
    room = int((width - 5) / 6.4)
    short = "" if room < 3 else name if len(node.name) <= room else escape(node.name[:room - 1]) + "…"
    boxes.append(f'<g class="f" data-x="{start:.6f}" data-w="{share:.6f}" data-n="{name}">'
                 f"<title>{name}: {node.value} samples, {share * 100:.2f} % ({node.own / total * 100:.2f} % itself)</title>"
                 f'<rect x="{x:.2f}" y="{y}" width="{max(0.0, width - 0.3):.2f}" height="{ROW - 1}" fill="{_colour(node)}"/>'
                 f'<text x="{x + 3:.2f}" y="{y + 12}">{short}</text></g>')
    for child in sorted(node.children.values(), key=lambda child: child.name):
        _place(child, start, depth + 1, total, bottom, boxes)
        start += child.value / total


def _colour(node):
    """A steady shade per name, so that two graphs can be compared side by side."""
    shade = zlib.crc32(node.name.encode()) % 50
    return f"rgb({150 + shade},{190 + shade},240)" if node.is_kernel else f"rgb(250,{130 + shade * 2},{60 + shade})"
