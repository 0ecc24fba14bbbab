/** What the person chose, kept in this browser. */

const KEY = 'mini-omni.settings';

/**
 * Ways to answer; `prompt` is the system prompt, '' the server's own. Written for small models: who it is, how long,
 * one trait, and no rule that needs a second thought.
 */
export const PERSONAS = [
  { id: 'friendly', name: 'As it comes', prompt: '' },
  { id: 'brief', name: 'Brief', prompt: 'You are a voice assistant. Answer in one short sentence.' },
  {
    id: 'teacher',
    name: 'Patient teacher',
    prompt: 'You are a patient teacher. Explain in one or two short spoken sentences, with an everyday example.',
  },
  {
    id: 'storyteller',
    name: 'Storyteller',
    prompt: 'You are a warm storyteller. Answer in two or three vivid spoken sentences.',
  },
  {
    id: 'partner',
    name: 'English partner',
    prompt: 'You help me practise English. Use simple words. Answer in one sentence, then ask me one easy question.',
  },
  {
    id: 'listener',
    name: 'Good listener',
    prompt: 'You are a kind friend who listens. Say in one sentence what you understood, then ask how I feel about it.',
  },
  {
    id: 'guide',
    name: 'Curious guide',
    prompt: 'You are a cheerful museum guide. Answer in one sentence, then add one surprising fact.',
  },
  { id: 'own', name: 'Your own words', prompt: null },
];

/** How soon a pause counts as the end of a turn, as the protocol calls it; '' leaves it to the server. */
export const EAGERNESS = ['', 'low', 'auto', 'high', 'off'];

/** That ends a turn; `held`: while push-to-talk is held, pauses are allowed. */
export const SILENCE_MS = { least: 200, most: 2000, step: 50, held: 3000 };

const DEFAULTS = Object.freeze({
  deviceId: '',
  volume: 0.9,
  speed: 1,
  mode: 'open', // of the microphone: open, or push (to talk)
  eagerness: '',
  silenceMs: 500,
  model: '', // its name; '' is the server's default
  persona: 'friendly',
  ownPrompt: '',
  figures: false, // whether the panel is open
  met: false, // a conversation has been had: no first-run hint
});

const oneOf = (values) => (value) => values.includes(value);
const within = (least, most) => (value) => typeof value === 'number' && value >= least && value <= most;

const VALID = {
  deviceId: (value) => typeof value === 'string',
  volume: within(0, 1),
  speed: within(0.5, 1.25),
  silenceMs: (value) => Number.isInteger(value) && within(SILENCE_MS.least, SILENCE_MS.most)(value),
  mode: oneOf(['open', 'push']),
  eagerness: oneOf(EAGERNESS),
  model: (value) => typeof value === 'string' && value.length <= 256,
  persona: oneOf(PERSONAS.map(({ id }) => id)),
  ownPrompt: (value) => typeof value === 'string' && value.length <= 2000,
  figures: oneOf([true, false]),
  met: oneOf([true, false]),
};

export class Settings extends EventTarget {
  constructor() {
    super();
    this.values = { ...DEFAULTS };
    for (const [name, value] of Object.entries(this.#stored())) {
      if (VALID[name]?.(value)) this.values[name] = value;
    }
  }

  get(name) {
    return this.values[name];
  }

  /** Keep a new value and tell whoever listens for `change`; values out of range are refused. */
  set(name, value) {
    if (!VALID[name]?.(value)) throw new RangeError(`${name} cannot be ${value}`);
    if (this.values[name] === value) return;
    this.values[name] = value;
    try {
      localStorage.setItem(KEY, JSON.stringify(this.values));
    } catch {
      // Storage is full or forbidden: the choice holds until the page is closed.
    }
    this.dispatchEvent(new CustomEvent('change', { detail: { name, value } }));
  }

  /** The system prompt that was chosen; null for the server's own. */
  get systemPrompt() {
    const { persona, ownPrompt } = this.values;
    const prompt = PERSONAS.find(({ id }) => id === persona).prompt ?? ownPrompt.trim();
    return prompt === '' ? null : prompt;
  }

  #stored() {
    try {
      return JSON.parse(localStorage.getItem(KEY)) ?? {};
    } catch {
      return {};
    }
  }
}
