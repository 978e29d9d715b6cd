"""The white pages in a browser: Debian's Chromium logs in, finds somebody, and sees what becomes of the presence without asking again."""

import asyncio
import time

from browser import BROWSER_STEP, Browser, web
from harness import STEP, befriend, check, equal, require

NASTY = "<script>window.marker = 'reached'</script>"
PRESENCE = "return document.querySelector('tr[data-id=mercutio] .presence .text')?.textContent"


def seen(browser, script, wanted):
    """Waits until a script says what is wanted."""
    deadline = time.monotonic() + BROWSER_STEP
    while (said := browser.run(script)) != wanted:
        require(time.monotonic() < deadline, f"{script}: expected {wanted!r}, seen {said!r}")
        time.sleep(0.05)


def log_in(world, name):
    """A browser at the white pages, as somebody's."""
    browser = Browser(world)
    browser.ask("/url", {"url": f"https://{web(world)}/people"})
    browser.run(
        "document.querySelector('[name=username]').value = arguments[0];"
        "document.querySelector('[name=password]').value = arguments[1];"
        "document.querySelector('form').requestSubmit();",
        name, world.passwords[name])
    seen(browser, "return document.querySelector('.account bdi')?.textContent", world.jid(name))
    return browser


async def card(client, name):
    card = client.plugin["xep_0054"].make_vcard()
    card["FN"] = name
    await client.plugin["xep_0054"].publish_vcard(card, timeout=STEP)


@check("a browser finds a contact in the white pages, and its presence changes there without another question", only="martlet")
async def _(world):
    romeo, mercutio = await world.client("romeo"), await world.client("mercutio")
    await befriend(world, romeo, mercutio)
    await card(mercutio, f"Mercutio {NASTY}")
    mercutio.send_presence(pshow="dnd", pstatus="In a meeting")
    await mercutio.fence()
    browser = await asyncio.to_thread(log_in, world, "romeo")
    try:
        await asyncio.to_thread(browser.ask, "/url", {"url": f"https://{web(world)}/people?q=mercutio"})
        await asyncio.to_thread(seen, browser, PRESENCE, "In a meeting")
        browser.run("window.marker = 'loaded once'")
        mercutio.send_presence(pstatus=NASTY)
        await asyncio.to_thread(seen, browser, PRESENCE, NASTY)
        equal(browser.run("return document.getElementById('news').textContent"), f"Mercutio {NASTY}: {NASTY}", "what is read aloud")
        await mercutio.close()
        await asyncio.to_thread(seen, browser, "return document.querySelector('tr[data-id=mercutio] .presence').className", "presence offline")
        equal(browser.run("return window.marker"), "loaded once", "what has run in the page")
        require(browser.run("return document.scripts.length") == 1, "there is another script than the page's own")
    finally:
        await asyncio.to_thread(browser.close)


@check("the white pages show a stranger's card, and nothing of his presence", only="martlet")
async def _(world):
    paris = await world.client("paris")
    await card(paris, "Paris")
    browser = await asyncio.to_thread(log_in, world, "romeo")
    try:
        await asyncio.to_thread(browser.ask, "/url", {"url": f"https://{web(world)}/people?letter=P"})
        shown = "return document.querySelector('tr[data-id=paris] .presence').className + '|' + document.querySelector('tr[data-id=paris] .text').textContent"
        await asyncio.to_thread(seen, browser, shown, "presence unknown|")
        # The first that the stream says of him is nothing, too.
        paris.send_presence(pstatus="at home")
        await paris.fence()
        equal(browser.run(shown), "presence unknown|", "what is shown of a stranger")
    finally:
        await asyncio.to_thread(browser.close)
