import MartletCore
import MartletNetwork
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOPosix

/// A service that speaks as much S3 as uploaded files need, with one bucket, on loopback.
final class PlayedBucket: Sendable {
    static let secret = Array("wJalrXUtnFEMI".utf8)

    /// What it does otherwise than it should.
    enum Fault: Sendable {
        /// Answers before it has read anything.
        case refuses(Int, code: String)
        /// Takes everything and never says anything.
        case silent
        /// Gives half of what it has said, and closes.
        case breaksOff
        /// Says that a part is of another place, or shorter.
        case givesOthers
        /// Always the same page of a list that goes on.
        case endlessList
    }

    private struct State: Sendable {
        var objects: [String: [UInt8]] = [:]
        var fault: Fault?
        var requests: [String] = []
    }

    private let state = NIOLockedValueBox(State())
    private let channel: any Channel
    let port: Int

    init(on group: any EventLoopGroup) async throws {
        let state = state
        channel = try await ServerBootstrap(group: group)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline(withErrorHandling: false)
                    try channel.pipeline.syncOperations.addHandler(Handler(state))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        port = channel.localAddress?.port ?? 0
    }

    func stop() async throws { try await channel.close() }

    var objects: [String: [UInt8]] { state.withLockedValue { $0.objects } }
    var requests: [String] { state.withLockedValue { $0.requests } }
    func set(_ fault: Fault?) { state.withLockedValue { $0.fault = fault } }
    func put(_ key: String, _ bytes: [UInt8]?) { state.withLockedValue { $0.objects[key] = bytes } }

