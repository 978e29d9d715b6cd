"""Checks of uploaded files (XEP-0363) with slixmpp, which asks for slots, and curl, which puts files there and fetches them."""

import asyncio
import hashlib
import random

import slixmpp

from harness import STEP, check, equal, require

PATIENCE = 60.0  # seconds for a transfer


async def curl(world, *arguments, data=None):
    """Status, head and body of what the server answers, over TLS with its certificate checked."""
    process = await asyncio.create_subprocess_exec(
        *("curl", "--silent", "--show-error", "--dump-header", "-", "--cacert", world.certificate, "--max-time", str(PATIENCE)),
        *("--resolve", f"{world.domain}:{world.web_port}:{world.address}"),
        *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )
    out, complaint = await process.communicate(data)
    require(process.returncode == 0, f"curl ended with {process.returncode}: {complaint.decode().strip()}")
    while True:
        head, _, body = out.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        # What comes before the answer is not it.
        if status != 100:
            break
        out = body
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    return status, {name.lower(): value for name, value in fields.items()}, body


async def slot(world, client, name, size, type=None, **options):
    client.register_plugin("xep_0363")
    answer = await client.plugin["xep_0363"].request_slot(
        slixmpp.JID(f"upload.{world.domain}"), name, size, type, timeout=STEP, **options)
    found = answer["http_upload_slot"]
    headers = {header["name"]: header["value"] for header in found["put"]["headers"]}
    return found["put"]["url"], headers, found["get"]["url"]


async def put(world, url, headers, data, *more):
    fields = [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]
    return await curl(world, "--upload-file", "-", "--header", f"Content-Length: {len(data)}", "--header", "Transfer-Encoding:", *fields, *more, url, data=data)


@check("slixmpp finds where files are taken, and how large they may be (XEP-0363 §3)", "martlet")
async def _(world):
    romeo = await world.client("romeo")
    romeo.register_plugin("xep_0363")
    found = await asyncio.wait_for(romeo.plugin["xep_0363"].find_upload_service(timeout=STEP), STEP)
    require(found is not None, "there is a service")
    equal(found["from"], f"upload.{world.domain}", "where it is")
    sizes = [field.findtext("{jabber:x:data}value") for field in found.xml.iter("{jabber:x:data}field") if field.get("var") == "max-file-size"]
    equal(sizes, [str(100 << 20)], "the largest file")


@check("a file of a megabyte is uploaded and fetched by curl, whole, in part and by its tag (XEP-0363 §7)", "martlet")
async def _(world):
    romeo = await world.client("romeo")
    data = random.randbytes((1 << 20) + 1)
    url, headers, get = await slot(world, romeo, "très cool.jpg", len(data), "image/jpeg")
    equal(url, get, "the address for both ways")
    require(url.startswith(f"https://{world.domain}:{world.web_port}/upload/") and url.endswith("/tr%C3%A8s%20cool.jpg"), f"an address: {url}")
    equal((await curl(world, get))[0], 404, "before it is there")
    equal((await put(world, url, {"Authorization": "Bearer x"}, data, "--header", "Content-Type: image/jpeg"))[0], 403, "without the token")
    equal((await put(world, url, headers, data[:-1], "--header", "Content-Type: image/jpeg"))[0], 400, "a byte less")
    equal((await put(world, url, headers, data, "--header", "Content-Type: image/jpeg"))[0], 201, "the file")
    equal((await put(world, url, headers, data, "--header", "Content-Type: image/jpeg"))[0], 409, "the file again")
    status, fields, body = await curl(world, get)
    equal((status, hashlib.sha256(body).hexdigest()), (200, hashlib.sha256(data).hexdigest()), "what is fetched")
    equal(fields["content-type"], "image/jpeg", "its type")
    equal(fields["x-content-type-options"], "nosniff", "what browsers make of it")
    require("sandbox" in fields["content-security-policy"], "it acts nowhere")
    # What curl would print is the head once more.
    status, fields, _ = await curl(world, "--head", "--output", "/dev/null", get)
    equal((status, fields["content-length"]), (200, str(len(data))), "HEAD")
    status, part, body = await curl(world, "--range", "1000-1999", get)
    equal((status, part["content-range"], body), (206, f"bytes 1000-1999/{len(data)}", data[1000:2000]), "a part")
    equal((await curl(world, "--header", f"If-None-Match: {fields['etag']}", get))[0], 304, "what is known")


@check("a page that is uploaded is not shown by browsers, but saved", "martlet")
async def _(world):
    romeo = await world.client("romeo")
    data = b"<script>alert(1)</script>"
    url, headers, get = await slot(world, romeo, "a.html", len(data), "text/html")
    equal((await put(world, url, headers, data))[0], 201, "the file")
    _, fields, _ = await curl(world, get)
    require(fields["content-disposition"].startswith("attachment;"), fields["content-disposition"])


@check("what is too large gets no slot, and its owner hears how large it may be (XEP-0363 §6)", "martlet")
async def _(world):
    romeo = await world.client("romeo")
    try:
        await slot(world, romeo, "a.iso", (100 << 20) + 1)
    except slixmpp.exceptions.IqError as error:
        equal((error.condition, error.etype), ("not-acceptable", "modify"), "the error")
        most = error.iq.xml.find(".//{urn:xmpp:http:upload:0}max-file-size")
        return equal(most.text, str(100 << 20), "the largest file")
    require(False, "it is refused")


@check("the files of an account go with it, and what an operator deletes is gone", "martlet")
async def _(world):
    sampson = await world.client("sampson")
    urls = []
    for name in ("a.png", "b.png"):
        url, headers, get = await slot(world, sampson, name, 4)
        equal((await put(world, url, headers, b"tail"))[0], 201, name)
        urls.append(get)
    configuration = world.delete_account[world.delete_account.index("--config") + 1]
    martlet = lambda *arguments: asyncio.create_subprocess_exec(
        world.martlet, *arguments, "--config", configuration, stdout=asyncio.subprocess.PIPE)
    listed, _ = await (await martlet("uploads", "list", "--account", world.jid("sampson"))).communicate()
    equal(listed.decode().count("4 bytes"), 2, "files in the list")
    name = urls[0].split("/")[4]
    shown, _ = await (await martlet("uploads", "show", name)).communicate()
    require(hashlib.sha256(b"tail").hexdigest() in shown.decode(), "the digest is shown")
    deleted, _ = await (await martlet("uploads", "delete", "--yes", name)).communicate()
    equal(deleted, b"deleted 1 upload\n", "what is said")
    equal([(await curl(world, url))[0] for url in urls], [404, 200], "the files")
    await sampson.close()
    delete = [argument.replace("{jid}", world.jid("sampson")) for argument in world.delete_account]
    await (await asyncio.create_subprocess_exec(*delete, stdout=asyncio.subprocess.DEVNULL)).wait()
    equal((await curl(world, urls[1]))[0], 404, "the file of an account that is gone")
