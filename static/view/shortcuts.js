/** Keys that work anywhere on the page: Space talks, Escape stops, a slash types, a question mark explains. */

const WRITES = 'input, textarea, select, [contenteditable]';
const TAKES_SPACE = 'button, a, summary, [role=button]';

/**
 * @param {import('../session.js').Session} session
 * @param {{start: () => void, type: () => void, help: () => void}} actions
 */
export function listenForKeys(session, actions) {
  const idle = () => ['ready', 'ended'].includes(session.state);
  let holding = false;

  document.addEventListener('keydown', (event) => {
    const { key, target } = event;
    if (event.defaultPrevented || event.isComposing || document.querySelector('dialog[open]')) return;
    if (key === 'Escape') session.interrupt();
    if (event.ctrlKey || event.altKey || event.metaKey || target.closest(WRITES)) return;
    if (key === '/') {
      event.preventDefault();
      actions.type();
    } else if (key === '?') {
      event.preventDefault();
      actions.help();
    } else if (key === ' ' && !target.closest(TAKES_SPACE)) {
      event.preventDefault(); // the page would scroll
      if (!event.repeat) talk();
    }
  });
  document.addEventListener('keyup', ({ key }) => {
    if (key !== ' ' || !holding) return;
    holding = false;
    session.release();
  });

  function talk() {
    if (idle()) {
      actions.start();
    } else if (!session.microphoneOpen) {
      session.start();
    } else if (session.pushToTalk) {
      holding = true;
      session.press();
    } else {
      session.setMuted(!session.muted);
    }
  }
}
