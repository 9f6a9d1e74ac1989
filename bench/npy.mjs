// Reads and writes NumPy files (format 1.0, C order, little endian) as typed arrays.
import fs from 'node:fs';

const types = {
  '<f4': ['float32', Float32Array], '<f8': ['float64', Float64Array], '<i8': ['int64', BigInt64Array],
  '<i4': ['int32', Int32Array], '<i2': ['int16', Int16Array], '|i1': ['int8', Int8Array], '|u1': ['uint8', Uint8Array],
  '<f2': ['float16', Uint16Array], '<u2': ['uint16', Uint16Array], '<u4': ['uint32', Uint32Array], '<u8': ['uint64', BigUint64Array],
  '|b1': ['bool', Uint8Array],
};

// float16 is kept as its bits.
export function halfToNumber(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = bits >> 10 & 31, fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}

export function numberToHalf(v) {  // of normal numbers, towards zero: drawn ones need no more
  const [bits] = new Uint32Array(Float32Array.of(v).buffer), magnitude = bits & 0x7fffffff;
  return bits >>> 16 & 0x8000 | (magnitude < 113 << 23 ? 0 : Math.min(magnitude - (112 << 23) >> 13, 0x7bff));
}

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
