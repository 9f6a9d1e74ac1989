#!/usr/bin/env node
// Compares Pando with ONNX Runtime on the same models and inputs: outputs against each other, then time, in turn, block
// by block, so that a drift of the machine hits both. A ratio above 1: Pando is faster.
//   bench/compare.mjs [--pando BIN] [--models resnet50,FILE.onnx,...] [--threads 1,2] [--pairs 5] [--block 1.0]
//     [--inputs FILE.json] [--no-spinning] [--pause-ms N] [--neighbour CPU] [--check-only] [--load] [--json FILE]
//     [--limit 1e-4] [--pando-args '...']
// Models: files, or names of the zoo, changed as in bert-base@batch4@seq64.
import {spawn, spawnSync} from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import {fileURLToPath} from 'node:url';
import {halfToNumber, numberToHalf, readNpy, writeNpy} from './npy.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const zoo = ['resnet50', 'vgg16', 'yolov3', 'mobilenetv2', 'googlenet', 'bert-base', 'gpt2'];
const cache = process.env.PANDO_CACHE ?? path.join(process.env.XDG_CACHE_HOME ?? path.join(os.homedir(), '.cache'), 'pando');

const args = {pando: path.join(here, '../build/release/bin/pando'), models: zoo.join(','), threads: '1,2', pairs: '5',
  block: '1', limit: '1e-4', ort: path.join(cache, 'ort')};
for (let i = 2; i < process.argv.length; i++) {
  const name = process.argv[i].replace(/^--/, '');
  if (['no-spinning', 'check-only', 'load'].includes(name)) args[name] = true;
  else args[name] = process.argv[++i];
}
const pandoArgs = args['pando-args'] ? args['pando-args'].split(' ') : [];  // of both `run` and `bench`
if (!fs.existsSync(path.join(args.ort, 'node_modules/onnxruntime-node'))) {
  console.error(`compare: onnxruntime-node is not in ${args.ort}: run scripts/setup.sh`);
  process.exit(1);
}

// ---- inputs ----
let seed = 1;
function random() {  // xorshift: the same inputs on every machine
  seed ^= seed << 13; seed ^= seed >>> 17; seed ^= seed << 5;
  return (seed >>> 0) / 4294967296;
}

// Something like a page of text: lines of dark words on a light ground, for models that were trained on such.
function page([dark, light], shape, data) {
  const first = shape[1] <= 4, [h, w] = first ? shape.slice(2) : shape.slice(1, 3);
  const channels = first ? shape[1] : shape[3];
  const ink = new Uint8Array(h * w);
  for (let y = 20; y + 18 < h; y += 34)
    for (let x = 24; x + 60 < w;) {
      const letters = 2 + Math.floor(random() * 6);
      for (let l = 0; l < letters && x + 12 < w; l++, x += 11) {
        const rows = 9 + Math.floor(random() * 8), bar = Math.floor(random() * rows);
        for (let i = 0; i < rows; i++)
          for (let j = 0; j < 8; j++)
            if (j < 2 || i === bar || (j > 5 && random() < 0.9)) ink[(y + i) * w + x + j] = 1;
      }
      x += 14;
    }
  for (let i = 0; i < data.length; i++) {
    const pixel = first ? i % (h * w) : Math.floor(i / channels) % (h * w);
    data[i] = ink[pixel] ? dark : light;
  }
}

const arrays = {float32: Float32Array, float64: Float64Array, int64: BigInt64Array, int32: Int32Array, uint8: Uint8Array,
  int8: Int8Array, bool: Uint8Array, float16: Uint16Array};

function makeInput(meta, spec = {}, folder) {
  if (spec.file) return readNpy(path.join(folder, spec.file));
  const shape = spec.shape ?? meta.shape.map((d) => (typeof d === 'number' && d > 0 ? d : 1));
  const n = shape.reduce((a, b) => a * b, 1);
  const data = new arrays[meta.type](n);
  const big = meta.type.endsWith('64') && meta.type !== 'float64';
  if (spec.page) {
    page(spec.page, shape, data);
    return {type: meta.type, shape, data};
  }
  const [lo, hi] = spec.uniform ?? [0, 1];
  for (let i = 0; i < n; i++) {
    let v;
    if (spec.values) v = spec.values[i];
    else if (spec.fill !== undefined) v = spec.fill;
    else if (meta.type.startsWith('float')) v = lo + (hi - lo) * random();
    else v = meta.type === 'bool' ? 1 : Math.floor(random() * (spec.max ?? 2));
    data[i] = big ? BigInt(v) : meta.type === 'float16' ? numberToHalf(v) : v;
  }
  return {type: meta.type, shape, data};
}

// ---- workers: both answer one line of JSON per command ----
class Worker {
  constructor(command, argv) {
    this.process = spawn(command, argv, {stdio: ['pipe', 'pipe', 'inherit']});
    this.lines = readline.createInterface({input: this.process.stdout})[Symbol.asyncIterator]();
    this.process.on('error', (e) => { throw e; });
  }
  async read() {
    const line = await this.lines.next();
    if (line.done) throw new Error('a worker ended early');
    return JSON.parse(line.value);
  }
  ask(command) {
    this.process.stdin.write(JSON.stringify(command) + '\n');
    return this.read();
  }
  stop() { this.process.stdin.end(); }
}

