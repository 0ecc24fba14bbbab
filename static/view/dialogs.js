/** What all dialogs have in common: a click beside one closes it. */

/** @param {string} id @returns {HTMLDialogElement} */
export function dialog(id) {
  const element = document.getElementById(id);
  element.addEventListener('click', ({ target }) => target === element && element.close());
  return element;
}

/** The page of help. @returns {() => void} shows it */
export function helpDialog() {
  const help = dialog('help');
  const show = () => help.showModal();
  document.getElementById('open-help').addEventListener('click', show);
  help.addEventListener('keydown', (event) => {
    if (event.key !== '?') return;
    event.stopPropagation(); // or it would be opened again
    help.close();
  });
  return show;
}
