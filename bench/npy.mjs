// Reads and writes NumPy files (format 1.0, C order, little endian) as typed arrays.
import fs from 'node:fs';

const types = {
  '<f4': ['float32', Float32Array], '<f8': ['float64', Float64Array], '<i8': ['int64', BigInt64Array],
  '<i4': ['int32', Int32Array], '<i2': ['int16', Int16Array], '|i1': ['int8', Int8Array], '|u1': ['uint8', Uint8Array],
  '<u2': ['uint16', Uint16Array], '<u4': ['uint32', Uint32Array], '<u8': ['uint64', BigUint64Array],
  '|b1': ['bool', Uint8Array],
};

export function readNpy(file) {
  const bytes = fs.readFileSync(file);
  const size = bytes.readUInt16LE(8);
  const header = bytes.toString('latin1', 10, 10 + size);
  const descr = /'descr':\s*'([^']+)'/.exec(header)[1];
  const shape = /'shape':\s*\(([^)]*)\)/.exec(header)[1].split(',').filter((s) => s.trim()).map(Number);
  const [type, Array] = types[descr];
  const body = bytes.subarray(10 + size);
  const data = new Array(body.buffer.slice(body.byteOffset, body.byteOffset + body.byteLength));
  return {type, shape, data};
}

export function writeNpy(file, {type, dims, shape, data}) {
  const descr = Object.keys(types).find((d) => types[d][0] === type);
  if (!descr) throw new Error(`no NumPy type for ${type}`);
  const extents = shape ?? dims;
  let header = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${extents.map((d) => d + ',').join(' ')}), }`;
  if (extents.length > 1) header = header.replace(/,\), }$/, '), }');
  header = header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11) + '\n';
  const head = Buffer.alloc(10);
  head.write('\x93NUMPY\x01\x00', 0, 'latin1');
  head.writeUInt16LE(header.length, 8);
  fs.writeFileSync(file, Buffer.concat([head, Buffer.from(header, 'latin1'),
    Buffer.from(data.buffer, data.byteOffset, data.byteLength)]));
}
