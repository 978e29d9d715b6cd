import MartletCore
package import MartletXMPP
package import NIOCore

/// One thing that a diagnosis has found out, for people.
package struct DiagnosisStep: Codable, Hashable, Sendable {
    package enum Topic: String, Codable, Hashable, Sendable, CaseIterable {
        case policy, records, targets, address, tlsa, tls, certificate, offer, authentication, ping, web, advice
    }
    package enum Verdict: String, Codable, Hashable, Sendable {
        case good, bad
        /// Neither: it may still be well.
        case neutral
    }

    package var topic: Topic
    package var verdict: Verdict
    package var text: String
    /// Since the diagnosis began.
    package var milliseconds: Int64

    package init(_ topic: Topic, _ verdict: Verdict, _ text: String, milliseconds: Int64 = 0) {
        self.topic = topic
        self.verdict = verdict
        self.text = text
        self.milliseconds = milliseconds
    }
}

/// Looks whether there can be a stream to another server, in the same way as one is made, and tells every step as it is done.
///
/// The stream is one of its own, for one direction: those that there are are left alone. An answer to a ping comes the usual way, by a stream of the
/// other server's, so that it says that there can be one in both directions.
package struct PeerDiagnosis: Sendable {
    package enum Scope: Hashable, Sendable {
        /// Up to a ping and its answer. Without a running server, which the answer would come to, up to authentication.
        case exchange
        /// What a stranger sees of a domain of ours at one place, whatever address that is: up to the certificate and what is offered.
        case greeting(DialTarget)
    }

    /// For the answer to a ping.
    package static let pingDeadline = TimeAmount.seconds(10)

    private let service: FederationService
    private let loop: NetworkLoop
    private let pair: DomainPair
    private let scope: Scope
    private let began = NIODeadline.now()
    private let tell: @Sendable (DiagnosisStep) -> Void
    private let shown: @Sendable ([[UInt8]]) -> Void

    /// - Parameters:
    ///   - loop: one of the service's, or of nobody else's.
    ///   - shown: told which certificates the other server shows, in DER, its own first.
    ///   - tell: called on any thread, one step after the other.
    package init(
        _ service: FederationService, on loop: NetworkLoop, _ pair: DomainPair, _ scope: Scope,
        shown: @escaping @Sendable ([[UInt8]]) -> Void = { _ in }, _ tell: @escaping @Sendable (DiagnosisStep) -> Void
    ) {
        self.service = service
        self.loop = loop
        self.pair = pair
        self.scope = scope
        self.shown = shown
        self.tell = tell
    }

    /// - Returns: whether everything went well.
    package func run() async -> Bool {
        let targets: [DialTarget]
        switch scope {
        case .greeting(let target): targets = [target]
        case .exchange:
            if let refusal = service.policy(of: pair.remote).refusal { return failed(.refused(refusal)) }
            do throws(ServiceLookupError) { targets = try await findTargets() } catch { return failed(.lookup(error)) }
            say(.targets, .neutral, targets.enumerated().map { "\($0 + 1). \($1.words)" }.joined(separator: ", "))
        }
        var rest = targets[...]
        while true {
            let dialled: Dialled
            do throws(DialError) { dialled = try await dial(Array(rest)) } catch { return failed(.dial(error)) }
            say(.address, .good, "\(dialled.target) (\(dialled.address)): connected")
            guard let failure = await look(at: dialled) else { return true }
            // As a call does: what breaks off may do better elsewhere, what it says itself counts for all its hosts.
            rest = rest.firstIndex(of: dialled.target).map { rest[($0 + 1)...] } ?? []
            guard !rest.isEmpty, case .call(let why) = failure, why.isOfOneHost else { return failed(failure) }
            if case .unproved = why { say(.tlsa, .bad, "\(why)") } else { say(.address, .bad, "\(dialled.target): \(why)") }
        }
    }

    /// - Returns: what was in the way; `nil` if nothing was.
    private func look(at dialled: Dialled) async -> Failure? {
        let records: DANE?
        do throws(DNSError) { records = try await certificates(of: dialled) } catch {
            dialled.channel.close(promise: nil)
            return .call(.unproved(dialled.target, error))
        }
        return await converse(over: dialled, records)
    }

    // MARK: What is told

    private func say(_ topic: DiagnosisStep.Topic, _ verdict: DiagnosisStep.Verdict, _ text: String) {
        tell(DiagnosisStep(topic, verdict, text, milliseconds: (NIODeadline.now() - began).nanoseconds / 1_000_000))
    }

    private func failed(_ failure: PeerCallFailure) -> Bool { failed(.call(failure)) }

    private func failed(_ failure: Failure) -> Bool {
        switch failure {
        case .call(let failure):
            switch failure {
            // Each address has been told of already.
            case .dial: break
            case .stream(.certificate(let why)): say(.certificate, .bad, "not accepted: \(why)")
            case .refused, .lookup, .stream, .network, .timedOut, .tooManyCalls, .unproved: say(failure.topic, .bad, failure.description)
            }
            say(.advice, .bad, advice(failure))
        case .silence:
            say(.ping, .bad, "no answer within \(Self.pingDeadline.nanoseconds / 1_000_000_000) s")
            say(
                .advice, .bad,
                """
                \(pair.remote) takes what is sent and does not answer, which it does by a stream of its own: look with 'martlet doctor' whether others can \
                reach \(pair.local), and ask its operator
                """)
        }
        return false
    }

    private func advice(_ failure: PeerCallFailure) -> String {
        switch scope {
        case .exchange: failure.advice(pair, serves: service.serves)
        case .greeting(let target): failure.advice(about: pair.remote, at: target.port)
        }
    }

    private enum Failure: Error {
        case call(PeerCallFailure)
        /// A ping was not answered.
        case silence
    }

    // MARK: Names

    private func findTargets() async throws(ServiceLookupError) -> [DialTarget] {
        guard let domain = try? BareJID(parsing: pair.remote) else { throw .notAHost }
        if let targets = service.settings.overrides[domain], !targets.isEmpty {
            say(.records, .neutral, "not asked for: the configuration says where \(pair.remote) is called (peers)")
            return targets
        }
        guard domain.addressDomainpart == nil, let name = DNSName(domain.asciiDomainpart) else {
            return try await service.lookup.targets(of: domain)
        }
        // Answers are remembered: what is planned from these is what a call would plan.
        let startTLS = await answer("_xmpp-server._tcp", of: name)
        let direct = await answer("_xmpps-server._tcp", of: name)
        return try ServicePlan.targets(of: name, startTLS: startTLS, direct: direct) { Int.random(in: $0) }
    }

    private func answer(_ prefix: String, of name: DNSName) async -> Result<DNSAnswer, DNSError> {
        let (result, step) = await Self.services(prefix, of: name, service.resolver)
        if let step { say(.records, step.0, step.1) }
        return result
    }

    /// What DNS says about a service of a domain, and in words; nothing if its name would be too long for DNS.
    static func services(
        _ prefix: String, of name: DNSName, _ resolver: any Resolver
    ) async -> (Result<DNSAnswer, DNSError>, (DiagnosisStep.Verdict, String)?) {
        guard let service = name.service(prefix) else { return (.success(DNSAnswer(.noSuchName)), nil) }
        let result: Result<DNSAnswer, DNSError>
        do throws(DNSError) { result = .success(try await resolver.answer(to: DNSQuestion(service, .srv))) } catch { result = .failure(error) }
        return (result, words(for: service, result))
    }

    /// What DNS says about a service, or why it says nothing.
    package static func words(for service: DNSName, _ result: Result<DNSAnswer, DNSError>) -> (DiagnosisStep.Verdict, String) {
        switch result {
        case .failure(let error): return (.bad, "\(service): \(error)")
        case .success(let answer):
            let security = answer.isSecure ? "secure" : "not secured by DNSSEC"
            guard !answer.services.isEmpty else { return (.neutral, "\(service): none (\(security))") }
            let records = answer.services.map { "\($0.priority) \($0.weight) \($0.port) \($0.target.map { "\($0)" } ?? ".")" }
            return (.good, "\(service): \(records.joined(separator: ", ")) (\(security))")
        }
    }

    /// What DNS says about the certificate, where that counts.
    private func certificates(of dialled: Dialled) async throws(DNSError) -> DANE? {
        guard scope == .exchange, let domain = try? BareJID(parsing: pair.remote) else { return nil }
        switch service.askingAboutCertificate(of: pair.remote, dialled) {
        case .yes: break
        case .decided:
            say(.tlsa, .neutral, "not asked for: the configuration says by what \(pair.remote) is believed (peers)")
            return nil
        case .unproved:
            say(.tlsa, .neutral, "not asked for: DNSSEC does not prove where \(pair.remote) is served")
            return nil
        }
        let found = try await service.lookup.certificates(of: dialled.target, leadingTo: dialled.canonicalHost, for: domain)
        guard let records = found else { return nil }
        say(.tlsa, records.words.0, records.words.1)
        return records.dane
    }

    // MARK: Addresses

    private func dial(_ targets: [DialTarget]) async throws(DialError) -> Dialled {
        var dialler = service.dialler
        if case .greeting = scope { dialler.policy = .everything }
        dialler.observe = { step in
            switch step {
            case .connecting(let target, let address): say(.address, .neutral, "\(target) (\(address)): connecting")
            case .failed(let failure): say(.address, .bad, failure.description)
            }
        }
        let (loop, watched) = (loop.loop, dialler)
        do {
            return try await loop.flatSubmit { watched.dial(targets, on: loop).result }.get()
        } catch {
            throw error as? DialError ?? DialError(failures: [])
        }
    }

    // MARK: The stream

    /// For one direction, whatever is usual.
    private var policy: PeerPolicy {
        var policy = scope == .exchange ? service.policy(of: pair.remote) : PeerPolicy()
        policy.bidirection = .off
        return policy
    }

    private func converse(over dialled: Dialled, _ records: DANE?) async -> Failure? {
        await withCheckedContinuation { continuation in
            loop.loop.execute {
                DiagnosedPeerConnection.begin(
                    service, loop, pair, scope == .exchange ? .stanzas : .verification, policy, dialled, records, { say($0, $1, $2) },
                    shown: shown, pings: scope == .exchange && service.serves
                ) { end in
                    switch end {
                    case .done: continuation.resume(returning: nil)
                    case .failed(let failure): continuation.resume(returning: .call(failure))
                    case .unanswered: continuation.resume(returning: .silence)
                    }
                }
            }
        }
    }
}

