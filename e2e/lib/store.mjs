// Looks into what a page's origin has stored, from outside and without knowing its layout.

/** `[{database, store, key, base64}]`: every byte string of at least `min` bytes, as the page's origin has it stored; binary keys in hex. */
export async function storedBytes(page, min = 1) {
  return await page.evaluate(async (least) => {
    const promised = (request) =>
      new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result)
        request.onerror = () => reject(request.error)
      })
    const base64 = (bytes) => {
      let binary = ''
      for (let at = 0; at < bytes.length; at += 32_768) binary += String.fromCharCode(...bytes.subarray(at, at + 32_768))
      return btoa(binary)
    }
    const hex = (key) =>
      key instanceof ArrayBuffer ? Array.from(new Uint8Array(key), (byte) => byte.toString(16).padStart(2, '0')).join('') : String(key)
    const found = []
    const walk = (value, where, depth) => {
      if (value instanceof ArrayBuffer) value = new Uint8Array(value)
      if (ArrayBuffer.isView(value)) {
        const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
        if (bytes.length >= least) found.push({ ...where, base64: base64(bytes) })
      } else if (value && typeof value === 'object' && depth < 4) {
        for (const inner of Object.values(value)) walk(inner, where, depth + 1)
      }
    }
    for (const { name } of await indexedDB.databases()) {
      const database = await promised(indexedDB.open(name))
      for (const store of database.objectStoreNames) {
        const objects = database.transaction(store).objectStore(store)
        const keys = await promised(objects.getAllKeys())
        for (const key of keys) {
          walk(await promised(database.transaction(store).objectStore(store).get(key)), { database: name, store, key: hex(key) }, 0)
        }
      }
      database.close()
    }
    return found
  }, min)
}

/** Whether the app's shell is in a cache. Runs inside the page; refers to nothing outside itself. */
export async function isShellKept() {
  for (const name of await caches.keys()) {
    const paths = (await (await caches.open(name)).keys()).map(({ url }) => new URL(url).pathname)
    if (paths.includes('/') && paths.some((path) => path.endsWith('.wasm'))) return true
  }
  return false
}

/** Entries in the fullest object store of the origin. Runs inside the page; refers to nothing outside itself. */
export async function countStored() {
  const promised = (request) =>
    new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result)
      request.onerror = () => reject(request.error)
    })
  let most = 0
  for (const { name } of await indexedDB.databases()) {
    const database = await promised(indexedDB.open(name))
    for (const store of database.objectStoreNames) {
      most = Math.max(most, await promised(database.transaction(store).objectStore(store).count()))
    }
    database.close()
  }
  return most
}
