import MartletNetwork
import MartletXMPP
import NIOCore
import Testing

@Suite struct NetworkAddressTests {
    @Test("an IPv4 address and its mapped form are one (RFC 4291 §2.5.5.2)")
    func mapped() throws {
        let plain = try #require(NetworkAddress("192.0.2.7"))
        #expect(NetworkAddress("::ffff:192.0.2.7") == plain)
        #expect(plain.description == "192.0.2.7")
        #expect(NetworkAddress("2001:db8::9")?.description == "2001:db8::9")
        #expect(NetworkAddress("2001:db8::9")?.description(port: 5222) == "[2001:db8::9]:5222")
        #expect(NetworkAddress("verona.example") == nil)
    }

    @Test("the addresses of one IPv6 network are one peer's, those of IPv4 are not")
    func network() {
        #expect(NetworkAddress("2001:db8::9")?.network == NetworkAddress("2001:db8::1:0:0:7")?.network)
        #expect(NetworkAddress("2001:db8::9")?.network != NetworkAddress("2001:db8:0:1::9")?.network)
        #expect(NetworkAddress("192.0.2.7")?.network != NetworkAddress("192.0.2.8")?.network)
    }

    @Test("blocks hold what begins with their bits", arguments: [
        ("10.0.0.0/8", "10.255.0.1", true), ("10.0.0.0/8", "11.0.0.1", false), ("0.0.0.0/0", "192.0.2.7", true), ("0.0.0.0/0", "2001:db8::9", false),
        ("2001:db8::/32", "2001:db8:ffff::1", true), ("2001:db8::/32", "2001:db9::1", false), ("192.0.2.7", "192.0.2.7", true),
        ("192.0.2.7", "192.0.2.6", false), ("::/0", "2001:db8::9", true), ("2001:db8::/65", "2001:db8::8000:0:0:1", false),
    ])
    func blocks(block: String, address: String, isInside: Bool) throws {
        #expect(try #require(NetworkBlock(block)).contains(try #require(NetworkAddress(address))) == isInside)
    }

