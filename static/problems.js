/** What can go wrong, each as one calm sentence or two that say what to do. */

const SENTENCES = {
  insecure: {
    title: 'This page is not secure',
    text: 'Browsers lend the microphone to secure pages only. Open this page over https, or on the server’s own machine as http://localhost. Here you can type, and read the answers.',
  },
  microphone_refused: {
    title: 'The microphone is blocked',
    text: 'Allow it for this page in the browser’s address bar, then try again. Until then you can type.',
    action: 'Try again',
  },
  microphone_missing: {
    title: 'No microphone found',
    text: 'Plug one in and try again. Until then you can type.',
    action: 'Try again',
  },
  microphone_taken: {
    title: 'The microphone is busy',
    text: 'Another program seems to be using it. Close that program, or choose another microphone in Settings, then try again.',
    action: 'Try again',
  },
  microphone_lost: {
    title: 'The microphone was disconnected',
    text: 'Plug it in again, or choose another one in Settings, then try again.',
    action: 'Try again',
  },
  browser: {
    title: 'This browser cannot play the answers',
    text: 'Please use a current Firefox, Chrome, Edge or Safari. Here you can type, and read the answers.',
  },
  server_gone: {
    title: 'The server cannot be reached',
    text: 'Check that it is running and that you are online. This page keeps trying.',
    action: 'Try now',
  },
  busy: {
    title: 'All places are taken',
    text: 'Others are talking at the moment. This page asks again by itself, or you can ask now.',
    action: 'Try now',
  },
  full: {
    title: 'It is busy with other questions',
    text: 'Please ask again in a moment.',
    action: 'Dismiss',
  },
  not_ready: {
    title: 'The model is still waking up',
    text: 'It takes longer than usual. This page keeps trying; the server’s log tells more.',
    action: 'Try now',
  },
  shutting_down: {
    title: 'The server is restarting',
    text: 'The conversation goes on by itself as soon as it is back.',
    action: 'Try now',
  },
  refused: {
    title: 'The server does not accept this page',
    text: 'Open the page from the server’s own address, or add this address to the origins that it allows.',
    action: 'Try again',
  },
  warming: {
    title: 'The model is waking up',
    text: 'This takes a few seconds after the server has started; the conversation begins by itself.',
  },
};

/** @returns {{code: string, title: string, text: string, action?: string}} */
export function problem(code, text) {
  const known = SENTENCES[code];
  if (known) return { code, ...known };
  return { code, title: 'Something went wrong', text: text || 'Please try again.', action: 'Dismiss' };
}