const ortWorker = (config) => new Worker(process.execPath, [path.join(here, 'ort_worker.mjs'), JSON.stringify(config)]);
const median = (list) => { const s = [...list].sort((a, b) => a - b); return s[s.length >> 1]; };
const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;

function difference(a, b) {  // max |a-b| / max |b|; Infinity where NaN, Inf or shape differ
  if (a.shape.join() !== b.shape.join() || a.type !== b.type) return Infinity;
  let worst = 0, scale = 0;
  const number = a.type === 'float16' ? halfToNumber : Number;
  for (let i = 0; i < a.data.length; i++) {
    const x = number(a.data[i]), y = number(b.data[i]);
    if (Number.isFinite(x) !== Number.isFinite(y) || Number.isNaN(x) !== Number.isNaN(y)) return Infinity;
    if (!Number.isFinite(y)) { if (!Number.isNaN(y) && x !== y) return Infinity; continue; }
    worst = Math.max(worst, Math.abs(x - y));
    scale = Math.max(scale, Math.abs(y));
  }
  return worst === 0 ? 0 : worst / Math.max(scale, 1e-30);
}

async function saved(config, dir) {
  fs.mkdirSync(dir, {recursive: true});
  const worker = ortWorker(config);
  await worker.read();
  const {saved: count} = await worker.ask({save: dir});
  worker.stop();
  return Array.from({length: count}, (_, i) => readNpy(path.join(dir, `${i}.npy`)));
}

// The tolerance is 1e-4 (--limit), or twice what ONNX Runtime differs from itself with its optimisations off.
async function agreement(config, pandoInputs, names, dir) {
  const reference = await saved(config, path.join(dir, 'ort'));
  const out = path.join(dir, 'pando');
  const r = spawnSync(args.pando, ['run', config.model, ...pandoInputs, '--output-dir', out, ...pandoArgs], {encoding: 'utf8'});
  if (r.status !== 0) throw new Error(r.stderr.trim());
  const seen = new Map();
  const worst = [];
  names.forEach((name, i) => {
    let file = name.replace(/[^A-Za-z0-9._-]/g, '_');
    seen.set(file, (seen.get(file) ?? 0) + 1);
    if (seen.get(file) > 1) file += `-${seen.get(file)}`;
    worst.push(difference(readNpy(path.join(out, file + '.npy')), reference[i]));
  });
  let limit = Number(args.limit), self = 0;
  if (Math.max(...worst) > limit) {
    const plain = await saved({...config, optimize: false}, path.join(dir, 'plain'));
    self = Math.max(...reference.map((a, i) => difference(a, plain[i])));
    limit = Math.max(limit, 2 * self);
  }
  const difference_max = Math.max(...worst);
  return {difference: difference_max, limit, ort_self_difference: self, agrees: difference_max <= limit};
}

async function pairs(pando, ort, block) {
  const command = {run: block, pause_ms: args['pause-ms'] ? Number(args['pause-ms']) : undefined};
  const a = [], b = [], ratios = [], mean_ratios = [];
  await pando.ask({run: block / 2}), await ort.ask({run: block / 2});  // warm both
  for (let i = 0; i < Number(args.pairs); i++) {
    const ta = (await pando.ask(command)).times_ms, tb = (await ort.ask(command)).times_ms;
    a.push(...ta), b.push(...tb);
    ratios.push(median(tb) / median(ta));
    mean_ratios.push(mean(tb) / mean(ta));
  }
  const ratio = median(ratios);
  return {ratio, spread: (Math.max(...ratios) - Math.min(...ratios)) / ratio, mean_ratio: median(mean_ratios),
    pando_ms: median(a), ort_ms: median(b), pando_mean_ms: mean(a), ort_mean_ms: mean(b), runs: a.length};
}

// Load time and peak memory after a run, each in a fresh process, medians of three.
async function load(config, flags) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'pando-load-'));
  const lists = {pando_load_ms: [], ort_load_ms: [], pando_peak_mb: [], ort_peak_mb: []};
  for (let i = 0; i < 3; i++)
    for (const [name, worker] of [
      ['pando', () => new Worker(args.pando, ['bench', config.model, ...flags, '--threads', '2', '--serve'])],
      ['ort', () => ortWorker(config)]]) {
      const w = worker();
      lists[name + '_load_ms'].push((await w.read()).load_ms);
      lists[name + '_peak_mb'].push((await w.ask({save: dir})).peak_rss_mb);
      w.stop();
    }
  fs.rmSync(dir, {recursive: true});
  return Object.fromEntries(Object.entries(lists).map(([k, v]) => [k, median(v)]));
}

