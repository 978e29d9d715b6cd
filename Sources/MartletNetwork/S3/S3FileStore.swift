import Crypto
package import Logging
package import MartletCore
import NIOConcurrencyHelpers
package import NIOCore
import NIOHTTP1
import NIOPosix
package import NIOSSL

/// Uploaded files in a bucket of a service that speaks S3: `PREFIX OWNER/NAME`.
///
/// An object is there once the service has all of it, and has said so (P12): what breaks off before is nothing, and what the service may have without
/// having said so is overwritten by the next attempt, or found when it is looked for what nothing speaks for. Files pass through the server in both
/// directions, one piece of each in memory: clients are not sent to the service, whose answers would not have the headers that keep a browser from
/// acting on a file, and whose addresses would be good for whoever learns them. Each request has a connection of its own.
///
/// All of it is done on one loop, which is none of those that serve clients.
package final class S3FileStore: FileStore {
    /// Largest file that can be put there by one request.
    package static let fileBytesMax = 5 << 30
    /// From one line in the log about the same trouble to the next.
    static let silence = TimeAmount.seconds(60)

    package let bucket: S3Bucket
    package var place: String { bucket.description }
    private let loop = MultiThreadedEventLoopGroup.singleton.any()
    private let tls: ClientContext
    private let patience: TimeAmount
    private let time: any TimeSource
    private let health: ServiceHealth
    // Once per request.
    private let isClosed = NIOLockedValueBox(false)

    /// - Parameters:
    ///   - trustRoots: who is believed about the service's certificate.
    ///   - patience: for a connection, and for each step from then on. Less than clients have (``WebSettings/transferStall``), so that they are told.
    package init(_ bucket: S3Bucket, trustRoots: NIOSSLTrustRoots = .default, patience: TimeAmount = .seconds(20), time: any TimeSource, log: Logger) {
        self.bucket = bucket
        self.patience = patience
        self.time = time
        tls = ClientContext(trustRoots)
        health = ServiceHealth(bucket.description, time, log)
    }

    /// What is asked from now on is refused; what is under way ends by itself.
    package func close() { isClosed.withLockedValue { $0 = true } }

    private func checkOpen() throws(FileStoreError) {
        if isClosed.withLockedValue({ $0 }) { throw .failed("the server has stopped") }
    }

    // MARK: Requests

    /// Connects and says the head of a request.
    ///
    /// - Parameter bytesMax: of the answer.
    private func begin(_ request: S3Bucket.Request, bytesMax: Int) -> EventLoopFuture<HTTPStream> {
        let (loop, head) = (loop, bucket.head(of: request, now: time.wallMilliseconds))
        do throws(HTTPFetchError) {
            let place = HTTPStream.Place(
                host: bucket.host, port: Int(bucket.endpoint.port), context: bucket.endpoint.scheme == .https ? try tls.context() : nil,
                bytesMax: bytesMax, patience: patience)
            return loop.flatSubmit { HTTPStream.open(place, on: loop) }.map { stream in
                stream.begin(head)
                return stream
            }
        } catch {
            return loop.makeFailedFuture(error)
        }
    }

    /// A whole request without content, and its whole answer.
    private func answer(to request: S3Bucket.Request, bytesMax: Int = S3Refusal.bytesMax) async throws(FileStoreError) -> (HTTPResponseHead, ByteBuffer) {
        try checkOpen()
        let answered = begin(request, bytesMax: bytesMax).flatMap { stream in
            stream.end().flatMap { head in stream.rest().map { (head, $0) } }.always { _ in stream.close() }
        }
        do {
            let (head, content) = try await answered.get()
            guard (200..<300).contains(head.status.code) else { throw S3Refusal(status: Int(head.status.code), content) }
            health.isWell()
            return (head, content)
        } catch {
            throw failure(error)
        }
    }

    /// What came of something, for whoever asked, and for the operator.
    fileprivate func failure(_ error: any Error) -> FileStoreError {
        let failure: FileStoreError
        switch error {
        case let error as FileStoreError: failure = error
        case let error as S3Refusal: failure = error.isMissing ? .missing : error.isFull ? .full : .failed(error.description)
        default: failure = .failed(HTTPFetchError(error).description)
        }
        switch failure {
        case .missing: health.isWell()
        case .full: health.isTroubled("there is no room")
        case .failed(let why): health.isTroubled(why)
        }
        return failure
    }

    fileprivate func isWell() { health.isWell() }

    /// Names that the server has made are all that becomes part of a key.
    private static func check(_ key: FileKey) throws(FileStoreError) {
        guard UploadName.isValid(key.name) else { throw .failed("\(key.name) is no name of a file") }
    }

    // MARK: Writing

    package func write(_ key: FileKey, bytes: Int, _ done: @escaping @Sendable (Result<any FileWriting, FileStoreError>) -> Void) {
        do throws(FileStoreError) {
            try checkOpen()
            try Self.check(key)
            guard bytes <= Self.fileBytesMax else { throw .failed("\(bytes) bytes are more than one request can have") }
        } catch {
            return done(.failure(error))
        }
        var request = S3Bucket.Request(.PUT, bucket.key(of: key))
        request.headers = [("content-length", "\(bytes)"), ("content-type", MediaType.unknown)]
        request.content = RequestSignature.unsignedContent
        begin(request, bytesMax: S3Refusal.bytesMax).whenComplete { [self] result in
            switch result {
            case .success(let stream): done(.success(S3Writing(self, key, stream, bytes: bytes, on: loop)))
            case .failure(let error): done(.failure(failure(error)))
            }
        }
    }

    // MARK: Reading

    package func read(_ key: FileKey, _ range: Range<Int>, _ done: @escaping @Sendable (Result<any FileReading, FileStoreError>) -> Void) {
        do throws(FileStoreError) {
            try checkOpen()
            try Self.check(key)
        } catch {
            return done(.failure(error))
        }
        guard !range.isEmpty else { return done(.success(NothingToRead())) }
        var request = S3Bucket.Request(.GET, bucket.key(of: key))
        request.headers = [("range", "bytes=\(range.lowerBound)-\(range.upperBound - 1)")]
        let begun = begin(request, bytesMax: max(range.count, S3Refusal.bytesMax)).flatMap { stream in
            stream.end().flatMap { head in Self.part(range, head, stream) }.flatMapErrorThrowing { error in
                stream.close()
                throw error
            }
        }
        begun.whenComplete { [self] result in
            switch result {
            case .success(let stream):
                isWell()
                done(.success(S3Reading(self, stream, bytes: range.count, on: loop)))
            case .failure(let error): done(.failure(failure(error)))
            }
        }
    }

    /// Whether what comes is what was asked for, all of it (RFC 9110 §14).
    private static func part(_ range: Range<Int>, _ head: HTTPResponseHead, _ stream: HTTPStream) -> EventLoopFuture<HTTPStream> {
        guard head.status == .partialContent else {
            return stream.rest().flatMapThrowing { throw S3Refusal(status: Int(head.status.code), $0) }
        }
        let isAll = head.headers.first(name: "Content-Length") == "\(range.count)"
            && head.headers.first(name: "Content-Range")?.hasPrefix("bytes \(range.lowerBound)-\(range.upperBound - 1)/") == true
        let loop = stream.loop
        return isAll ? loop.makeSucceededFuture(stream) : loop.makeFailedFuture(FileStoreError.missing)
    }

    // MARK: Keeping house

    package func remove(_ key: FileKey) async throws(FileStoreError) {
        try Self.check(key)
        do throws(FileStoreError) { _ = try await answer(to: S3Bucket.Request(.DELETE, bucket.key(of: key))) } catch {
            guard error == .missing else { throw error }
        }
    }

    package func size(of key: FileKey) async throws(FileStoreError) -> Int? {
        try Self.check(key)
        do throws(FileStoreError) {
            let (head, _) = try await answer(to: S3Bucket.Request(.HEAD, bucket.key(of: key)))
            guard let size = head.headers.first(name: "Content-Length").flatMap({ Int($0) }) else { throw .failed("it does not say how large a file is") }
            return size
        } catch {
            guard error == .missing else { throw error }
            return nil
        }
    }

    package func owners() async throws(FileStoreError) -> [AccountID] {
        var owners: [AccountID] = []
        try await list(bucket.prefix, delimiter: "/") { page in
            owners += page.prefixes.compactMap { Int64($0.dropFirst(bucket.prefix.count).dropLast()).map(AccountID.init(raw:)) }
        }
        return owners
    }

    /// What has another name than the server gives is not looked at.
    package func files(of owner: AccountID) async throws(FileStoreError) -> [String: Int] {
        var files: [String: Int] = [:]
        let folder = bucket.key(of: owner)
        try await list(folder, delimiter: nil) { page in
            for (key, size) in page.objects where key.hasPrefix(folder) {
                let name = String(key.dropFirst(folder.count))
                if UploadName.isValid(name) { files[name] = size }
            }
        }
        return files
    }

    /// Page after page: there are as many as there are files, and files are bounded.
    private func list(_ prefix: String, delimiter: String?, _ take: (S3Listing) -> Void) async throws(FileStoreError) {
        var request = S3Bucket.Request(.GET, "")
        var continuation: String?
        repeat {
            request.query = [("list-type", "2"), ("prefix", prefix), ("max-keys", "\(S3Listing.objectsMax)")]
            if let delimiter { request.query.append(("delimiter", delimiter)) }
            if let continuation { request.query.append(("continuation-token", continuation)) }
            let (_, content) = try await answer(to: request, bytesMax: S3Listing.bytesMax)
            guard let page = S3Listing(content) else { throw failure(FileStoreError.failed("its list of files cannot be understood")) }
            guard page.continuation == nil || page.continuation != continuation else { throw failure(FileStoreError.failed("its list of files has no end")) }
            take(page)
            continuation = page.continuation
        } while continuation != nil
    }

    /// What was not finished is nowhere.
    package func removeRemains() async throws(FileStoreError) -> Int { 0 }
}

