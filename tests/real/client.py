"""A client nobody here wrote: the Python SDK, or with the argument `fastmcp` the one of FastMCP, driven by lines of JSON.

Each line of standard input is a command, each is answered by one line of output. The SDK does discovery, registration,
PKCE, tokens and refreshing by itself; only the person in front of the browser is played here (`log_in`).
"""

import asyncio
import hashlib
import html.parser
import json
import sys
import threading
import time
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2
from mcp.client.auth import OAuthClientProvider
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata
import mcp_types as types

FASTMCP = sys.argv[1:] == ["fastmcp"]
if FASTMCP:
    from fastmcp.client import Client as FastClient
    from fastmcp.client.transports import StreamableHttpTransport

REDIRECT_URI = "http://127.0.0.1:9/callback"
MAX_STEPS = 12


class Forms(html.parser.HTMLParser):
    """The forms of a page: where each goes, and every named control with its value."""

    def __init__(self, page: str):
        super().__init__()
        self.forms: list[dict] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "form":
            self.forms.append({"action": given.get("action") or "", "controls": []})
        elif tag in ("input", "button", "select") and self.forms and given.get("name"):
            self.forms[-1]["controls"].append((given["name"], given.get("value") or "", given.get("type") or ""))


def answers(form: dict, user: dict) -> dict | None:
    """What a person answers, by the name of the field."""
    names = {name for name, _, _ in form["controls"]}
    if "development_user" in names:
        return {"development_user": user["name"]}
    if "username" in names:
        return {"username": user["name"], "password": user.get("password", "")}
    if "decision" in names:
        return {"decision": "approve"}
    return None


async def log_in(authorize_url: str, user: dict) -> str:
    """Logs in as a person with a browser would; the URL that the redirect URI was called with."""
    async with httpx2.AsyncClient(follow_redirects=False) as browser:
        request = browser.build_request("GET", authorize_url, headers={"accept": "text/html"})
        for _ in range(MAX_STEPS):
            response = await browser.send(request)
            if "location" in response.headers:
                target = urljoin(str(request.url), response.headers["location"])
                if target.startswith(REDIRECT_URI):
                    return target
                request = browser.build_request("GET", target, headers={"accept": "text/html"})
                continue
            if response.status_code != 200:
                raise RuntimeError(f"the authorization server answered {response.status_code}: {response.text[:500]}")
            form = next((form for form in Forms(response.text).forms if answers(form, user)), None)
            if form is None:
                raise RuntimeError(f"no login or consent form in: {response.text[:500]}")
            fields = {name: value for name, value, kind in form["controls"] if kind.lower() == "hidden"}
            origin = "{0.scheme}://{0.netloc}".format(urlsplit(str(request.url)))
            request = browser.build_request(
                "POST",
                urljoin(str(request.url), form["action"]),
                data={**fields, **(answers(form, user) or {})},
                headers={"accept": "text/html", "origin": origin},
            )
        raise RuntimeError(f"no end after {MAX_STEPS} steps of login")


class Memory:
    """What the SDK asks to have kept."""

    tokens = None
    client_info = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client_info

    async def set_client_info(self, client_info):
        self.client_info = client_info


def digest(text):
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()


