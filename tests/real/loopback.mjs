// Preloaded into servers nobody here wrote (`node --import ./loopback.mjs SERVER`): they listen on the loopback address
// only, and say in one line of JSON at which port, so that port 0 can be asked for.

import { Server } from "node:net";

const listen = Server.prototype.listen;

Server.prototype.listen = function (port, ...rest) {
  this.once("listening", () => console.log(JSON.stringify({ event: "listening", port: this.address().port })));
  return listen.call(this, { port: Number(port), host: "127.0.0.1" }, ...rest.filter((given) => typeof given === "function"));
};