    @Test("what is no block is none", arguments: ["10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "x/8", "::/129", ""])
    func noBlocks(text: String) { #expect(NetworkBlock(text) == nil) }
}

@Suite struct RegistrationThrottleTests {
    private let now = NIODeadline.uptimeNanoseconds(1 << 40)

    private func throttle(perNetwork: Int, total: Int) -> RegistrationThrottle {
        var settings = RegistrationThrottle.Settings()
        (settings.perNetworkMax, settings.totalMax) = (perNetwork, total)
        return RegistrationThrottle(settings)
    }

    private func address(_ text: String) throws -> NetworkAddress { try #require(NetworkAddress(text)) }

    @Test("a network has so many requests, and after its part of an hour one more")
    func network() throws {
        var throttle = throttle(perNetwork: 4, total: 100)
        let (one, other) = (try address("192.0.2.7"), try address("192.0.2.8"))
        for _ in 0..<4 { #expect(throttle.take(one, at: now) == true) }
        #expect(throttle.take(one, at: now) == false)
        #expect(throttle.take(other, at: now) == true)
        #expect(throttle.take(one, at: now + .minutes(15) - .nanoseconds(1)) == false)
        #expect(throttle.take(one, at: now + .minutes(15)) == true)
        #expect(throttle.take(one, at: now + .minutes(15)) == false)
    }

    @Test("addresses of one /64 are one network")
    func sixth() throws {
        var throttle = throttle(perNetwork: 1, total: 100)
        #expect(throttle.take(try address("2001:db8::1"), at: now) == true)
        #expect(throttle.take(try address("2001:db8::2"), at: now) == false)
        #expect(throttle.take(try address("2001:db8:0:1::1"), at: now) == true)
    }

    @Test("all networks together have so many, and so have those that are not known")
    func total() throws {
        var throttle = throttle(perNetwork: 10, total: 3)
        for last in 1...3 { #expect(throttle.take(try address("192.0.2.\(last)"), at: now) == true) }
        #expect(throttle.take(try address("192.0.2.4"), at: now) == false)
        #expect(throttle.take(nil, at: now) == false)
        #expect(throttle.take(nil, at: now + .minutes(20)) == true)
    }
}

@Suite struct LoginThrottleTests {
    static let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)
    let juliet = try? BareJID(parsing: "juliet@verona.example")

    static var settings: LoginThrottle.Settings {
        var settings = LoginThrottle.Settings()
        settings.failuresPerAddressMax = 3
        settings.recoveryPerAddress = .seconds(2)
        settings.failuresPerAccountMax = 100
        settings.delayMax = .seconds(5)
        return settings
    }

    @Test("failures beyond what an address may have delay the answers, up to an end, and are forgotten with time")
    func address() throws {
        var throttle = LoginThrottle(Self.settings)
        let address = try #require(NetworkAddress("192.0.2.7"))
        let account = try #require(juliet)
        for _ in 0..<3 { #expect(throttle.begin(address, account, at: Self.start) == .zero) }
        #expect(throttle.begin(address, account, at: Self.start) == .seconds(2))
        #expect(throttle.begin(address, account, at: Self.start) == .seconds(4))
        #expect(throttle.begin(address, account, at: Self.start) == .seconds(5))
        #expect(throttle.begin(address, account, at: Self.start) == .seconds(5))
        #expect(throttle.begin(address, account, at: Self.start + .seconds(60)) == .zero)
        let other = try #require(NetworkAddress("192.0.2.8"))
        #expect(throttle.begin(other, account, at: Self.start) == .zero)
    }

    @Test("a success counts for nothing")
    func success() throws {
        var throttle = LoginThrottle(Self.settings)
        let address = try #require(NetworkAddress("192.0.2.7"))
        let account = try #require(juliet)
        for _ in 0..<100 {
            #expect(throttle.begin(address, account, at: Self.start) == .zero)
            throttle.succeed(address, account, at: Self.start)
        }
    }

    @Test("an account that is attacked from everywhere is slowed down for everybody, and never locked")
    func account() throws {
        var settings = Self.settings
        settings.failuresPerAccountMax = 2
        settings.recoveryPerAccount = .seconds(1)
        var throttle = LoginThrottle(settings)
        let account = try #require(juliet)
        var longest = TimeAmount.zero
        for last in 1..<200 {
            longest = max(longest, throttle.begin(NetworkAddress(ipv4: UInt32(last)), account, at: Self.start))
        }
        #expect(longest == .seconds(5))
    }

    @Test("what an attempt would have to wait can be asked, and asking counts for nothing")
    func delays() throws {
        var throttle = LoginThrottle(Self.settings)
        let address = try #require(NetworkAddress("192.0.2.7"))
        let account = try #require(juliet)
        for _ in 0..<3 { _ = throttle.begin(address, account, at: Self.start) }
        for _ in 0..<10 { #expect(throttle.delays(address, account, at: Self.start) == (.seconds(2), .zero)) }
        #expect(throttle.delays(nil, account, at: Self.start) == (.zero, .zero))
        #expect(throttle.delay(address, at: Self.start) == .seconds(2) && throttle.delay(nil, at: Self.start) == .zero)
        #expect(throttle.begin(address, account, at: Self.start) == .seconds(2))
        for _ in 0..<100 { _ = throttle.begin(address, account, at: Self.start) }
        #expect(throttle.delays(address, account, at: Self.start).address == .seconds(5))
    }

    @Test("no number of strangers takes more memory than the table's bound")
    func bounded() throws {
        var settings = Self.settings
        settings.entriesMax = 100
        var throttle = LoginThrottle(settings)
        for index in 0..<10_000 {
            let account = try BareJID(localpart: "a\(index)", domainpart: "verona.example")
            _ = throttle.begin(NetworkAddress(ipv4: UInt32(index)), account, at: Self.start)
        }
        #expect(throttle.entryCount <= 200)
    }
}

private final class Guest: DeadlineWheelMember {
    var wheelPlace: DeadlineWheelPlace?
    let name: Int
    init(_ name: Int) { self.name = name }
}

@Suite struct DeadlineWheelTests {
    @Test("a member is handed out at its tick, a far one earlier, a removed one never")
    func turns() {
        var wheel = DeadlineWheel<Guest>()
        let guests = (0..<5).map(Guest.init)
        wheel.insert(guests[0], at: 3)
        wheel.insert(guests[1], at: 3)
        wheel.insert(guests[2], at: 3)
        wheel.insert(guests[3], at: 100_000)
        wheel.insert(guests[4], at: -7)
        wheel.remove(guests[0])
        wheel.remove(guests[0])
        #expect(wheel.count == 4)
        #expect(wheel.turn().map(\.name) == [4])
        #expect(wheel.turn().isEmpty)
        #expect(Set(wheel.turn().map(\.name)) == [1, 2])
        for _ in 4..<(DeadlineWheel<Guest>.ticksMax - 1) { #expect(wheel.turn().isEmpty) }
        #expect(wheel.turn().map(\.name) == [3])
        #expect(wheel.count == 0)
    }

    @Test("removing while others hang in the same slot leaves them there")
    func removal() {
        var wheel = DeadlineWheel<Guest>()
        let guests = (0..<50).map(Guest.init)
        for guest in guests { wheel.insert(guest, at: 2) }
        for guest in guests where guest.name % 3 == 0 { wheel.remove(guest) }
        _ = wheel.turn()
        #expect(Set(wheel.turn().map(\.name)) == Set((0..<50).filter { $0 % 3 != 0 }))
    }
}

@Suite struct AdmissionTests {
    @Test("what is admitted and gone can be admitted again, on each side of the bounds")
    func bounds() throws {
        var limits = Admission.Limits()
        limits.connectionsPerAddressMax = 2
        limits.unauthenticatedMax = 3
        let admission = Admission(limits)
        let address = try #require(NetworkAddress("2001:db8::9"))
        let neighbour = try #require(NetworkAddress("2001:db8::10"))
        #expect(admission.admit(address) == nil && admission.admit(neighbour) == nil)
        #expect(admission.admit(address) == .tooManyOfAddress)
        admission.leave(neighbour)
        #expect(admission.admit(address) == nil)
        for _ in 0..<3 { #expect(admission.admit() == nil) }
        #expect(admission.admit() == .tooManyUnauthenticated)
        admission.leaveUnauthenticated()
        #expect(admission.admit() == nil)
    }

    @Test("connections that have not logged in hold no more bytes than they may together, on each side of the bound (P17)")
    func bytes() {
        var limits = Admission.Limits()
        limits.unauthenticatedBytesMax = 3 * Admission.connectionBytes + 1_000
        let admission = Admission(limits)
        #expect(admission.admit() == nil && admission.admit() == nil)
        #expect(admission.hold(1_001, insteadOf: 0) == nil)
        #expect(admission.admit() == .tooManyUnauthenticatedBytes)
        #expect(admission.hold(1_000, insteadOf: 1_001) == nil)
        #expect(admission.admit() == nil)
        #expect(admission.hold(1, insteadOf: 0) == .tooManyUnauthenticatedBytes)
        #expect(admission.unauthenticatedBytes == limits.unauthenticatedBytesMax)
        admission.leaveUnauthenticated(holding: 1_000)
        #expect(admission.hold(1, insteadOf: 0) == nil)
        admission.leaveUnauthenticated(holding: 1)
        admission.leaveUnauthenticated()
        #expect(admission.unauthenticatedBytes == 0)
    }

    @Test("bodies of requests hold no more than a quarter of that, and leave the rest to others (P17)", arguments: [0, 1])
    func bodyBytes(more: Int) {
        var limits = Admission.Limits()
        limits.unauthenticatedBytesMax = 4 * Admission.connectionBytes
        let admission = Admission(limits)
        #expect(admission.admit() == nil && admission.admit() == nil)
        #expect(admission.holdBody(Admission.connectionBytes + more, insteadOf: 0) == (more == 0 ? nil : .tooManyUnauthenticatedBytes))
        guard more == 0 else { return }
        #expect(admission.holdBody(1, insteadOf: 0) == .tooManyUnauthenticatedBytes)
        #expect(admission.hold(1, insteadOf: 0) == nil && admission.hold(0, insteadOf: 1) == nil)
        #expect(admission.admit() == nil)
        admission.leaveUnauthenticated(bodyBytes: Admission.connectionBytes)
        #expect(admission.unauthenticatedBytes == 2 * Admission.connectionBytes)
        #expect(admission.holdBody(1, insteadOf: 0) == nil)
    }
}

@Suite struct OpenFileLimitTests {
    @Test("the limit is raised and leaves room for what is no connection")
    func raise() throws {
        let limit = try #require(OpenFileLimit.raise())
        #expect(limit >= 256)
        #expect(OpenFileLimit.connections(within: limit) == limit - OpenFileLimit.reserved)
        #expect(OpenFileLimit.connections(within: 3) == 0)
    }
}

@Suite("Receive buffers")
struct ReceiveBuffersTests {
    /// As NIO asks for them, one read at a time (`NIOPooledRecvBufferAllocator`).
    private struct Channel {
        var pool = NIOPooledRecvBufferAllocator(capacity: 1, recvAllocator: ReceiveBuffers(bytes: 4_096))

        mutating func read(_ count: Int) -> Int {
            let (buffer, capacity) = pool.buffer(allocator: ByteBufferAllocator()) { buffer in
                let capacity = buffer.capacity
                buffer.writeRepeatingByte(0, count: count)
                return capacity
            }
            pool.record(actualReadBytes: buffer.readableBytes)
            return capacity
        }
    }

    @Test("the first read is a small one, and the only one whose buffer stays")
    func first() {
        var channel = Channel()
        #expect((ReceiveBuffers.firstBytes..<1_024).contains(channel.read(10)))
        for _ in 0..<3 { #expect(channel.read(4_000) >= 4_096) }
        // Were it one of the others, it would be this one.
        #expect(channel.pool.count == 1)
    }

    @Test("no read is longer than asked for, not even the first")
    func small() {
        #expect(ReceiveBuffers(bytes: 16).buffer(allocator: ByteBufferAllocator()).capacity == 16)
    }
}
