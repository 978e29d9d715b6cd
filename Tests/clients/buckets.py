"""Checks of uploaded files in a bucket: moto speaks S3 on loopback, and looks at signatures as Amazon's service does.

What moto has is looked at by boto3, so that server and check share nothing but the protocol.
"""

import asyncio
import hashlib
import json
import random
import signal
import ssl
import sys
import tempfile
import urllib.request

import boto3
from botocore.config import Config

from harness import STEP, check, equal, require
from operations import Server, accepts, connected, free_ports, until
from uploads import curl, put, slot

BUCKET = "martlet-uploads"
PREFIX = "chat/verona"
START = 60.0  # seconds that moto may take to begin


class Bucket:
    """moto, with one user who may do everything in one bucket; with TLS where a folder is given for its certificate."""

    def __init__(self, folder=None):
        self.certificate = folder and f"{folder}/s3.pem"
        self.key_file = folder and f"{folder}/s3.key"

    async def __aenter__(self):
        self.port, = free_ports(1)
        self.endpoint = f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}"
        if self.certificate:
            made = await asyncio.create_subprocess_exec(
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=moto"),
                *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", self.key_file, "-out", self.certificate),
                stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL)
            equal(await made.wait(), 0, "openssl's status")
        secure = ("-s", "-c", self.certificate, "-k", self.key_file) if self.certificate else ()
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port), *secure,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL)
        try:
            await asyncio.wait_for(self.until_ready(), START)
            await asyncio.to_thread(self.prepare)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def until_ready(self):
        while not accepts(self.port):
            require(self.process.returncode is None, "moto has ended")
            await asyncio.sleep(0.1)

    def prepare(self):
        options = dict(endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id="root", aws_secret_access_key="root",
            verify=self.certificate)
        iam = boto3.client("iam", **options)
        iam.create_user(UserName="martlet")
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
        iam.put_user_policy(UserName="martlet", PolicyName="all", PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName="martlet")["AccessKey"]
        self.key, self.secret = key["AccessKeyId"], key["SecretAccessKey"]
        self.client = boto3.client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id=self.key, aws_secret_access_key=self.secret,
            verify=self.certificate, config=Config(s3={"addressing_style": "path"}))
        self.client.create_bucket(Bucket=BUCKET)

    async def checks_signatures(self, does):
        """While it does, lists are refused: it takes encoded slashes in queries for others than were signed."""
        request = urllib.request.Request(
            f"{self.endpoint}/moto-api/reset-auth", data=b"0" if does else b"inf", headers={"Content-Type": "text/plain"}, method="POST")
        context = ssl.create_default_context(cafile=self.certificate) if self.certificate else None
        await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=STEP, context=context).read())

    async def keys(self):
        await self.checks_signatures(False)
        answer = await asyncio.to_thread(self.client.list_objects_v2, Bucket=BUCKET)
        return {each["Key"]: each["Size"] for each in answer.get("Contents", [])}

    async def put(self, key):
        await asyncio.to_thread(self.client.put_object, Bucket=BUCKET, Key=key, Body=b"x")

    async def delete(self, key):
        await asyncio.to_thread(self.client.delete_object, Bucket=BUCKET, Key=key)

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    async def __aexit__(self, *_):
        if self.process.returncode is None:
            self.resume()
            self.process.terminate()
            await self.process.wait()


