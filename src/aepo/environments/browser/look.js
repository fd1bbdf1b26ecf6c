// Returns the text of the page from the top of the window on, with numbered elements, and whether the page is being left.
// `next` is where the text was cut, and `start` where it begins after scrolling there: a node, and a place in its text.
(most) => {
  const aepo = window.__aepo;
  aepo.elements = [];
  aepo.next = null;
  const lines = [];
  let line = '', length = 0, full = false, cells = 0;
  if (aepo.start && !aepo.start.node.isConnected) aepo.start = null;
  let waiting = aepo.start !== null;

  const squeezed = (text) => (text || '').replace(/\s+/g, ' ').trim();
  const cut = (text, limit = 80) => (text = squeezed(text), text.length > limit ? text.slice(0, limit) + '...' : text);
  const flush = () => {
    const text = squeezed(line).replace(/^(\| )+|( \|)+$/g, '');
    line = '';
    if (!text || text === '|') return;
    lines.push(text);
    length += text.length + 1;
  };
  const put = (text, node) => {
    full = length + line.length + text.length > most;
    if (full) aepo.next = { node, offset: 0 }; else line += text;
    return !full;
  };
  const write = (node, offset) => {
    const text = node.data.slice(offset), room = most - length - line.length;
    if (text.length <= room) { line += text; return; }
    const part = room > 20 ? text.slice(0, room).replace(/\S+$/, '') : '';
    line += part;
    full = true;
    aepo.next = { node, offset: offset + part.length };
  };

  const roles = ['button', 'link', 'tab', 'checkbox', 'radio', 'switch', 'menuitem', 'option', 'combobox', 'textbox',
    'searchbox', 'slider', 'spinbutton', 'treeitem', 'menuitemcheckbox', 'menuitemradio'];
  const shapes = ['rect', 'circle', 'ellipse', 'polygon', 'path', 'line', 'text'];
  const kindOf = (e, style) => {
    const tag = e.localName, role = e.getAttribute('role');
    if (roles.includes(role)) return role;
    if (tag === 'a' && e.hasAttribute('href')) return 'link';
    if (tag === 'button' || tag === 'summary') return 'button';
    if (tag === 'select') return 'select';
    if (tag === 'textarea' || e.isContentEditable && !e.parentElement?.isContentEditable) return 'textbox';
    if (tag === 'input') {
      if (['submit', 'button', 'reset', 'image'].includes(e.type)) return 'button';
      if (['checkbox', 'radio'].includes(e.type)) return e.type;
      return ['text', 'search'].includes(e.type) ? 'textbox' : e.type;
    }
    if (tag === 'label') return e.control && !shown(e.control) ? e.control.type : '';
    if (e === document.body || e === document.documentElement) return '';
    const hears = (one) => aepo.listening.has(one) || one.onclick || one.onmousedown || one.onmouseup;
    let listens = hears(e);
    if (shapes.includes(tag)) for (let above = e.parentElement; above instanceof SVGElement; above = above.parentElement) listens ||= hears(above);
    const pointed = style.cursor === 'pointer' && e.parentElement && getComputedStyle(e.parentElement).cursor !== 'pointer';
    if (e.getElementsByTagName('*').length > 50) return '';   // a frame of an application, which listens for all in it
    return listens || pointed || e.tabIndex >= 0 && e.hasAttribute('tabindex') ? 'item' : '';
  };
  const shown = (e) => {
    const box = e.getBoundingClientRect();
    return box.width > 0 && box.height > 0 && getComputedStyle(e).visibility === 'visible' && getComputedStyle(e).display !== 'none';
  };
  const worded = (node) => node.nodeType === Node.TEXT_NODE ? node.data
    : ['select', 'textarea', 'script', 'style'].includes(node.localName) ? '' : [...node.childNodes].map(worded).join(' ');
  const nameOf = (e, kind) => {
    const by = (e.getAttribute('aria-labelledby') || '').split(/\s+/).map((id) => document.getElementById(id)?.innerText);
    const label = e.labels && [...e.labels].map(worded).join(' ');
    const own = e.localName === 'input' ? (kind === 'button' ? e.value : '') : e.localName === 'select' || kind === 'textbox' ? '' : e.innerText ?? e.textContent;
    for (const text of [e.getAttribute('aria-label'), by.join(' '), own, label, e.querySelector?.('img[alt]')?.alt, e.alt,
      e.title, e.placeholder, e.name]) if (typeof text === 'string' && squeezed(text)) return cut(text);
    return '';
  };
  const marks = (e, kind) => {
    const found = [], target = e.localName === 'label' ? e.control : e;
    if (kind === 'select' && e.localName === 'select') {
      found.push(`= "${cut([...e.selectedOptions].map((o) => o.label).join(', '))}"`);
      const labels = [...e.options].map((o) => cut(o.label));
      found.push(`(of: ${labels.slice(0, 30).join(', ')}${labels.length > 30 ? `, and ${labels.length - 30} more` : ''})`);
    } else if (!['button', 'checkbox', 'radio', 'link', 'item'].includes(kind)) {
      const value = e.isContentEditable ? e.innerText : e.value;
      if (value) found.push(`= "${cut(String(value), 400)}"`);
    }
    if (target.checked || e.getAttribute('aria-checked') === 'true') found.push('(checked)');
    if (e.getAttribute('aria-selected') === 'true') found.push('(selected)');
    if (e.hasAttribute('aria-expanded')) found.push(e.getAttribute('aria-expanded') === 'true' ? '(open)' : '(closed)');
    if (target.disabled || e.getAttribute('aria-disabled') === 'true') found.push('(disabled)');
    return found.map((mark) => ' ' + mark).join('');
  };
  const bare = (e) => {                                     // what can be said of an element without a word
    const box = e.getBoundingClientRect(), size = `${Math.round(box.width)}x${Math.round(box.height)}`;
    const drawn = e instanceof SVGElement ? [e.getAttribute('fill') || e.style.fill, squeezed(e.getAttribute('class')), size] : [squeezed(e.className)];
    return cut([e.localName, ...drawn.filter((word) => word && word !== 'none')].join(' '), 40);
  };

  const walk = (node) => {
    if (full) return;
    const offset = waiting && node === aepo.start.node ? aepo.start.offset : 0;
    if (waiting && node === aepo.start.node) waiting = false;
    if (node.nodeType === Node.TEXT_NODE) {
      const parent = node.parentElement;
      if (waiting) return;
      if (!node.data.trim() || parent && getComputedStyle(parent).visibility !== 'visible') line += ' ';
      else write(node, offset);
      return;
    }
    if (node.nodeType !== Node.ELEMENT_NODE) return;
    const e = node, tag = e.localName;
    if (['script', 'style', 'noscript', 'template', 'head', 'title', 'defs'].includes(tag)) return;
    const style = getComputedStyle(e);
    if (style.display === 'none' || e.getAttribute('aria-hidden') === 'true') return;
    const box = e.getBoundingClientRect();
    if (box.height > 0 && (box.bottom <= 0 || box.right <= 0)) return;      // above the window, or beside it
    const inline = style.display.startsWith('inline') || style.display === 'contents' || e instanceof SVGElement && tag !== 'svg';
    const cell = style.display === 'table-cell' && e.innerText.length < 300;
    if (cell) { line += ' | '; cells++; } else if (!inline || tag === 'br') pause();
    const kind = kindOf(e, style);
    if (waiting) {
      if (!kind || kind === 'item') inside(e);
    } else if (kind && shown(e)) {
      const number = aepo.elements.length + 1;
      if (kind === 'item' && e.children.length && (e.localName === 'svg' || squeezed(e.innerText))) {  // may hold others
        if (!put(` [${number}] `, e)) return;
        aepo.elements.push(e);
        inside(e);
      } else {
        const name = nameOf(e, kind) || (kind === 'item' || kind === 'button' || kind === 'link' ? `(${bare(e)})` : '');
        const said = name.startsWith('(') ? ` ${name}` : name && ` "${name}"`;
        if (!put(` [${number}] ${kind}${said}${marks(e, kind)} `, e)) return;
        aepo.elements.push(e);
      }
    } else if (tag === 'label' && e.control && shown(e.control) && !e.contains(e.control)) {
      // its text is the control's name
    } else if (tag === 'label' && e.control && shown(e.control)) {
      walk(e.control);
    } else if (tag === 'img') {
      if (e.alt && shown(e)) put(` (picture: ${cut(e.alt)}) `, e);
    } else if (tag === 'iframe') {
      put(' (a frame, which is not shown) ', e);
    } else inside(e);
    if (cell) cells--; else if (!inline) pause();
  };
  const inside = (e) => { for (const child of (e.shadowRoot || e).childNodes) walk(child); };
  const pause = () => { if (cells) line += ' '; else flush(); };    // the parts of a small cell stand in one line

  walk(document.body || document.documentElement);
  flush();
  if (scrollY > 0 || aepo.start) lines.unshift('(there is more above: scroll up)');
  if (full) lines.push('(there is more below: scroll down)');
  return [lines.join('\n'), aepo.leaving];
}
