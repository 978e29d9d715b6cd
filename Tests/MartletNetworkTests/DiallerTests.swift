import MartletNetwork
import MartletXMPP
import NIOCore
import NIOPosix
import Testing

#if os(Linux)
import Glibc

@Suite("Dialling")
struct DiallerTests {
    static let host = DNSName("xmpp.verona.example")!
    static let loopback = NetworkAddress("127.0.0.1")!
    static let other = NetworkAddress("127.0.0.2")!

    static func addresses(_ addresses: NetworkAddress..., isSecure: Bool = false) -> [DNSQuestion: Result<DNSAnswer, DNSError>] {
        [DNSQuestion(host, .a): .success(DNSAnswer(.records(addresses.map { .address($0) }), isSecure: isSecure))]
    }

    /// Dials on a loop of its own.
    static func dial(
        _ answers: [DNSQuestion: Result<DNSAnswer, DNSError>], _ targets: [DialTarget], allowing networks: [String] = ["127.0.0.0/8"],
        attemptDelay: TimeAmount = .milliseconds(5), timeout: TimeAmount = .seconds(30), cancels: Bool = false,
        _ body: (Result<Dialled, any Error>) async throws -> Void
    ) async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        var settings = Dialler.Settings()
        settings.race.attemptDelay = attemptDelay
        settings.timeout = timeout
        let dialler = Dialler(TableResolver(answers), policy: AddressPolicy(allowed: networks.compactMap { NetworkBlock($0) }), settings: settings)
        let dialling = loop.flatSubmit {
            let dial = dialler.dial(targets, on: loop)
            if cancels { dial.cancel() }
            return dial.result
        }
        let result: Result<Dialled, any Error>
        do { result = .success(try await dialling.get()) } catch { result = .failure(error) }
        try await body(result)
        try await group.shutdownGracefully()
    }

    static func failures(_ result: Result<Dialled, any Error>) -> [String] {
        guard case .failure(let error) = result else { return ["connected"] }
        return (error as? DialError)?.failures.map(\.description) ?? ["\(error)"]
    }

    static func stanzaError(_ result: Result<Dialled, any Error>) -> StanzaError.Condition? {
        guard case .failure(let error) = result else { return nil }
        return (error as? DialError)?.stanzaError
    }

    @Test("a connection is given with an empty pipeline, and reads nothing yet")
    func connects() async throws {
        let listener = try Listener(Self.loopback)
        let target = DialTarget(.name(Self.host), port: listener.port, .direct, isSecure: true)
        try await Self.dial(Self.addresses(Self.loopback, isSecure: true), [target]) { result in
            let dialled = try result.get()
            #expect(dialled.target == target && dialled.address == Self.loopback && dialled.isSecure)
            #expect(dialled.channel.isActive)
            #expect(try await dialled.channel.getOption(.autoRead).get() == false)
            #expect(listener.accept())
        }
    }

    @Test("it is secure if both the target and the address are", arguments: [(true, false), (false, true), (false, false)])
    func insecure(target: Bool, address: Bool) async throws {
        let listener = try Listener(Self.loopback)
        let targets = [DialTarget(.name(Self.host), port: listener.port, isSecure: target)]
        try await Self.dial(Self.addresses(Self.loopback, isSecure: address), targets) { result in
            let dialled = try result.get()
            #expect(!dialled.isSecure)
        }
    }

    @Test("where an alias leads is told if that is secure (RFC 7671 §7)", arguments: [true, false])
    func alias(isSecure: Bool) async throws {
        let listener = try Listener(Self.loopback)
        let other = DNSName("host.verona.example")
        let answer = DNSAnswer(.records([.address(Self.loopback)]), canonicalName: other, isSecure: isSecure)
        let target = DialTarget(.name(Self.host), port: listener.port, isSecure: true)
        try await Self.dial([DNSQuestion(Self.host, .a): .success(answer)], [target]) { result in
            let dialled = try result.get()
            #expect(dialled.canonicalHost == (isSecure ? other : nil))
        }
    }

    @Test("who does not answer is overtaken, and no socket is left to him")
    func overtaken() async throws {
        let silent = try Listener(Self.other, isFull: true)
        let listener = try Listener(Self.loopback, port: silent.port)
        try await Self.dial(Self.addresses(Self.other, Self.loopback), [DialTarget(.name(Self.host), port: silent.port)]) { result in
            let dialled = try result.get()
            #expect(dialled.address == Self.loopback)
            #expect(listener.accept())
            #expect(silent.isLeftAlone)
        }
    }

    @Test("the next target follows one that refuses, one without addresses and one that nobody answers for")
    func nextTarget() async throws {
        let listener = try Listener(Self.loopback)
        let refusing = try Listener(Self.loopback, listens: false)
        let nowhere = try #require(DNSName("nowhere.example"))
        let silent = try #require(DNSName("silent.example"))
        let empty = try #require(DNSName("empty.example"))
        var answers = Self.addresses(Self.loopback)
        for type in [RecordType.a, .aaaa] {
            answers[DNSQuestion(silent, type)] = .failure(.timedOut)
            answers[DNSQuestion(empty, type)] = .success(DNSAnswer(.noData))
        }
        let bad = [nowhere, silent, empty].map { DialTarget(.name($0)) } + [DialTarget(.name(Self.host), port: refusing.port)]
        try await Self.dial(answers, bad + [DialTarget(.name(Self.host), port: listener.port)]) { result in
            let dialled = try result.get()
            #expect(dialled.target.port == listener.port)
        }
        try await Self.dial(answers, bad) { result in
            #expect(Self.failures(result) == [
                "nowhere.example:5269: there is no such name in DNS",
                "silent.example:5269: no name server answered in time", "silent.example:5269: no name server answered in time",
                "empty.example:5269: it has no address",
                "xmpp.verona.example:\(refusing.port) (127.0.0.1): Connection refused",
            ])
        }
    }

    @Test("addresses that may not be dialled are not (rule 32)")
    func refused() async throws {
        let listener = try Listener(Self.loopback)
        let targets = [DialTarget(.name(Self.host), port: listener.port), DialTarget(.address(Self.loopback), port: listener.port)]
        try await Self.dial(Self.addresses(Self.loopback), targets, allowing: ["127.0.0.2/32"]) { result in
            let why = "a loopback address is not dialled unless the configuration allows its network"
            #expect(Self.failures(result) == ["xmpp.verona.example:\(listener.port) (127.0.0.1): \(why)", "127.0.0.1:\(listener.port) (127.0.0.1): \(why)"])
            #expect(!listener.accept())
            #expect(Self.stanzaError(result) == .remoteServerNotFound)
        }
    }

    @Test("all of it ends in time, also where nobody answers, and leaves no socket")
    func deadline() async throws {
        let silent = try Listener(Self.other, isFull: true)
        let targets = [1, 2].map { _ in DialTarget(.address(Self.other), port: silent.port) }
        try await Self.dial([:], targets, timeout: .milliseconds(20)) { result in
            #expect(Self.failures(result) == ["127.0.0.2:\(silent.port) (127.0.0.2): no connection in time"])
            #expect(Self.stanzaError(result) == .remoteServerTimeout)
            #expect(silent.isLeftAlone)
        }
    }

    @Test("whoever gives up hears so at once, whatever is under way", arguments: [true, false])
    func cancelled(byName: Bool) async throws {
        let silent = try Listener(Self.other, isFull: true)
        let target = DialTarget(byName ? .name(Self.host) : .address(Self.other), port: silent.port)
        try await Self.dial([:], [target, target], cancels: true) { result in
            #expect(Self.failures(result) == ["\(target)\(byName ? "" : " (127.0.0.2)"): given up"])
            #expect(silent.isLeftAlone)
        }
    }

    @Test("without targets there is nothing to dial")
    func nothing() async throws {
        try await Self.dial([:], []) { result in #expect(Self.failures(result) == []) }
    }
}

