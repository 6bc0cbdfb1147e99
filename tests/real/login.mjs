// Answers an authorization server's pages the way a person with a browser would: follows redirects, keeps cookies,
// fills in the login form, approves the consent form, and stops at the client's redirect URI.

const MAX_STEPS = 12;

/** The forms of a page: where each goes, and every named control with its value. */
function forms(html, base) {
  return [...html.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/gi)].map(([, head, body]) => {
    const controls = [...body.matchAll(/<(input|button|select)\b([^>]*)>/gi)]
      .map(([, tag, attributes]) => ({
        tag: tag.toLowerCase(),
        type: attribute(attributes, "type") ?? "",
        name: attribute(attributes, "name"),
        value: attribute(attributes, "value") ?? "",
      }))
      .filter((control) => control.name !== undefined);
    return { action: new URL(attribute(head, "action") || base, base), controls };
  });
}

function attribute(text, name) {
  const found = text.match(new RegExp(`\\b${name}\\s*=\\s*(?:"([^"]*)"|'([^']*)'|([^\\s>]+))`, "i"));
  return found ? unescape(found[1] ?? found[2] ?? found[3]) : undefined;
}

function unescape(text) {
  const names = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };
  return text
    .replace(/&#x([0-9a-f]+);/gi, (_, hex) => String.fromCodePoint(parseInt(hex, 16)))
    .replace(/&#(\d+);/g, (_, digits) => String.fromCodePoint(Number(digits)))
    .replace(/&(amp|lt|gt|quot|apos);/g, (_, name) => names[name]);
}

/** What a person answers, by the name of the field. */
function answers(form, user) {
  const has = (name) => form.controls.some((control) => control.name === name);
  if (has("development_user")) return { development_user: user.name };
  if (has("username")) return { username: user.name, password: user.password ?? "" };
  if (has("decision")) return { decision: "approve" };
  return undefined;
}

/** Logs in at `authorizeUrl` as `user` and returns the URL that the client's redirect URI was called with. */
export async function login(authorizeUrl, redirectUri, user) {
  const cookies = new Map();
  let request = { url: new URL(authorizeUrl), init: {} };
  for (let step = 0; step < MAX_STEPS; step += 1) {
    const headers = { ...request.init.headers, accept: "text/html" };
    if (cookies.size > 0) headers.cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(request.url, { ...request.init, headers, redirect: "manual" });
    for (const line of response.headers.getSetCookie()) {
      const [pair, ...attributes] = line.split(";");
      const [name, ...value] = pair.split("=");
      const gone = attributes.some((text) => /^\s*max-age\s*=\s*0\s*$/i.test(text)) || value.join("=") === "";
      if (gone) cookies.delete(name.trim());
      else cookies.set(name.trim(), value.join("="));
    }
    const location = response.headers.get("location");
    if (location !== null) {
      const next = new URL(location, request.url);
      if (next.href.startsWith(redirectUri)) return next;
      request = { url: next, init: {} };
      continue;
    }
    const page = await response.text();
    if (!response.ok) throw new Error(`the authorization server answered ${response.status}: ${page.slice(0, 500)}`);
    const form = forms(page, request.url).find((candidate) => answers(candidate, user));
    if (!form) throw new Error(`no login or consent form in: ${page.slice(0, 500)}`);
    const hidden = form.controls.filter((control) => control.type.toLowerCase() === "hidden");
    const fields = { ...Object.fromEntries(hidden.map(({ name, value }) => [name, value])), ...answers(form, user) };
    request = {
      url: form.action,
      init: { method: "POST", body: new URLSearchParams(fields), headers: { origin: request.url.origin } },
    };
  }
  throw new Error(`no end after ${MAX_STEPS} steps of login`);
}
