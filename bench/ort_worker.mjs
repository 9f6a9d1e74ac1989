// Runs ONNX Runtime for compare.mjs: one model, commands as lines of JSON on standard input, answers as lines of JSON.
//   {"run": SECONDS} -> {"times_ms": [...]}     {"save": DIR} -> outputs as DIR/INDEX.npy
import {createRequire} from 'node:module';
import readline from 'node:readline';
import {performance} from 'node:perf_hooks';
import path from 'node:path';
import {readNpy, writeNpy} from './npy.mjs';

const config = JSON.parse(process.argv[2]);
const ort = createRequire(path.join(config.ort, 'package.json'))('onnxruntime-node');
const say = (o) => process.stdout.write(JSON.stringify(o) + '\n');

const options = {
  intraOpNumThreads: config.threads,
  interOpNumThreads: 1,
  executionMode: 'sequential',
  graphOptimizationLevel: config.optimize === false ? 'disabled' : 'all',
};
if (config.spinning === false) options.extra = {session: {intra_op: {allow_spinning: '0'}}};
const begin = performance.now();
const session = await ort.InferenceSession.create(config.model, options);
const load_ms = performance.now() - begin;
const rss_mb = process.memoryUsage().rss / 1048576;
const feeds = {};
for (const [name, file] of Object.entries(config.inputs)) {
  const array = readNpy(file);
  feeds[name] = new ort.Tensor(array.type, array.data, array.shape);
}
say({load_ms, rss_mb, inputs: session.inputMetadata, outputs: session.outputNames});

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
for await (const line of readline.createInterface({input: process.stdin})) {
  const command = JSON.parse(line);
  if (command.save) {
    const results = await session.run(feeds);
    session.outputNames.forEach((name, i) => writeNpy(path.join(command.save, `${i}.npy`), results[name]));
    say({saved: session.outputNames.length, peak_rss_mb: process.resourceUsage().maxRSS / 1024});
  } else {
    const times_ms = [];
    const end = performance.now() + command.run * 1000;
    do {
      if (command.pause_ms) await wait(command.pause_ms);
      const t = performance.now();
      await session.run(feeds);
      times_ms.push(performance.now() - t);
    } while (performance.now() < end);
    say({times_ms});
  }
}
