import CUnbound
import Dispatch
import NIOCore

/// Resolves and validates through libunbound, which has its own thread for the network and its own cache.
///
/// `@unchecked Sendable`: everything is touched on `queue` only. Nobody else waits there: handing over a question and taking answers are
/// a write to and a read from libunbound's pipe.
package final class UnboundResolver: Resolver, @unchecked Sendable {
    private typealias Waiter = CheckedContinuation<Result<DNSAnswer, DNSError>, Never>

    private enum State {
        case running(OpaquePointer, any DispatchSourceRead)
        case stopped
    }

    private let queue = DispatchQueue(label: "martlet.resolver")
    private let timeout: DispatchTimeInterval
    private var state: State
    private var questions: QuestionQueue<Waiter>
    private var asked: [DNSQuestion: Asked] = [:]

    package init(_ settings: ResolverSettings) throws(ResolverError) {
        let context = try Self.makeContext(settings)
        timeout = .nanoseconds(Int(settings.timeout.nanoseconds))
        questions = QuestionQueue(underWayMax: settings.questionsMax, waitersMax: settings.waitersMax)
        let source = DispatchSource.makeReadSource(fileDescriptor: ub_fd(context), queue: queue)
        state = .running(context, source)
        source.setEventHandler { [weak self] in self?.takeAnswers() }
        // The descriptor belongs to the context, which has to outlive the source.
        let owned = Context(pointer: context)
        source.setCancelHandler { ub_ctx_delete(owned.pointer) }
        source.activate()
    }

    deinit {
        if case .running(_, let source) = state { source.cancel() }
    }

    /// Whoever waits hears ``DNSError/stopped``, and so does whoever asks from now on. Returns when the thread has gone.
    package func stop() async {
        await withCheckedContinuation { done in
            queue.async { [self] in
                if case .running(_, let source) = state { breakOff(source, .stopped) }
                // Behind the source's cancel handler, which is on this queue as well.
                queue.async { done.resume() }
            }
        }
    }

    package func answer(to question: DNSQuestion) async throws(DNSError) -> DNSAnswer {
        // A continuation, since the answer is called back from another thread; it is resumed once, at the deadline at the latest.
        let result = await withCheckedContinuation { waiter in queue.async { self.add(waiter, to: question) } }
        return try result.get()
    }
}

// MARK: Questions, on the queue

extension UnboundResolver {
    /// A question on its way through libunbound, which holds a pointer to it until it answers or the question is cancelled.
    private final class Asked {
        let question: DNSQuestion
        var number: Int32?
        var deadline: DispatchWorkItem?
        var result: Result<DNSAnswer, DNSError>?

        init(_ question: DNSQuestion) { self.question = question }
    }

    private func add(_ waiter: Waiter, to question: DNSQuestion) {
        guard case .running(let context, _) = state else { return waiter.resume(returning: .failure(.stopped)) }
        switch questions.add(waiter, to: question) {
        case .refused: waiter.resume(returning: .failure(.overloaded))
        case .joins: break
        case .waits: expect(question)
        case .begins:
            expect(question)
            begin(question, context)
        }
    }

    /// Gives the question its deadline. Whoever joins it later waits no longer for that.
    private func expect(_ question: DNSQuestion) {
        let deadline = DispatchWorkItem { [weak self] in self?.end(question, .failure(.timedOut)) }
        let entry = Asked(question)
        entry.deadline = deadline
        asked[question] = entry
        queue.asyncAfter(deadline: .now() + timeout, execute: deadline)
    }

    private func begin(_ question: DNSQuestion, _ context: OpaquePointer) {
        var next: DNSQuestion? = question
        while let question = next, let failure = hand(question, context) { next = close(question, .failure(failure), context) }
    }

    /// Hands the question to libunbound. - Returns: why it does not take it.
    private func hand(_ question: DNSQuestion, _ context: OpaquePointer) -> DNSError? {
        guard let entry = asked[question] else { preconditionFailure("a question that nobody waits for") }
        var number: Int32 = 0
        let pointer = Unmanaged.passUnretained(entry).toOpaque()
        let code = ub_resolve_async(
            context, "\(question.name).", Int32(question.type.rawValue), Self.classIN, pointer, Self.answered, &number)
        guard code == 0 else { return .failed(Self.describe(code)) }
        entry.number = number
        return nil
    }

    private static let answered: ub_callback_type = { pointer, code, result in
        guard let pointer else { return }
        defer { ub_resolve_free(result) }
        let entry = Unmanaged<Asked>.fromOpaque(pointer).takeUnretainedValue()
        entry.number = nil
        entry.result = UnboundResolver.read(result, code, entry.question)
    }

    /// Answers have come.
    private func takeAnswers() {
        guard case .running(let context, let source) = state else { return }
        let code = ub_process(context)
        // Its thread has gone, and the descriptor would stay readable for ever.
        if code != 0 { breakOff(source, .failed(Self.describe(code))) }
        for entry in asked.values {
            if let result = entry.result { end(entry.question, result) }
        }
    }

    private func end(_ question: DNSQuestion, _ result: Result<DNSAnswer, DNSError>) {
        guard case .running(let context, _) = state, let next = close(question, result, context) else { return }
        begin(next, context)
    }

