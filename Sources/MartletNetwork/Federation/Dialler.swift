package import MartletXMPP
package import NIOCore
import NIOPosix

/// A connection to a target.
package struct Dialled: Sendable {
    /// Open, with an empty pipeline, and not reading (`autoRead`): who is told of it on its loop adds handlers before anything is heard.
    package let channel: any Channel
    package let target: DialTarget
    package let address: NetworkAddress
    /// Whether signatures prove where the domain is served and the address of that host: only then is it worth asking for its TLSA records
    /// (RFC 7671 §5.1, RFC 7673 §3.1).
    package let isSecure: Bool
    /// Where the host's name leads, if it is an alias, and signatures prove that: its TLSA records may be there (RFC 7671 §7).
    package let canonicalHost: DNSName?
}

/// Something that was in the way of a connection.
package struct DialFailure: Hashable, Sendable, CustomStringConvertible {
    package enum Reason: Hashable, Sendable {
        case noSuchName
        case noAddress
        case unanswered(DNSError)
        case refused(AddressPolicy.Refusal)
        /// The system's words.
        case unreachable(String)
        case timedOut
        case cancelled
    }

    package let target: DialTarget
    /// `nil`: it has to do with the name.
    package let address: NetworkAddress?
    package let reason: Reason

    package var description: String {
        let place = address.map { "\(target) (\($0))" } ?? "\(target)"
        return switch reason {
        case .noSuchName: "\(place): there is no such name in DNS"
        case .noAddress: "\(place): it has no address"
        case .unanswered(let error): "\(place): \(error)"
        case .refused(let refusal): "\(place): \(refusal) is not dialled unless the configuration allows its network"
        case .unreachable(let words): "\(place): \(words)"
        case .timedOut: "\(place): no connection in time"
        case .cancelled: "\(place): given up"
        }
    }
}

/// What happens while a target is dialled.
package enum DialStep: Hashable, Sendable {
    case connecting(DialTarget, NetworkAddress)
    case failed(DialFailure)
}

/// Why there is no connection, in the order in which it came out.
package struct DialError: Error, Hashable, Sendable {
    package let failures: [DialFailure]

    /// For whoever has written to the domain (RFC 6120 §8.3.3.16, §8.3.3.17): it does not exist, or it may be there later.
    package var stanzaError: StanzaError.Condition {
        let isNowhere = failures.allSatisfy { failure in
            switch failure.reason {
            case .noSuchName, .noAddress, .refused: true
            case .unanswered, .unreachable, .timedOut, .cancelled: false
            }
        }
        return isNowhere ? .remoteServerNotFound : .remoteServerTimeout
    }
}

/// Connects to other servers.
package struct Dialler: Sendable {
    package struct Settings: Hashable, Sendable {
        package var race = DialRace.Settings()
        /// For one target, its addresses' lookup included.
        package var targetTimeout = TimeAmount.seconds(10)
        /// For all of them.
        package var timeout = TimeAmount.seconds(30)

        package init() {}
    }

    package let resolver: any Resolver
    var policy: AddressPolicy
    fileprivate let settings: Settings
    /// Told of every step, on the dial's loop.
    package var observe: @Sendable (DialStep) -> Void = { _ in }

    package init(_ resolver: any Resolver, policy: AddressPolicy = AddressPolicy(), settings: Settings = Settings()) {
        self.resolver = resolver
        self.policy = policy
        self.settings = settings
    }

    /// For what the operator himself wants to be called, wherever it is.
    package mutating func allowEverything() { policy = .everything }

    /// Dials one target after the other until there is a connection. On `loop`, which is the connection's.
    package func dial(_ targets: [DialTarget], on loop: any EventLoop) -> Dial {
        loop.assertInEventLoop()
        let dial = Dial(self, targets, loop)
        dial.next()
        return dial
    }
}

/// Targets that are being dialled. Everything here is done on its loop.
///
/// `@unchecked Sendable`: touched on that loop only; closures that NIO wants sendable come back to it.
package final class Dial: @unchecked Sendable {
    /// Fails with a ``DialError``.
    package let result: EventLoopFuture<Dialled>

    private let dialler: Dialler
    private let loop: any EventLoop
    private let promise: EventLoopPromise<Dialled>
    private let end: NIODeadline
    private var rest: ArraySlice<DialTarget>
    private var failures: [DialFailure] = []
    private var host: HostDial?

    fileprivate init(_ dialler: Dialler, _ targets: [DialTarget], _ loop: any EventLoop) {
        self.dialler = dialler
        self.loop = loop
        rest = targets[...]
        promise = loop.makePromise()
        result = promise.futureResult
        end = .now() + dialler.settings.timeout
    }

    /// Gives up, at once.
    package func cancel() {
        loop.assertInEventLoop()
        rest = []
        host?.giveUp(.cancelled)
    }

    fileprivate func next() {
        let now = NIODeadline.now()
        guard now < end, let target = rest.popFirst() else {
            host = nil
            return promise.fail(DialError(failures: failures))
        }
        let host = HostDial(dialler, target, loop) { self.hostEnded($0) }
        self.host = host
        host.begin(until: min(now + dialler.settings.targetTimeout, end))
    }

    private func hostEnded(_ result: Result<Dialled, DialError>) {
        switch result {
        case .success(let dialled):
            host = nil
            promise.succeed(dialled)
        case .failure(let error):
            failures += error.failures
            next()
        }
    }
}

