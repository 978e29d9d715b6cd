"""A browser as a client: Debian's Chromium, driven through chromedriver, with pages of the checks' own: one speaks by itself (browser.html), the other
by Debian's Strophe.js (strophe.html)."""

import asyncio
import contextlib
import http.server
import json
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.request

from harness import STEP, Failed, check, equal, is_message, require
from messages import text

FOLDER = pathlib.Path(__file__).resolve().parent
STROPHE = pathlib.Path("/usr/share/javascript/strophe/strophe.js")
BROWSER_STEP = 20.0  # seconds: a browser takes its time to start


class Browser:
    """One window. WebDriver is spoken without a library: four requests are all that is needed."""

    def __init__(self, world):
        for program in ("chromium", "chromedriver"):
            require(shutil.which(program), f"{program} is missing: scripts/install-packages test")
        self.profile = tempfile.mkdtemp(prefix="browser.")
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
        )
        self.url = f"http://127.0.0.1:{self.driver_port()}"
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        options += [f"--user-data-dir={self.profile}", f"--host-resolver-rules=MAP {world.domain} {world.address}"]
        capabilities = {"browserName": "chrome", "acceptInsecureCerts": True, "goog:chromeOptions": {"args": options}}
        made = self.ask("/session", {"capabilities": {"alwaysMatch": capabilities}})
        self.url += "/session/" + made["sessionId"]

    def driver_port(self):
        for line in self.driver.stdout:
            if "started successfully on port" in line:
                return int(line.rstrip(".\n").rsplit(" ", 1)[1])
        raise Failed("chromedriver does not start")

    def ask(self, path, values):
        request = urllib.request.Request(self.url + path, json.dumps(values).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=BROWSER_STEP) as answer:
            return json.load(answer)["value"]

    def run(self, script, *arguments):
        return self.ask("/execute/sync", {"script": script, "args": list(arguments)})

    def close(self):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(urllib.request.Request(self.url, method="DELETE"), timeout=STEP).close()
        self.driver.kill()
        self.driver.wait()
        shutil.rmtree(self.profile, ignore_errors=True)


@contextlib.contextmanager
def page(name):
    """The address of a page, from a place of its own: it is of another origin than the server."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=FOLDER)

        def translate_path(self, path):
            return str(STROPHE) if path == "/strophe.js" else super().translate_path(path)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{name}"
        server.shutdown()


def converse(world, name, wanted, said):
    """Opens a page with a browser, starts it, and gives what became of it to `said`."""
    browser = Browser(world)
    try:
        with page(name) as address:
            # The certificate is made by the server itself: a browser takes it once a person has, which the driver stands for.
            browser.ask("/url", {"url": f"https://{web(world)}/"})
            browser.ask("/url", {"url": address})
            browser.run("start(arguments[0])", wanted)
            deadline = time.monotonic() + BROWSER_STEP
            while (seen := browser.run("return said")) is None:
                require(time.monotonic() < deadline, "the page does not come to an end")
                time.sleep(0.05)
            said.append(seen)
    finally:
        browser.close()


def web(world):
    return f"{world.domain}:{world.web_port}"


async def chat(world, document, /, **wanted):
    """A page says something to Juliet, whose client answers. - Returns: what became of it, and the answer."""
    juliet = await world.client("juliet")
    body, answer = text(), text()
    said = []
    wanted = {**wanted, "password": world.passwords["romeo"], "to": world.jid("juliet"), "body": body}
    page_runs = asyncio.create_task(asyncio.to_thread(converse, world, document, wanted, said))
    hears = asyncio.create_task(juliet.expect(is_message(body), "the browser's message", BROWSER_STEP))
    # Whichever ends first tells more if something is wrong.
    await asyncio.wait({page_runs, hears}, return_when=asyncio.FIRST_COMPLETED)
    if not hears.done():
        await page_runs
        raise Failed(f"the page said {said}")
    message = await hears
    juliet.send_message(mto=message["from"], mbody=answer, mtype="chat")
    await page_runs
    require("error" not in said[0], f"the page said {said}")
    return said[0], answer


@check("a browser logs in over WebSocket with SCRAM, and chats with a client on TCP", only="martlet")
async def _(world):
    host_meta = f"https://{web(world)}/.well-known/host-meta.json"
    said, answer = await chat(world, "browser.html", hostMeta=host_meta, domain=world.domain, name="romeo")
    equal(said["link"], f"wss://{web(world)}/xmpp-websocket", "where the WebSocket is")
    equal(said["heard"], answer, "what the browser heard")


@check("Strophe.js in a browser chats over BOSH", only="martlet")
async def _(world):
    said, answer = await chat(world, "strophe.html", url=f"https://{web(world)}/http-bind", jid=world.jid("romeo"))
    equal(said["heard"], answer, "what the browser heard")


@check("Strophe.js in a browser chats over WebSocket", only="martlet")
async def _(world):
    said, answer = await chat(world, "strophe.html", url=f"wss://{web(world)}/xmpp-websocket", jid=world.jid("romeo"))
    equal(said["heard"], answer, "what the browser heard")
