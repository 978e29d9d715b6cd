import MartletCore
import MartletXMPP
import NIOCore
import NIOHTTP1

/// Uploaded files (XEP-0363): whoever has a slot puts one there, and anybody who knows its name gets it.
struct UploadResource: WebResource {
    let methods = [HTTPMethod.GET, .PUT]
    let uploads: Uploads
    var bodyBytesMax: Int { uploads.settings.fileBytesMax }
    let requestHeaders = "Authorization, Content-Type, If-None-Match, Range"
    /// Nothing in a file acts, wherever it is opened.
    let contentPolicy = "default-src 'none'; frame-ancestors 'none'; sandbox"

    /// For how long a client may keep a file without asking again, in seconds. What is under a name does not change, but may be gone.
    private static let sharedSeconds = 86_400

    // MARK: PUT

    func reader(of request: WebRequest, on connection: WebConnection) -> (any WebBodyReader)? {
        guard request.head.method == .PUT else { return nil }
        let reception = UploadReception(connection, uploads)
        guard let name = UploadPath.name(in: request.path) else { return reception.refused(.notFound) }
        guard isPrivate(request, connection) else { return reception.refused(.forbidden) }
        guard let length = request.head.headers.first(name: "Content-Length").flatMap({ Int($0) }) else { return reception.refused(nil) }
        let type = request.head.headers.first(name: "Content-Type").flatMap { MediaType($0) }
        let attempt = UploadAttempt(name: name, token: Self.token(request.head.headers), bytes: length, type: type)
        reception.begin(attempt, isExpected: request.head.headers[canonicalForm: "Expect"].contains { $0.lowercased() == "100-continue" })
        return reception
    }

    /// RFC 6750 §2.1.
    private static func token(_ headers: HTTPHeaders) -> String {
        let values = headers["Authorization"]
        guard values.count == 1, values[0].lowercased().hasPrefix("bearer ") else { return "" }
        return String(values[0].dropFirst("bearer ".count).drop { $0 == " " })
    }

    private func isPrivate(_ request: WebRequest, _ connection: WebConnection) -> Bool {
        request.isSecure || connection.listener.policy.allowsPlaintext
    }

    // MARK: GET, HEAD

    func answer(_ request: WebRequest, on connection: WebConnection) {
        guard let name = UploadPath.name(in: request.path) else { return connection.answer(TransferRefusal.notFound.answer) }
        guard isPrivate(request, connection) else { return connection.answer(TransferRefusal.forbidden.answer) }
        let (head, loop, uploads) = (request.head, connection.loop.loop, uploads)
        let network = Self.network(of: request, connection)
        let bound = NIOLoopBound(connection, eventLoop: loop)
        // The store is asked, which takes a while.
        Task {
            do throws(TransferRefusal) {
                let upload = try await uploads.file(named: name)
                let asked = FileRequest.asked(
                    head.headers, of: upload.bytes, tag: upload.entityTag, modified: upload.lastModified, isGet: head.method == .GET)
                let range = head.method == .GET ? asked.range(of: upload) : nil
                guard let range else { return loop.execute { bound.value.answer(Self.answer(asked, upload)) } }
                let download = try await uploads.read(upload, range, to: network)
                loop.execute { FileDelivery(bound.value, uploads, download, range).begin(Self.answer(asked, upload)) }
            } catch {
                loop.execute { bound.value.answer(error.answer) }
            }
        }
    }

    /// A proxy that does not say for whom it asks is nobody in particular.
    private static func network(of request: WebRequest, _ connection: WebConnection) -> String? {
        request.sender.flatMap { connection.listener.isProxy($0) ? nil : "\($0.network)" }
    }

