// Reads a JSON list of files from stdin and writes a .br sibling beside each that shrinks by it.
import { readFile, writeFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { brotliCompress, constants } from 'node:zlib';

const compress = promisify(brotliCompress);

const files = JSON.parse(await text(process.stdin));
await Promise.all(files.map(async (file) => {
  const plain = await readFile(file);
  const packed = await compress(plain, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: 11,
      [constants.BROTLI_PARAM_LGWIN]: 24,
      [constants.BROTLI_PARAM_SIZE_HINT]: plain.length,
    },
  });
  if (packed.length < plain.length) await writeFile(`${file}.br`, packed);
}));
