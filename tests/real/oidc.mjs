// An issuer nobody here wrote: oidc-provider on a loopback port, its tokens JWTs for any MCP server that is asked for.
//
//   node oidc.mjs '{"port":0,"access_token_lifetime":600}'
//
// Prints one line when it listens. Its login page has the two fields `username` and `password`; any password will do,
// and the name becomes the `sub`. Stops when its standard input ends.

import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import { once } from "node:events";
import Provider from "oidc-provider";

const options = { port: 0, access_token_lifetime: 600, key_prefix: "", ...JSON.parse(process.argv[2] ?? "{}") };

const server = createServer();
server.listen(options.port, "127.0.0.1");
await once(server, "listening");
const issuer = `http://127.0.0.1:${server.address().port}`;

function key(kty, options, kid, alg) {
  const { privateKey } = generateKeyPairSync(kty, options);
  return { ...privateKey.export({ format: "jwk" }), kid, alg, use: "sig" };
}

const provider = new Provider(issuer, {
  clients: [],
  clientDefaults: { grant_types: ["authorization_code", "refresh_token"] },
  cookies: { keys: ["only for tests"] },
  jwks: {
    keys: [
      key("rsa", { modulusLength: 2048 }, `${options.key_prefix}rsa`, "RS256"),
      key("ec", { namedCurve: "P-256" }, `${options.key_prefix}ec`, "ES256"),
    ],
  },
  scopes: ["openid", "offline_access"],
  pkce: { required: () => true },
  ttl: { AccessToken: options.access_token_lifetime, AuthorizationCode: 60, Grant: 3600, Interaction: 600 },
  issueRefreshToken: (_context, client) => client.grantTypeAllowed("refresh_token"),
  expiresWithSession: () => false,
  findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  interactions: { url: (_context, interaction) => `/interaction/${interaction.uid}` },
  features: {
    devInteractions: { enabled: false },
    registration: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (_context, resource) => ({
        scope: "mcp",
        audience: resource,
        accessTokenFormat: "jwt",
        accessTokenTTL: options.access_token_lifetime,
        jwt: { sign: { alg: options.algorithm ?? "RS256" } },
      }),
    },
  },
});

const handle = provider.callback();
server.on("request", async (request, response) => {
  try {
    if (!request.url.startsWith("/interaction/")) return handle(request, response);
    if (request.method === "GET") return showLogin(request, response);
    return await finishLogin(request, response);
  } catch (error) {
    response.writeHead(500, { "content-type": "text/plain" }).end(String(error?.message ?? error));
  }
});

function showLogin(request, response) {
  response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(
    `<!doctype html><title>Log in</title><form method="post" action="${encodeURI(request.url)}">` +
      `<input name="username"><input name="password" type="password"><button>Log in and allow</button></form>`,
  );
}

async function finishLogin(request, response) {
  let body = "";
  for await (const chunk of request) body += chunk;
  const accountId = new URLSearchParams(body).get("username");
  const { params } = await provider.interactionDetails(request, response);
  const grant = new provider.Grant({ accountId, clientId: params.client_id });
  grant.addOIDCScope("openid offline_access");
  for (const resource of [params.resource ?? []].flat()) grant.addResourceScope(resource, "mcp");
  const result = { login: { accountId }, consent: { grantId: await grant.save() } };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}

console.log(JSON.stringify({ event: "listening", issuer }));
process.stdin.resume().on("end", () => process.exit(0));
