import CMartletGSS
package import Logging
import MartletXMPP
import NIOConcurrencyHelpers
import NIOPosix
import Synchronization

/// Why tickets cannot be read.
package struct KerberosFault: Error, Hashable, CustomStringConvertible {
    package let description: String
}

/// The system's library for Kerberos, with the keys of our principals. One for the process, of which contexts are made; a reload makes another.
///
/// The library waits for files, the keytab and the replay cache, and computes: it is called on threads of its own.
package final class KerberosAcceptor: Sendable {
    package let settings: KerberosSettings
    private let keys: AcceptorKeys
    private let log: Logger

    /// Loads the library if it has not been, and looks whether there are keys.
    package init(_ settings: KerberosSettings, log: Logger) throws(KerberosFault) {
        self.settings = settings
        self.log = log
        keys = try AcceptorKeys(settings)
    }

    /// What keeps the library from being used; `nil` if nothing does.
    package static var libraryFault: String? { cgss_load().map { String(cString: $0) } }

    func makeContext() -> KerberosContext { KerberosContext(self) }

    /// - Returns: what the exchange is told.
    fileprivate func run(_ request: GSSAPIRequest, _ context: KerberosContext) async -> SASLAnswer {
        let outcome = await KerberosThreads.shared.run { [keys, settings] in context.perform(request, keys, settings) }
        switch outcome {
        case .success(let answer):
            if case .established(let principal, _) = answer { log.debug("a ticket of Kerberos was read", metadata: ["principal": "\(principal)"]) }
            return .gssapi(answer)
        case .failure(.refused(let why)):
            log.info("a ticket of Kerberos is not accepted", metadata: ["why": "\(why)"])
            return .refused(.notAuthorized)
        case .failure(.failed(let why)):
            log.notice("a ticket of Kerberos cannot be read", metadata: ["why": "\(why)"])
            return .refused(.temporaryAuthFailure)
        }
    }
}

/// Where the library is called: on a few threads of their own, with a bound on how many calls wait.
private final class KerberosThreads: Sendable {
    /// Begun when the first ticket comes, and there until the process ends.
    static let shared = KerberosThreads()
    /// Calls at a time.
    static let threadsMax = 2
    /// Calls that wait for a thread. Further ones fail for the moment.
    static let waitingMax = 256

    private let pool: NIOThreadPool
    /// Running or waiting.
    private let open = Atomic<Int>(0)

    private init() {
        pool = NIOThreadPool(numberOfThreads: Self.threadsMax)
        pool.start()
    }

    func run(
        _ work: @escaping @Sendable () -> Result<GSSAPIAnswer, KerberosContext.Fault>
    ) async -> Result<GSSAPIAnswer, KerberosContext.Fault> {
        defer { open.wrappingSubtract(1, ordering: .relaxed) }
        guard open.wrappingAdd(1, ordering: .relaxed).newValue <= Self.threadsMax + Self.waitingMax else { return .failure(.failed("too many wait")) }
        return (try? await pool.runIfActive(work)) ?? .failure(.failed("the server stops"))
    }
}

/// The library's handle of a keytab, given back when nobody uses it any more.
///
/// Unchecked, because the compiler does not know that the library locks what it shares: any thread may use the handle.
private final class AcceptorKeys: @unchecked Sendable {
    private let handle: OpaquePointer

    init(_ settings: KerberosSettings) throws(KerberosFault) {
        let fault = FaultText()
        guard let handle = cgss_acquire("FILE:" + settings.keytab, "file2:" + settings.replays, fault.space) else {
            throw KerberosFault(description: fault.text)
        }
        self.handle = handle
    }

    deinit { cgss_release(handle) }

    func accept(_ token: [UInt8], _ context: OpaquePointer, _ fault: FaultText) -> (cgss_status, answer: [UInt8], source: [UInt8], target: [UInt8]) {
        var (answer, source, target) = (cgss_bytes(), cgss_bytes(), cgss_bytes())
        let status = cgss_accept(context, handle, token, token.count, &answer, &source, &target, fault.space)
        return (status, answer.taken(), source.taken(), target.taken())
    }
}

