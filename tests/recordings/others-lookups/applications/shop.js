// GETs each URL; the Node SDK with the http and dns instrumentations.
const { NodeSDK } = require('@opentelemetry/sdk-node');
const { DnsInstrumentation } = require('@opentelemetry/instrumentation-dns');
const { HttpInstrumentation } = require('@opentelemetry/instrumentation-http');
const sdk = new NodeSDK({ instrumentations: [new DnsInstrumentation(), new HttpInstrumentation()] });
sdk.start();
const dns = require('dns'); // patched when the application loads it
const http = require('http');
const get = (url) => new Promise((done) => {
  const r = http.get(url, { timeout: 500, agent: new http.Agent() }, (res) => { res.resume(); res.on('end', () => { console.log(url, res.statusCode); done(); }); });
  r.on('error', (e) => { console.log(url, e.message); done(); });
  r.on('timeout', () => r.destroy(new Error('timeout')));
});
(async () => {
  for (const url of process.argv.slice(2)) await get(url);
  await new Promise((go) => setTimeout(go, 50));
  // Under no request: nothing tells the name of one that goes well.
  for (const name of ['web', 'paymets']) { try { console.log(name, await dns.promises.lookup(name)); } catch (e) { console.log(e.message); } }
  await sdk.shutdown();
})();
