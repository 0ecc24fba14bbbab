/** The dialog that saves the conversation. */

import { soundFile, soundSeconds, textFile } from '../save.js';
import { dialog } from './dialogs.js';

export class SaveDialog {
  /** @param {import('../conversation.js').Conversation} conversation */
  constructor(conversation) {
    const at = (id) => document.getElementById(id);
    const save = dialog('save');
    const open = at('open-save');
    const text = at('save-text');
    const sound = at('save-sound');
    const update = () => (open.disabled = conversation.empty);
    conversation.addEventListener('change', update);
    conversation.addEventListener('drop', update);
    open.addEventListener('click', () => {
      const seconds = Math.round(soundSeconds(conversation));
      const turns = conversation.turns.length;
      at('save-text-size').textContent = turns === 1 ? '1 turn' : `${turns} turns`;
      at('save-sound-size').textContent = seconds
        ? `WAV, ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
        : 'None yet';
      sound.disabled = seconds === 0;
      save.showModal();
    });
    text.addEventListener('click', () => download(textFile(conversation), 'txt'));
    sound.addEventListener('click', () => download(soundFile(conversation), 'wav'));
  }
}

function download(blob, extension) {
  const link = document.createElement('a');
  const now = new Date();
  const local = new Date(now - now.getTimezoneOffset() * 60_000).toISOString();
  const stamp = local.slice(0, 16).replace(/[-:]/g, '').replace('T', '-');
  link.href = URL.createObjectURL(blob);
  link.download = `mini-omni-${stamp}.${extension}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