class BucketServer(Server):
    """A server whose files are in the bucket."""

    def __init__(self, world, bucket, retention="1h"):
        self.web_port, = free_ports(1)
        super().__init__(world, f"}}\n  - {{kind: https, port: {self.web_port}, addresses: [127.0.0.1]")
        self.secret_file = self.folder / "s3.secret"
        self.secret_file.write_text(bucket.secret + "\n")
        self.write(bucket, retention)

    def write(self, bucket, retention, anchors=None):
        text = self.configuration.read_text().split("uploads:")[0]
        self.configuration.write_text(
            f"{text}uploads:\n  store: s3\n  retention: {{message: {retention}}}\n  s3:\n    endpoint: {bucket.endpoint}\n    bucket: {BUCKET}\n"
            f"    prefix: {PREFIX}\n    access-key: {bucket.key}\n    secret-key-file: {self.secret_file}\n    path-style: true\n    timeout: 2s\n"
            + (f"    trust-anchors: {anchors}\n" if anchors else ""))

    def world(self, port=None):
        world = super().world(port)
        world.web_port = self.web_port
        return world

    async def restart(self):
        await self.stop()
        await self.start()

    async def fails(self, *words):
        """What a command says that ends with a status of its own."""
        process = await asyncio.create_subprocess_exec(
            self.binary, *words, "--config", self.configuration, env=self.environment, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        output, _ = await process.communicate()
        require(process.returncode != 0, f"martlet {' '.join(words)} found nothing: {output.decode()}")
        return output.decode()


async def upload(world, client, data):
    url, headers, get = await slot(world, client, "a.bin", len(data))
    status, _, body = await put(world, url, headers, data)
    equal((status, body), (201, b"the file is there\n"), "an upload")
    return get


def object_of(url):
    """How the key of a file ends."""
    return url.split("/")[4]


async def eventually(condition, what):
    end = asyncio.get_running_loop().time() + STEP
    while not await condition():
        require(asyncio.get_running_loop().time() < end, f"waited for {what}")
        await asyncio.sleep(0.1)


@check("moto: files are kept in a bucket, with signatures that others understand, and fetched whole and in part", only="martlet")
async def _(world):
    async with Bucket() as bucket, BucketServer(world, bucket) as server, connected(server.world()) as romeo:
        here, data = server.world(), random.randbytes((1 << 20) + 1)
        await bucket.checks_signatures(True)
        get = await upload(here, romeo, data)
        status, fields, body = await curl(here, get)
        equal((status, hashlib.sha256(body).hexdigest()), (200, hashlib.sha256(data).hexdigest()), "what is fetched")
        require("sandbox" in fields["content-security-policy"], "it acts nowhere")
        status, part, body = await curl(here, "--range", "1000-1999", get)
        equal((status, part["content-range"], body), (206, f"bytes 1000-1999/{len(data)}", data[1000:2000]), "a part")
        status, fields, _ = await curl(here, "--head", "--output", "/dev/null", get)
        equal((status, fields["content-length"]), (200, str(len(data))), "HEAD")
        keys = await bucket.keys()
        equal(list(keys.values()), [len(data)], "objects")
        require(all(key.startswith(f"{PREFIX}/") and key.endswith(f"/{object_of(get)}") for key in keys), f"{keys}")
        require("good (1 uploaded files" in await server.command("verify", "--uploads"), "it is all there")
        listed = await server.command("uploads", "list")
        require(f"{len(data)} bytes" in listed or object_of(get) in listed, listed)


@check("moto: what is deleted, nobody's, or whose account is deleted goes from the bucket, and nothing else", only="martlet")
async def _(world):
    async with Bucket() as bucket, BucketServer(world, bucket) as server:
        here = server.world()
        await server.command("account", "add", f"juliet@{server.domain}", input=b"r0m30-r0m30\n")
        async with connected(server.world(), "juliet") as juliet:
            hers = await upload(here, juliet, b"hers")
        async with connected(server.world()) as romeo:
            first, second = [await upload(here, romeo, text) for text in (b"first", b"second")]
        await bucket.put("other/1/00112233445566778899aabbccddeeff")
        await bucket.put(f"{PREFIX}/readme.txt")
        equal(len(await bucket.keys()), 5, "objects")
        await server.command("uploads", "delete", "--yes", object_of(first))
        require(not any(key.endswith(object_of(first)) for key in await bucket.keys()), "it is deleted")
        equal([(await curl(here, url))[0] for url in (first, second, hers)], [404, 200, 200], "files")
        await server.command("account", "delete", "--yes", f"juliet@{server.domain}")
        require(not any(key.endswith(object_of(hers)) for key in await bucket.keys()), "it goes with its account")
        # What nobody speaks for is looked for at the start; what is too old only when the clock has been right for a while, but nobody is given it.
        await bucket.put(f"{PREFIX}/7/00112233445566778899aabbccddeeff")
        server.write(bucket, "1s")
        await server.restart()

        async def is_too_old():
            return (await curl(here, second))[0] == 404
        await eventually(is_too_old, "a second to pass")

        async def are_others_left():
            others = {"other/1/00112233445566778899aabbccddeeff", f"{PREFIX}/readme.txt"}
            return {key for key in await bucket.keys() if not key.endswith(object_of(second))} == others
        await eventually(are_others_left, "the look at all files")


@check("moto: a file that is lost in the bucket is found by verify, and fetching it is 404", only="martlet")
async def _(world):
    async with Bucket() as bucket, BucketServer(world, bucket) as server, connected(server.world()) as romeo:
        here = server.world()
        get = await upload(here, romeo, b"soft!")
        key, = await bucket.keys()
        await bucket.delete(key)
        equal((await curl(here, get))[0], 404, "the file")
        require("is not there" in await server.fails("verify"), "it is missed")


@check("moto: with wrong credentials, or a service that says nothing, uploads are 503 and their slots stay good", only="martlet")
async def _(world):
    async with Bucket() as bucket, BucketServer(world, bucket) as server:
        here, data = server.world(), random.randbytes(300_000)
        async with connected(server.world()) as romeo:
            kept = await upload(here, romeo, data)
            url, headers, get = await slot(here, romeo, "a.bin", len(data))
        bucket.pause()
        equal((await put(here, url, headers, data))[0], 503, "an upload while nothing answers")
        equal((await curl(here, kept))[0], 503, "a download while nothing answers")
        bucket.resume()
        equal((await curl(here, kept))[0], 200, "a download afterwards")
        await until(lambda: "uploaded files cannot be kept or given" in server.text(), "the log's line")
        server.secret_file.write_text("wrong\n")
        await bucket.checks_signatures(True)
        await server.restart()
        equal((await put(here, url, headers, data))[0], 503, "an upload with wrong credentials")
        await until(lambda: "SignatureDoesNotMatch" in server.text(), "the reason in the log")
        equal((await curl(here, get))[0], 404, "what was not kept")
        server.secret_file.write_text(bucket.secret + "\n")
        await server.restart()
        equal((await put(here, url, headers, data))[0], 201, "the same slot")
        status, _, body = await curl(here, get)
        equal((status, hashlib.sha256(body).hexdigest()), (200, hashlib.sha256(data).hexdigest()), "what is fetched")


@check("moto over TLS: a service is believed if the authorities of the machine, or those in a file, speak for it", only="martlet")
async def _(world):
    with tempfile.TemporaryDirectory() as folder:
        async with Bucket(folder) as bucket, BucketServer(world, bucket) as server:
            here, data = server.world(), random.randbytes(300_000)
            async with connected(server.world()) as romeo:
                url, headers, get = await slot(here, romeo, "a.bin", len(data))
            equal((await put(here, url, headers, data))[0], 503, "an upload to a stranger")
            await until(lambda: "its certificate is not trusted" in server.text(), "the reason in the log")
            server.write(bucket, "1h", bucket.certificate)
            await server.restart()
            await bucket.checks_signatures(True)
            equal((await put(here, url, headers, data))[0], 201, "the same slot")
            status, _, body = await curl(here, get)
            equal((status, hashlib.sha256(body).hexdigest()), (200, hashlib.sha256(data).hexdigest()), "what is fetched")