    /// The bucket as a server's configuration has it.
    func bucket(secret: [UInt8] = PlayedBucket.secret, prefix: String = "chat/") -> S3Bucket {
        var bucket = S3Bucket(endpoint: HTTPURL("http://127.0.0.1:\(port)")!, name: "uploads", accessKey: "AKIDEXAMPLE", secret: secret)
        (bucket.isInPath, bucket.prefix) = (true, prefix)
        return bucket
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        private let state: NIOLockedValueBox<State>
        private var head: HTTPRequestHead?
        private var content: [UInt8] = []

        init(_ state: NIOLockedValueBox<State>) { self.state = state }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head):
                self.head = head
                state.withLockedValue { $0.requests.append("\(head.method) \(head.uri)") }
                if case .refuses(let status, let code) = state.withLockedValue({ $0.fault }) {
                    answer(status, Array("<?xml version=\"1.0\"?>\n<Error><Code>\(code)</Code></Error>".utf8), context)
                }
            case .body(let bytes): content += bytes.readableBytesView
            case .end: if let head { serve(head, context) }
            }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

        private func serve(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
            let fault = state.withLockedValue { $0.fault }
            switch fault {
            case .silent, .refuses: return
            case .breaksOff, .givesOthers, .endlessList, nil: break
            }
            guard isSigned(head) else { return answer(403, Array("<Error><Code>SignatureDoesNotMatch</Code></Error>".utf8), context) }
            let path = head.uri.prefix { $0 != "?" }
            guard path.hasPrefix("/uploads/") else { return answer(404, Array("<Error><Code>NoSuchBucket</Code></Error>".utf8), context) }
            let key = String(path.dropFirst("/uploads/".count))
            let object = state.withLockedValue { $0.objects[key] }
            switch head.method {
            case .PUT:
                state.withLockedValue { $0.objects[key] = content }
                answer(200, [], context)
            case .DELETE:
                state.withLockedValue { $0.objects[key] = nil }
                answer(204, [], context)
            case .HEAD: if let object { answer(200, [], length: object.count, context) } else { answer(404, [], context) }
            case .GET where key.isEmpty: list(head.uri, fault, context)
            default: give(object, head, fault, context)
            }
        }

        private func give(_ object: [UInt8]?, _ head: HTTPRequestHead, _ fault: Fault?, _ context: ChannelHandlerContext) {
            guard let object else { return answer(404, Array("<Error><Code>NoSuchKey</Code></Error>".utf8), context) }
            let ends = (head.headers.first(name: "range") ?? "").dropFirst("bytes=".count).split(separator: "-").compactMap { Int($0) }
            guard ends.count == 2, ends[0] < object.count else { return answer(416, [], context) }
            let part = Array(object[ends[0]..<min(ends[1] + 1, object.count)])
            let shift = if case .givesOthers = fault { 1 } else { 0 }
            let range = "bytes \(ends[0] + shift)-\(ends[0] + shift + part.count - 1)/\(object.count)"
            guard case .breaksOff = fault else { return answer(206, part, range: range, context) }
            answer(206, Array(part.prefix(part.count / 2)), length: part.count, range: range, closes: true, context)
        }

        private func list(_ uri: String, _ fault: Fault?, _ context: ChannelHandlerContext) {
            let query = Dictionary(uniqueKeysWithValues: (uri.split(separator: "?").last ?? "").split(separator: "&").compactMap { pair -> (String, String)? in
                let halves = pair.split(separator: "=", omittingEmptySubsequences: false)
                return PercentEncoding.decoded(halves[1].utf8).map { (String(halves[0]), String(decoding: $0, as: UTF8.self)) }
            })
            let (prefix, isDeep, after) = (query["prefix"] ?? "", query["delimiter"] == nil, query["continuation-token"] ?? "")
            let keys = state.withLockedValue { $0.objects.keys.filter { $0.hasPrefix(prefix) } }.sorted()
            let all = isDeep ? keys : Set(keys.map { $0.split(separator: "/").prefix(2).joined(separator: "/") + "/" }).sorted()
            // Pages are short here, so that there are several.
            let page = all.filter { $0 > after }.prefix(2)
            let isLast = page.last == all.last
            var xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>uploads</Name>"
            let endless = if case .endlessList = fault { true } else { false }
            xml += "<IsTruncated>\(!isLast || endless)</IsTruncated>"
            if endless { xml += "<NextContinuationToken>again</NextContinuationToken>" } else if !isLast { xml += "<NextContinuationToken>\(page.last ?? "")</NextContinuationToken>" }
            for entry in page {
                let size = state.withLockedValue { $0.objects[entry]?.count ?? 0 }
                xml += isDeep ? "<Contents><Key>\(entry)</Key><Size>\(size)</Size></Contents>" : "<CommonPrefixes><Prefix>\(entry)</Prefix></CommonPrefixes>"
            }
            answer(200, Array((xml + "</ListBucketResult>").utf8), context)
        }

        /// As the service does it: with what has come.
        private func isSigned(_ head: HTTPRequestHead) -> Bool {
            let signed = (head.headers.first(name: "authorization") ?? "").split(separator: ",").first { $0.hasPrefix("SignedHeaders=") }
            let names = (signed?.dropFirst("SignedHeaders=".count) ?? "").split(separator: ";").map(String.init)
            guard names.contains("host"), names.contains("x-amz-date"), let content = head.headers.first(name: "x-amz-content-sha256") else { return false }
            let halves = head.uri.split(separator: "?", maxSplits: 1)
            let query = (halves.count > 1 ? halves[1] : "").split(separator: "&").compactMap { pair -> (name: String, value: String)? in
                let parts = pair.split(separator: "=", omittingEmptySubsequences: false)
                return PercentEncoding.decoded(parts[1].utf8).map { (String(parts[0]), String(decoding: $0, as: UTF8.self)) }
            }
            let subject = RequestSignature.Subject(
                head.method.rawValue, String(halves[0]), query: query, headers: names.map { ($0, head.headers.first(name: $0) ?? "") }, content: content)
            let signature = RequestSignature(accessKey: "AKIDEXAMPLE", secret: PlayedBucket.secret, region: "us-east-1")
            return signature.authorization(for: subject, at: head.headers.first(name: "x-amz-date") ?? "") == head.headers.first(name: "authorization")
        }

        private func answer(
            _ status: Int, _ content: [UInt8], length: Int? = nil, range: String? = nil, closes: Bool = false, _ context: ChannelHandlerContext
        ) {
            var head = HTTPResponseHead(version: .http1_1, status: HTTPResponseStatus(statusCode: status))
            head.headers.add(name: "Content-Length", value: "\(length ?? content.count)")
            if let range { head.headers.add(name: "Content-Range", value: range) }
            context.write(wrapOutboundOut(.head(head)), promise: nil)
            guard self.head?.method != .HEAD else { return context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil) }
            let channel = context.channel
            context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: content))))).whenComplete { _ in if closes { channel.close(promise: nil) } }
            if !closes { context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil) }
        }
    }
}
