/**
 * When the server cannot be reached, an installed page says so in its own words. Nothing else is ever kept or answered
 * from here: modules, styles and sounds always come from the server, so none of them can be out of date.
 */

const AWAY = ['away.html', 'style/away.css'];
const STORE = 'away-1';

self.addEventListener('install', (event) => {
  self.skipWaiting();
  event.waitUntil(caches.open(STORE).then((store) => store.addAll(AWAY.map((path) => new Request(path, { cache: 'reload' })))));
});

self.addEventListener('activate', (event) => {
  const old = async () => {
    for (const name of await caches.keys()) if (name !== STORE) await caches.delete(name);
  };
  event.waitUntil(Promise.all([old(), self.clients.claim()]));
});

self.addEventListener('fetch', (event) => {
  const { request } = event;
  const away = AWAY.some((path) => request.url === new URL(path, self.registration.scope).href);
  if (request.mode === 'navigate') event.respondWith(fetch(request).catch(() => caches.match('away.html')));
  else if (away) event.respondWith(fetch(request).catch(() => caches.match(request)));
});