/// A file on its way to the service. On its loop.
private final class S3Writing: FileWriting {
    private enum State {
        /// The last piece waits for the end: with it the service has the whole file, and would keep it.
        case writing(SHA256, bytes: Int, last: ByteBuffer?)
        /// The service has been asked whether it has it, or the file is given up.
        case ended
    }

    private let store: S3FileStore
    private let key: FileKey
    private let stream: HTTPStream
    private let bytes: Int
    private let loop: any EventLoop
    // On the loop only.
    private let state: NIOLoopBoundBox<State>

    init(_ store: S3FileStore, _ key: FileKey, _ stream: HTTPStream, bytes: Int, on loop: any EventLoop) {
        (self.store, self.key, self.stream, self.bytes, self.loop) = (store, key, stream, bytes, loop)
        state = NIOLoopBoundBox(.writing(SHA256(), bytes: 0, last: nil), eventLoop: loop)
    }

    func append(_ piece: ByteBuffer, _ done: @escaping @Sendable (FileStoreError?) -> Void) {
        loop.execute { [self] in
            guard case .writing(var sum, let before, _) = state.value else { return done(.failed("\(key.name) has ended")) }
            guard piece.readableBytes <= bytes - before else { return done(.failed("\(key.name) is longer than it should be")) }
            guard piece.readableBytes > 0 else { return done(nil) }
            if let early = stream.earlyAnswer { return refuse(early) { done($0) } }
            piece.withUnsafeReadableBytes { sum.update(bufferPointer: $0) }
            let isLast = before + piece.readableBytes == bytes
            state.value = .writing(sum, bytes: before + piece.readableBytes, last: isLast ? piece : nil)
            guard !isLast else { return done(nil) }
            stream.send(piece).whenComplete { [self] result in
                switch result {
                case .success: done(nil)
                case .failure(let error):
                    guard case .writing = state.value else { return done(.failed("\(key.name) was given up")) }
                    failed(error) { done($0) }
                }
            }
        }
    }