class Driver:
    """One connected client and the commands for it."""

    def __init__(self):
        self.memory = Memory()
        self.logins = 0
        self.session = None
        self.http = None
        self.accept = None

    async def connect(self, url, user, mode="legacy", accept=None):
        callback = None

        async def redirect(authorize_url: str) -> None:
            nonlocal callback
            self.logins += 1
            callback = parse_qs(urlsplit(await log_in(authorize_url, user)).query)

        async def called_back() -> AuthorizationCodeResult:
            first = {name: values[0] for name, values in callback.items()}
            return AuthorizationCodeResult(code=first.get("code"), state=first.get("state"), iss=first.get("iss"))

        self.auth = OAuthClientProvider(
            server_url=url,
            client_metadata=OAuthClientMetadata(
                client_name="interoperability test (python)",
                redirect_uris=[REDIRECT_URI],
                grant_types=["authorization_code", "refresh_token"],
                response_types=["code"],
                token_endpoint_auth_method="none",
            ),
            storage=self.memory,
            redirect_handler=redirect,
            callback_handler=called_back,
        )

        self.accept = accept
        if FASTMCP:
            self.connection = StreamableHttpTransport(url, auth=self.auth)
            await self.enter(self.connection, mode)
        else:
            self.http = create_mcp_http_client(auth=self.auth)
            self.http.event_hooks = {"request": [self.note_session]}
            await self.http.__aenter__()
            await self.enter(streamable_http_client(url, http_client=self.http), mode)
        return {**await self.state(), "protocol": self.protocol()}

    async def note_session(self, request):
        self.session = request.headers.get("mcp-session-id", self.session)

    async def launch(self, command, mode="legacy"):
        """Starts a server as a child process and speaks to it on its stdin and stdout."""
        await self.enter(stdio_client(StdioServerParameters(command=command[0], args=command[1:])), mode)
        return {"protocol": self.protocol()}

    async def enter(self, transport, mode):
        mode = "2026-07-28" if mode == "modern" else mode
        self.client = self.fastmcp(transport, mode) if FASTMCP else self.sdk(transport, mode)
        await self.client.__aenter__()

    def sdk(self, transport, mode):
        async def elicit(context, params):
            return answer(params, self.accept)

        return Client(
            transport,
            mode=mode,
            read_timeout_seconds=30,
            sampling_callback=sample,
            elicitation_callback=elicit,
            list_roots_callback=roots,
        )

    def fastmcp(self, transport, mode):
        async def elicit(message, response_type, params, context):
            return answer(params, self.accept)

        async def sampled(messages, params, context):
            return "a sampled answer"

        return FastClient(
            transport,
            mode=mode,
            timeout=30,
            sampling_handler=sampled,
            elicitation_handler=elicit,
            roots=["file:///a-root"],
        )

    def protocol(self):
        return self.client.session.protocol_version if FASTMCP else self.client.protocol_version

    async def state(self):
        tokens, client_info = self.memory.tokens, self.memory.client_info
        return {
            "session": self.connection._session_id if FASTMCP else self.session,
            "logins": self.logins,
            "client_id": client_info and client_info.client_id,
            "access_token": digest(tokens and tokens.access_token),
            "refresh_token": digest(tokens and tokens.refresh_token),
        }

    async def spoil(self):
        """The SDK takes its access token for expired, so it has to use its refresh token."""
        self.auth.context.token_expiry_time = time.time() - 1
        return {}

    async def tools(self):
        return {"names": [tool.name for tool in listed(await self.client.list_tools(), "tools")]}

    async def call(self, name, arguments):
        return dump(await self.call_tool(name, arguments))

    def call_tool(self, name, arguments, progress=None):
        if FASTMCP:
            return self.client.call_tool_mcp(name, arguments, progress_handler=progress)
        return self.client.call_tool(name, arguments, progress_callback=progress)

    async def progress(self, name, arguments):
        seen = []

        async def note(progress, total, message):
            seen.append({"progress": progress, "total": total})

        result = await self.call_tool(name, arguments, note)
        return {**dump(result), "progress": seen}

    async def resources(self):
        return {"uris": [str(resource.uri) for resource in listed(await self.client.list_resources(), "resources")]}

    async def read(self, uri):
        read = self.client.read_resource_mcp if FASTMCP else self.client.read_resource
        return dump(await read(uri))

    async def templates(self):
        templates = listed(await self.client.list_resource_templates(), "resource_templates")
        return {"templates": [template.uri_template for template in templates]}

    async def prompts(self):
        return {"names": [prompt.name for prompt in listed(await self.client.list_prompts(), "prompts")]}

    async def prompt(self, name, arguments):
        return dump(await self.client.get_prompt(name, arguments))

    async def ping(self):
        return {} if FASTMCP and await self.client.ping() else dump(await self.client.send_ping())

    async def close(self):
        await self.client.__aexit__(None, None, None)
        if self.http:
            await self.http.__aexit__(None, None, None)
        return {}


def listed(result, member):
    """FastMCP gives lists themselves, the SDK the results that they are in."""
    return result if FASTMCP else getattr(result, member)


def dump(model):
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


async def sample(context, params):
    content = types.TextContent(type="text", text="a sampled answer")
    return types.CreateMessageResult(role="assistant", model="test", content=content)


def answer(params, accept):
    """The user accepts with this content, or declines if there is none."""
    if accept is None:
        return types.ElicitResult(action="decline")
    return types.ElicitResult(action="accept", content=None if params.mode == "url" else accept)


async def roots(context):
    return types.ListRootsResult(roots=[types.Root(uri="file:///a-root", name="a root")])


async def lines():
    """Standard input's lines, read by a thread so that the client's streams go on meanwhile."""
    loop, queue = asyncio.get_running_loop(), asyncio.Queue()

    def read():
        for line in sys.stdin:
            loop.call_soon_threadsafe(queue.put_nowait, line)
        loop.call_soon_threadsafe(queue.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    while (line := await queue.get()) is not None:
        yield line


def explain(error: BaseException) -> str:
    """An exception group's first cause says more than the group."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


async def main():
    driver = Driver()
    async for line in lines():
        command = json.loads(line)
        try:
            answer = {"ok": await getattr(driver, command.pop("do"))(**command)}
        except Exception as error:
            answer = {"error": explain(error), "code": getattr(getattr(error, "error", None), "code", None)}
        print(json.dumps(answer), flush=True)


asyncio.run(main())