    /// Without the bytes.
    private static func answer(_ asked: FileRequest, _ upload: StoredUpload) -> WebAnswer {
        var answer = WebAnswer(.ok, type: "", ByteBuffer())
        answer.headers = upload.headers(sharing: sharedSeconds)
        switch asked {
        case .whole: answer.headers.add(name: "Content-Length", value: "\(upload.bytes)")
        case .part(let range):
            answer.status = .partialContent
            answer.headers.add(name: "Content-Length", value: "\(range.count)")
            answer.headers.add(name: "Content-Range", value: "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(upload.bytes)")
        case .noSuchPart: return WebAnswer(.rangeNotSatisfiable, "the file has \(upload.bytes) bytes", ["Content-Range": "bytes */\(upload.bytes)"])
        case .notModified: answer.status = .notModified
        }
        return answer
    }
}

extension FileRequest {
    /// What is to be sent; `nil` for no bytes.
    fileprivate func range(of upload: StoredUpload) -> Range<Int>? {
        switch self {
        case .whole: 0..<upload.bytes
        case .part(let range): range
        case .noSuchPart, .notModified: nil
        }
    }
}

extension TransferRefusal {
    var answer: WebAnswer {
        switch self {
        case .notFound: WebAnswer(.notFound, "there is no such file")
        case .forbidden: WebAnswer(.forbidden, "this is not allowed here, or not any more")
        case .conflict: WebAnswer(.conflict, "the file is there already, or on its way")
        case .wrongLength: WebAnswer(.badRequest, "the slot is for a file of another size")
        case .wrongType: WebAnswer(.unsupportedMediaType, "the slot is for a file of another type")
        case .tooMany: WebAnswer(.serviceUnavailable, "too many files are on their way", ["Retry-After": "10"])
        case .tooManyOfAccount: WebAnswer(.tooManyRequests, "too many files of one account are on their way", ["Retry-After": "10"])
        case .tooManyToNetwork: WebAnswer(.tooManyRequests, "too many files are on their way to where you are", ["Retry-After": "10"])
        case .full: WebAnswer(.insufficientStorage, "there is no room for the file")
        case .unavailable: WebAnswer(.serviceUnavailable, "the file cannot be kept or given at the moment", ["Retry-After": "60"])
        }
    }
}

/// A file that comes: from the connection into the file store, one piece at a time. On the connection's loop.
private final class UploadReception: WebBodyReader {
    private enum State {
        /// It is being looked whether the file is taken.
        case looking
        case taking(UploadInProgress)
        /// All of it has been handed on; it is being synchronised.
        case finishing
        /// Answered or given up.
        case ended
    }

    /// Bytes that wait here before no more are read from the client.
    static let waitingBytesMax = 128 << 10

    private let connection: WebConnection
    private let uploads: Uploads
    private var state = State.looking
    private var waiting = ByteBuffer()
    private var isAppending = false
    private var isComplete = false

    init(_ connection: WebConnection, _ uploads: Uploads) {
        self.connection = connection
        self.uploads = uploads
    }

    private var loop: any EventLoop { connection.loop.loop }
    private var bound: NIOLoopBound<UploadReception> { NIOLoopBound(self, eventLoop: loop) }

    /// The body is not looked at. - Parameter refusal: `nil` if only its length is missing.
    func refused(_ refusal: TransferRefusal?) -> UploadReception {
        state = .ended
        let (connection, answer) = (connection, refusal?.answer ?? WebAnswer(.lengthRequired, "a file has a length"))
        let bound = NIOLoopBound(connection, eventLoop: loop)
        // When the connection knows whom the body is for.
        loop.execute { bound.value.giveUp(answer) }
        return self
    }

    /// - Parameter isExpected: the client waits until it is told to go on (RFC 9110 §10.1.1).
    func begin(_ attempt: UploadAttempt, isExpected: Bool) {
        connection.holdReading()
        let (uploads, bound, loop) = (uploads, bound, loop)
        // The store is asked, and a file is made.
        Task {
            do throws(TransferRefusal) {
                let file = try await uploads.begin(attempt)
                loop.execute { bound.value.begun(file, isExpected: isExpected) }
            } catch {
                loop.execute { bound.value.fail(error) }
            }
        }
    }