/// One target that is being dialled: performs what a ``DialRace`` says.
///
/// `@unchecked Sendable`: as ``Dial``.
private final class HostDial: @unchecked Sendable {
    private let dialler: Dialler
    private let target: DialTarget
    private let loop: any EventLoop
    private let done: (Result<Dialled, DialError>) -> Void
    private var race: DialRace
    private var channels: [NetworkAddress: any Channel] = [:]
    private var answers: [DialRace.Family: DNSAnswer] = [:]
    private var failures: [DialFailure] = []
    private var timer: Scheduled<Void>?
    private var deadline: Scheduled<Void>?

    init(_ dialler: Dialler, _ target: DialTarget, _ loop: any EventLoop, _ done: @escaping (Result<Dialled, DialError>) -> Void) {
        self.dialler = dialler
        self.target = target
        self.loop = loop
        self.done = done
        race = DialRace(dialler.settings.race)
    }

    func begin(until end: NIODeadline) {
        deadline = loop.scheduleTask(deadline: end) { self.giveUp(.timedOut) }
        switch target.host {
        case .address(let address):
            let family: DialRace.Family = address.isIPv4 ? .ipv4 : .ipv6
            found(family == .ipv4 ? .ipv6 : .ipv4, [])
            found(family, [address])
        case .name(let name):
            lookUp(.ipv6, DNSQuestion(name, .aaaa))
            lookUp(.ipv4, DNSQuestion(name, .a))
        }
    }

    func giveUp(_ reason: DialFailure.Reason) {
        if channels.isEmpty { fail(nil, reason) }
        for address in channels.keys { fail(address, reason) }
        handle(.deadline)
    }

    private func fail(_ address: NetworkAddress?, _ reason: DialFailure.Reason) {
        let failure = DialFailure(target: target, address: address, reason: reason)
        failures.append(failure)
        dialler.observe(.failed(failure))
    }

    // MARK: Addresses

    private func lookUp(_ family: DialRace.Family, _ question: DNSQuestion) {
        // A task, since the answer comes from another thread in its own time; it ends with the resolver's timeout.
        Task { [dialler, loop] in
            let result: Result<DNSAnswer, DNSError>
            do throws(DNSError) {
                result = .success(try await dialler.resolver.answer(to: question))
            } catch {
                result = .failure(error)
            }
            loop.execute { self.answered(family, result) }
        }
    }

    private func answered(_ family: DialRace.Family, _ result: Result<DNSAnswer, DNSError>) {
        switch result {
        case .success(let answer):
            answers[family] = answer
            // Said once, for both families.
            if answers.count == 2, answers.values.allSatisfy({ $0.addresses.isEmpty }) {
                fail(nil, answers.values.allSatisfy { $0.content == .noSuchName } ? .noSuchName : .noAddress)
            }
            found(family, answer.addresses)
        case .failure(let error):
            fail(nil, .unanswered(error))
            found(family, [])
        }
    }

    private func found(_ family: DialRace.Family, _ addresses: [NetworkAddress]) {
        let allowed = addresses.filter { address in
            guard let refusal = dialler.policy.refusal(of: address) else { return true }
            fail(address, .refused(refusal))
            return false
        }
        handle(.found(family, allowed))
    }

    // MARK: Attempts

    private func handle(_ event: DialRace.Event) {
        for action in race.handle(event) { perform(action) }
    }

    private func perform(_ action: DialRace.Action) {
        switch action {
        case .connect(let address): connect(address)
        case .startTimer(let delay):
            timer?.cancel()
            timer = loop.scheduleTask(in: delay) { self.handle(.timer) }
        case .abandon(let address): channels.removeValue(forKey: address)?.close(promise: nil)
        case .win(let address):
            guard let channel = channels.removeValue(forKey: address) else { preconditionFailure("a connection that is not there") }
            let answer = answers[address.isIPv4 ? .ipv4 : .ipv6].flatMap { $0.isSecure ? $0 : nil }
            let isSecure = target.isSecure && answer != nil
            end(.success(Dialled(channel: channel, target: target, address: address, isSecure: isSecure, canonicalHost: answer?.canonicalName)))
        case .lose: end(.failure(DialError(failures: failures)))
        }
    }

    private func end(_ result: Result<Dialled, DialError>) {
        timer?.cancel()
        deadline?.cancel()
        done(result)
    }

    private func connect(_ address: NetworkAddress) {
        guard let place = address.socketAddress(port: target.port) else { preconditionFailure("\(address) is no address") }
        dialler.observe(.connecting(target, address))
        // The deadline here is the race's. The bootstrap's own is only there to be later.
        ClientBootstrap(group: loop)
            .channelOption(.autoRead, value: false)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .connectTimeout(dialler.settings.targetTimeout + .seconds(1))
            .channelInitializer { channel in
                self.channels[address] = channel
                return channel.eventLoop.makeSucceededVoidFuture()
            }
            .connect(to: place).whenComplete { self.attempted(address, $0) }
    }

    private func attempted(_ address: NetworkAddress, _ result: Result<any Channel, any Error>) {
        switch result {
        case .success: handle(.connected(address))
        case .failure(let error):
            // Otherwise it was abandoned, and this is how it ended.
            guard channels.removeValue(forKey: address) != nil else { return }
            fail(address, .unreachable(Self.describe(error)))
            handle(.failed(address))
        }
    }

    private static func describe(_ error: any Error) -> String {
        (error as? IOError).map { FileContents.describe($0.errnoCode) } ?? "\(error)"
    }
}
