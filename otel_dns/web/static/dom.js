// The only way in which this page makes elements. Names from DNS are hostile text: what is no node
// becomes a text node, never markup.

/**
 * Make an element.
 * @param {string} tag its name, with classes: "td.num"
 * @param {object|null} attributes "on…" are listeners, "style" an object of CSS properties,
 *     true an empty attribute; null, undefined and false leave one out
 * @param {...*} children nodes, text, numbers, or lists of them; null and false are left out
 */
export function h(tag, attributes, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") setStyle(element, value);
    else if (key === "href") element.setAttribute(key, safeUrl(value));
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...nodes(children));
  return element;
}

/** Put children in place of what an element has. */
export function fill(element, ...children) {
  element.replaceChildren(...nodes(children));
  return element;
}

function nodes(children) {
  return children.flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : document.createTextNode(visible(String(child)))));
}

function setStyle(element, properties) {
  for (const [property, value] of Object.entries(properties)) element.style.setProperty(property, value);
}

/**
 * A part of a view that the rest does not wait for: at once where it comes soon, else put in place later.
 * @param {Promise} answer
 * @param {function} make answer -> node or null
 * @param {object} context of the view: its signal, and how long it waits, in milliseconds
 */
export async function later(answer, make, { signal, patience }) {
  const place = h("p.quiet", null, "…");
  const made = answer.then(make, (error) => h("p.quiet", { role: "alert" }, `No answer to this part: ${error.message}`));
  const soon = await Promise.race([made, new Promise((resolve) => { setTimeout(resolve, patience, place); })]);
  if (soon === place) made.then((node) => signal.aborted || place.replaceWith(...nodes([node])));
  return soon;
}

/** Lines of text for a <pre>: a line break within one is shown, and makes no second line. */
export function lines(texts) {
  return texts.map((text) => [text, document.createTextNode("\n")]);
}

/** Links lead within the page, or to http(s). */
function safeUrl(url) {
  return /^(#|https?:\/\/)/.test(url) ? url : "#";
}

/** Characters that control, that turn the direction of text, or that nobody sees are shown, not obeyed. */
export function visible(text) {
  return text.replace(/[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu,
    (char) => `\\u{${char.codePointAt(0).toString(16)}}`);
}
