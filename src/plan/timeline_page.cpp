#include "plan/timeline_page.hpp"

namespace pando::plan {

// The policy forbids the page to load or send anything.
const std::string_view timeline_page_head = R"html(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>Plan</title>
<style>
body { font: 14px/1.4 system-ui, sans-serif; margin: 16px; color: #1d2733; background: #fff; }
h1 { font-size: 20px; margin: 0 0 4px; }
h2 { font-size: 16px; margin: 20px 0 6px; }
p { margin: 2px 0 6px; color: #4a5868; }
button { font: inherit; }
#scroll { border: 1px solid #c8d0d8; max-height: 560px; overflow-y: auto; position: relative; }
#timeline { position: sticky; top: 0; display: block; cursor: grab; }
#hover { min-height: 1.4em; font-family: ui-monospace, monospace; white-space: pre-wrap; }
.curve { display: inline-block; width: 320px; margin: 0 12px 10px 0; }
.curve svg { border: 1px solid #c8d0d8; display: block; width: 100%; height: 90px; background: #fafbfc; }
.curve path { fill: #cfe3f5; stroke: #2a6ca8; vector-effect: non-scaling-stroke; }
.curve line { stroke: #c0392b; stroke-dasharray: 4 3; vector-effect: non-scaling-stroke; }
table { border-collapse: collapse; }
th, td { padding: 2px 10px; border-bottom: 1px solid #e2e7ec; text-align: right; }
th { cursor: pointer; border-bottom: 2px solid #9aa8b5; }
th.text, td.text { text-align: left; }
td:first-child { max-width: 480px; overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1 id="title"></h1>
<p id="summary"></p>
<h2>Devices and links</h2>
<p>Wheel: zoom. Drag: move. <button id="in">+</button> <button id="out">&minus;</button>
<button id="whole">whole iteration</button> <span id="span"></span></p>
<div id="scroll"><div id="spacer"><canvas id="timeline"></canvas></div></div>
<div id="hover"></div>
<h2>Memory</h2>
<p id="memory-note"></p>
<div id="memory"></div>
<h2>Operators</h2>
<table id="operators"><thead></thead><tbody></tbody></table>
<script id="data" type="application/json">)html";

const std::string_view timeline_page_tail = R"html(</script>
<script>
'use strict';
window.onerror = message => { document.body.dataset.error = message; };
const data = JSON.parse(document.getElementById('data').textContent);
const byId = id => document.getElementById(id);
const time = ns => ns >= 1e9 ? (ns / 1e9).toFixed(3) + ' s' : ns >= 1e6 ? (ns / 1e6).toFixed(3) + ' ms'
  : (ns / 1e3).toFixed(2) + ' \u00b5s';
const bytes = b => b >= 2 ** 30 ? (b / 2 ** 30).toFixed(2) + ' GiB' : (b / 2 ** 20).toFixed(1) + ' MiB';
const element = (tag, text) => {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  return e;
};
const end = Math.max(data.makespan, 1);

// ---- head ----
document.title = (data.model || 'model') + ' on ' + data.cluster;
byId('title').textContent = document.title;
const busy = data.devices.reduce((sum, d) => sum + d.busy, 0) / data.devices.length;
let summary = time(data.iteration) + ' per iteration, devices compute ' + (100 * busy / end).toFixed(0) +
  ' % of the time, ' + data.all_tasks + ' tasks';

// ---- timeline: rows that hold tasks, each sorted by start ----
const rows = data.rows.map(name => ({ name, tasks: [], work: 0 }));
for (const t of data.tasks) {
  rows[t[0]].tasks.push(t);
  rows[t[0]].work += t[4];
}
const used = rows.filter((r, i) => i < data.devices.length || r.tasks.length > 0);
for (const r of used) r.tasks.sort((a, b) => a[3] - b[3]);
if (data.cut)
  summary += ' (the longest are drawn)';
byId('summary').textContent = summary;
const rowHeight = 18, margin = 110, axis = 20;
const canvas = byId('timeline'), scroll = byId('scroll'), context = canvas.getContext('2d');
let from = 0, to = end;
const hash = location.hash.slice(1).split(',').map(Number);
if (hash.length === 2 && hash[0] >= 0 && hash[1] > hash[0] && hash[1] <= 1) [from, to] = hash.map(x => x * end);
const colors = data.names.map((name, i) => {
  const gray = /^(transfer|exchange|update) /.test(name);
  return 'hsl(' + (i * 137.508) % 360 + (gray ? ' 25% 68%)' : ' 60% 62%)');
});
const height = Math.min(560, axis + used.length * rowHeight);
const width = () => Math.max(scroll.clientWidth, 300);
const x = ns => margin + (ns - from) / (to - from) * (width() - margin);

function draw() {
  const w = width(), scale = window.devicePixelRatio || 1;
  byId('spacer').style.height = axis + used.length * rowHeight + 'px';
  canvas.width = w * scale;
  canvas.height = height * scale;
  canvas.style.width = w + 'px';
  canvas.style.height = height + 'px';
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.fillStyle = '#fff';
  context.fillRect(0, 0, w, height);
  context.font = '11px system-ui, sans-serif';
  context.textBaseline = 'middle';
  const first = Math.floor(scroll.scrollTop / rowHeight);
  for (let i = first; i < used.length; i++) {
    const y = axis + i * rowHeight - scroll.scrollTop;
    if (y > height) break;
    drawRow(used[i], y, w);
  }
  context.fillStyle = '#f1f4f7';
  context.fillRect(0, 0, w, axis);
  const step = 10 ** Math.floor(Math.log10((to - from) / 4));
  for (let tick = Math.ceil(from / step) * step, last = -1e9; tick <= to; tick += step)
    if (x(tick) - last > 90) {
      context.fillStyle = '#4a5868';
      context.fillText(time(tick), x(tick) + 3, axis / 2);
      context.fillStyle = 'rgba(0, 0, 0, 0.15)';
      context.fillRect(x(tick), 0, 1, height);
      last = x(tick);
    }
  byId('span').textContent = time(from) + ' to ' + time(to);
  document.body.dataset.view = (from / end).toFixed(4) + ',' + (to / end).toFixed(4);
  drawMemory();
}

// Only what is in sight; of tasks that share a pixel the first.
function drawRow(row, y, w) {
  let low = 0, high = row.tasks.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (row.tasks[middle][3] + row.tasks[middle][4] < from) low = middle + 1;
    else high = middle;
  }
  let drawn = margin - 1;
  for (let i = low; i < row.tasks.length && row.tasks[i][3] < to; i++) {
    const t = row.tasks[i], left = Math.max(x(t[3]), margin), right = Math.min(x(t[3] + t[4]), w);
    if (right < drawn + 0.7) continue;
    context.fillStyle = colors[t[1]];
    context.fillRect(left, y + 1, Math.max(right - left, 0.7), rowHeight - 2);
    drawn = right;
    if (right - left > 40) {
      context.fillStyle = '#1d2733';
      let label = data.names[t[1]];
      const room = Math.floor((right - left) / 6);
      if (label.length > room) label = label.slice(0, Math.max(room - 1, 1)) + '\u2026';
      context.fillText(label, left + 3, y + rowHeight / 2);
    }
  }
  context.fillStyle = '#fff';
  context.fillRect(0, y, margin, rowHeight);
  context.fillStyle = '#1d2733';
  context.fillText(row.name + ' ' + (100 * row.work / end).toFixed(0) + '%', 4, y + rowHeight / 2, margin - 8);
}

function zoom(factor, at) {
  const span = Math.min(Math.max((to - from) * factor, Math.min(100, end)), end);
  from = Math.min(Math.max(at - (at - from) * span / (to - from), 0), end - span);
  to = from + span;
  draw();
}
const timeAt = px => from + (px - margin) / (width() - margin) * (to - from);
canvas.addEventListener('wheel', e => {
  e.preventDefault();
  zoom(e.deltaY > 0 ? 1.25 : 0.8, timeAt(e.offsetX));
}, { passive: false });
let dragged = null;
canvas.addEventListener('mousedown', e => { dragged = { px: e.clientX, from, to }; });
window.addEventListener('mouseup', () => { dragged = null; });
window.addEventListener('mousemove', e => {
  if (!dragged) return;
  const shift = (dragged.px - e.clientX) / (width() - margin) * (dragged.to - dragged.from);
  from = Math.min(Math.max(dragged.from + shift, 0), end - (dragged.to - dragged.from));
  to = from + dragged.to - dragged.from;
  draw();
});
canvas.addEventListener('mousemove', e => {
  const row = used[Math.floor((e.offsetY - axis + scroll.scrollTop) / rowHeight)], ns = timeAt(e.offsetX);
  const task = row && row.tasks.find(t => t[3] <= ns && ns < t[3] + t[4]);
  byId('hover').textContent = !task ? '' : row.name + ': ' + data.names[task[1]] + ', part ' + task[2] + ', ' +
    time(task[3]) + ' + ' + time(task[4]);
});
scroll.addEventListener('scroll', draw);
window.addEventListener('resize', draw);
byId('in').onclick = () => zoom(0.5, (from + to) / 2);
byId('out').onclick = () => zoom(2, (from + to) / 2);
byId('whole').onclick = () => { from = 0; to = end; draw(); };

// ---- memory: the fullest devices ----
const svg = 'http://www.w3.org/2000/svg', shownDevices = [...data.devices].sort((a, b) => b.peak / b.limit - a.peak / a.limit);
shownDevices.length = Math.min(shownDevices.length, 64);
byId('memory-note').textContent = 'Dashed: what the device has.' + (shownDevices.length < data.devices.length
  ? ' The fullest ' + shownDevices.length + ' of ' + data.devices.length + ' devices.' : '');
const curves = shownDevices.map(d => {
  const box = element('div'), picture = document.createElementNS(svg, 'svg');
  box.className = 'curve';
  box.append(element('div', d.name + ': ' + bytes(d.peak) + ' of ' + bytes(d.limit)), picture);
  picture.setAttribute('viewBox', '0 0 1000 100');
  picture.setAttribute('preserveAspectRatio', 'none');
  const path = document.createElementNS(svg, 'path'), limit = document.createElementNS(svg, 'line');
  picture.append(path, limit);
  byId('memory').append(box);
  const top = 1.1 * Math.max(d.peak, d.limit < 4 * d.peak ? d.limit : 0, 1);
  for (const [name, value] of [['x1', 0], ['x2', 1000], ['y1', 100 - 100 * d.limit / top], ['y2', 100 - 100 * d.limit / top]])
    limit.setAttribute(name, value);
  return { device: d, path, top };
});

function drawMemory() {
  for (const c of curves) {
    // The most within each of 1000 columns.
    const columns = new Float64Array(1001).fill(-1);
    let now = c.device.resident, before = now;
    for (const [ns, held] of c.device.memory) {
      if (ns <= from) before = held;
      else if (ns <= to) {
        const at = Math.floor((ns - from) / (to - from) * 1000);
        columns[at] = Math.max(columns[at], held, at > 0 && columns[at] < 0 ? now : 0);
      }
      now = held;
    }
    let text = 'M0 100', last = before;
    const level = c.device.memory, span = to - from;
    let k = 0;
    while (k < level.length && level[k][0] <= from) k++;
    for (let i = 0; i <= 1000; i++) {
      const until = from + span * (i + 1) / 1000;
      let most = columns[i] < 0 ? last : Math.max(columns[i], last);
      while (k < level.length && level[k][0] < until) last = level[k++][1];
      text += 'L' + i + ' ' + (100 - 100 * most / c.top).toFixed(2);
    }
    c.path.setAttribute('d', text + 'L1000 100Z');
  }
}

// ---- operators ----
const columns = [
  ['operator', o => o.name, 'text'], ['kind', o => o.kind, 'text'], ['cut', o => o.cut, 'text'],
  ['devices', o => o.devices, 'text'],
  ['forward', o => o.ns[0]], ['gradient of inputs', o => o.ns[1]], ['gradient of parameters', o => o.ns[2]],
  ['all', o => o.ns.reduce((a, b) => a + (b || 0), 0)], ['received', o => o.received]];
let order = 7, falling = true;
function fillTable() {
  const value = columns[order][1], body = byId('operators').tBodies[0], head = byId('operators').tHead;
  const sorted = [...data.operators].sort((a, b) => {
    const p = value(a), q = value(b), less = typeof p === 'string' ? p.localeCompare(q) : (p || 0) - (q || 0);
    return falling ? -less : less;
  });
  head.replaceChildren(element('tr'));
  columns.forEach(([name, get, kind], i) => {
    const cell = element('th', name + (i === order ? (falling ? ' \u25be' : ' \u25b4') : ''));
    if (kind) cell.className = kind;
    cell.onclick = () => { falling = order === i ? !falling : i > 3; order = i; fillTable(); };
    head.rows[0].append(cell);
  });
  body.replaceChildren(...sorted.map(o => {
    const row = element('tr');
    columns.forEach(([name, get, kind], i) => {
      const v = get(o), cell = element('td', v === null ? '' : i < 4 ? v : name === 'received' ? bytes(v) : time(v));
      if (kind) cell.className = kind;
      row.append(cell);
    });
    return row;
  }));
}
fillTable();
draw();
document.body.dataset.ready = data.operators.length + ' operators, ' + used.length + ' rows, ' + curves.length + ' curves';
</script>
</body>
</html>
)html";

}  // namespace pando::plan
