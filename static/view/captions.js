/**
 * What both sides say. The assistant's words stand as rows of dots until they are spoken; what it was kept from saying
 * is struck out from the word where it was cut, and healed if it goes on after all.
 */

import { Words } from './words.js';

const NEAR_END_PX = 80;

export class Captions {
  /**
   * @param {import('../conversation.js').Conversation} conversation
   * @param {{list: HTMLElement, scroll: HTMLElement, announcer: HTMLElement, empty: HTMLElement}} elements
   *   `empty`: stands there until the first turn
   */
  constructor(conversation, { list, scroll, announcer, empty }) {
    this.list = list;
    this.scroll = scroll;
    this.announcer = announcer;
    this.empty = empty;
    this.rows = new Map();
    conversation.addEventListener('change', ({ detail }) => this.#update(detail));
    conversation.addEventListener('drop', ({ detail }) => this.#drop(detail));
    new ResizeObserver(() => this.#follow()).observe(scroll);
    this.following = true;
    scroll.addEventListener('scroll', () => {
      this.following = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < NEAR_END_PX;
    });
  }

  #update(turn) {
    let row = this.rows.get(turn.id);
    if (!row) {
      row = new Row(turn);
      this.rows.set(turn.id, row);
      this.list.append(row.element);
      this.empty.hidden = true;
    }
    row.update(turn, (words) => this.#announce(words));
    this.#follow();
  }

  #follow() {
    if (this.following) this.scroll.scrollTop = this.scroll.scrollHeight;
  }

  #drop(turn) {
    this.rows.get(turn.id)?.element.remove();
    this.rows.delete(turn.id);
    this.empty.hidden = this.rows.size > 0;
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
    this.words = new Words();
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
    this.#announce(user, assistant, announce);
  }

  #answer(user, assistant) {
    this.assistant.hidden = !user.done;
    if (!assistant.text) {
      fill(this.assistant.words, assistant.done ? '' : null);
      return;
    }
    this.words.show(assistant.text, assistant.spoken, assistant.interrupted);
    if (this.words.element.parentNode !== this.assistant.words) {
      this.assistant.words.replaceChildren(this.words.element);
    }
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
  row.words.dir = 'auto';
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

function element(tag, className = '') {
  const made = document.createElement(tag);
  made.className = className;
  return made;
}