async function compareModel(model, work) {
  let file = model;
  if (!model.endsWith('.onnx')) {  // of the zoo: NAME, NAME@batch4, NAME@seq64, NAME@batch4@seq64
    file = path.join(cache, 'zoo', model + '.onnx');
    if (!fs.existsSync(file)) {
      fs.mkdirSync(path.dirname(file), {recursive: true});
      const [name, ...changes] = model.split('@');
      const flags = changes.flatMap((c) => ['--' + c.replace(/[0-9]+$/, ''), /[0-9]+$/.exec(c)[0]]);
      const r = spawnSync(args.pando, ['zoo', name, '-o', file, ...flags], {encoding: 'utf8'});
      if (r.status !== 0) throw new Error(r.stderr.trim());
    }
  }
  const name = path.basename(file, '.onnx'), dir = path.join(work, name);
  fs.mkdirSync(dir, {recursive: true});
  const specFile = args.inputs ? path.resolve(args.inputs) : null;
  const specs = specFile ? JSON.parse(fs.readFileSync(specFile, 'utf8'))[path.basename(file)] ?? {} : {};
  const probe = ortWorker({model: file, ort: args.ort, threads: 1, inputs: {}});
  const {inputs: metas, outputs} = await probe.read();
  probe.stop();
  const inputs = {}, flags = [];
  for (const meta of metas) {
    inputs[meta.name] = path.join(dir, `in_${Object.keys(inputs).length}.npy`);
    writeNpy(inputs[meta.name], makeInput(meta, specs[meta.name], specFile ? path.dirname(specFile) : '.'));
    flags.push('--input', `${meta.name}=${inputs[meta.name]}`);
  }
  const base = {model: file, ort: args.ort, inputs};
  const row = {model: name, ...(await agreement({...base, threads: 1}, flags, outputs, dir)), timings: []};
  if (args['check-only']) return row;
  if (args.load) row.load = await load({...base, threads: 2}, flags);
  for (const threads of args.threads.split(',').map(Number)) {
    const pando = new Worker(args.pando, ['bench', file, ...flags, '--threads', String(threads), '--serve',
      ...pandoArgs]);
    const ort = ortWorker({...base, threads, spinning: !args['no-spinning']});
    await pando.read(), await ort.read();
    let timing = await pairs(pando, ort, Number(args.block));
    if (timing.spread > 0.1) {  // an unquiet machine: once more, and the calmer of the two
      const again = await pairs(pando, ort, Number(args.block));
      if (again.spread < timing.spread) timing = again;
    }
    pando.stop(), ort.stop();
    row.timings.push({threads, ...timing});
  }
  return row;
}

function print(row) {
  const ok = row.agrees ? 'agrees' : 'DIFFERS';
  console.log(`${row.model.padEnd(34)} ${ok} ${row.difference.toExponential(1)} (limit ${row.limit.toExponential(1)})`);
  if (row.load)
    console.log(`${''.padEnd(34)} load: pando ${row.load.pando_load_ms.toFixed(0)} ms, ort ${row.load.ort_load_ms.toFixed(0)} ms; ` +
      `peak memory of the process: ${row.load.pando_peak_mb.toFixed(0)} and ${row.load.ort_peak_mb.toFixed(0)} MB ` +
      `(an empty Node process: ${emptyNodeMb.toFixed(0)} MB)`);
  for (const t of row.timings)
    console.log(`${''.padEnd(34)} ${t.threads} threads: pando ${t.pando_ms.toFixed(2)} ms, ort ${t.ort_ms.toFixed(2)} ms, ` +
      `ratio ${t.ratio.toFixed(3)} (spread ${(100 * t.spread).toFixed(0)} %), means' ratio ${t.mean_ratio.toFixed(3)}`);
}

const emptyNodeMb = Number(spawnSync(process.execPath, ['-p', 'process.resourceUsage().maxRSS / 1024'], {encoding: 'utf8'}).stdout);
const work = fs.mkdtempSync(path.join(os.tmpdir(), 'pando-compare-'));
const neighbour = args.neighbour !== undefined
  ? spawn('taskset', ['-c', args.neighbour, 'sh', '-c', 'while :; do :; done'], {detached: true}) : null;
const report = {cpu: os.cpus()[0].model, date: new Date().toISOString(), options: args, models: []};
let failed = false;
for (const model of args.models.split(',')) {
  try {
    const row = await compareModel(model, work);
    print(row);
    failed ||= !row.agrees;
    report.models.push(row);
  } catch (e) {
    console.log(`${model}: ${e.message}`);
    report.models.push({model, error: e.message});
    failed = true;
  }
}
if (neighbour) process.kill(-neighbour.pid);
fs.rmSync(work, {recursive: true});
for (const threads of args.threads.split(',').map(Number)) {
  const list = report.models.flatMap((m) => m.timings ?? []).filter((t) => t.threads === threads).map((t) => t.ratio);
  if (list.length) {
    const geomean = Math.exp(mean(list.map(Math.log)));
    report[`geomean_${threads}`] = geomean;
    console.log(`geomean of ratios, ${threads} threads: ${geomean.toFixed(3)}, lowest ${Math.min(...list).toFixed(3)}`);
  }
}
if (args.json) fs.writeFileSync(args.json, JSON.stringify(report, null, 1) + '\n');
process.exit(failed ? 1 : 0);
