/** The hint for whoever is here for the first time: three questions to begin with. Gone after the first answer. */

/**
 * @param {import('../settings.js').Settings} settings
 * @param {import('../conversation.js').Conversation} conversation
 * @param {(question: string) => void} onAsk
 */
export function firstRun(settings, conversation, onAsk) {
  const hint = document.getElementById('first-run');
  hint.hidden = settings.get('met');
  for (const button of hint.querySelectorAll('.try')) {
    button.addEventListener('click', () => onAsk(button.textContent));
  }
  conversation.addEventListener('change', ({ detail }) => {
    hint.hidden = true;
    if (detail.assistant.done && detail.assistant.text) settings.set('met', true);
  });
}
