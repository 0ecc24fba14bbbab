/** What both sides say, growing as it comes; what the assistant has written but not yet said is paler. */

const NEAR_END_PX = 80;

export class Captions {
  /**
   * @param {import('../conversation.js').Conversation} conversation
   * @param {{list: HTMLElement, scroll: HTMLElement, announcer: HTMLElement}} elements
   */
  constructor(conversation, { list, scroll, announcer }) {
    this.list = list;
    this.scroll = scroll;
    this.announcer = announcer;
    this.rows = new Map();
    conversation.addEventListener('change', ({ detail }) => this.#update(detail));
    conversation.addEventListener('drop', ({ detail }) => this.#drop(detail));
  }

  #update(turn) {
    const { scrollHeight, scrollTop, clientHeight } = this.scroll;
    const following = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
    let row = this.rows.get(turn.id);
    if (!row) {
      row = new Row(turn);
      this.rows.set(turn.id, row);
      this.list.append(row.element);
    }
    row.update(turn, (words) => this.#announce(words));
    if (following) this.scroll.scrollTop = this.scroll.scrollHeight;
  }

  #drop(turn) {
    this.rows.get(turn.id)?.element.remove();
    this.rows.delete(turn.id);
  }

  /** For screen readers: whole sentences, once, not every syllable as it comes. */
  #announce(words) {
    this.announcer.textContent = words;
  }
}

class Row {
  constructor(turn) {
    this.element = element('li', 'turn');
    this.element.dataset.turn = turn.id;
    this.you = line('You', 'you');
    this.assistant = line('Mini-Omni', 'assistant');
    this.said = element('span', 'said');
    this.unsaid = element('span', 'unsaid');
    this.meta = element('div', 'meta');
    this.delay = element('span', 'delay');
    this.note = element('span', 'note');
    this.meta.append(this.delay, this.note);
    this.assistant.append(this.meta);
    this.element.append(this.you, this.assistant);
    this.announced = '';
  }

  update({ user, assistant, delayMs, silenceMs }, announce) {
    fill(this.you.words, user.text || (user.done ? 'A spoken question' : null));
    this.#answer(user, assistant);
    this.element.dataset.done = assistant.done;
    this.element.classList.toggle('interrupted', assistant.interrupted);
    this.delay.textContent = delayMs === null ? '' : `Answered in ${seconds(silenceMs + delayMs)}`;
    this.delay.title = silenceMs ? `${seconds(silenceMs)} of silence, then ${seconds(delayMs)} to the first sound` : '';
    this.note.textContent = assistant.interrupted ? (assistant.text ? 'Interrupted' : 'Not answered') : '';
    this.meta.hidden = !this.delay.textContent && !this.note.textContent;
    this.#announce(user, assistant, announce);
  }

  #answer(user, assistant) {
    this.assistant.hidden = !user.done;
    if (!assistant.text) {
      fill(this.assistant.words, assistant.done ? '' : null);
      return;
    }
    const cut = assistant.interrupted ? assistant.spoken : wordEnd(assistant.text, assistant.spoken);
    this.said.textContent = assistant.text.slice(0, cut);
    this.unsaid.textContent = assistant.text.slice(cut);
    if (this.said.parentNode !== this.assistant.words) this.assistant.words.replaceChildren(this.said, this.unsaid);
  }

  #announce(user, assistant, announce) {
    const words =
      assistant.done && assistant.text ? `Mini-Omni said: ${assistant.text}` : user.text && `You: ${user.text}`;
    if (!words || words === this.announced) return;
    this.announced = words;
    announce(words);
  }
}

const seconds = (ms) => `${(ms / 1000).toFixed(2)} s`;

function line(who, side) {
  const row = element('div', `line ${side}`);
  row.words = element('p', 'text');
  const name = element('span', 'who');
  name.textContent = who;
  row.append(name, row.words);
  return row;
}

/** Words, or three waiting dots for null. */
function fill(paragraph, words) {
  if (words !== null) {
    if (paragraph.textContent !== words || paragraph.firstElementChild) paragraph.textContent = words;
  } else if (!paragraph.querySelector('.dots')) {
    const dots = element('span', 'dots');
    dots.append(element('i'), element('i'), element('i'));
    paragraph.replaceChildren(dots);
  }
}

/** The end of the word that has begun to be said, so that no word is cut in two colours. */
function wordEnd(text, at) {
  if (at <= 0) return 0;
  const end = text.slice(at).search(/\s/);
  return end < 0 ? text.length : at + end;
}

function element(tag, className = '') {
  const made = document.createElement(tag);
  made.className = className;
  return made;
}
