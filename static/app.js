/** Puts the page together. */

import { Conversation } from './conversation.js';
import { Models } from './models.js';
import { Session } from './session.js';
import { Settings } from './settings.js';
import { keepAwake } from './wake.js';
import { Captions } from './view/captions.js';
import { Composer } from './view/composer.js';
import { helpDialog } from './view/dialogs.js';
import { FiguresPanel } from './view/figures-panel.js';
import { firstRun } from './view/first-run.js';
import { ModelView } from './view/model.js';
import { Notice } from './view/notice.js';
import { SaveDialog } from './view/save-dialog.js';
import { Seeds } from './view/seeds.js';
import { SettingsDialog } from './view/settings-dialog.js';
import { listenForKeys } from './view/shortcuts.js';
import { Stage } from './view/stage.js';

const element = (id) => document.getElementById(id);
const settings = new Settings();
const models = new Models(settings);
const conversation = new Conversation();
const session = new Session(settings, conversation);

new Captions(conversation, {
  list: element('turns'),
  scroll: element('scroll'),
  announcer: element('spoken-aloud'),
  empty: element('empty'),
});
const stage = new Stage(session, new Seeds(element('seeds')));
new Composer((text) => session.ask(text));
new SettingsDialog(settings, session);
new ModelView(models);
new SaveDialog(conversation);
new FiguresPanel(conversation, settings);
firstRun(settings, conversation, (question) => session.ask(question));
listenForKeys(session, {
  start: () => stage.start(),
  type: () => element('question').focus(),
  help: helpDialog(),
});
keepAwake(session);

const notice = new Notice(element('notice'), (code) => {
  if (code.startsWith('microphone')) session.start();
  else session.retry();
});
session.addEventListener('problem', ({ detail }) => notice.show(detail.code, detail.text));
session.addEventListener('solved', ({ detail }) => notice.clear(detail));
session.addEventListener('models', ({ detail }) => models.take(detail));
models.ask();
if (!window.isSecureContext) notice.show('insecure');

// Only a page that cannot be loaded at all is answered by the worker: it says that the server is away.
navigator.serviceWorker?.register('service-worker.js').catch(() => {});
