// Questions to the server, and the token that it may want.

const KEY = "otel-dns-token";

/** A question that was not answered. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The token may come behind the address, as #token=…, which no server gets to see. */
export function takeToken() {
  const match = location.hash.match(/^#token=([^&/]+)/);
  if (!match) return;
  setToken(decodeURIComponent(match[1]));
  history.replaceState(null, "", location.pathname + location.search + "#/");
}

/** Keep a token for as long as this tab lives. */
export function setToken(token) {
  try { sessionStorage.setItem(KEY, token); } catch { kept = token; }
}

let kept = "";
function token() {
  try { return sessionStorage.getItem(KEY) ?? kept; } catch { return kept; }
}

/**
 * Ask the server.
 * @param {string} path below api/v1/
 * @param {object} parameters what is null, undefined or "" is left out
 * @param {AbortSignal} [signal]
 * @throws {ApiError}
 */
export async function ask(path, parameters = {}, signal = undefined) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") query.set(key, value);
  }
  const headers = token() ? { Authorization: `Bearer ${token()}` } : {};
  let answer;
  try {
    answer = await fetch(`api/v1/${path}?${query}`, { headers, signal, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "the page's server does not answer; it starts again by itself");
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new ApiError(answer.status, problem(body) || `the server answered ${answer.status}`);
  return body;
}

function problem(body) {
  if (typeof body.detail === "string") return body.detail;
  if (Array.isArray(body.detail)) return body.detail.map((one) => `${one.loc?.at(-1)}: ${one.msg}`).join("; ");
  return "";
}