    /// Tells everybody. - Returns: the question whose turn it is.
    private func close(_ question: DNSQuestion, _ result: Result<DNSAnswer, DNSError>, _ context: OpaquePointer) -> DNSQuestion? {
        guard let entry = asked.removeValue(forKey: question) else { return nil }
        entry.deadline?.cancel()
        if let number = entry.number { ub_cancel(context, number) }
        let (waiters, next) = questions.end(question)
        for waiter in waiters { waiter.resume(returning: result) }
        return next
    }
}

// MARK: The end, on the queue

extension UnboundResolver {
    private func breakOff(_ source: any DispatchSourceRead, _ error: DNSError) {
        source.cancel()
        state = .stopped
        for question in asked.values { question.deadline?.cancel() }
        asked = [:]
        for waiter in questions.removeAll() { waiter.resume(returning: .failure(error)) }
    }
}

// MARK: Answers

extension UnboundResolver {
    /// RFC 1035 §3.2.4.
    private static let classIN: Int32 = 1

    /// RFC 1035 §4.1.1.
    private enum ResponseCode {
        static let noError: Int32 = 0
        static let serverFailure: Int32 = 2
        static let noSuchName: Int32 = 3
        static let refused: Int32 = 5
    }

    private static func read(_ pointer: UnsafeMutablePointer<ub_result>?, _ code: Int32, _ question: DNSQuestion) -> Result<DNSAnswer, DNSError> {
        guard code == 0, let result = pointer?.pointee else { return .failure(.failed(describe(code))) }
        // What is bogus has its data with it.
        if result.bogus != 0 { return .failure(.bogus(result.why_bogus.map { String(cString: $0) } ?? "no reason given")) }
        return Result { () throws(DNSError) in
            let canonicalName = result.canonname.flatMap { DNSName(String(cString: $0)) }
            return DNSAnswer(
                try content(result, question.type), canonicalName: canonicalName == question.name ? nil : canonicalName,
                secondsToLive: Int(result.ttl), isSecure: result.secure != 0)
        }
    }

    private static func content(_ result: ub_result, _ type: RecordType) throws(DNSError) -> DNSAnswer.Content {
        if result.havedata != 0 {
            let records = try RecordData.records(type, data(result))
            return records.isEmpty ? .noData : .records(records)
        }
        switch result.rcode {
        case ResponseCode.noError: return .noData
        case ResponseCode.noSuchName: return .noSuchName
        case ResponseCode.serverFailure: throw .failed("SERVFAIL")
        case ResponseCode.refused: throw .failed("REFUSED")
        default: throw .failed("response code \(result.rcode)")
        }
    }

    private static func data(_ result: ub_result) -> [[UInt8]] {
        var data: [[UInt8]] = []
        while data.count < RecordData.recordsMax, let item = result.data[data.count] {
            data.append(Array(UnsafeRawBufferPointer(start: item, count: Int(result.len[data.count]))))
        }
        return data
    }

    private static func describe(_ code: Int32) -> String { ub_strerror(code).map { String(cString: $0) } ?? "error \(code)" }
}

// MARK: Starting

extension UnboundResolver {
    private struct Context: @unchecked Sendable { let pointer: OpaquePointer }

    private static func makeContext(_ settings: ResolverSettings) throws(ResolverError) -> OpaquePointer {
        guard let context = ub_ctx_create() else { throw .refused(setting: "to start", "no memory") }
        do throws(ResolverError) {
            try configure(context, settings)
        } catch {
            ub_ctx_delete(context)
            throw error
        }
        return context
    }

    private static func configure(_ context: OpaquePointer, _ settings: ResolverSettings) throws(ResolverError) {
        // It would write to standard error in its own format. What matters is in the answers.
        ub_ctx_debugout(context, nil)
        try check(ub_ctx_async(context, 1), "a thread")
        for (name, value) in ResolverSettings.options { try check(ub_ctx_set_option(context, name, value), "\(name) \(value)") }
        if settings.servers.isEmpty {
            try checkReadable(settings.resolvConf)
            try check(ub_ctx_resolvconf(context, settings.resolvConf), settings.resolvConf)
        }
        for server in settings.servers {
            guard isServer(server) else { throw .notAServer(server) }
            try check(ub_ctx_set_fwd(context, server), server)
        }
        if !FileContents.isAbsent(settings.hostsFile) {
            try checkReadable(settings.hostsFile)
            try check(ub_ctx_hosts(context, settings.hostsFile), settings.hostsFile)
        }
        if let file = settings.trustAnchorFile {
            try checkReadable(file)
            try check(ub_ctx_add_ta_file(context, file), file)
        }
        // libunbound would answer for `test` itself (RFC 6761 §6.2); networks of one's own use it, and their servers know. This also puts
        // all settings in force, so that what is wrong with them is known now.
        try check(ub_ctx_zone_remove(context, "test."), settings.trustAnchorFile ?? "these settings")
    }

    private static func isServer(_ text: String) -> Bool {
        let parts = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = parts.first, NetworkAddress(String(address)) != nil else { return false }
        return parts.count == 1 || UInt16(parts[1]).map { $0 > 0 } == true
    }

    private static func checkReadable(_ file: String) throws(ResolverError) {
        do throws(FileContents.Unreadable) {
            _ = try FileContents.read(file)
        } catch {
            throw .unreadable(file: file, FileContents.describe(error.errno))
        }
    }

    private static func check(_ code: Int32, _ setting: String) throws(ResolverError) {
        guard code == 0 else { throw .refused(setting: setting, describe(code)) }
    }
}
