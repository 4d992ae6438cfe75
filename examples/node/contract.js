// Prints contract.json, which kelpie.js serves by, from the contract's .proto files: run it
// with "npm run contract" in Kelpie's sources, where those are.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const protobuf = require('protobufjs');

const folders = [__dirname, path.join(__dirname, '..', '..', 'sdk', 'proto')];
const parts = ['plugin', 'detector', 'enrichment', 'action'].map((name) => `kelpie/plugin/v1/${name}.proto`);

const root = new protobuf.Root();
root.resolvePath = (_, target) => folders.map((folder) => path.join(folder, target)).find((file) => fs.existsSync(file)) || target;
root.loadSync([...parts, 'contract.proto', 'health.proto'], { keepCase: true });
process.stdout.write(JSON.stringify(root.toJSON(), null, 1) + '\n');
