// The official JSON Schema of each revision, as the conformance suite carries it, held against messages.
//
// Each line of standard input is one message with what is known about it: {revision, method?, message}, where `method` is
// the method of the request that a response answers. Each is answered by one line: {errors: [...]}.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { runInNewContext } from "node:vm";

const require = createRequire(import.meta.url);
const suite = createRequire(require.resolve("@modelcontextprotocol/conformance/package.json"));
const { Ajv } = suite("ajv");
const { Ajv2020 } = suite("ajv/dist/2020.js");
const addFormats = suite("ajv-formats").default;

/** The end of the object literal that starts at `start`: strings of all three kinds are skipped, templates have no holes. */
function literalEnd(source, start) {
  let depth = 0;
  for (let at = start; at < source.length; at += 1) {
    const char = source[at];
    if ("\"'`".includes(char)) {
      for (at += 1; source[at] !== char; at += 1) if (source[at] === "\\") at += 1;
    } else if (char === "{" || char === "[") depth += 1;
    else if (char === "}" || char === "]") {
      depth -= 1;
      if (depth === 0) return at + 1;
    }
  }
  throw new Error("a schema without an end");
}

/** The schemas in the suite's bundle: they are the literals that name a dialect and define `JSONRPCMessage`. */
function schemasIn(source) {
  const found = [];
  for (const { index } of source.matchAll(/\{\$schema:`https?:\/\/json-schema\.org\/[^`]*`,(?:\$defs|definitions):\{/g)) {
    const schema = runInNewContext(`(${source.slice(index, literalEnd(source, index))})`, {}, { timeout: 5000 });
    if ((schema.$defs ?? schema.definitions).JSONRPCMessage) found.push(schema);
  }
  return found;
}

/** A revision is told by what only it, or only it and later ones, define. */
function revisionOf(definitions) {
  if ("DiscoverRequest" in definitions) return "2026-07-28";
  if ("CreateTaskResult" in definitions) return "2025-11-25";
  if ("ElicitRequest" in definitions) return "2025-06-18";
  if ("AudioContent" in definitions) return "2025-03-26";
  throw new Error("a schema of no known revision");
}

class Revision {
  methods = new Map();
  errors = new Map();
  validators = new Map();

  constructor(name, schema) {
    this.key = "$defs" in schema ? "$defs" : "definitions";
    this.definitions = schema[this.key];
    // The generator of two schemas wrote `integer` where the specification's TypeScript says `number`.
    for (const bound of ["minimum", "maximum", "default"]) {
      const property = this.definitions.NumberSchema?.properties?.[bound];
      if (property?.type === "integer") property.type = "number";
    }
    this.ajv = new (this.key === "$defs" ? Ajv2020 : Ajv)({ strict: false, allErrors: true });
    addFormats(this.ajv);
    this.ajv.addFormat("byte", /^[A-Za-z0-9+/]*={0,2}$/);
    this.base = `mcp://${name}/schema.json`;
    this.ajv.addSchema({ ...schema, $id: this.base });
    for (const [name, definition] of Object.entries(this.definitions)) {
      const method = definition.properties?.method?.const;
      if (method !== undefined) this.methods.set(method, name);
      for (const part of definition.properties?.error?.allOf ?? []) {
        const code = part.properties?.code?.const;
        if (code !== undefined) this.errors.set(code, name);
      }
    }
  }

  check(name, value) {
    if (!this.validators.has(name)) {
      this.validators.set(name, this.ajv.compile({ $ref: `${this.base}#/${this.key}/${name}` }));
    }
    const validate = this.validators.get(name);
    if (validate(value)) return [];
    return validate.errors.slice(0, 8).map((error) => `${name}${error.instancePath}: ${error.message}`);
  }

  first(...names) {
    return names.find((name) => name in this.definitions);
  }

  /** What the message must be: decided by its method, or by the method that it answers. */
  errorsIn(message, method) {
    if (typeof message?.method === "string") {
      const name = this.methods.get(message.method);
      const envelope = this.check("id" in message ? "JSONRPCRequest" : "JSONRPCNotification", message);
      return name === undefined ? envelope : [...envelope, ...this.check(name, message)];
    }
    if (message?.error !== undefined) {
      return this.check(this.errors.get(message.error?.code) ?? this.first("JSONRPCErrorResponse", "JSONRPCError"), message);
    }
    if (message?.result === undefined) return ["neither a request, a notification nor a response"];
    const errors = this.check(this.first("JSONRPCResultResponse", "JSONRPCResponse"), message);
    return [...errors, ...this.resultErrors(message.result, method)];
  }

  resultErrors(result, method) {
    const type = result?.resultType;
    // What an extension defines, this schema does not know.
    if (type === "task") return [];
    if (type === "input_required" && "InputRequiredResult" in this.definitions) {
      return this.check("InputRequiredResult", result);
    }
    const name = this.methods.get(method)?.replace(/Request$/, "Result");
    return name !== undefined && name in this.definitions ? this.check(name, result) : [];
  }
}

const bundle = readFileSync(require.resolve("@modelcontextprotocol/conformance/dist/index.js"), "utf8");
const revisions = new Map();
for (const schema of schemasIn(bundle)) {
  const name = revisionOf(schema.$defs ?? schema.definitions);
  if (revisions.has(name)) throw new Error(`two schemas of ${name}`);
  revisions.set(name, new Revision(name, schema));
}
console.log(JSON.stringify({ event: "ready", revisions: [...revisions.keys()].sort() }));

for await (const line of createInterface({ input: process.stdin })) {
  const { revision, method, message } = JSON.parse(line);
  const known = revisions.get(revision);
  const errors = known ? known.errorsIn(message, method) : [`no schema of revision ${revision}`];
  console.log(JSON.stringify({ errors }));
}