extension FederationService {
    /// Whether stanzas can come in.
    var serves: Bool { !inventory().loops.isEmpty }

    /// Diagnoses on one of the loops of the service, which has begun.
    package func diagnose(_ pair: DomainPair, _ tell: @escaping @Sendable (DiagnosisStep) -> Void) async -> Bool {
        guard let loop = inventory().loops.randomElement() else { return false }
        return await PeerDiagnosis(self, on: loop, pair, .exchange, tell).run()
    }
}

extension DialTarget {
    fileprivate var words: String { tls == .direct ? "\(self) (TLS from the first byte)" : "\(self) (STARTTLS)" }
}

// MARK: What to do

extension PeerCallFailure {
    /// Which step it belongs to.
    var topic: DiagnosisStep.Topic {
        switch self {
        case .refused: .policy
        case .lookup: .records
        case .unproved: .tlsa
        case .dial, .network: .address
        case .timedOut, .tooManyCalls: .address
        case .stream(.noTLS), .stream(.tlsRefused): .tls
        case .stream(.certificate): .certificate
        case .stream(.noAuthentication), .stream(.refused), .stream(.invalidKey), .stream(.dialback): .authentication
        case .stream(.ended), .stream(.confused): .offer
        }
    }

    /// Whether another of the domain's hosts may do better.
    var isOfOneHost: Bool {
        switch self {
        case .network, .unproved: true
        case .refused, .lookup, .dial, .stream, .timedOut, .tooManyCalls: false
        }
    }

