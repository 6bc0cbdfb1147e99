// A client nobody here wrote, driven by lines of JSON: each line of standard input is a command, each is answered by
// one line of output. The SDK does discovery, registration, PKCE, tokens and refreshing by itself; only the person in
// front of the browser is played here (login.mjs).
//
//   node client.mjs sdk      the TypeScript SDK, version 1
//   node client.mjs client   its successor

import { createHash, randomBytes } from "node:crypto";
import { createInterface } from "node:readline";
import { login } from "./login.mjs";

const REDIRECT_URI = "http://127.0.0.1:9/callback";

const flavour = process.argv[2];
const sdk = flavour === "sdk" ? await loadSdk() : await loadClient();

async function loadSdk() {
  const [{ Client }, { StreamableHTTPClientTransport }, { StdioClientTransport }, { UnauthorizedError }, types] = await Promise.all([
    import("@modelcontextprotocol/sdk/client/index.js"),
    import("@modelcontextprotocol/sdk/client/streamableHttp.js"),
    import("@modelcontextprotocol/sdk/client/stdio.js"),
    import("@modelcontextprotocol/sdk/client/auth.js"),
    import("@modelcontextprotocol/sdk/types.js"),
  ]);
  const method = {
    "sampling/createMessage": types.CreateMessageRequestSchema,
    "elicitation/create": types.ElicitRequestSchema,
    "roots/list": types.ListRootsRequestSchema,
  };
  return {
    UnauthorizedError,
    StdioClientTransport,
    transport: (url, authProvider) => new StreamableHTTPClientTransport(url, { authProvider }),
    client: (info, capabilities) => new Client(info, { capabilities }),
    answer: (client, name, handler) => client.setRequestHandler(method[name], handler),
    finish: (transport, callback) => transport.finishAuth(callback.searchParams.get("code")),
  };
}

async function loadClient() {
  const { Client, StreamableHTTPClientTransport, UnauthorizedError } = await import("@modelcontextprotocol/client");
  const { StdioClientTransport } = await import("@modelcontextprotocol/client/stdio");
  return {
    UnauthorizedError,
    StdioClientTransport,
    transport: (url, authProvider) => new StreamableHTTPClientTransport(url, { authProvider }),
    client: (info, capabilities, mode) => {
      const negotiated = mode === "modern" ? { pin: "2026-07-28" } : mode;
      return new Client(info, { capabilities, versionNegotiation: { mode: negotiated } });
    },
    answer: (client, name, handler) => client.setRequestHandler(name, handler),
    finish: (transport, callback) => transport.finishAuth(callback.searchParams),
  };
}

/** Keeps what the SDK gives it and lets the person log in when the SDK asks for it. */
class Person {
  redirectUrl = REDIRECT_URI;
  clientMetadata = {
    client_name: `interoperability test (${flavour})`,
    redirect_uris: [REDIRECT_URI],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: "none",
  };
  logins = 0;

  constructor(user) {
    this.user = user;
  }
  state() {
    this.sentState = randomBytes(16).toString("base64url");
    return this.sentState;
  }
  clientInformation() {
    return this.client;
  }
  saveClientInformation(information) {
    this.client = information;
  }
  tokens() {
    return this.saved;
  }
  saveTokens(tokens) {
    this.saved = tokens;
  }
  saveCodeVerifier(verifier) {
    this.verifier = verifier;
  }
  codeVerifier() {
    return this.verifier;
  }
  async redirectToAuthorization(url) {
    this.logins += 1;
    this.callback = await login(url, REDIRECT_URI, this.user);
    if (this.callback.searchParams.get("state") !== this.sentState) throw new Error("the state came back changed");
  }
}

let person;
let client;
let transport;

/** The revision that was agreed on, where the SDK tells it. */
const protocol = () => client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion ?? null;

const digest = (text) => (text === undefined ? null : createHash("sha256").update(text).digest("hex"));

function newClient(mode, accept) {
  const made = sdk.client(
    { name: `interoperability-${flavour}`, version: "1.0.0" },
    { sampling: {}, elicitation: { form: {}, url: {} }, roots: { listChanged: true } },
    mode,
  );
  sdk.answer(made, "sampling/createMessage", () => ({
    role: "assistant",
    model: "test",
    content: { type: "text", text: "a sampled answer" },
  }));
  sdk.answer(made, "elicitation/create", ({ params }) => {
    if (!accept) return { action: "decline" };
    return params.mode === "url" ? { action: "accept" } : { action: "accept", content: accept };
  });
  sdk.answer(made, "roots/list", () => ({ roots: [{ uri: "file:///a-root", name: "a root" }] }));
  return made;
}

async function connectOnce(url, mode, accept) {
  transport = sdk.transport(new URL(url), person);
  client = newClient(mode, accept);
  await client.connect(transport);
}

const commands = {
  async connect({ url, user, mode = "legacy", accept }) {
    person = new Person(user);
    try {
      await connectOnce(url, mode, accept);
    } catch (error) {
      if (!(error instanceof sdk.UnauthorizedError)) throw error;
      await sdk.finish(transport, person.callback);
      await connectOnce(url, mode, accept);
    }
    return { ...commands.state(), server: client.getServerVersion(), protocol: protocol() };
  },
  // Starts a server as a child process and speaks to it on its stdin and stdout.
  async launch({ command: [program, ...args], mode = "legacy" }) {
    transport = new sdk.StdioClientTransport({ command: program, args });
    client = newClient(mode);
    await client.connect(transport);
    return { server: client.getServerVersion(), protocol: client.getNegotiatedProtocolVersion?.() ?? null };
  },
  state: () => ({
    session: transport.sessionId ?? null,
    logins: person.logins,
    client_id: person.client?.client_id ?? null,
    access_token: digest(person.saved?.access_token),
    refresh_token: digest(person.saved?.refresh_token),
  }),
  // The server no longer takes the access token, so the SDK has to use its refresh token.
  spoil: () => {
    person.saved = { ...person.saved, access_token: `${person.saved.access_token}x` };
    return {};
  },
  tools: async () => ({ names: (await client.listTools()).tools.map((tool) => tool.name) }),
  call: ({ name, arguments: given }) => client.callTool({ name, arguments: given }),
  progress: async ({ name, arguments: given }) => {
    const seen = [];
    const result =
      flavour === "sdk"
        ? await client.callTool({ name, arguments: given }, undefined, { onprogress: (value) => seen.push(value) })
        : await client.callTool({ name, arguments: given }, { onprogress: (value) => seen.push(value) });
    return { ...result, progress: seen };
  },
  resources: async () => ({ uris: (await client.listResources()).resources.map((resource) => resource.uri) }),
  read: ({ uri }) => client.readResource({ uri }),
  templates: async () => {
    const { resourceTemplates } = await client.listResourceTemplates();
    return { templates: resourceTemplates.map((template) => template.uriTemplate) };
  },
  prompts: async () => ({ names: (await client.listPrompts()).prompts.map((prompt) => prompt.name) }),
  prompt: ({ name, arguments: given }) => client.getPrompt({ name, arguments: given }),
  complete: ({ ref, argument }) => client.complete({ ref, argument }),
  ping: () => client.ping(),
  async close() {
    await transport.terminateSession?.();
    await client.close();
    return {};
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  let answer;
  try {
    answer = { ok: await commands[command.do](command) };
  } catch (error) {
    answer = { error: String(error?.message ?? error), code: error?.code ?? null };
  }
  console.log(JSON.stringify(answer));
}
process.exit(0);
