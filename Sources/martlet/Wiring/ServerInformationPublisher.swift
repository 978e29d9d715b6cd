import Logging
import MartletCore
import MartletFeatures
import MartletNetwork
import MartletXMPP
import NIOCore
import ServiceLifecycle

/// Publishes for each domain which other servers it has streams with, where the operator wants it known (XEP-0485): every few minutes, and only what
/// has changed. What was published before it was switched off is taken away.
actor ServerInformationPublisher: Service {
    static let interval = Duration.seconds(300)

    private let core: ServerCore
    /// `nil` where there is no federation: then there are no streams to tell of.
    private let federation: FederationService?
    private let log: Logger
    private let time: any TimeSource
    private var configuration: ServerConfiguration
    private var agreements = ServerInformation.Agreements()
    /// What is at the nodes, by services.
    private var published: [BareJID: ByteBuffer] = [:]
    /// Domains for which it failed, so that it is told once.
    private var failing: Set<String> = []

    init(_ core: ServerCore, _ federation: FederationService?, _ log: Logger, _ time: any TimeSource, _ configuration: ServerConfiguration) {
        self.core = core
        self.federation = federation
        self.log = log
        self.time = time
        self.configuration = configuration
    }

    /// After a reload. When it returns, what is not wanted any more is gone, and what is wanted is there, with the names that are known by then.
    func apply(_ configuration: ServerConfiguration) async {
        self.configuration = configuration
        await withdraw()
        await publish(asks: false)
    }

    nonisolated func run() async throws {
        await cancelWhenGracefulShutdown { [self] in await takeTurns() }
        // A service that returns ends the others; this one stays for as long as they do.
        try? await gracefulShutdown()
    }

    private func takeTurns() async {
        await withdraw()
        while !Task.isCancelled {
            await publish(asks: true)
            guard (try? await Task.sleep(for: Self.interval)) != nil else { break }
        }
    }

    // MARK: Publishing

    /// - Parameter asks: whether others are asked if they agree to be named, which may take a while.
    private func publish(asks: Bool) async {
        guard configuration.pubsub.service.publishesServerInformation else { return }
        let report = await federation?.report() ?? FederationReport()
        for domain in configuration.domains {
            guard let name = try? BareJID(parsing: domain.name), let service = configuration.pubsub(of: domain) else { continue }
            let connections = Self.connections(in: report, of: name.domainpart)
            if asks { await ask(Set(connections.map(\.remote)), by: name) }
            let content = ServerInformation.content(of: name, connections, named: agreements.agreeing(at: time.wallMilliseconds))
            // Somebody may have switched it off meanwhile.
            guard configuration.pubsub.service.publishesServerInformation else { continue }
            let isNews = published[service] != content
            await change(domain) { service, address, core throws(StanzaError) in
                try await ServerInformation.publish(content, isNews: isNews, of: name, by: service, at: address, core.router, core.mailbox)
            } done: { publisher in publisher.published[service] = content }
        }
        // If it was switched off meanwhile, what has just been published goes, too.
        await withdraw()
    }

    /// Streams of the domain itself that are authenticated.
    static func connections(in report: FederationReport, of domain: String) -> [ServerInformation.Connection] {
        report.streams.filter { $0.domain == domain && !$0.peer.isEmpty && $0.method != nil }.map { stream in
            switch stream.direction {
            case _ where stream.isBidirectional: .init(stream.peer, .bidi)
            case .incoming: .init(stream.peer, .incoming)
            case .outgoing: .init(stream.peer, .outgoing)
            }
        }
    }

    /// Whether they agree to be named, those whose turn it is.
    private func ask(_ peers: Set<String>, by domain: BareJID) async {
        let questions = agreements.questions(about: peers, at: time.wallMilliseconds)
        let (router, mailbox) = (core.router, core.mailbox)
        await withTaskGroup(of: (String, Bool).self) { group in
            for peer in questions {
                group.addTask {
                    guard let address = try? BareJID(parsing: peer) else { return (peer, false) }
                    return (peer, ServerInformation.isAgreement(await router.ask(address, by: domain, ServerInformation.question, on: mailbox)))
                }
            }
            for await (peer, agrees) in group { agreements.note(peer, agrees: agrees, at: time.wallMilliseconds) }
        }
    }

    // MARK: The end

    private func withdraw() async {
        guard !configuration.pubsub.service.publishesServerInformation else { return }
        published = [:]
        for domain in configuration.domains {
            guard let name = try? BareJID(parsing: domain.name) else { continue }
            await change(domain) { service, address, core throws(StanzaError) in
                try await ServerInformation.withdraw(of: name, by: service, at: address, core.router, core.mailbox)
            } done: { _ in }
        }
    }

    // MARK: The node

    /// Does something with the service of a domain, if there is one.
    private func change(
        _ domain: ServerConfiguration.Domain, _ act: (PubSubService, BareJID, ServerCore) async throws(StanzaError) -> Void,
        done: (isolated ServerInformationPublisher) -> Void
    ) async {
        guard let address = configuration.pubsub(of: domain), let service = await service(at: address) else { return }
        do throws(StanzaError) {
            try await act(service, address, core)
            failing.remove(domain.name)
            done(self)
        } catch {
            guard failing.insert(domain.name).inserted else { return }
            log.warning(
                "the server information could not be changed",
                metadata: ["domain": "\(domain.name)", "why": "\(error.condition.rawValue)", "text": "\(error.text ?? "")"])
        }
    }

    private func service(at address: BareJID) async -> PubSubService? {
        await withCheckedContinuation { continuation in
            core.mailbox.run { context in continuation.resume(returning: context.hosts.service(of: address)?.service as? PubSubService) }
        }
    }
}