    /// A sentence for the operator.
    ///
    /// - Parameter serves: whether this server runs, and can be asked about keys.
    package func advice(_ pair: DomainPair, serves: Bool) -> String {
        let (peer, ours) = (pair.remote, pair.local)
        switch self {
        case .refused: return "if there are to be streams with \(peer), change federation.blocked, federation.closed or peers in the configuration"
        case .lookup(.notAHost): return "see whether \(peer) is spelled right: it is no name that DNS could have"
        case .lookup(.noService): return "see whether \(peer) is spelled right; its records say that it has no XMPP server"
        case .lookup(.unanswered(.bogus)): return "the operator of \(peer) has to mend the signatures of its DNS records; until then they may be forged"
        case .lookup(.unanswered): return "see whether the name servers answer: those in federation.name-servers, or in /etc/resolv.conf"
        case .dial(let error): return error.advice(pair)
        case .unproved:
            return "the operator of \(peer) has to see that its name servers answer about TLSA records, by which alone its certificate is believed"
        case .network, .timedOut:
            return "see whether a firewall or proxy on the way breaks connections; if not, the log of \(peer) may say why"
        case .tooManyCalls: return "try again in a minute; federation.calls says how many servers are called at a time"
        case .stream(let failure): return failure.advice(peer, ours, serves: serves)
        }
    }
}

extension DialError {
    fileprivate func advice(_ pair: DomainPair) -> String {
        if failures.contains(where: { if case .refused = $0.reason { true } else { false } }) {
            return "if \(pair.remote) is in a network of yours, name that network in federation.private-networks"
        }
        if stanzaError == .remoteServerNotFound {
            return "see whether \(pair.remote) is spelled right; if it is, its operator has to publish SRV records with hosts that have addresses"
        }
        return "see whether this machine may connect to these ports; if it may, the operator of \(pair.remote) has to start the server or open them"
    }
}

extension PeerFailure {
    fileprivate func advice(_ peer: String, _ ours: String, serves: Bool) -> String {
        switch self {
        case .noTLS, .tlsRefused: "the operator of \(peer) has to switch TLS on; without it there are streams only if peers says 'encryption: optional' for it"
        case .certificate:
            """
            the operator of \(peer) has to mend its certificate; until then 'authentication: dialback' under peers takes DNS's word for it, and \
            federation.trust-anchors names authorities of your own
            """
        case .noAuthentication, .refused, .dialback(.notAuthorized):
            "\(ours) needs a certificate that \(peer) trusts: 'martlet doctor' says what others see of it"
        case .invalidKey, .dialback:
            serves
                ? "\(peer) has to be able to reach \(ours) and find this server there: 'martlet doctor' says what others see of it"
                : "start the server and try again: \(peer) wants to ask it about a key"
        case .ended, .confused: "the log of \(peer) may say why it ends the stream: ask its operator"
        }
    }
}
