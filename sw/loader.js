// The service worker's loader. Listeners stand before WASM does: a browser that starts us for an
// event drops the event when its listener is registered late. What this file decides is the shell
// cache, which must work even when WASM does not; everything under /stream and /ipfs is Rust.
//
// The build fills in the names in capitals; each is hashed by content, so any change of the
// service worker changes this file and browsers update.
'use strict';

importScripts('__SW_JS__');

const WASM = '__SW_WASM__';
const SHELL = 'shell-__VERSION__';
const PRECACHE = __PRECACHE__;

let starting;
let trap;

// One instance per life of the worker. A failed start is tried again by the next event, and after
// a trap the next event gets a fresh instance: a panicked one answers nothing any more.
function start() {
  starting ??= (async () => {
    trap = deferred();
    trap.promise.catch(() => {});
    const glue = self.sluiceGlue();
    const kept = await caches.match(WASM, { cacheName: SHELL });
    await glue({ module_or_path: kept ?? fetch(WASM) });
    return glue;
  })().catch((error) => {
    starting = undefined;
    throw error;
  });
  return starting;
}

function deferred() {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
}

// A trap in a task nobody waits for surfaces only here.
function trapped(error) {
  if (error instanceof WebAssembly.RuntimeError) {
    starting = undefined;
    trap?.reject(error);
  }
}
self.addEventListener('error', (event) => trapped(event.error));
self.addEventListener('unhandledrejection', (event) => trapped(event.reason));

// While the page loads its own code, read what it will ask for.
function prepare(url) {
  if (url.pathname.startsWith('/w/')) {
    start().then((rust) => rust.prepare(url.pathname)).catch(() => {});
  }
}

async function keepShell() {
  const cache = await caches.open(SHELL);
  const kept = new Set((await cache.keys()).map((request) => new URL(request.url).pathname));
  await cache.addAll(PRECACHE.filter((path) => !kept.has(path)));
}

self.addEventListener('install', (event) => {
  if (self.registration.active) {
    // An update waits until no page plays, and must not need the network when its turn comes.
    event.waitUntil(keepShell());
  } else {
    // The first visit wants its first frame: the shell is kept once that is shown.
    self.skipWaiting();
  }
});

self.addEventListener('activate', (event) => {
  event.waitUntil(self.clients.claim());
  self.clients.matchAll({ type: 'window', includeUncontrolled: true })
    .then((pages) => pages.forEach((page) => prepare(new URL(page.url))));
  // Not waited for: fetches queue until this event is over.
  caches.keys().then((names) => Promise.all(
    names.filter((name) => name.startsWith('shell-') && name !== SHELL).map((name) => caches.delete(name)),
  ));
});

function problem(status, title, detail) {
  return new Response(JSON.stringify({ type: 'about:blank', title, status, detail }), {
    status,
    headers: {
      'content-type': 'application/problem+json',
      'x-content-type-options': 'nosniff',
      'content-security-policy': "sandbox; default-src 'none'",
      'cross-origin-resource-policy': 'same-origin',
    },
  });
}

async function fromRust(call) {
  try {
    const rust = await start();
    return await Promise.race([call(rust), trap.promise]);
  } catch (error) {
    console.error('service worker:', error);
    trapped(error);
    return problem(500, 'The player stopped', 'Play again; if that does not help, reload the page.');
  }
}

async function shell(request) {
  // Every route of the app is the same document.
  const key = request.mode === 'navigate' ? '/' : request;
  const kept = await caches.match(key, { cacheName: SHELL, ignoreVary: true });
  return kept ?? fetch(request);
}

const OUTSIDE = /^\/(api|healthz|readyz|metrics|sw\.js|shell\.json)(\/|$|\.)/;

self.addEventListener('fetch', (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (url.origin !== self.location.origin) return;
  if (url.pathname.startsWith('/stream/')) {
    event.respondWith(fromRust((rust) => rust.stream(request, event.clientId)));
  } else if (url.pathname.startsWith('/ipfs/')) {
    if (request.method === 'GET' && request.mode !== 'navigate' && url.searchParams.has('work')) {
      event.respondWith(fromRust((rust) => rust.block(request, event.clientId)));
    }
  } else if (request.method === 'GET' && !OUTSIDE.test(url.pathname)) {
    if (request.mode === 'navigate') prepare(url);
    event.respondWith(shell(request));
  }
});

self.addEventListener('message', (event) => {
  event.waitUntil((async () => {
    const rust = await start();
    switch (await rust.message(event.data, event.source?.id ?? '', event.ports[0])) {
      case 'claim': return self.clients.claim();
      case 'activate': return self.skipWaiting();
      case 'keep-shell': return keepShell();
      default: return undefined;
    }
  })().catch((error) => console.error('service worker:', error)));
});

// Whatever woke us will want WASM soon.
start().catch(() => {});