    func finish(_ done: @escaping @Sendable (Result<[UInt8], FileStoreError>) -> Void) {
        loop.execute { [self] in
            guard case .writing(let sum, bytes, let last) = state.value else {
                stream.close()
                return done(.failure(.failed("\(key.name) is not complete")))
            }
            state.value = .ended
            let sent = last.map { stream.send($0) } ?? loop.makeSucceededVoidFuture()
            sent.flatMap { self.stream.end() }.whenComplete { [self] result in
                switch result {
                case .success(let head) where head.status == .ok:
                    stream.close()
                    store.isWell()
                    done(.success(Array(sum.finalize())))
                case .success(let head): refuse(head) { done(.failure($0)) }
                case .failure(let error): failed(error) { done(.failure($0)) }
                }
            }
        }
    }

    /// The service may have said why before it closed.
    private func failed(_ error: any Error, _ done: @escaping @Sendable (FileStoreError) -> Void) {
        if let early = stream.earlyAnswer { refuse(early, done) } else { done(store.failure(error)) }
    }

    /// The service does not take it, and may say why.
    private func refuse(_ head: HTTPResponseHead, _ done: @escaping @Sendable (FileStoreError) -> Void) {
        state.value = .ended
        stream.rest().whenComplete { [self] content in
            stream.close()
            let refusal = S3Refusal(status: Int(head.status.code), (try? content.get()) ?? ByteBuffer())
            // There is no such thing as a missing file where one is put: the bucket is.
            done(store.failure(refusal.isMissing ? FileStoreError.failed(refusal.description) : refusal))
        }
    }

