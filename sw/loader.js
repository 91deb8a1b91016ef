// The service worker's first script: tiny, with a name that never changes. `cargo xtask build` fills in the names of
// the hashed files, so a changed module changes this file and the browser installs the update.
const VERSION = '__VERSION__';
const PRECACHE = __PRECACHE__;

importScripts('__SW_JS__');
const started = wasm_bindgen({ module_or_path: '__SW_WASM__' });

self.addEventListener('install', (event) => {
  event.waitUntil(Promise.all([
    caches.open(`shell-${VERSION}`).then((cache) => cache.addAll(PRECACHE)),
    started,
    self.skipWaiting(),
  ]));
});
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