/// A TCP socket on loopback.
final class Listener {
    let port: UInt16
    private let file: Int32
    private var waiting: [Int32] = []

    /// - Parameters:
    ///   - isFull: its queue is, so that connections to it stay unanswered.
    ///   - listens: if not, connections are refused.
    init(_ address: NetworkAddress, port: UInt16 = 0, listens: Bool = true, isFull: Bool = false) throws {
        file = Self.socket()
        var place = sockaddr_in()
        place.sin_family = sa_family_t(AF_INET)
        place.sin_port = port.bigEndian
        place.sin_addr.s_addr = in_addr_t(truncatingIfNeeded: address.low).bigEndian
        self.port = try Self.bound(file, &place)
        if listens { try #require(listen(file, isFull ? 0 : 8) == 0) }
        if isFull { fill(place) }
    }

    deinit { for file in waiting + [file] { close(file) } }

    private static func bound(_ file: Int32, _ place: inout sockaddr_in) throws -> UInt16 {
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let size = length
        let isBound = withUnsafeMutableBytes(of: &place) { bytes in
            let pointer = bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self)
            return bind(file, pointer, size) == 0 && getsockname(file, pointer, &length) == 0
        }
        try #require(isBound)
        return UInt16(bigEndian: place.sin_port)
    }

    /// A queue of no length holds one connection.
    private func fill(_ place: sockaddr_in) {
        let client = Self.socket()
        _ = withUnsafeBytes(of: place) { connect(client, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self), socklen_t($0.count)) }
        waiting.append(client)
    }

    /// Processes that other tests begin do not inherit it.
    private static func socket() -> Int32 {
        Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    }

    /// Takes a connection that is there.
    func accept() -> Bool {
        let client = Glibc.accept(file, nil, nil)
        if client >= 0 { waiting.append(client) }
        return client >= 0
    }

    /// Whether nobody tries to connect to it. A socket that was closed lives on for a moment where a process is just being begun; one that was
    /// not closed does so for minutes.
    var isLeftAlone: Bool { (0..<1_000).contains { _ in attempts() == 0 } }

    /// How many sockets of this machine wait to be connected to this one, as the system sees it (`SYN_SENT` in `/proc/net/tcp`).
    private func attempts() -> Int {
        guard let table = fopen("/proc/net/tcp", "r") else { return -1 }
        defer { fclose(table) }
        let port = String(port, radix: 16, uppercase: true)
        var count = 0
        var line = [CChar](repeating: 0, count: 512)
        while fgets(&line, 512, table) != nil {
            let fields = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).split(separator: " ")
            if fields.count > 3, fields[2].hasSuffix(":" + String(repeating: "0", count: 4 - port.count) + port), fields[3] == "02" { count += 1 }
        }
        return count
    }
}
#endif