    func abandon() {
        loop.execute { [self] in
            state.value = .ended
            stream.close()
        }
    }
}

/// A part of a file on its way from the service. On its loop.
private final class S3Reading: FileReading {
    private let store: S3FileStore
    private let stream: HTTPStream
    private let loop: any EventLoop
    // On the loop only.
    private let left: NIOLoopBoundBox<Int>

    init(_ store: S3FileStore, _ stream: HTTPStream, bytes: Int, on loop: any EventLoop) {
        (self.store, self.stream, self.loop) = (store, stream, loop)
        left = NIOLoopBoundBox(bytes, eventLoop: loop)
    }

    func next(_ done: @escaping @Sendable (Result<ByteBuffer, FileStoreError>) -> Void) {
        loop.execute { [self] in
            guard left.value > 0 else { return done(.success(ByteBuffer())) }
            stream.next().whenComplete { [self] result in
                switch result {
                case .success(let piece) where piece.readableBytes > 0 && piece.readableBytes <= left.value:
                    left.value -= piece.readableBytes
                    done(.success(piece))
                // Nobody wants it any more.
                case .success where left.value == 0, .failure where left.value == 0: done(.failure(.failed("it was given up")))
                case .success: done(.failure(store.failure(FileStoreError.failed("it gave another number of bytes than it said"))))
                case .failure(let error): done(.failure(store.failure(error)))
                }
            }
        }
    }

    func close() {
        loop.execute { [self] in
            left.value = 0
            stream.close()
        }
    }
}

/// No byte of a file.
private struct NothingToRead: FileReading {
    func next(_ done: @escaping @Sendable (Result<ByteBuffer, FileStoreError>) -> Void) { done(.success(ByteBuffer())) }
    func close() {}
}

/// Tells the operator when a service does not do what it is there for, and when it does again: once in ``S3FileStore/silence``, however many want something.
private final class ServiceHealth: Sendable {
    private struct State {
        /// Whether the last line was about trouble.
        var isTold = false
        var quietUntil = NIODeadline.uptimeNanoseconds(0)
    }

    private let place: String
    private let time: any TimeSource
    private let log: Logger
    // Once per request.
    private let state = NIOLockedValueBox(State())

    init(_ place: String, _ time: any TimeSource, _ log: Logger) { (self.place, self.time, self.log) = (place, time, log) }

    func isWell() {
        let isNews = state.withLockedValue { state in
            defer { state.isTold = false }
            return state.isTold
        }
        if isNews { log.notice("uploaded files can be kept and given again", metadata: ["place": "\(place)"]) }
    }

    func isTroubled(_ why: String) {
        let now = time.monotonic
        let isNews = state.withLockedValue { state in
            guard now >= state.quietUntil else { return false }
            state = State(isTold: true, quietUntil: now + S3FileStore.silence)
            return true
        }
        if isNews { log.error("uploaded files cannot be kept or given", metadata: ["place": "\(place)", "error": "\(why)"]) }
    }
}
