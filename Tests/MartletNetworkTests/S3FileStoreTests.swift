import Logging
import MartletCore
import MartletNetwork
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOPosix
import Testing

@Suite("Signature Version 4")
struct RequestSignatureTests {
    private static let empty = RequestSignature.digest([])
    private static let signer = RequestSignature(
        accessKey: "AKIAIOSFODNN7EXAMPLE", secret: Array("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".utf8), region: "us-east-1")

    private static func subject(
        _ method: String, _ path: String, query: [(name: String, value: String)] = [], _ headers: [(name: String, value: String)] = [], content: String = empty
    ) -> RequestSignature.Subject {
        let always = [("host", "examplebucket.s3.amazonaws.com"), ("x-amz-content-sha256", content), ("x-amz-date", "20130524T000000Z")]
        return RequestSignature.Subject(method, path, query: query, headers: headers + always.map { (name: $0.0, value: $0.1) }, content: content)
    }

    /// "Authenticating Requests: Using the Authorization Header" in the reference of Amazon S3.
    private static let published: [(RequestSignature.Subject, String)] = [
        (subject("GET", "/test.txt", [("range", "bytes=0-9")]), "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
        (
            subject(
                "PUT", "/test%24file.text", [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
                content: "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        ),
        (subject("GET", "/", query: [("lifecycle", "")]), "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        (subject("GET", "/", query: [("prefix", "J"), ("max-keys", "2")]), "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ]

    @Test("requests are signed as the service's reference has it", arguments: 0..<4)
    func vectors(index: Int) {
        let (subject, signature) = Self.published[index]
        let authorization = Self.signer.authorization(for: subject, at: "20130524T000000Z")
        #expect(authorization.hasPrefix("AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders="))
        #expect(authorization.hasSuffix(",Signature=\(signature)"))
        #expect(RequestSignature.digest(Array("Welcome to Amazon S3.".utf8)) == "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072")
    }

    @Test("a request says who signed it, when, and what; the bucket is in its host, or in its path", arguments: [false, true])
    func head(isInPath: Bool) {
        var bucket = S3Bucket(endpoint: HTTPURL("https://s3.example.net:9000")!, name: "files", accessKey: "A", secret: [1])
        bucket.isInPath = isInPath
        bucket.prefix = "chat/"
        var request = S3Bucket.Request(.GET, bucket.key(of: FileKey(owner: AccountID(raw: 7), name: "ab")))
        request.query = [("prefix", "a b/")]
        let head = bucket.head(of: request, now: 1_369_353_600_000)
        #expect(head.uri == (isInPath ? "/files/chat/7/ab?prefix=a%20b%2F" : "/chat/7/ab?prefix=a%20b%2F"))
        #expect(head.headers["host"] == [isInPath ? "s3.example.net:9000" : "files.s3.example.net:9000"])
        #expect(bucket.host == (isInPath ? "s3.example.net" : "files.s3.example.net"))
        #expect(head.headers["x-amz-date"] == ["20130524T000000Z"])
        #expect(bucket.description == (isInPath ? "https://s3.example.net:9000/files/chat/" : "https://files.s3.example.net:9000/chat/"))
    }
}

@Suite("What a service that speaks S3 says")
struct S3AnswerTests {
    private func listing(_ content: String) -> S3Listing? { S3Listing(ByteBuffer(string: content)) }

    @Test("a page of a list has keys with sizes, prefixes, and perhaps where it goes on")
    func pages() {
        let page = listing(
            """
            <?xml version="1.0" encoding="UTF-8"?>
            <ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>true</IsTruncated><Contents><Key>a&amp;b</Key><Size>5</Size></Contents>
            <CommonPrefixes><Prefix>7/</Prefix></CommonPrefixes><NextContinuationToken>t</NextContinuationToken></ListBucketResult>
            """)
        #expect(page?.objects == ["a&b": 5] && page?.prefixes == ["7/"] && page?.continuation == "t")
        #expect(listing("<ListBucketResult/>") == S3Listing())
    }

    @Test("half a list is none", arguments: [
        "", "<ListBucketResult>", "<html/>", "<?xml", "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key>a</Key><Size>-1</Size></Contents></ListBucketResult>", "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        "<!DOCTYPE a><ListBucketResult/>",
    ])
    func malformed(content: String) { #expect(listing(content) == nil) }

    @Test("what is not there is told from a bucket that is not, and from one that is full", arguments: [
        (404, "<Error><Code>NoSuchKey</Code></Error>", "missing"), (404, "", "missing"), (416, "", "missing"),
        (404, "<Error><Code>NoSuchBucket</Code></Error>", "failed"), (403, "<Error><Code>AccessDenied</Code></Error>", "failed"), (500, "<a/>", "failed"),
        (507, "", "full"), (400, "<Error><Code>XMinioAdminBucketQuotaExceeded</Code></Error>", "full"), (403, "<Error><Code>QuotaExceeded</Code></Error>", "full"),
    ])
    func refusals(status: Int, content: String, meaning: String) {
        let refusal = S3Refusal(status: status, ByteBuffer(string: content))
        #expect((refusal.isMissing ? "missing" : refusal.isFull ? "full" : "failed") == meaning)
    }

    @Test("only a word gets into a log")
    func words() {
        #expect("\(S3Refusal(status: 403, ByteBuffer(string: "<Error><Code>AccessDenied</Code></Error>")))" == "it answered with status 403 AccessDenied")
        #expect("\(S3Refusal(status: 403, ByteBuffer(string: "<Error><Code>a\nb</Code></Error>")))" == "it answered with status 403")
    }
}

@Suite("Files in a bucket (P12)")
struct S3FileStoreTests {
    private static let key = FileKey(owner: AccountID(raw: 7), name: "00112233445566778899aabbccddeeff")
    private static let other = FileKey(owner: AccountID(raw: 8), name: "ffeeddccbbaa99887766554433221100")
    private static let object = "chat/7/00112233445566778899aabbccddeeff"

    /// What the operator is told.
    private final class Lines: Sendable {
        let all = NIOLockedValueBox<[String]>([])
        var logger: Logger { Logger(label: "test") { [self] _ in Handler(lines: self) } }

        private struct Handler: LogHandler {
            let lines: Lines
            var metadata = Logger.Metadata()
            var logLevel = Logger.Level.trace
            subscript(metadataKey key: String) -> Logger.Metadata.Value? {
                get { metadata[key] }
                set { metadata[key] = newValue }
            }
            init(lines: Lines) { self.lines = lines }
            func log(event: LogEvent) {
                lines.all.withLockedValue { $0.append("\(event.level): \(event.message) \(event.metadata?["error"].map { "(\($0))" } ?? "")") }
            }
        }
    }

    private func with(
        secret: [UInt8] = PlayedBucket.secret, patience: TimeAmount = .seconds(20), _ body: (S3FileStore, PlayedBucket, Lines) async throws -> Void
    ) async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let result: Result<Void, any Error>
        do {
            let (bucket, lines) = (try await PlayedBucket(on: group), Lines())
            let store = S3FileStore(bucket.bucket(secret: secret), patience: patience, time: SystemTime(), log: lines.logger)
            do {
                result = .success(try await body(store, bucket, lines))
            } catch {
                result = .failure(error)
            }
            store.close()
        } catch {
            result = .failure(error)
        }
        try await group.shutdownGracefully()
        try result.get()
    }

    private func begin(_ store: S3FileStore, _ key: FileKey, bytes: Int) async throws -> any FileWriting {
        try await withCheckedContinuation { continuation in store.write(key, bytes: bytes) { continuation.resume(returning: $0) } }.get()
    }

    private func add(_ bytes: [UInt8], to writing: any FileWriting) async -> FileStoreError? {
        await withCheckedContinuation { continuation in writing.append(ByteBuffer(bytes: bytes)) { continuation.resume(returning: $0) } }
    }

    private func finish(_ writing: any FileWriting) async throws -> [UInt8] {
        try await withCheckedContinuation { continuation in writing.finish { continuation.resume(returning: $0) } }.get()
    }

    private func put(_ store: S3FileStore, _ key: FileKey, _ text: String) async throws -> [UInt8] {
        let writing = try await begin(store, key, bytes: text.utf8.count)
        if let error = await add(Array(text.utf8), to: writing) { throw error }
        return try await finish(writing)
    }

    private func get(_ store: S3FileStore, _ key: FileKey, _ range: Range<Int>) async throws -> [UInt8] {
        let reading = try await withCheckedContinuation { continuation in store.read(key, range) { continuation.resume(returning: $0) } }.get()
        defer { reading.close() }
        var bytes: [UInt8] = []
        while case let piece = try await withCheckedContinuation({ next in reading.next { next.resume(returning: $0) } }).get(), piece.readableBytes > 0 {
            bytes += piece.readableBytesView
        }
        return bytes
    }

    @Test("what was put there is there as a whole and in parts, with its digest")
    func whole() async throws {
        try await with { store, bucket, lines in
            let writing = try await begin(store, Self.key, bytes: 21)
            for piece in ["But, soft! ", "what light", ""] { #expect(await add(Array(piece.utf8), to: writing) == nil) }
            #expect(bucket.objects.isEmpty)
            #expect(try await finish(writing) == ScramHash.sha256.digest(Array("But, soft! what light".utf8)))
            #expect(bucket.objects == [Self.object: Array("But, soft! what light".utf8)])
            #expect(try await get(store, Self.key, 0..<21) == Array("But, soft! what light".utf8))
            #expect(try await get(store, Self.key, 5..<10) == Array("soft!".utf8))
            #expect(try await get(store, Self.key, 5..<5).isEmpty)
            #expect(try await store.size(of: Self.key) == 21)
            #expect(try await store.files(of: Self.key.owner) == [Self.key.name: 21])
            #expect(try await put(store, Self.other, "").count == 32)
            #expect(try await store.size(of: Self.other) == 0)
            #expect(lines.all.withLockedValue { $0 }.isEmpty)
        }
    }

    @Test("a file that is longer than what one read brings comes as it was put, in pieces")
    func long() async throws {
        try await with { store, _, _ in
            let bytes = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            let writing = try await begin(store, Self.key, bytes: bytes.count)
            for start in stride(from: 0, to: bytes.count, by: 100_000) { #expect(await add(Array(bytes[start..<start + 100_000]), to: writing) == nil) }
            #expect(try await finish(writing) == ScramHash.sha256.digest(bytes))
            #expect(try await get(store, Self.key, 0..<bytes.count) == bytes)
            #expect(try await get(store, Self.key, 65_535..<200_001) == Array(bytes[65_535..<200_001]))
        }
    }

    @Test("nobody sees a file before it is finished, nor one that was given up, or is of another length")
    func unfinished() async throws {
        try await with { store, bucket, lines in
            let (given, short, long) = (try await begin(store, Self.key, bytes: 5), try await begin(store, Self.key, bytes: 5), try await begin(store, Self.key, bytes: 3))
            for writing in [given, short] { #expect(await add(Array("But,".utf8), to: writing) == nil) }
            given.abandon()
            await #expect(throws: FileStoreError.self) { try await finish(short) }
            #expect(await add(Array("soft!".utf8), to: long) != nil)
            long.abandon()
            #expect(try await store.size(of: Self.key) == nil)
            await #expect(throws: FileStoreError.missing) { try await get(store, Self.key, 0..<1) }
            #expect(bucket.objects.isEmpty && lines.all.withLockedValue { $0 }.isEmpty)
            #expect(try await put(store, Self.key, "soft!").count == 32)
        }
    }

    @Test("files are listed by their owners, page by page, and what is not the server's is not looked at")
    func lists() async throws {
        try await with { store, bucket, _ in
            for name in 10..<15 { bucket.put("chat/7/\(name)112233445566778899aabbccddee\(name)", [1, 2]) }
            for owner in [3, 8, 9] { bucket.put("chat/\(owner)/00112233445566778899aabbccddeeff", [1]) }
            for key in ["chat/7/readme.txt", "chat/x/00112233445566778899aabbccddeeff", "other/7/00112233445566778899aabbccddeeff"] { bucket.put(key, [1]) }
            #expect(Set(try await store.owners()) == Set([3, 7, 8, 9].map { AccountID(raw: $0) }))
            let files = try await store.files(of: AccountID(raw: 7))
            #expect(files.count == 5 && files.values.allSatisfy { $0 == 2 })
            #expect(try await store.files(of: AccountID(raw: 70)).isEmpty)
            try await store.remove(Self.key)
            try await store.remove(FileKey(owner: AccountID(raw: 3), name: Self.key.name))
            #expect(bucket.objects["chat/3/\(Self.key.name)"] == nil)
            bucket.set(.endlessList)
            await #expect(throws: FileStoreError.self) { try await store.files(of: AccountID(raw: 7)) }
        }
    }

    @Test("a name of somebody else's making becomes no key, and nothing is larger than one request can be")
    func names() async throws {
        try await with { store, bucket, _ in
            for name in ["../8/00112233445566778899aabbccddeeff", "a", ""] {
                let key = FileKey(owner: Self.key.owner, name: name)
                await #expect(throws: FileStoreError.self) { try await begin(store, key, bytes: 1) }
                await #expect(throws: FileStoreError.self) { try await get(store, key, 0..<1) }
                await #expect(throws: FileStoreError.self) { try await store.remove(key) }
            }
            await #expect(throws: FileStoreError.self) { try await begin(store, Self.key, bytes: S3FileStore.fileBytesMax + 1) }
            #expect(bucket.requests.isEmpty)
        }
    }

    @Test("a service that refuses is told of once, in its own words, and again when it goes well", arguments: [false, true])
    func refused(isEarly: Bool) async throws {
        try await with(secret: isEarly ? PlayedBucket.secret : [1]) { store, bucket, lines in
            if isEarly { bucket.set(.refuses(403, code: "SignatureDoesNotMatch")) }
            for _ in 0..<2 {
                await #expect(throws: FileStoreError.failed("it answered with status 403 SignatureDoesNotMatch")) { try await put(store, Self.key, "soft!") }
            }
            await #expect(throws: FileStoreError.failed("it answered with status 403")) { try await store.size(of: Self.key) }
            #expect(lines.all.withLockedValue { $0 } == ["error: uploaded files cannot be kept or given (it answered with status 403 SignatureDoesNotMatch)"])
            guard isEarly else { return }
            bucket.set(nil)
            _ = try await put(store, Self.key, "soft!")
            #expect(lines.all.withLockedValue { $0 }.last == "notice: uploaded files can be kept and given again ")
        }
    }

    @Test("a service that is away, or says nothing, keeps nobody waiting for longer than its time")
    func away() async throws {
        try await with(patience: .milliseconds(200)) { store, bucket, lines in
            bucket.set(.silent)
            await #expect(throws: FileStoreError.failed("no answer within 200 ms")) { try await put(store, Self.key, "soft!") }
            await #expect(throws: FileStoreError.failed("no answer within 200 ms")) { try await store.files(of: Self.key.owner) }
            try await bucket.stop()
            // Perhaps somebody else has the port by now, who is no such service either.
            await #expect(throws: FileStoreError.self) { try await put(store, Self.key, "soft!") }
            #expect(lines.all.withLockedValue { $0 }.count == 1)
        }
    }

    @Test("half a file, or a part of another place, is none")
    func wrongParts() async throws {
        try await with { store, bucket, _ in
            bucket.put(Self.object, Array("But, soft!".utf8))
            bucket.set(.givesOthers)
            await #expect(throws: FileStoreError.missing) { try await get(store, Self.key, 0..<5) }
            bucket.set(.breaksOff)
            await #expect(throws: FileStoreError.self) { try await get(store, Self.key, 0..<10) }
            bucket.set(nil)
            await #expect(throws: FileStoreError.missing) { try await get(store, Self.key, 0..<11) }
            await #expect(throws: FileStoreError.missing) { try await get(store, Self.key, 10..<11) }
        }
    }

    @Test("what is asked after the end is refused")
    func closed() async throws {
        try await with { store, _, _ in
            store.close()
            await #expect(throws: FileStoreError.self) { try await begin(store, Self.key, bytes: 1) }
            await #expect(throws: FileStoreError.self) { try await store.size(of: Self.key) }
        }
    }
}
