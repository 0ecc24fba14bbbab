/** While a conversation goes on: the screen stays on, and sound comes back when the page does. */

/** @param {import('./session.js').Session} session */
export function keepAwake(session) {
  let lock = null;
  const talking = () => !['ready', 'ended'].includes(session.state);

  async function update() {
    if (document.visibilityState !== 'visible') return;
    if (talking()) session.sound.resume();
    if (!navigator.wakeLock) return;
    if (talking() && (!lock || lock.released)) {
      try {
        lock = await navigator.wakeLock.request('screen');
      } catch {
        lock = null; // low battery, or not allowed: the screen may go dark, nothing else is lost
      }
    } else if (!talking() && lock) {
      await lock.release();
      lock = null;
    }
  }

  session.addEventListener('state', update);
  document.addEventListener('visibilitychange', update);
}
