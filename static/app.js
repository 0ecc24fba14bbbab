/** Puts the page together. */

import { Conversation } from './conversation.js';
import { Session } from './session.js';
import { Settings } from './settings.js';
import { keepAwake } from './wake.js';
import { Captions } from './view/captions.js';
import { Composer } from './view/composer.js';
import { Notice } from './view/notice.js';
import { Orb } from './view/orb.js';
import { SaveDialog } from './view/save-dialog.js';
import { SettingsDialog } from './view/settings-dialog.js';
import { Stage } from './view/stage.js';

const settings = new Settings();
const conversation = new Conversation();
const session = new Session(settings, conversation);

new Captions(conversation, {
  list: document.getElementById('turns'),
  scroll: document.getElementById('scroll'),
  announcer: document.getElementById('spoken-aloud'),
});
new Stage(session, new Orb(document.getElementById('orb')));
new Composer((text) => session.ask(text));
new SettingsDialog(settings);
new SaveDialog(conversation);
keepAwake(session);

const notice = new Notice(document.getElementById('notice'), (code) => {
  if (code.startsWith('microphone')) session.start();
  else session.retry();
});
session.addEventListener('problem', ({ detail }) => notice.show(detail.code, detail.text));
session.addEventListener('solved', ({ detail }) => notice.clear(detail));
if (!window.isSecureContext) notice.show('insecure');
