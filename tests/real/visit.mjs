// Logs in at an authorization server as a person would, and then follows the redirect to the client that waits for it.
//
//   node visit.mjs AUTHORIZE_URL REDIRECT_URI USER       (the password is the user's name)

import { login } from "./login.mjs";

const [authorizeUrl, redirectUri, name] = process.argv.slice(2);
const callback = await login(authorizeUrl, redirectUri, { name, password: name });
const response = await fetch(callback);
if (!response.ok) throw new Error(`the client answered ${response.status}`);
