// Runs in each document before its own scripts. SEED is a number, STYLE is CSS.
(() => {
  if (window.__aepo) return;
  const aepo = { listening: new WeakSet(), elements: [], next: null, start: null, leaving: false };
  Object.defineProperty(window, '__aepo', { value: aepo });

  // What a page shows must not depend on chance: the same numbers in each replay (mulberry32).
  let state = SEED >>> 0;
  Math.random = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };

  // An element that listens to clicks can be clicked, whatever its tag.
  const listen = EventTarget.prototype.addEventListener;
  EventTarget.prototype.addEventListener = function (type, ...rest) {
    if (['click', 'mousedown', 'mouseup', 'pointerdown'].includes(type) && this instanceof Element) aepo.listening.add(this);
    return listen.call(this, type, ...rest);
  };

  // There is one window: what would open another one leads there itself.
  window.open = (address) => { if (address) location.href = address; return null; };
  listen.call(document, 'click', (event) => {
    const link = event.target instanceof Element && event.target.closest('a[target], form[target]');
    if (link) link.removeAttribute('target');
  }, true);

  // Between the click on a link and the first request the old page still stands there.
  if (window.navigation && window === window.top) {
    listen.call(navigation, 'navigate', (event) => {
      if (!event.destination.sameDocument && event.downloadRequest === null) aepo.leaving = true;
    });
    listen.call(navigation, 'navigateerror', () => { aepo.leaving = false; });
    listen.call(navigation, 'navigatesuccess', () => { aepo.leaving = false; });
  }

  const still = new CSSStyleSheet();
  still.replaceSync(
    '*, *::before, *::after { transition: none !important; animation: none !important; caret-color: transparent !important;'
    + ' scroll-behavior: auto !important; } ' + STYLE);
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, still];
})();