    private func begun(_ file: UploadInProgress, isExpected: Bool) {
        guard case .looking = state else { return uploads.abandon(file) }
        state = .taking(file)
        if isExpected, waiting.readableBytes == 0, !isComplete { connection.sendContinue() }
        handOn()
    }

    func take(_ bytes: ByteBuffer) {
        if waiting.readableBytes == 0 { waiting = bytes } else { waiting.writeImmutableBuffer(bytes) }
        handOn()
    }

    func end() {
        isComplete = true
        handOn()
    }

    private func handOn() {
        guard case .taking(let file) = state, !isAppending else {
            if waiting.readableBytes >= Self.waitingBytesMax { connection.holdReading() }
            return
        }
        connection.resumeReading()
        guard waiting.readableBytes > 0 else {
            if isComplete { finish(file) }
            return
        }
        isAppending = true
        let piece = waiting
        waiting = ByteBuffer()
        let (bound, loop) = (bound, loop)
        file.writing.append(piece) { error in loop.execute { bound.value.appended(error) } }
    }

    private func appended(_ error: FileStoreError?) {
        isAppending = false
        guard case .taking(let file) = state else { return }
        guard let error else {
            connection.noteProgress()
            return handOn()
        }
        uploads.abandon(file)
        fail(error == .full ? .full : .unavailable)
    }

    private func finish(_ file: UploadInProgress) {
        state = .finishing
        let (uploads, bound, loop) = (uploads, bound, loop)
        // The disk is waited for.
        Task {
            do throws(TransferRefusal) {
                try await uploads.finish(file)
                loop.execute { bound.value.finished() }
            } catch {
                loop.execute { bound.value.fail(error) }
            }
        }
    }

    private func finished() {
        guard case .finishing = state else { return }
        state = .ended
        connection.answer(WebAnswer(.created, "the file is there"))
    }

    private func fail(_ refusal: TransferRefusal) {
        if case .ended = state { return }
        state = .ended
        waiting = ByteBuffer()
        connection.resumeReading()
        connection.giveUp(refusal.answer)
    }

    func lost() {
        if case .taking(let file) = state { uploads.abandon(file) }
        // What has been handed on as a whole is finished all the same.
        state = .ended
        waiting = ByteBuffer()
        connection.resumeReading()
    }
}

/// A file that goes: from the file store to the connection, one piece at a time. On the connection's loop.
private final class FileDelivery {
    private let connection: WebConnection
    private let uploads: Uploads
    private let download: Download
    private let length: Int
    private var sent = 0
    private var hasEnded = false

    init(_ connection: WebConnection, _ uploads: Uploads, _ download: Download, _ range: Range<Int>) {
        self.connection = connection
        self.uploads = uploads
        self.download = download
        length = range.count
    }

    private var loop: any EventLoop { connection.loop.loop }
    private var bound: NIOLoopBound<FileDelivery> { NIOLoopBound(self, eventLoop: loop) }

    func begin(_ answer: WebAnswer) {
        guard connection.begin(answer, bytes: length, gone: { [self] in end() }) else { return end() }
        next()
    }

    private func next() {
        let (bound, loop) = (bound, loop)
        download.reading.next { piece in loop.execute { bound.value.take(piece) } }
    }

    private func take(_ piece: Result<ByteBuffer, FileStoreError>) {
        guard !hasEnded else { return }
        // What has been said of its length cannot be taken back: the client sees that the file is not complete.
        guard case .success(let bytes) = piece, bytes.readableBytes > 0, bytes.readableBytes <= length - sent else { return connection.drop() }
        sent += bytes.readableBytes
        let bound = bound
        connection.send(bytes).whenSuccess { bound.value.written() }
    }

    private func written() {
        guard !hasEnded else { return }
        connection.noteProgress()
        guard sent == length else { return next() }
        end()
        connection.endSending()
    }

    private func end() {
        guard !hasEnded else { return }
        hasEnded = true
        uploads.end(download, bytes: sent)
    }
}
