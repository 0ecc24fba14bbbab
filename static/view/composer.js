/** The line in which a question is typed: Enter sends, Shift+Enter breaks the line. */

export class Composer {
  /** @param {(text: string) => void} onAsk */
  constructor(onAsk) {
    const form = document.getElementById('ask');
    const question = document.getElementById('question');
    const send = document.getElementById('send');
    const update = () => (send.disabled = question.value.trim() === '');
    question.addEventListener('input', update);
    question.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    });
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      const text = question.value.trim();
      if (text === '') return;
      question.value = '';
      update();
      onAsk(text);
    });
    update();
  }
}