/// The security context of one exchange. It is the stream's, and is given back with it, whatever becomes of either.
final class KerberosContext: Sendable {
    enum Fault: Error, Hashable {
        /// What the client has sent is good for nothing.
        case refused(String)
        /// It could not be found out.
        case failed(String)
    }

    /// Unchecked, because a pointer is no value: it is used under the lock alone.
    private struct Handle: @unchecked Sendable {
        var context: OpaquePointer?
    }

    private let acceptor: KerberosAcceptor
    // An exchange asks for one thing after the other: nobody ever waits for it.
    private let handle = NIOLockedValueBox(Handle(context: cgss_begin()))

    fileprivate init(_ acceptor: KerberosAcceptor) { self.acceptor = acceptor }

    deinit { handle.withLockedValue { $0.context.map { cgss_end($0) } } }

    func answer(_ request: GSSAPIRequest) async -> SASLAnswer { await acceptor.run(request, self) }

    /// On a thread that may wait.
    fileprivate func perform(_ request: GSSAPIRequest, _ keys: AcceptorKeys, _ settings: KerberosSettings) -> Result<GSSAPIAnswer, Fault> {
        handle.withLockedValue { handle in
            guard let context = handle.context else { return .failure(.failed("no memory")) }
            do throws(Fault) {
                switch request {
                case .accept(let token, _): return .success(try Self.accept(token, context, keys, settings))
                case .wrap(let message): return .success(.wrapped(try Self.protect(message, context, cgss_wrap)))
                case .unwrap(let message): return .success(.unwrapped(try Self.protect(message, context, cgss_unwrap)))
                }
            } catch {
                return .failure(error)
            }
        }
    }

    private static func accept(
        _ token: [UInt8], _ context: OpaquePointer, _ keys: AcceptorKeys, _ settings: KerberosSettings
    ) throws(Fault) -> GSSAPIAnswer {
        let fault = FaultText()
        let (status, answer, source, target) = keys.accept(token, context, fault)
        try check(status, fault)
        guard status == CGSS_DONE else { return .continues(token: answer) }
        let (client, own) = (String(decoding: source, as: UTF8.self), String(decoding: target, as: UTF8.self))
        guard settings.isOurs(own) else { throw .refused("it is for \(own), and not for this service") }
        guard let principal = KerberosPrincipal(client) else { throw .refused("\(client) is not the principal of a person") }
        guard settings.believes(principal.realm) else { throw .refused("\(client) is of a realm that no domain names") }
        return .established(principal, token: answer)
    }

    private typealias Protection = (OpaquePointer, UnsafePointer<UInt8>?, Int, UnsafeMutablePointer<cgss_bytes>, UnsafeMutablePointer<CChar>) -> cgss_status

    private static func protect(_ message: [UInt8], _ context: OpaquePointer, _ call: Protection) throws(Fault) -> [UInt8] {
        let fault = FaultText()
        var answer = cgss_bytes()
        let status = message.withUnsafeBufferPointer { call(context, $0.baseAddress, $0.count, &answer, fault.space) }
        let bytes = answer.taken()
        try check(status, fault)
        return bytes
    }

    private static func check(_ status: cgss_status, _ fault: FaultText) throws(Fault) {
        switch status {
        case CGSS_DONE, CGSS_CONTINUES: return
        case CGSS_REFUSED: throw .refused(fault.text)
        default: throw .failed(fault.text)
        }
    }
}

/// Room in which the library's words are written.
private final class FaultText {
    let space = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CGSS_FAULT_BYTES))

    init() { space.initialize(repeating: 0, count: Int(CGSS_FAULT_BYTES)) }
    deinit { space.deallocate() }

    var text: String { String(cString: space) }
}

extension cgss_bytes {
    /// What is there, as a value; it is given back.
    fileprivate func taken() -> [UInt8] {
        defer { cgss_free(self) }
        return Array(UnsafeBufferPointer(start: bytes, count: count))
    }
}
